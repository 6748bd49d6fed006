/* Internal to keys: libsodium must be started before its first use.                                     */
#ifndef CF_KEYS_READY_H
#define CF_KEYS_READY_H

#include "base/err.h"

/* cf_sodium_ready: starts libsodium once; cheap and safe from any thread afterwards. Fails: CRYPTO.      */
cf_err *cf_sodium_ready(void);

#endif
