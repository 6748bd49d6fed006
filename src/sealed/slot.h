/* Key slots and key records (format, section 2): how the server's keys are kept.
 * Threads: no state.                                                                                     */
#ifndef CF_SEALED_SLOT_H
#define CF_SEALED_SLOT_H

#include "base/err.h"
#include "base/ids.h"
#include "base/secret.h"

enum { CF_SLOT_SIZE = 276, CF_RECORD_SIZE = 132 };

/* A server's four keys. Ended with cf_server_keys_free.                                                    */
typedef struct cf_server_keys {
    cf_secret *master, *id, *gear, *directory; /* 32 bytes each */
} cf_server_keys;
cf_err *cf_server_keys_generate(cf_server_keys **keys);
void cf_server_keys_free(cf_server_keys *keys);
CF_DEFINE_AUTO(cf_server_keys, cf_server_keys_free)
/* The keys as 128 bytes (master, id, gear, directory) in a secret, and back: the state folder's key file.   */
cf_err *cf_server_keys_pack(const cf_server_keys *keys, cf_secret **bytes);
cf_err *cf_server_keys_unpack(const cf_secret *bytes, cf_server_keys **keys);

typedef struct cf_slot_params {
    cf_id16 server;
    uint32_t number;
    uint32_t memory_kib; /* Argon2id; default 262144 */
    uint32_t passes;     /* default 3                */
} cf_slot_params;

/* cf_slot_seal: draws salt and nonce. auth_public: what the vault keeps to check challenges.                */
cf_err *cf_slot_seal(const cf_server_keys *keys, const cf_slot_params *params, const cf_secret *passphrase,
                     uint8_t out[CF_SLOT_SIZE]);
/* cf_slot_peek: what can be read without the passphrase. public_key may be NULL. Fails also: FORMAT, reason "kind", for
 * a slot that no passphrase opens (sealed/recovery.h).                                                     */
cf_err *cf_slot_peek(cf_span slot, cf_slot_params *params, uint8_t public_key[32]);
/* cf_slot_open: keys and the Ed25519 seed (either may be NULL). Fails: WRONG_PASSPHRASE, SEAL_BROKEN, FORMAT. */
cf_err *cf_slot_open(cf_span slot, const cf_secret *passphrase, cf_server_keys **keys, cf_secret **auth_seed);
/* cf_slot_auth_seed: for a server of which only salt and costs are known (the challenge comes before the slot). */
cf_err *cf_slot_auth_seed(const uint8_t salt[16], uint32_t memory_kib, uint32_t passes, const cf_secret *passphrase,
                          cf_secret **auth_seed);

/* Key records: one session key each.                                                                        */
cf_err *cf_record_seal(const cf_secret *master, const cf_id16 *server, const cf_id16 *session,
                       const cf_secret *session_key, uint8_t out[CF_RECORD_SIZE]);
cf_err *cf_record_open(const cf_secret *master, const cf_id16 *server, cf_span record, cf_id16 *session,
                       cf_secret **session_key);

#endif
