#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <sodium.h>

#include "keys/keys.h"
#include "keys/ready.h"

_Static_assert(crypto_pwhash_argon2id_SALTBYTES == 16, "the salt of a key slot");

cf_err *cf_sodium_ready(void) {
    /* sodium_init takes its own lock and returns 1 when it was called before. */
    if (sodium_init() < 0) return cf_fail(CF_ERR_CRYPTO, "libsodium did not start");
    return NULL;
}

cf_err *cf_kdf_passphrase(const cf_secret *passphrase, const uint8_t salt[16], uint32_t memory_kib, uint32_t passes,
                          cf_secret **key) {
    if (memory_kib < CF_KDF_MEMORY_MIN_KIB || memory_kib > CF_KDF_MEMORY_MAX_KIB || passes < CF_KDF_PASSES_MIN ||
        passes > CF_KDF_PASSES_MAX)
        return cf_fail_reason(CF_ERR_FORMAT, "kdf_limits", "Argon2id costs of %u KiB and %u passes are not allowed",
                              memory_kib, passes);
    CF_TRY(cf_sodium_ready());
    CF_AUTO(cf_secret) made = NULL;
    CF_TRY(cf_secret_new(CF_KEY_SIZE, &made));
    /* crypto_pwhash_argon2id fails only for lack of memory once its arguments are in range. */
    if (crypto_pwhash_argon2id(cf_secret_data(made), CF_KEY_SIZE, (const char *)cf_secret_bytes(passphrase),
                               cf_secret_size(passphrase), salt, passes, (size_t)memory_kib * 1024,
                               crypto_pwhash_argon2id_ALG_ARGON2ID13) != 0)
        return cf_fail(CF_ERR_OUT_OF_MEMORY, "Argon2id needs %u KiB of memory", memory_kib);
    *key = cf_take(made);
    return NULL;
}

cf_err *cf_hkdf(const cf_secret *key, cf_span salt, cf_span info, size_t size, cf_secret **out) {
    if (size < 1 || size > 255 * 32) return cf_fail(CF_ERR_INTERNAL, "HKDF of %zu bytes", size);
    CF_AUTO(cf_secret) made = NULL;
    CF_TRY(cf_secret_new(size, &made));
    /* The library's parameters are not const, but only read. */
    OSSL_PARAM params[5], *next = params;
    *next++ = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)"SHA256", 0);
    *next++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)cf_secret_bytes(key), cf_secret_size(key));
    if (salt.size) *next++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, (void *)salt.data, salt.size);
    if (info.size) *next++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, (void *)info.data, info.size);
    *next = OSSL_PARAM_construct_end();
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    EVP_KDF_CTX *context = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
    int done = context ? EVP_KDF_derive(context, cf_secret_data(made), size, params) : 0;
    EVP_KDF_CTX_free(context); /* wipes its copy of the key */
    EVP_KDF_free(kdf);
    if (done <= 0) return cf_fail(CF_ERR_CRYPTO, "HKDF of %zu bytes", size);
    *out = cf_take(made);
    return NULL;
}
