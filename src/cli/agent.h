/* What every command of the agent begins with: folders, configuration, state, and the way to the vault.    */
#ifndef CF_CLI_AGENT_H
#define CF_CLI_AGENT_H

#include "agent/access.h"
#include "agent/state.h"
#include "cli/cli.h"
#include "cli/home.h"
#include "policy/config.h"

#define CF_AGENT_SCRATCH "scratch" /* setting: the scratch folder that was chosen at registration */

typedef struct cf_agent {
    cf_home home;
    cf_config config;
    cf_state *state;
    cf_secret *proxy_password; /* from [proxy] password_file */
} cf_agent;

/* cf_agent_open: folders are made when missing. Fails: 100011, 900901 CONFIG, IO, STATE_DAMAGED.            */
cf_err *cf_agent_open(const cf_cli *cli, cf_agent *agent) __attribute__((warn_unused_result));
void cf_agent_wipe(cf_agent *agent);
#define CF_AUTO_AGENT __attribute__((cleanup(cf_agent_wipe)))

/* cf_agent_network: as configured. proxy: overrides the configured one; NULL: does not. Borrows from agent. */
cf_network cf_agent_network(const cf_agent *agent, const cf_cli *cli, const char *proxy, uint64_t retry_total_ms);

/* The options of every command that reads: --server, --credentials, --passphrase-file, --recovery-key-file, --kit. */
typedef struct cf_server_options {
    const char *server, *credentials, *passphrase_file, *recovery_key_file, *kit;
} cf_server_options;
#define CF_OPTIONS_SERVER(type, field)                                                                  \
    CF_OPTION_TEXT(type, field.server, "server", "NAME", "another server's data: its name or ID"),      \
        CF_OPTION_TEXT(type, field.credentials, "credentials", "FILE",                                  \
                       "with --server: a credentials file of the vault"),                               \
        CF_OPTION_TEXT(type, field.kit, "kit", "FILE",                                                  \
                       "the data that a recovery kit leads to, instead of --server and --credentials"), \
        CF_OPTION_TEXT(type, field.passphrase_file, "passphrase-file", "FILE",                          \
                       "with --server or --kit: the other server's passphrase"),                        \
        CF_OPTION_TEXT(type, field.recovery_key_file, "recovery-key-file", "FILE",                      \
                       "instead of the passphrase: the private key of a recovery key")

/* cf_agent_access: this server's data, or that of the options (the passphrase is asked for when no file is given).
 * Fails as cf_access_open.                                                                                 */
cf_err *cf_agent_access(const cf_agent *agent, const cf_cli *cli, const cf_server_options *options,
                        uint64_t retry_total_ms, cf_access **access) __attribute__((warn_unused_result));

#endif
