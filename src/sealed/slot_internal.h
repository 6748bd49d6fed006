/* Internal to sealed: sealing with given salt and nonces, for byte-exact tests. Anything else draws them. */
#ifndef CF_SEALED_SLOT_INTERNAL_H
#define CF_SEALED_SLOT_INTERNAL_H

#include "keys/keys.h"
#include "sealed/slot.h"

cf_err *cf_slot_seal_with(const cf_server_keys *keys, const cf_slot_params *params, const cf_secret *passphrase,
                          const uint8_t salt[16], const uint8_t nonce[CF_NONCE_SIZE], uint8_t out[CF_SLOT_SIZE]);
cf_err *cf_record_seal_with(const cf_secret *master, const cf_id16 *server, const cf_id16 *session,
                            const cf_secret *session_key, const uint8_t nonce[CF_NONCE_SIZE],
                            uint8_t out[CF_RECORD_SIZE]);

#endif
