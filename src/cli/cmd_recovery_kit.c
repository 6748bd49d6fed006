/* coffer recovery-kit: what the bad day needs besides the passphrase, in one file. */
#include <fcntl.h>
#include <stdio.h>

#include "agent/keyring.h"
#include "cli/agent.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "os/file.h"

static cf_err *write_kit(const char *path, const cf_kit *kit) {
    CF_AUTO(cf_secret) text = NULL;
    bool exists = false;
    CF_TRY(cf_file_exists(AT_FDCWD, path, &exists));
    if (exists) return cf_fail(CF_ERR_EXISTS, "%s exists: nothing is overwritten here", path);
    CF_TRY(cf_kit_format(kit, &text));
    cf_span bytes = cf_span_of(cf_secret_bytes(text), cf_secret_size(text));
    return cf_file_write_durable(AT_FDCWD, path, &bytes, 1, 0600);
}

static cf_err *run(cf_cli *cli, const void *given, const cf_words *arguments) {
    (void)given;
    const char *path = arguments->item[0];
    CF_AUTO_AGENT cf_agent agent = {0};
    CF_AUTO(cf_access) access = NULL;
    CF_AUTO(cf_kit) kit = NULL;
    cf_server_options none = {0};
    bool exists = false;
    CF_TRY(cf_file_exists(AT_FDCWD, path, &exists)); /* before the vault issues anything */
    if (exists) return cf_fail(CF_ERR_EXISTS, "%s exists: nothing is overwritten here", path);
    CF_TRY(cf_agent_open(cli, &agent));
    CF_TRY(cf_agent_access(&agent, cli, &none, CF_RETRY_PERSON_MS, &access));
    CF_TRY(cf_keyring_kit(agent.state, access->remote, &kit));
    CF_TRY(write_kit(path, kit));
    if (cli->json)
        return cf_output_json(json_pack("{s:s, s:s, s:o}", "path", path, "server", kit->server_name, "server_id",
                                        cf_json_hex(kit->server_id.bytes, 16)));
    if (cli->quiet) return NULL;
    printf("wrote %s: keep it, or a printout, away from this machine and apart from the passphrase\n", path);
    return NULL;
}

const cf_command cf_cmd_recovery_kit = {
    .name = "recovery-kit",
    .arguments = "FILE",
    .summary = "write what a restore elsewhere needs besides the passphrase",
    .description =
        "FILE names vault, server and newest recovery point, says what to type, and lets in whoever has the\n"
        "passphrase too: on any machine, years later, without a credentials file.\n",
    .examples = "coffer recovery-kit /root/web1.kit\n"
                "coffer restore latest --to /mnt --kit web1.kit --passphrase-file passphrase   # elsewhere\n",
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run,
};
