#include "cli/agent.h"

#include <fcntl.h>
#include <stdlib.h>

#include "cli/config_file.h"
#include "cli/passphrase.h"
#include "os/dir.h"

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

cf_err *cf_agent_access(const cf_agent *agent, const cf_cli *cli, const cf_server_options *options,
                        uint64_t retry_total_ms, cf_access **access) {
    CF_AUTO(cf_secret) passphrase = NULL;
    if (options->server && options->credentials) CF_TRY(cf_passphrase_get(cli, options->passphrase_file, &passphrase));
    if (!options->server && options->credentials)
        return cf_cli_usage(cli, "--credentials needs --server NAME: whose data is meant?");
    cf_network network = cf_agent_network(agent, cli, NULL, retry_total_ms);
    cf_access_options access_options = {.server = options->server,
                                        .credentials_path = options->credentials,
                                        .passphrase = passphrase,
                                        .retry_total_ms = network.retry_total_ms,
                                        .cancel = network.cancel,
                                        .proxy = network.proxy,
                                        .proxy_user = network.proxy_user,
                                        .proxy_password = network.proxy_password};
    return cf_access_open(agent->state, &access_options, access);
}
