/* Registering this server with a vault, as one transaction: either the vault knows the server and the key
 * opens from the vault's copy and the state folder has all of it, or nothing is left here.               */
#ifndef CF_AGENT_REGISTER_H
#define CF_AGENT_REGISTER_H

#include "agent/access.h"
#include "agent/state.h"
#include "proto/credentials.h"

typedef struct cf_register_options {
    const char *credentials_path;
    const char *name;            /* NULL: the host name */
    cf_network network;          /* network.proxy, when given, is kept in the identity */
    const cf_secret *passphrase; /* of the server; NULL: make_passphrase */
    /* Makes a new passphrase once it is certain that a new server is registered (a name that is taken fails
     * 34511 before). */
    cf_err *(*make_passphrase)(void *context, cf_secret **passphrase);
    void (*note)(void *context, const char *text); /* what happens, for people; may be NULL */
    void *context;
    bool is_new;                         /* a server of its own although the vault knows the name */
    uint32_t kdf_memory_kib, kdf_passes; /* 0: 256 MiB, 3 */
} cf_register_options;

typedef struct cf_register_result {
    cf_id16 server_id, vault_id;
    char server_name[256], vault_name[256];
    bool taken_over; /* check: the vault knows the name already */
    cf_time expires; /* of the credentials */
    bool has_clock_offset;
    int64_t clock_offset; /* the vault's time less ours, seconds */
} cf_register_result;

/* cf_register_check: credentials, network, TLS, versions, clock: nothing is changed anywhere.
 * cf_register_server: check, then register.
 * Fails: 34513 (not_json, truncated, tampered, too_new, wrong_purpose, expired, superseded, unknown, foreign),
 * 34528, 100021, 100050, 900401, 900402, 130003, 130052, 100042 (passphrase rules), 34511 (the name is taken and
 * has nothing that the passphrase could open), 34505 (it is taken, and the passphrase does not open it),
 * 100110 (registered with another vault), 900924 ALREADY_REGISTERED, 130055 (keys or state could not be put in
 * place), 100090.                                                                                        */
cf_err *cf_register_check(cf_state *state, const cf_register_options *options, cf_register_result *result)
    __attribute__((warn_unused_result));
cf_err *cf_register_server(cf_state *state, const cf_register_options *options, cf_register_result *result)
    __attribute__((warn_unused_result));

/* cf_unregister_server: end the token at the vault, then forget identity, token and keys here. The job history
 * stays. *vault_told is false when the vault could not be reached: it still holds a token that nobody has.  */
cf_err *cf_unregister_server(cf_state *state, const cf_network *network, bool *vault_told)
    __attribute__((warn_unused_result));

#endif
