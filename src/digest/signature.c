#include "digest/signature.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

cf_err *cf_ed25519_verify(const uint8_t public_key[32], cf_span message, const uint8_t signature[64], bool *valid) {
    EVP_PKEY *key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, public_key, 32);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    cf_err *err = NULL;
    if (!context) err = cf_fail(CF_ERR_CRYPTO, "no memory to check a signature");
    bool good = !err && key && EVP_DigestVerifyInit(context, NULL, NULL, NULL, key) == 1 &&
                EVP_DigestVerify(context, signature, 64, message.data, message.size) == 1;
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(key);
    ERR_clear_error();
    if (!err) *valid = good;
    return err;
}

cf_err *cf_hmac_sha256(cf_span key, cf_span message, uint8_t out[32]) {
    unsigned size = 0;
    if (key.size > INT32_MAX || !HMAC(EVP_sha256(), key.data, (int)key.size, message.data, message.size, out, &size) ||
        size != 32)
        return cf_fail(CF_ERR_CRYPTO, "HMAC-SHA-256 is not available");
    return NULL;
}
