/* Access to a server's data in the vault: this server's own, or another one's by credentials file and
 * passphrase.                                                                                            */
#ifndef CF_AGENT_ACCESS_H
#define CF_AGENT_ACCESS_H

#include "agent/state.h"
#include "base/cancel.h"
#include "proto/credentials.h"
#include "proto/kit.h"
#include "remote/identity.h"
#include "sealed/slot.h"

/* How the vault is reached. */
typedef struct cf_network {
    const char *proxy;      /* URL; "" for none; NULL: what register was given, else the environment's     */
    const char *proxy_user; /* may be NULL */
    const cf_secret *proxy_password;
    uint64_t retry_total_ms; /* CF_RETRY_JOB_MS, CF_RETRY_PERSON_MS; 0: no second try */
    cf_cancel *cancel;
    const struct cf_http_pace *pace; /* the throttle; NULL: the state's, where there is one */
} cf_network;

typedef struct cf_access_options {
    const char *server; /* name or ID; NULL: this server */
    const char
        *credentials_path;       /* another server: NULL uses this server's own registration when the name is its own */
    const cf_kit *kit;           /* instead of server and credentials; borrowed */
    const cf_secret *passphrase; /* another server; borrowed */
    const cf_secret *recovery_key; /* instead of the passphrase; borrowed */
    uint64_t retry_total_ms;       /* this and the rest as in cf_network */
    cf_cancel *cancel;
    const char *proxy, *proxy_user;
    const cf_secret *proxy_password;
} cf_access_options;

typedef struct cf_access {
    cf_remote *remote;
    cf_server_keys *keys;
    cf_id16 server_id, vault_id, instance;
    char *server_name, *vault_name;
    bool own;        /* this server's registration: may write too */
    bool has_newest; /* the newest point that a recovery kit knew of: */
    cf_id32 newest;
    uint64_t newest_counter;
} cf_access;

/* cf_access_open: state may be NULL when credentials are given. Fails: 100012 NOT_REGISTERED, 34506, 34513,
 * 34505 (wrong passphrase), 140014 UNKNOWN_SERVER, 900003 BAD_USAGE with the list when a name is ambiguous. */
cf_err *cf_access_open(cf_state *state, const cf_access_options *options, cf_access **access)
    __attribute__((warn_unused_result));
/* cf_access_free: ends a read token at the vault (as far as it can be reached). NULL-safe.                  */
void cf_access_free(cf_access *access);
CF_DEFINE_AUTO(cf_access, cf_access_free)

/* cf_access_read_credentials: the file, parsed. Fails: 34528 CREDENTIALS_UNREADABLE, 34513.                */
cf_err *cf_access_read_credentials(const char *path, cf_credentials **credentials) __attribute__((warn_unused_result));
/* cf_access_connect: a client of the vault that this server is registered with, by its token. Fails as
 * cf_registration_load_*.                                                                                */
cf_err *cf_access_connect(cf_state *state, const cf_network *network, cf_remote **remote)
    __attribute__((warn_unused_result));
/* cf_access_use_credentials: a client by a credentials file's secret.                                      */
cf_err *cf_access_use_credentials(const cf_credentials *credentials, const cf_network *network, cf_remote **remote)
    __attribute__((warn_unused_result));

/* What opening a server with its passphrase gives.                                                         */
typedef struct cf_unlock_request {
    cf_id16 server;
    const char *server_name; /* for messages */
    const cf_secret *passphrase;
    const cf_secret *recovery_key; /* instead of the passphrase: an X25519 private key */
    bool takeover;
    cf_id16 instance; /* takeover only */
} cf_unlock_request;
typedef struct cf_unlocked {
    cf_server_keys *keys;
    cf_secret *token;
    uint8_t slot[CF_SLOT_SIZE];
    char name[CF_REMOTE_NAME_MAX + 1];
} cf_unlocked;
void cf_unlocked_wipe(cf_unlocked *unlocked);
/* cf_access_unlock: challenge, signature, slot, keys; remote then uses the new token. A passphrase that was replaced
 * not long ago opens the server too. Fails: 34505 PASSPHRASE_WRONG, RECOVERY_KEY (reason "unknown": no slot is sealed
 * to it), RATE_LIMITED, FORMAT (reason kdf_limits).                                                         */
cf_err *cf_access_unlock(cf_remote *remote, const cf_unlock_request *request, cf_unlocked *unlocked)
    __attribute__((warn_unused_result));

#endif
