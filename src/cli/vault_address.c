/* coffer-vault address: the vault has moved. */
#include <stdio.h>

#include "cli/commands.h"
#include "cli/output.h"
#include "service/vault.h"

struct address_options {
    const char *url;
};

static const cf_option options[] = {CF_OPTION_TEXT(struct address_options, url, "url", "URL",
                                                   "https://HOST:PORT by which servers reach it from now on"),
                                    CF_OPTION_END};

static cf_err *run(cf_cli *cli, const void *given, const cf_words *arguments) {
    const struct address_options *opt = given;
    CF_AUTO(cf_vault) vault = NULL;
    CF_TRY(cf_vault_open(arguments->item[0], CF_VAULT_LIST, cf_clock_system(), &vault));
    if (opt->url) CF_TRY(cf_vault_move(vault, opt->url));
    if (cli->json) return cf_output_json(json_pack("{ss}", "url", vault->row.url));
    printf("%s\n", vault->row.url);
    if (opt->url) {
        cf_output_note(cli, "the running service takes the new certificate within seconds; a new port needs a restart");
        cf_output_note(cli, "issue new credentials files: those from before name the old address");
    }
    return NULL;
}

const cf_command cf_cmd_vault_address = {
    .name = "address",
    .arguments = "DIR",
    .min_arguments = 1,
    .max_arguments = 1,
    .summary = "show the vault's address, or change it",
    .examples =
        "coffer-vault address /srv/coffer\ncoffer-vault address /srv/coffer --url https://backup.example.org:8443\n",
    .options = options,
    .options_size = sizeof(struct address_options),
    .run = run,
};
