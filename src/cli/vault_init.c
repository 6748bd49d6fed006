/* coffer-vault init: a new vault with embedded storage. */
#include <stdio.h>

#include "cli/commands.h"
#include "cli/output.h"
#include "service/vault.h"

struct init_options {
    const char *name, *url, *region;
};

static const cf_option options[] = {
    CF_OPTION_TEXT(struct init_options, name, "name", "NAME", "the vault's name (default: this machine's)"),
    CF_OPTION_TEXT(struct init_options, url, "url", "URL",
                   "https://HOST:PORT by which servers reach it (default: this machine's name, port 8443)"),
    CF_OPTION_TEXT(struct init_options, region, "region", "R", "where it stands; shown in credentials files"),
    CF_OPTION_END};

static cf_err *run(cf_cli *cli, const void *given, const cf_words *arguments) {
    const struct init_options *opt = given;
    const char *path = arguments->item[0];
    cf_vault_row row;
    CF_TRY(cf_vault_init(&(cf_vault_init_options){path, opt->name, opt->url, opt->region}, cf_clock_system(), &row));
    if (cli->json)
        return cf_output_json(json_pack("{so,ss,ss,ss,ss}", "vault_id", cf_json_hex(row.id.bytes, 16), "name", row.name,
                                        "url", row.url, "region", row.region, "path", path));
    printf("made vault \"%s\" in %s, address %s\n", row.name, path, row.url);
    cf_output_note(cli, "start it:           coffer-vault serve %s", path);
    cf_output_note(cli, "let servers join:   coffer-vault credentials %s --output FILE", path);
    return NULL;
}

const cf_command cf_cmd_vault_init = {
    .name = "init",
    .arguments = "DIR",
    .min_arguments = 1,
    .max_arguments = 1,
    .summary = "make a new vault with its certificate authority",
    .description = "DIR is made, or must be empty. It holds everything: database, stored objects, keys of the\n"
                   "certificates. It holds no key that could decrypt a backup.\n",
    .examples = "coffer-vault init /srv/coffer --name office --url https://vault.example.org:8443\n",
    .options = options,
    .options_size = sizeof(struct init_options),
    .run = run,
};
