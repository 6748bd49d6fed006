#include "keys/box.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <sodium.h>
#include <string.h>

#include "keys/ready.h"

_Static_assert(crypto_box_SEALBYTES == CF_BOX_OVERHEAD && crypto_box_PUBLICKEYBYTES == 32 &&
                   crypto_box_SECRETKEYBYTES == 32,
               "sealed boxes of libsodium");

cf_err *cf_box_seal(const uint8_t recipient[32], const cf_secret *plain, uint8_t *out) {
    CF_TRY(cf_sodium_ready());
    if (crypto_box_seal(out, cf_secret_bytes(plain), cf_secret_size(plain), recipient) != 0)
        return cf_fail(CF_ERR_CRYPTO, "sealing to a recovery key");
    return NULL;
}

cf_err *cf_box_public_key(const cf_secret *private_key, uint8_t public_key[32]) {
    if (cf_secret_size(private_key) != crypto_box_SECRETKEYBYTES)
        return cf_fail(CF_ERR_INTERNAL, "an X25519 key of %zu bytes", cf_secret_size(private_key));
    CF_TRY(cf_sodium_ready());
    if (crypto_scalarmult_base(public_key, cf_secret_bytes(private_key)) != 0)
        return cf_fail(CF_ERR_CRYPTO, "the public key of a recovery key");
    return NULL;
}

cf_err *cf_box_open(const cf_secret *private_key, cf_span sealed, cf_secret **plain) {
    uint8_t public_key[32];
    if (sealed.size <= CF_BOX_OVERHEAD) return cf_fail_reason(CF_ERR_FORMAT, "truncated", "a sealed box is too short");
    CF_TRY(cf_box_public_key(private_key, public_key));
    CF_AUTO(cf_secret) made = NULL;
    CF_TRY(cf_secret_new(sealed.size - CF_BOX_OVERHEAD, &made));
    if (crypto_box_seal_open(cf_secret_data(made), sealed.data, sealed.size, public_key,
                             cf_secret_bytes(private_key)) != 0)
        return cf_fail_reason(CF_ERR_SEAL_BROKEN, "box", "the recovery key does not open the box");
    *plain = cf_take(made);
    return NULL;
}

/* What the reader of an encrypted PEM asks for. */
typedef struct cf_pem_password {
    const cf_secret *password;
    bool asked;
} cf_pem_password;

static int give_password(char *buffer, int size, int writing, void *context) {
    (void)writing;
    cf_pem_password *ask = context;
    ask->asked = true;
    if (!ask->password || cf_secret_size(ask->password) > (size_t)size) return -1;
    memcpy(buffer, cf_secret_bytes(ask->password), cf_secret_size(ask->password));
    return (int)cf_secret_size(ask->password);
}

static bool is_x25519(EVP_PKEY *key) {
    return key && EVP_PKEY_is_a(key, "X25519");
}

cf_err *cf_box_read_public(cf_span pem, const char *name, uint8_t public_key[32]) {
    if (pem.size && memmem(pem.data, pem.size, "PRIVATE KEY", 11))
        return cf_fail_reason(CF_ERR_RECOVERY_KEY, "private",
                              "%s is a private key: give its public half (openssl pkey -pubout), and keep it elsewhere",
                              name);
    BIO *bio = BIO_new_mem_buf(pem.size ? pem.data : (const uint8_t *)"", (int)pem.size);
    if (!bio) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a recovery key");
    EVP_PKEY *key = PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL);
    size_t size = 32;
    bool good = is_x25519(key) && EVP_PKEY_get_raw_public_key(key, public_key, &size) == 1 && size == 32;
    EVP_PKEY_free(key);
    BIO_free(bio);
    ERR_clear_error();
    if (good) return NULL;
    return cf_fail_reason(CF_ERR_RECOVERY_KEY, "pem", "%s holds no X25519 public key in PEM form", name);
}

cf_err *cf_box_read_private(cf_span pem, const char *name, const cf_secret *password, cf_secret **private_key) {
    cf_pem_password ask = {password, false};
    BIO *bio = BIO_new_mem_buf(pem.size ? pem.data : (const uint8_t *)"", (int)pem.size);
    if (!bio) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a recovery key");
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, give_password, &ask);
    uint8_t raw[32];
    size_t size = sizeof raw;
    bool good = is_x25519(key) && EVP_PKEY_get_raw_private_key(key, raw, &size) == 1 && size == sizeof raw;
    EVP_PKEY_free(key);
    BIO_free(bio);
    ERR_clear_error();
    cf_err *err = NULL;
    if (good)
        err = cf_secret_from(raw, sizeof raw, private_key);
    else if (ask.asked && !password)
        err = cf_fail_reason(CF_ERR_RECOVERY_KEY, "encrypted", "%s is encrypted: its password is needed", name);
    else if (ask.asked)
        err = cf_fail_reason(CF_ERR_RECOVERY_KEY, "password", "the password does not open %s", name);
    else
        err = cf_fail_reason(CF_ERR_RECOVERY_KEY, "pem", "%s holds no X25519 private key in PEM form", name);
    cf_wipe(raw, sizeof raw);
    return err;
}
