/* Keys: deriving them, and sealing with them. Everything cryptographic that needs a secret happens here,
 * through OpenSSL (AES-256-GCM, HMAC, HKDF) and libsodium (Argon2id, Ed25519).
 * Threads: a cf_sealer, and a cf_mac, belong to one thread at a time; the rest has no state.
 * Source: docs/format.md, section 2.                                                                    */
#ifndef CF_KEYS_KEYS_H
#define CF_KEYS_KEYS_H

#include "base/buf.h"
#include "base/err.h"
#include "base/ids.h"
#include "base/secret.h"

enum {
    CF_KEY_SIZE = 32,
    CF_TAG_SIZE = 16,
    CF_NONCE_SIZE = 12,
    CF_KDF_MEMORY_MIN_KIB = 19456,
    CF_KDF_MEMORY_MAX_KIB = 1048576,
    CF_KDF_PASSES_MIN = 2,
    CF_KDF_PASSES_MAX = 16,
};

/* cf_kdf_passphrase: Argon2id 1.3, one lane, 32 bytes. Cost: memory_kib of memory for about a second.
 * Fails: OUT_OF_MEMORY, CRYPTO; FORMAT (reason "kdf_limits") outside the limits above.                  */
cf_err *cf_kdf_passphrase(const cf_secret *passphrase, const uint8_t salt[16], uint32_t memory_kib, uint32_t passes,
                          cf_secret **key);
/* cf_hkdf: HKDF-SHA-256 of size bytes (at most 255 * 32) into a new secret. salt may be empty.          */
cf_err *cf_hkdf(const cf_secret *key, cf_span salt, cf_span info, size_t size, cf_secret **out);

/* A key and the commitment tag that goes with it (format, 2.3): both halves of one HKDF output.         */
typedef struct cf_key_pair_bytes {
    uint8_t key[32];
    uint8_t commitment[32];
} cf_key_pair_bytes;

/* A reusable AES-256-GCM context with one key at a time.                                                */
typedef struct cf_sealer cf_sealer;
cf_err *cf_sealer_new(cf_sealer **sealer);
void cf_sealer_free(cf_sealer *sealer); /* wipes the key; NULL-safe */
CF_DEFINE_AUTO(cf_sealer, cf_sealer_free)
/* cf_sealer_set_key: 32 bytes, copied into the cipher context. Setting the same key again costs nothing. */
cf_err *cf_sealer_set_key(cf_sealer *sealer, const uint8_t key[32]);
/* cf_sealer_seal: out receives plain.size + 16 bytes (ciphertext, tag); out may be plain.data (in place). */
cf_err *cf_sealer_seal(cf_sealer *sealer, const uint8_t nonce[12], cf_span additional, cf_span plain, uint8_t *out);
/* cf_sealer_open: sealed is ciphertext and tag; out receives sealed.size - 16 bytes, wiped on failure.
 * Fails: SEAL_BROKEN.                                                                                   */
cf_err *cf_sealer_open(cf_sealer *sealer, const uint8_t nonce[12], cf_span additional, cf_span sealed, uint8_t *out);

/* HMAC-SHA-256 under one key with precomputed pad states: chunk IDs.                                     */
typedef struct cf_mac cf_mac;
cf_err *cf_mac_new(const cf_secret *key, cf_mac **mac);
void cf_mac_free(cf_mac *mac);
CF_DEFINE_AUTO(cf_mac, cf_mac_free)
/* cf_mac_chunk_id: HMAC(key, kind byte || content).                                                      */
cf_err *cf_mac_chunk_id(cf_mac *mac, cf_kind kind, cf_span content, cf_id32 *id);
/* cf_mac_tag: HMAC(key, prefix byte || content) for other purposes (prefix >= 2).                        */
cf_err *cf_mac_tag(cf_mac *mac, uint8_t prefix, cf_span content, uint8_t tag[32]);

/* Ed25519 from a 32-byte seed: the challenge that guards another server's data.                          */
cf_err *cf_sign_public_key(const cf_secret *seed, uint8_t public_key[32]);
cf_err *cf_sign_message(const cf_secret *seed, cf_span message, uint8_t signature[64]);

#endif
