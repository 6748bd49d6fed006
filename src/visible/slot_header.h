/* The visible beginning of a key slot (format, section 2.1): whose it is, how dear a guess is, and the public
 * key that checks challenges. What is sealed in it is not looked at. Threads: no state.                    */
#ifndef CF_VISIBLE_SLOT_HEADER_H
#define CF_VISIBLE_SLOT_HEADER_H

#include "base/buf.h"
#include "base/err.h"
#include "base/ids.h"

enum {
    CF_SLOT_BYTES = 276,
    CF_KEY_RECORD_BYTES = 132,
    CF_SLOT_MEMORY_MIN_KIB = 19456,
    CF_SLOT_MEMORY_MAX_KIB = 1048576,
    CF_SLOT_PASSES_MIN = 2,
    CF_SLOT_PASSES_MAX = 16,
};

typedef enum cf_slot_kind {
    CF_SLOT_PASSPHRASE = 1,
    CF_SLOT_RECOVERY = 3, /* sealed to the public key of a recovery key */
} cf_slot_kind;

typedef struct cf_slot_header {
    cf_slot_kind kind;
    cf_id16 server;
    uint32_t number;
    uint32_t memory_kib, passes; /* PASSPHRASE: Argon2id, one lane */
    uint8_t salt[16];            /* PASSPHRASE */
    uint8_t recipient[32];       /* RECOVERY: X25519 */
    uint8_t public_key[32];      /* Ed25519 */
} cf_slot_header;

/* Fails: FORMAT (reasons "truncated", "trailing", "magic", "reserved", "number", "kdf_limits": costs outside the
 * format's bounds), FORMAT_VERSION ("version", "kind").                                                   */
cf_err *cf_slot_header_decode(cf_span slot, cf_slot_header *header) __attribute__((warn_unused_result));
/* The same for a key record (section 2.2): whose, and of which session.                                    */
cf_err *cf_key_record_header_decode(cf_span record, cf_id16 *server, cf_id16 *session)
    __attribute__((warn_unused_result));

#endif
