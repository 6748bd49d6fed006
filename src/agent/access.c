#include "agent/access.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/log.h"
#include "base/text.h"
#include "os/file.h"

cf_err *cf_access_read_credentials(const char *path, cf_credentials **credentials) {
    CF_AUTO_BUF cf_buf text;
    cf_buf_init(&text, CF_CREDENTIALS_MAX);
    cf_err *err = cf_file_read(AT_FDCWD, path, CF_CREDENTIALS_MAX, &text);
    if (err) return cf_wrap(err, CF_ERR_CREDENTIALS_UNREADABLE, "the credentials file %s cannot be read", path);
    err = cf_credentials_parse(cf_buf_span(&text), path, credentials);
    if (text.size) cf_wipe(text.data, text.size);
    return err;
}

static cf_remote_options options_of(const cf_network *network, const char *url, const char *ca_pem, const char *proxy) {
    return (cf_remote_options){.url = url,
                               .ca_pem = ca_pem,
                               .proxy = network->proxy ? network->proxy : proxy,
                               .proxy_user = network->proxy_user,
                               .proxy_password = network->proxy_password,
                               .cancel = network->cancel,
                               .pace = network->pace,
                               .retry_total_ms = network->retry_total_ms};
}

cf_err *cf_access_use_credentials(const cf_credentials *credentials, const cf_network *network, cf_remote **remote) {
    cf_remote_options options = options_of(network, credentials->url, credentials->ca_pem, NULL);
    options.credentials = credentials->secret;
    return cf_remote_open(&options, remote);
}

static cf_err *connect_as(const cf_identity *identity, const cf_secret *token, const cf_network *network,
                          cf_remote **remote) {
    cf_remote_options options = options_of(network, identity->url, identity->ca_pem, identity->proxy);
    options.token = token;
    return cf_remote_open(&options, remote);
}

cf_err *cf_access_connect(cf_state *state, const cf_network *network, cf_remote **remote) {
    CF_AUTO(cf_identity) identity = NULL;
    CF_AUTO(cf_secret) token = NULL;
    CF_TRY(cf_registration_load_identity(cf_state_fd(state), &identity));
    CF_TRY(cf_registration_load_token(cf_state_fd(state), &token));
    cf_network paced = *network;
    if (!paced.pace) paced.pace = cf_state_pace(state);
    return connect_as(identity, token, &paced, remote);
}

static bool names_server(const char *text, const cf_id16 *id, const char *name) {
    char hex[CF_HEX_SIZE(16)];
    cf_hex_encode(id->bytes, 16, hex);
    return strcmp(text, name) == 0 || strcasecmp(text, hex) == 0;
}

static cf_err *fill_names(cf_access *access, const char *server_name, const char *vault_name) {
    access->server_name = strdup(server_name);
    access->vault_name = strdup(vault_name);
    return access->server_name && access->vault_name ? NULL : cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for names");
}

static cf_network network_of(const cf_state *state, const cf_access_options *options) {
    return (cf_network){.pace = state ? cf_state_pace(state) : NULL,
                        .proxy = options->proxy,
                        .proxy_user = options->proxy_user,
                        .proxy_password = options->proxy_password,
                        .retry_total_ms = options->retry_total_ms,
                        .cancel = options->cancel};
}

static cf_err *open_own(cf_state *state, const cf_identity *identity, const cf_access_options *options,
                        cf_access *access) {
    CF_AUTO(cf_secret) token = NULL;
    access->own = true;
    access->server_id = identity->server_id;
    access->vault_id = identity->vault_id;
    access->instance = identity->instance;
    CF_TRY(fill_names(access, identity->server_name, identity->vault_name));
    CF_TRY(cf_registration_load_token(cf_state_fd(state), &token));
    CF_TRY(cf_registration_load_keys(cf_state_fd(state), &access->keys));
    cf_network network = network_of(state, options);
    return connect_as(identity, token, &network, &access->remote);
}

/* "a (1f2e..., last point 2026-11-20T10:00:00Z), b (...)" of those that match, or of all. */
static char *list_of(const cf_remote_server *servers, size_t count, const char *wanted) {
    CF_AUTO_BUF cf_buf text;
    cf_buf_init(&text, 4096);
    for (size_t i = 0; i < count; i++) {
        char hex[CF_HEX_SIZE(16)], when[40] = "none";
        if (wanted && !names_server(wanted, &servers[i].id, servers[i].name)) continue;
        cf_hex_encode(servers[i].id.bytes, 16, hex);
        if (servers[i].has_last_point) cf_time_format(servers[i].last_point, when);
        CF_AUTO_FREE char *item =
            cf_text_format("%s%s (%s, last point: %s)", text.size ? ", " : "", servers[i].name, hex, when);
        if (!item || text.size + strlen(item) > 3000) break;
        cf_buf_put_span(&text, cf_span_text(item));
    }
    return cf_span_dup_text(cf_buf_span(&text));
}

