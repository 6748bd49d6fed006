/* Checking signatures and sums with a key: Ed25519 (RFC 8032), HMAC-SHA-256 (RFC 2104).
 * Threads: no state.                                                                                  */
#ifndef CF_DIGEST_SIGNATURE_H
#define CF_DIGEST_SIGNATURE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

/* cf_ed25519_verify: *valid tells whether the signature is the key's over message. A key that is no point
 * of the curve verifies nothing. Fails: CRYPTO.                                                        */
cf_err *cf_ed25519_verify(const uint8_t public_key[32], cf_span message, const uint8_t signature[64], bool *valid)
    __attribute__((warn_unused_result));
/* cf_hmac_sha256. Fails: CRYPTO.                                                                       */
cf_err *cf_hmac_sha256(cf_span key, cf_span message, uint8_t out[32]) __attribute__((warn_unused_result));

#endif
