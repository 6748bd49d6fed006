/* Recovery slots (format, section 2.1): a server's keys, sealed to an organisation's recovery key, whose private half
 * is kept where no server can reach it.
 * Threads: no state.                                                                                     */
#ifndef CF_SEALED_RECOVERY_H
#define CF_SEALED_RECOVERY_H

#include "sealed/slot.h"

/* cf_recovery_slot_seal: recipient is an X25519 public key. */
cf_err *cf_recovery_slot_seal(const cf_server_keys *keys, const cf_id16 *server, uint32_t number,
                              const uint8_t recipient[32], uint8_t out[CF_SLOT_SIZE])
    __attribute__((warn_unused_result));
/* cf_recovery_slot_open: keys and Ed25519 seed (either may be NULL). Fails: SEAL_BROKEN (reason "box": sealed to another
 * key; "relabelled": the header is not the one that belongs to what is sealed), FORMAT, FORMAT_VERSION.     */
cf_err *cf_recovery_slot_open(cf_span slot, const cf_secret *private_key, cf_server_keys **keys, cf_secret **auth_seed)
    __attribute__((warn_unused_result));

#endif
