/* Who this server is: what registering left in `<state>/registration/`.
 *
 *   identity.json  names, IDs, address and CA of the vault
 *   token          the vault's token, hexadecimal, mode 0600
 *   keys           see agent/keyfile.h
 *   slot           the key slot as the vault keeps it
 *
 * The folder appears and disappears by one rename, so a server is registered or it is not.
 * Threads: no state.                                                                                     */
#ifndef CF_AGENT_IDENTITY_H
#define CF_AGENT_IDENTITY_H

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/ids.h"
#include "base/secret.h"
#include "sealed/slot.h"

typedef struct cf_identity {
    cf_id16 server_id, vault_id;
    cf_id16 instance; /* drawn by this registration: tells a clone of the machine from the machine         */
    char *server_name, *vault_name, *region;
    char *url;    /* of the vault                                                                          */
    char *ca_pem; /* what the agent trusts; NULL: the system's store                                       */
    char *proxy;  /* given to register, or NULL: the environment's                                         */
    cf_time registered;
} cf_identity;
void cf_identity_free(cf_identity *identity); /* NULL-safe */
CF_DEFINE_AUTO(cf_identity, cf_identity_free)

/* cf_identity_to_text: the file's content, fresh. cf_identity_from_text fails 34506 KEYS_NOT_CONFIGURED,
 * reason "identity".                                                                                     */
cf_err *cf_identity_to_text(const cf_identity *identity, char **text) __attribute__((warn_unused_result));
cf_err *cf_identity_from_text(cf_span text, const char *path, cf_identity **identity)
    __attribute__((warn_unused_result));

/* All that a registration leaves. */
typedef struct cf_registration {
    cf_identity *identity;
    cf_secret *token; /* 32 bytes */
    cf_server_keys *keys;
    uint8_t slot[CF_SLOT_SIZE];
} cf_registration;
void cf_registration_wipe(cf_registration *registration);
#define CF_AUTO_REGISTRATION __attribute__((cleanup(cf_registration_wipe)))

/* cf_registration_commit: durable and atomic. Fails: 900104 EXISTS when there is one already; IO, DISK_FULL.
 * Nothing is left behind then.                                                                           */
cf_err *cf_registration_commit(int state_fd, const cf_registration *registration) __attribute__((warn_unused_result));
/* cf_registration_remove: atomic; one that is not there is fine. Also clears away what crashes left.       */
cf_err *cf_registration_remove(int state_fd) __attribute__((warn_unused_result));
/* cf_registration_load_*: each part by itself. Fails: 100012 NOT_REGISTERED; 34506 KEYS_NOT_CONFIGURED
 * (reasons identity, token, keys: unreadable or damaged).                                                */
cf_err *cf_registration_load_identity(int state_fd, cf_identity **identity) __attribute__((warn_unused_result));
cf_err *cf_registration_load_token(int state_fd, cf_secret **token) __attribute__((warn_unused_result));
cf_err *cf_registration_load_keys(int state_fd, cf_server_keys **keys) __attribute__((warn_unused_result));

#endif
