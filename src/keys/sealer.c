#include <limits.h>
#include <openssl/evp.h>

#include "keys/keys.h"

/* One cipher context for both directions: GCM uses the encrypting key schedule for both, so that a new
 * nonce, or a turn from sealing to opening, does not set the key up again. */
struct cf_sealer {
    EVP_CIPHER_CTX *context;
    EVP_CIPHER *cipher;
    bool keyed;
    uint8_t key[CF_KEY_SIZE]; /* to recognise the same key */
};

cf_err *cf_sealer_new(cf_sealer **sealer) {
    CF_AUTO(cf_sealer) made = calloc(1, sizeof *made);
    if (!made) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a cipher context");
    made->cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    made->context = EVP_CIPHER_CTX_new();
    if (!made->cipher || !made->context) return cf_fail(CF_ERR_CRYPTO, "AES-256-GCM is not there");
    *sealer = cf_take(made);
    return NULL;
}

void cf_sealer_free(cf_sealer *sealer) {
    if (!sealer) return;
    EVP_CIPHER_CTX_free(sealer->context); /* wipes the key schedule */
    EVP_CIPHER_free(sealer->cipher);
    cf_wipe(sealer, sizeof *sealer);
    free(sealer);
}

cf_err *cf_sealer_set_key(cf_sealer *sealer, const uint8_t key[32]) {
    if (sealer->keyed && cf_equal_secret(sealer->key, key, CF_KEY_SIZE)) return NULL;
    sealer->keyed = false;
    if (!EVP_CipherInit_ex2(sealer->context, sealer->cipher, key, NULL, 1, NULL))
        return cf_fail(CF_ERR_CRYPTO, "AES-256-GCM did not take a key");
    memcpy(sealer->key, key, CF_KEY_SIZE);
    sealer->keyed = true;
    return NULL;
}

/* Nonce, additional data and text of one message; false when the library fails. out may be in. */
static bool run(cf_sealer *sealer, int seal, const uint8_t nonce[12], cf_span additional, cf_span in, uint8_t *out) {
    EVP_CIPHER_CTX *context = sealer->context;
    int size = 0;
    return EVP_CipherInit_ex2(context, NULL, NULL, nonce, seal, NULL) &&
           (additional.size == 0 || EVP_CipherUpdate(context, NULL, &size, additional.data, (int)additional.size)) &&
           (in.size == 0 || EVP_CipherUpdate(context, out, &size, in.data, (int)in.size));
}

static cf_err *check_use(const cf_sealer *sealer, cf_span additional, cf_span text) {
    if (!sealer->keyed) return cf_fail(CF_ERR_INTERNAL, "a sealer without a key");
    if (additional.size > INT_MAX || text.size > INT_MAX - CF_TAG_SIZE)
        return cf_fail(CF_ERR_TOO_LARGE, "%zu bytes are too many for one seal", text.size);
    return NULL;
}

cf_err *cf_sealer_seal(cf_sealer *sealer, const uint8_t nonce[12], cf_span additional, cf_span plain, uint8_t *out) {
    CF_TRY(check_use(sealer, additional, plain));
    int size = 0;
    if (!run(sealer, 1, nonce, additional, plain, out) ||
        !EVP_CipherFinal_ex(sealer->context, out + plain.size, &size) ||
        !EVP_CIPHER_CTX_ctrl(sealer->context, EVP_CTRL_AEAD_GET_TAG, CF_TAG_SIZE, out + plain.size))
        return cf_fail(CF_ERR_CRYPTO, "sealing %zu bytes", plain.size);
    return NULL;
}

cf_err *cf_sealer_open(cf_sealer *sealer, const uint8_t nonce[12], cf_span additional, cf_span sealed, uint8_t *out) {
    CF_TRY(check_use(sealer, additional, sealed));
    if (sealed.size < CF_TAG_SIZE)
        return cf_fail_reason(CF_ERR_SEAL_BROKEN, "truncated", "%zu sealed bytes are shorter than their tag",
                              sealed.size);
    cf_span text = cf_span_of(sealed.data, sealed.size - CF_TAG_SIZE);
    uint8_t tag[CF_TAG_SIZE]; /* copied: out may overlap */
    memcpy(tag, sealed.data + text.size, CF_TAG_SIZE);
    int size = 0;
    if (!run(sealer, 0, nonce, additional, text, out) ||
        !EVP_CIPHER_CTX_ctrl(sealer->context, EVP_CTRL_AEAD_SET_TAG, CF_TAG_SIZE, tag)) {
        cf_wipe(out, text.size);
        return cf_fail(CF_ERR_CRYPTO, "opening %zu bytes", sealed.size);
    }
    uint8_t none[CF_TAG_SIZE];
    if (EVP_CipherFinal_ex(sealer->context, none, &size) > 0) return NULL;
    cf_wipe(out, text.size);
    return cf_fail_reason(CF_ERR_SEAL_BROKEN, "tag", "the seal of %zu bytes is broken", sealed.size);
}
