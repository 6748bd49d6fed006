/* coffer-vault credentials: a file that lets servers register, or read. */
#include <fcntl.h>
#include <stdio.h>

#include "cli/commands.h"
#include "cli/output.h"
#include "os/file.h"
#include "service/issue.h"

struct credentials_options {
    const char *output, *purpose;
    bool force;
};

static const cf_option options[] = {
    CF_OPTION_TEXT(struct credentials_options, output, "output", "FILE", "the new file, mode 0600"),
    CF_OPTION_CHOICE(struct credentials_options, purpose, "purpose", "register|restore",
                     "register: servers may join and be taken over; restore: only reading, with the passphrase"),
    CF_OPTION_FLAG(struct credentials_options, force, "force", "replace FILE if it exists"), CF_OPTION_END};

/* Nothing is issued when the file cannot be kept: that would only supersede the one in use. */
static cf_err *check_free(const struct credentials_options *opt) {
    bool exists = false;
    CF_TRY(cf_file_exists(AT_FDCWD, opt->output, &exists));
    if (exists && !opt->force) return cf_fail(CF_ERR_EXISTS, "%s exists already (--force replaces it)", opt->output);
    return NULL;
}

static cf_err *write_file(const struct credentials_options *opt, const cf_secret *text) {
    cf_span bytes = cf_span_of(cf_secret_bytes(text), cf_secret_size(text));
    bool created = true;
    if (opt->force) return cf_file_write_durable(AT_FDCWD, opt->output, &bytes, 1, 0600);
    CF_TRY(cf_file_create_durable(AT_FDCWD, opt->output, &bytes, 1, 0600, &created));
    return created ? NULL : cf_fail(CF_ERR_EXISTS, "%s exists already", opt->output);
}

static cf_err *run(cf_cli *cli, const void *given, const cf_words *arguments) {
    const struct credentials_options *opt = given;
    cf_purpose purpose = CF_PURPOSE_REGISTER;
    if (!opt->output) return cf_cli_usage(cli, "--output FILE is needed");
    if (opt->purpose && !cf_purpose_parse(opt->purpose, &purpose)) return cf_cli_usage(cli, "--purpose is unknown");
    CF_AUTO(cf_vault) vault = NULL;
    CF_AUTO(cf_secret) text = NULL;
    cf_time expires;
    CF_TRY(check_free(opt));
    CF_TRY(cf_vault_open(arguments->item[0], CF_VAULT_LIST, cf_clock_system(), &vault));
    CF_TRY(cf_vault_issue(vault, purpose, &text, &expires));
    CF_TRY(write_file(opt, text));
    if (cli->json)
        return cf_output_json(json_pack("{ss,ss,so,ss}", "path", opt->output, "purpose", cf_purpose_name(purpose),
                                        "expires", cf_json_time(expires), "vault_name", vault->row.name));
    char when[40];
    cf_time_local(expires, when);
    printf("wrote %s: valid until %s, for any number of servers\n", opt->output, when);
    cf_output_note(cli, "it lets its holder join this vault: copy it over a safe way, and remove it afterwards");
    return NULL;
}

const cf_command cf_cmd_vault_credentials = {
    .name = "credentials",
    .arguments = "DIR",
    .min_arguments = 1,
    .max_arguments = 1,
    .summary = "issue a credentials file, valid for 10 days",
    .description = "Works beside a running service. A new file supersedes the earlier one for the same purpose.\n",
    .examples = "coffer-vault credentials /srv/coffer --output join.coffer\n",
    .options = options,
    .options_size = sizeof(struct credentials_options),
    .run = run,
};
