/* coffer passphrase: who can open this server's backups. */
#include <fcntl.h>
#include <stdio.h>

#include "agent/keyring.h"
#include "cli/agent.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/passphrase.h"
#include "keys/box.h"
#include "os/file.h"

/* Folders, state and the vault, for what only this server itself may do. */
typedef struct own {
    cf_agent agent;
    cf_access *access;
} own;

static void own_wipe(own *o) {
    cf_access_free(o->access);
    cf_agent_wipe(&o->agent);
}
#define AUTO_OWN __attribute__((cleanup(own_wipe)))

static cf_err *own_open(cf_cli *cli, own *o) {
    cf_server_options none = {0};
    CF_TRY(cf_agent_open(cli, &o->agent));
    return cf_agent_access(&o->agent, cli, &none, CF_RETRY_PERSON_MS, &o->access);
}

static cf_err *show(const cf_cli *cli, const cf_keyring_result *result, const char *text) {
    if (cli->json) return cf_output_json(json_pack("{s:I}", "slot", (json_int_t)result->slot));
    if (!cli->quiet) printf("%s (key slot %u)\n", text, result->slot);
    return NULL;
}

struct change_options {
    const char *new_passphrase_file, *generate;
};

static const cf_option change_options[] = {
    CF_OPTION_TEXT(struct change_options, new_passphrase_file, "new-passphrase-file", "FILE",
                   "the new passphrase (- for standard input); asked for when not given"),
    CF_OPTION_TEXT(struct change_options, generate, "generate-passphrase", "FILE",
                   "make a passphrase and write it to FILE, which must not exist"),
    CF_OPTION_END};

static cf_err *run_change(cf_cli *cli, const void *given, const cf_words *arguments) {
    (void)arguments;
    const struct change_options *opt = given;
    AUTO_OWN own o = {0};
    CF_AUTO(cf_secret) passphrase = NULL;
    cf_keyring_result result = {0};
    if (opt->generate && opt->new_passphrase_file)
        return cf_cli_usage(cli, "--new-passphrase-file and --generate-passphrase exclude each other");
    CF_TRY(own_open(cli, &o));
    if (opt->generate)
        CF_TRY(cf_passphrase_generate(opt->generate, &passphrase));
    else
        CF_TRY(cf_passphrase_get_new(cli, opt->new_passphrase_file, &passphrase));
    CF_TRY(cf_keyring_change(o.agent.state, o.access->remote, passphrase,
                             (uint32_t)(o.agent.config.kdf_memory_bytes / 1024), o.agent.config.kdf_passes, &result));
    if (opt->generate) cf_output_note(cli, "the new passphrase is in %s: keep a copy elsewhere", opt->generate);
    return show(cli, &result, "the passphrase was changed; the old one opens the backups for 14 days more");
}

static const cf_command change = {
    .name = "change",
    .summary = "give this server's backups another passphrase",
    .description =
        "Needs root on the registered server, not the old passphrase: that may be the one that was lost. The\n"
        "vault records the change, and accepts the old passphrase for another 14 days.\n",
    .examples = "coffer passphrase change\ncoffer passphrase change --generate-passphrase /root/passphrase-2\n",
    .options = change_options,
    .options_size = sizeof(struct change_options),
    .run = run_change,
};

struct check_options {
    const char *passphrase_file;
};

static const cf_option check_options[] = {
    CF_OPTION_TEXT(struct check_options, passphrase_file, "passphrase-file", "FILE",
                   "the passphrase (- for standard input); asked for when not given"),
    CF_OPTION_END};

static cf_err *run_check(cf_cli *cli, const void *given, const cf_words *arguments) {
    (void)arguments;
    const struct check_options *opt = given;
    AUTO_OWN own o = {0};
    CF_AUTO(cf_secret) passphrase = NULL;
    cf_keyring_result result = {0};
    CF_TRY(own_open(cli, &o));
    CF_TRY(cf_passphrase_get(cli, opt->passphrase_file, &passphrase));
    CF_TRY(cf_keyring_check(o.agent.state, o.access->remote, passphrase, &result));
    return show(cli, &result, "the passphrase opens this server's backups");
}

static const cf_command check = {
    .name = "check",
    .summary = "does a passphrase open this server's backups?",
    .examples = "coffer passphrase check --passphrase-file /root/passphrase\n",
    .options = check_options,
    .options_size = sizeof(struct check_options),
    .run = run_check,
};

static cf_err *run_add(cf_cli *cli, const void *given, const cf_words *arguments) {
    (void)given;
    AUTO_OWN own o = {0};
    CF_AUTO_BUF cf_buf pem;
    uint8_t recipient[32];
    cf_keyring_result result = {0};
    cf_buf_init(&pem, CF_BOX_PEM_MAX);
    CF_TRY(cf_file_read(AT_FDCWD, arguments->item[0], CF_BOX_PEM_MAX, &pem));
    CF_TRY(cf_box_read_public(cf_buf_span(&pem), arguments->item[0], recipient));
    CF_TRY(own_open(cli, &o));
    CF_TRY(cf_keyring_add_recovery(o.agent.state, o.access->remote, recipient, &result));
    return show(cli, &result, "the recovery key opens this server's backups now");
}

static const cf_command add = {
    .name = "add-recovery-key",
    .arguments = "PUBKEY",
    .summary = "let the owner of a recovery key open this server's backups",
    .description =
        "PUBKEY is a file with an X25519 public key in PEM form. Its private half opens the backups of every\n"
        "server that it was added to, without their passphrases: --recovery-key-file. Keep it offline.\n",
    .examples = "openssl genpkey -algorithm X25519 -aes256 -out recovery.key   # elsewhere, once\n"
                "openssl pkey -in recovery.key -pubout -out recovery.pub\n"
                "coffer passphrase add-recovery-key recovery.pub\n",
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run_add,
};

static const cf_command *const subcommands[] = {&change, &check, &add, NULL};

const cf_command cf_cmd_passphrase = {
    .name = "passphrase",
    .summary = "change or check the passphrase, add a recovery key",
    .examples = "coffer passphrase check --passphrase-file /root/passphrase\n"
                "coffer passphrase change --generate-passphrase /root/passphrase-2\n"
                "coffer passphrase add-recovery-key recovery.pub\n",
    .subcommands = subcommands,
};