static cf_err *choose(const cf_remote_server *servers, size_t count, const char *wanted, cf_remote_server *chosen) {
    size_t matches = 0;
    for (size_t i = 0; i < count; i++)
        if (names_server(wanted, &servers[i].id, servers[i].name)) {
            matches++;
            *chosen = servers[i];
        }
    if (matches == 1) return NULL;
    CF_AUTO_FREE char *list = list_of(servers, count, matches ? wanted : NULL);
    if (matches)
        return cf_fail_reason(CF_ERR_BAD_USAGE, "ambiguous", "several servers are named \"%s\", give the ID: %s",
                              wanted, list ? list : "");
    return cf_fail(CF_ERR_UNKNOWN_SERVER, "the vault has no server \"%s\"; it has: %s", wanted,
                   list && *list ? list : "none");
}

static cf_err *unlock_other(cf_access *access, const cf_id16 *server, const cf_access_options *options) {
    cf_unlock_request request = {.server = *server,
                                 .server_name = access->server_name,
                                 .passphrase = options->passphrase,
                                 .recovery_key = options->recovery_key};
    cf_unlocked unlocked = {0};
    CF_TRY(cf_access_unlock(access->remote, &request, &unlocked));
    access->keys = cf_take(unlocked.keys);
    access->server_id = *server;
    cf_unlocked_wipe(&unlocked);
    return NULL;
}

static cf_err *open_kit(cf_state *state, const cf_access_options *options, cf_access *access) {
    const cf_kit *kit = options->kit;
    cf_network network = network_of(state, options);
    CF_TRY(cf_access_use_credentials(kit->credentials, &network, &access->remote));
    access->vault_id = kit->credentials->vault_id;
    access->has_newest = kit->has_newest;
    access->newest = kit->newest;
    access->newest_counter = kit->newest_counter;
    CF_TRY(fill_names(access, kit->server_name, kit->credentials->vault_name));
    return unlock_other(access, &kit->server_id, options);
}

static cf_err *open_other(cf_state *state, const cf_access_options *options, cf_access *access) {
    if (!options->credentials_path && !options->kit)
        return cf_fail(CF_ERR_BAD_USAGE,
                       "to read the data of \"%s\", give --credentials FILE and --passphrase-file FILE",
                       options->server);
    if (!options->passphrase && !options->recovery_key)
        return cf_fail(CF_ERR_BAD_USAGE, "the passphrase of \"%s\" is needed: --passphrase-file FILE",
                       options->kit ? options->kit->server_name : options->server);
    if (options->kit) return open_kit(state, options, access);
    CF_AUTO(cf_credentials) credentials = NULL;
    CF_AUTO_FREE cf_remote_server *servers = NULL;
    cf_remote_server server;
    size_t count;
    CF_TRY(cf_access_read_credentials(options->credentials_path, &credentials));
    CF_TRY(cf_credentials_check(credentials, CF_PURPOSE_RESTORE, credentials->issued, options->credentials_path));
    cf_network network = network_of(state, options);
    CF_TRY(cf_access_use_credentials(credentials, &network, &access->remote));
    CF_TRY(cf_remote_list_servers(access->remote, &servers, &count));
    CF_TRY(choose(servers, count, options->server, &server));
    access->vault_id = credentials->vault_id;
    CF_TRY(fill_names(access, server.name, credentials->vault_name));
    return unlock_other(access, &server.id, options);
}

/* This server's identity, or NULL where there is none (which another server's data does not need). */
static cf_err *load_own(cf_state *state, const cf_access_options *options, cf_identity **identity) {
    cf_err *err = state ? cf_registration_load_identity(cf_state_fd(state), identity)
                        : cf_fail(CF_ERR_NOT_REGISTERED, "no state folder");
    bool needed = !options->kit && (!options->server || !options->credentials_path);
    if (!err || needed) return err;
    cf_err_free(err);
    return NULL;
}

cf_err *cf_access_open(cf_state *state, const cf_access_options *options, cf_access **out) {
    CF_AUTO(cf_identity) identity = NULL;
    CF_AUTO(cf_access) access = calloc(1, sizeof *access);
    if (!access) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a client");
    CF_TRY(load_own(state, options, &identity));
    bool own = identity && !options->credentials_path && !options->kit &&
               (!options->server || names_server(options->server, &identity->server_id, identity->server_name));
    CF_TRY(own ? open_own(state, identity, options, access) : open_other(state, options, access));
    *out = cf_take(access);
    return NULL;
}

void cf_access_free(cf_access *access) {
    if (!access) return;
    if (access->remote && access->keys && !access->own) {
        cf_err *err = cf_remote_revoke_token(access->remote);
        if (err) cf_log_error(CF_LOG_INFO, err); /* it ends by itself after a day */
        cf_err_free(err);
    }
    cf_remote_free(access->remote);
    cf_server_keys_free(access->keys);
    free(access->server_name);
    free(access->vault_name);
    free(access);
}
