/* coffer unregister: forget the vault here. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/register.h"
#include "cli/agent.h"
#include "cli/commands.h"
#include "cli/output.h"

enum { TELLING_MS = 3000 }; /* a vault that is away for good must not keep anybody waiting */

struct unregister_options {
    bool yes;
};

static const cf_option options[] = {CF_OPTION_FLAG(struct unregister_options, yes, "yes",
                                                   "do not ask (nothing is asked without a terminal, or with --json)"),
                                    CF_OPTION_END};

static cf_err *confirm(const cf_cli *cli, const cf_identity *identity) {
    char answer[16] = "";
    if (cli->json || !isatty(STDIN_FILENO)) return NULL; /* a script, which cannot answer, has decided already */
    fprintf(stderr,
            "This server \"%s\" forgets the vault \"%s\" and its key; reading its backups then needs the\n"
            "passphrase. Continue? [y/N] ",
            identity->server_name, identity->vault_name);
    if (!fgets(answer, sizeof answer, stdin) || (strcmp(answer, "y\n") != 0 && strcmp(answer, "yes\n") != 0))
        return cf_fail(CF_ERR_CANCELLED, "nothing was changed");
    return NULL;
}

static cf_err *run(cf_cli *cli, const void *given, const cf_words *arguments) {
    (void)arguments;
    const struct unregister_options *opt = given;
    CF_AUTO_AGENT cf_agent agent = {0};
    CF_AUTO(cf_identity) identity = NULL;
    CF_TRY(cf_agent_open(cli, &agent));
    cf_err *err = cf_registration_load_identity(cf_state_fd(agent.state), &identity);
    if (cf_err_code(err) == CF_ERR_NOT_REGISTERED) return err;
    cf_err_free(err); /* a damaged registration can be forgotten as well */
    if (!opt->yes && identity) CF_TRY(confirm(cli, identity));
    cf_network network = cf_agent_network(&agent, cli, NULL, TELLING_MS);
    bool told = false;
    CF_TRY(cf_unregister_server(agent.state, &network, &told));
    cli->warnings = !told;
    if (cli->json) return cf_output_json(json_pack("{s:b, s:b}", "registered", 0, "vault_told", told));
    if (!told) cf_output_note(cli, "the vault could not be told; its token for this server is of no use to anybody");
    if (!cli->quiet) printf("unregistered; the data in the vault stays until it ages out\n");
    return NULL;
}

const cf_command cf_cmd_unregister = {
    .name = "unregister",
    .summary = "forget the vault on this server",
    .description =
        "Ends this server's token at the vault, then removes identity, token and keys here. What is in the vault\n"
        "stays until it ages out, and can be read with the passphrase. The job history stays too.\n",
    .examples = "coffer unregister\ncoffer unregister --yes\n",
    .options = options,
    .options_size = sizeof(struct unregister_options),
    .run = run,
};
