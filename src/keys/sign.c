#include <sodium.h>

#include "keys/keys.h"
#include "keys/ready.h"

_Static_assert(crypto_sign_SEEDBYTES == 32 && crypto_sign_PUBLICKEYBYTES == 32 && crypto_sign_BYTES == 64,
               "Ed25519 of RFC 8032");

static cf_err *key_pair(const cf_secret *seed, uint8_t public_key[32], cf_secret **secret_key) {
    if (cf_secret_size(seed) != crypto_sign_SEEDBYTES)
        return cf_fail(CF_ERR_INTERNAL, "an Ed25519 seed of %zu bytes", cf_secret_size(seed));
    CF_TRY(cf_sodium_ready());
    CF_AUTO(cf_secret) made = NULL;
    CF_TRY(cf_secret_new(crypto_sign_SECRETKEYBYTES, &made));
    if (crypto_sign_seed_keypair(public_key, cf_secret_data(made), cf_secret_bytes(seed)) != 0)
        return cf_fail(CF_ERR_CRYPTO, "Ed25519 key pair");
    *secret_key = cf_take(made);
    return NULL;
}

cf_err *cf_sign_public_key(const cf_secret *seed, uint8_t public_key[32]) {
    CF_AUTO(cf_secret) secret_key = NULL;
    return key_pair(seed, public_key, &secret_key);
}

cf_err *cf_sign_message(const cf_secret *seed, cf_span message, uint8_t signature[64]) {
    CF_AUTO(cf_secret) secret_key = NULL;
    uint8_t public_key[32];
    CF_TRY(key_pair(seed, public_key, &secret_key));
    if (crypto_sign_detached(signature, NULL, message.data, message.size, cf_secret_bytes(secret_key)) != 0)
        return cf_fail(CF_ERR_CRYPTO, "Ed25519 signature");
    return NULL;
}
