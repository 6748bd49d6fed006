#include "cli/agent.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "cli/config_file.h"
#include "cli/passphrase.h"
#include "keys/box.h"
#include "os/dir.h"
#include "os/file.h"

/* The folder that `register --scratch` chose takes the place of the default one. */
static cf_err *use_chosen_scratch(cf_agent *agent) {
    char *chosen = NULL;
    CF_TRY(cf_state_get_setting(agent->state, CF_AGENT_SCRATCH, &chosen));
    if (!chosen) return NULL;
    free(agent->home.scratch);
    agent->home.scratch = chosen;
    return cf_dir_make(AT_FDCWD, chosen, 0700);
}

cf_err *cf_agent_open(const cf_cli *cli, cf_agent *agent) {
    *agent = (cf_agent){0};
    CF_TRY(cf_home_resolve(cli->home, &agent->home));
    CF_TRY(cf_home_create(&agent->home));
    CF_TRY(cf_config_load(agent->home.config, &agent->config));
    if (agent->config.proxy_password_file[0])
        CF_TRY(cf_secret_read(cli, agent->config.proxy_password_file, "proxy password", &agent->proxy_password));
    CF_TRY(cf_state_open(agent->home.state, NULL, &agent->state));
    cf_state_keep_history(agent->state, agent->config.history_days);
    return use_chosen_scratch(agent);
}

void cf_agent_wipe(cf_agent *agent) {
    cf_state_close(agent->state);
    cf_secret_free(agent->proxy_password);
    cf_home_wipe(&agent->home);
    agent->state = NULL;
    agent->proxy_password = NULL;
}

static const char *or_null(const char *text) {
    return *text ? text : NULL;
}

cf_network cf_agent_network(const cf_agent *agent, const cf_cli *cli, const char *proxy, uint64_t retry_total_ms) {
    return (cf_network){.proxy = proxy ? proxy : or_null(agent->config.proxy_url),
                        .proxy_user = or_null(agent->config.proxy_user),
                        .proxy_password = agent->proxy_password,
                        .retry_total_ms = retry_total_ms,
                        .cancel = cli->cancel};
}

static cf_err *check_options(const cf_cli *cli, const cf_server_options *options) {
    if (options->kit && (options->server || options->credentials))
        return cf_cli_usage(cli, "--kit says which server and vault: --server and --credentials do not go with it");
    if (!options->server && options->credentials)
        return cf_cli_usage(cli, "--credentials needs --server NAME: whose data is meant?");
    if (options->passphrase_file && options->recovery_key_file)
        return cf_cli_usage(cli, "--passphrase-file and --recovery-key-file exclude each other");
    return NULL;
}

static cf_err *read_kit(const char *path, cf_kit **kit) {
    CF_AUTO_BUF cf_buf text;
    cf_buf_init(&text, CF_KIT_MAX);
    cf_err *err = cf_file_read(AT_FDCWD, path, CF_KIT_MAX, &text);
    if (err) return cf_wrap(err, CF_ERR_CREDENTIALS_UNREADABLE, "the recovery kit %s cannot be read", path);
    err = cf_kit_parse(cf_buf_span(&text), path, kit);
    if (text.size) cf_wipe(text.data, text.size);
    return err;
}

/* An encrypted key asks for its password on the terminal. */
static cf_err *read_recovery_key(const cf_cli *cli, const char *path, cf_secret **key) {
    CF_AUTO_BUF cf_buf pem;
    CF_AUTO(cf_secret) password = NULL;
    cf_buf_init(&pem, CF_BOX_PEM_MAX);
    CF_TRY(cf_file_read(AT_FDCWD, path, CF_BOX_PEM_MAX, &pem));
    cf_err *err = cf_box_read_private(cf_buf_span(&pem), path, NULL, key);
    if (err && strcmp(cf_err_reason(err), "encrypted") == 0) {
        cf_err_free(err);
        err = cf_secret_read(cli, NULL, "password of the recovery key", &password);
        if (!err) err = cf_box_read_private(cf_buf_span(&pem), path, password, key);
    }
    if (pem.size) cf_wipe(pem.data, pem.size);
    return err;
}

cf_err *cf_agent_access(const cf_agent *agent, const cf_cli *cli, const cf_server_options *options,
                        uint64_t retry_total_ms, cf_access **access) {
    CF_AUTO(cf_secret) passphrase = NULL;
    CF_AUTO(cf_secret) recovery_key = NULL;
    CF_AUTO(cf_kit) kit = NULL;
    CF_TRY(check_options(cli, options));
    bool other = (options->server && options->credentials) || options->kit;
    if (options->kit) CF_TRY(read_kit(options->kit, &kit));
    if (other && options->recovery_key_file) CF_TRY(read_recovery_key(cli, options->recovery_key_file, &recovery_key));
    if (other && !recovery_key) CF_TRY(cf_passphrase_get(cli, options->passphrase_file, &passphrase));
    cf_network network = cf_agent_network(agent, cli, NULL, retry_total_ms);
    cf_access_options access_options = {.server = options->server,
                                        .credentials_path = options->credentials,
                                        .kit = kit,
                                        .passphrase = passphrase,
                                        .recovery_key = recovery_key,
                                        .retry_total_ms = network.retry_total_ms,
                                        .cancel = network.cancel,
                                        .proxy = network.proxy,
                                        .proxy_user = network.proxy_user,
                                        .proxy_password = network.proxy_password};
    return cf_access_open(agent->state, &access_options, access);
}
