/* coffer-vault serve: the service. */
#include <stdio.h>

#include "base/log.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "service/service.h"

struct serve_options {
    const char *listen, *ready_file;
    bool verbose;
};

static const cf_option options[] = {
    CF_OPTION_TEXT(struct serve_options, listen, "listen", "ADDR:PORT",
                   "where to listen; port 0 takes a free one (default: every address, the vault's port)"),
    CF_OPTION_TEXT(struct serve_options, ready_file, "ready-file", "FILE", "write the address there once it answers"),
    CF_OPTION_FLAG(struct serve_options, verbose, "verbose", "log refused requests too"), CF_OPTION_END};

static cf_err *run(cf_cli *cli, const void *given, const cf_words *arguments) {
    const struct serve_options *opt = given;
    CF_AUTO(cf_vault) vault = NULL;
    cf_log_setup(stderr, opt->verbose ? CF_LOG_DEBUG : cli->quiet ? CF_LOG_WARNING : CF_LOG_INFO);
    CF_TRY(cf_vault_open(arguments->item[0], CF_VAULT_SERVE, cf_clock_system(), &vault));
    return cf_serve(vault, &(cf_serve_options){opt->listen, opt->ready_file, stdout}, cli->cancel);
}

const cf_command cf_cmd_vault_serve = {
    .name = "serve",
    .arguments = "DIR",
    .min_arguments = 1,
    .max_arguments = 1,
    .summary = "run the service",
    .description = "Prints the address as its first line. SIGTERM and SIGINT end it: requests at work may finish.\n",
    .examples = "coffer-vault serve /srv/coffer\ncoffer-vault serve /srv/coffer --listen 127.0.0.1:0\n",
    .options = options,
    .options_size = sizeof(struct serve_options),
    .run = run,
};
