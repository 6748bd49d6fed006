/* coffer-vault routes: what the service answers, for the test that compares it with docs/openapi.yaml. */
#include <stdio.h>

#include "cli/commands.h"
#include "service/service.h"

static cf_err *run(cf_cli *cli, const void *given, const cf_words *arguments) {
    (void)cli;
    (void)given;
    (void)arguments;
    cf_service_routes(stdout);
    return NULL;
}

const cf_command cf_cmd_vault_routes = {
    .name = "routes",
    .summary = "list what the service answers",
    .run = run,
    .hidden = true,
};
