/* Internal to sealed: the two halves of a derived key.                                                    */
#ifndef CF_SEALED_PAIR_H
#define CF_SEALED_PAIR_H

#include "keys/keys.h"

/* cf_pair_derive: HKDF of 64 bytes split into key and commitment tag (format, section 2). The caller wipes pair. */
cf_err *cf_pair_derive(const cf_secret *key, cf_span salt, cf_span info, cf_key_pair_bytes *pair);

#endif
