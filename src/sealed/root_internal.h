/* Internal to sealed (and to fuzz targets): the root's plaintext.                                         */
#ifndef CF_SEALED_ROOT_INTERNAL_H
#define CF_SEALED_ROOT_INTERNAL_H

#include "keys/keys.h"
#include "sealed/root.h"

/* cf_root_seal with a given nonce, for byte-exact tests.                                                   */
cf_err *cf_root_seal_with(const cf_root *root, const cf_secret *session_key, const uint8_t prefix[80],
                          const uint8_t nonce[CF_NONCE_SIZE], uint8_t commitment[32], cf_buf *out);
cf_err *cf_root_encode(const cf_root *root, cf_buf *out);
/* cf_root_decode: spans borrow from plain; the two arrays are fresh (cf_root_wipe). Fails: FORMAT, FORMAT_VERSION. */
cf_err *cf_root_decode(cf_span plain, cf_root *root);

#endif
