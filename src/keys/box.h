/* Sealing a few bytes to the owner of an X25519 key, who is not here: libsodium's sealed boxes (X25519,
 * XSalsa20-Poly1305), and the PEM files in which OpenSSL keeps such keys.
 * Threads: no state.                                                                                     */
#ifndef CF_KEYS_BOX_H
#define CF_KEYS_BOX_H

#include "base/buf.h"
#include "base/err.h"
#include "base/secret.h"

enum { CF_BOX_OVERHEAD = 48, CF_BOX_PEM_MAX = 16384 };

/* cf_box_seal: out receives plain's size + 48 bytes. */
cf_err *cf_box_seal(const uint8_t recipient[32], const cf_secret *plain, uint8_t *out)
    __attribute__((warn_unused_result));
/* cf_box_open: private_key is 32 bytes. Fails: SEAL_BROKEN (another key's, or damaged).                    */
cf_err *cf_box_open(const cf_secret *private_key, cf_span sealed, cf_secret **plain)
    __attribute__((warn_unused_result));
/* cf_box_public_key: of a private key. */
cf_err *cf_box_public_key(const cf_secret *private_key, uint8_t public_key[32]) __attribute__((warn_unused_result));

/* PEM, as "openssl genpkey -algorithm X25519" and "openssl pkey -pubout" write it; name is for messages.
 * password: of an encrypted file, or NULL. Fails: 900206 RECOVERY_KEY, reasons "pem" (no key in it, or a key of
 * another algorithm), "encrypted" (needs a password), "password" (a wrong one), "private" (a private key where
 * the public one belongs: it must not be on the server).                                                   */
cf_err *cf_box_read_public(cf_span pem, const char *name, uint8_t public_key[32]) __attribute__((warn_unused_result));
cf_err *cf_box_read_private(cf_span pem, const char *name, const cf_secret *password, cf_secret **private_key)
    __attribute__((warn_unused_result));

#endif
