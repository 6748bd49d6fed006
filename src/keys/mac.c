#include <openssl/evp.h>

#include "keys/keys.h"

enum { BLOCK = 64, DIGEST = 32 };

/* HMAC (RFC 2104) with the two padded keys hashed once: for each message the prepared states are copied,
 * which costs much less than setting HMAC up again and matters for small chunks. */
struct cf_mac {
    EVP_MD *md;
    EVP_MD_CTX *inner, *outer; /* after the padded key */
    EVP_MD_CTX *work;
};

static bool prepare(EVP_MD_CTX *context, const EVP_MD *md, const uint8_t *key, uint8_t pad) {
    uint8_t block[BLOCK];
    for (size_t i = 0; i < BLOCK; i++) block[i] = (uint8_t)(key[i] ^ pad);
    bool done = EVP_DigestInit_ex2(context, md, NULL) && EVP_DigestUpdate(context, block, BLOCK);
    cf_wipe(block, sizeof block);
    return done;
}

cf_err *cf_mac_new(const cf_secret *key, cf_mac **mac) {
    if (cf_secret_size(key) > BLOCK) return cf_fail(CF_ERR_INTERNAL, "an HMAC key of %zu bytes", cf_secret_size(key));
    CF_AUTO(cf_mac) made = calloc(1, sizeof *made);
    if (!made) return cf_fail(CF_ERR_OUT_OF_MEMORY, "an HMAC context");
    made->md = EVP_MD_fetch(NULL, "SHA256", NULL);
    made->inner = EVP_MD_CTX_new();
    made->outer = EVP_MD_CTX_new();
    made->work = EVP_MD_CTX_new();
    uint8_t padded[BLOCK] = {0};
    memcpy(padded, cf_secret_bytes(key), cf_secret_size(key));
    bool done = made->md && made->inner && made->outer && made->work && prepare(made->inner, made->md, padded, 0x36) &&
                prepare(made->outer, made->md, padded, 0x5c);
    cf_wipe(padded, sizeof padded);
    if (!done) return cf_fail(CF_ERR_CRYPTO, "HMAC-SHA-256 did not take a key");
    *mac = cf_take(made);
    return NULL;
}

void cf_mac_free(cf_mac *mac) {
    if (!mac) return;
    EVP_MD_CTX_free(mac->inner); /* each wipes its state */
    EVP_MD_CTX_free(mac->outer);
    EVP_MD_CTX_free(mac->work);
    EVP_MD_free(mac->md);
    free(mac);
}

cf_err *cf_mac_tag(cf_mac *mac, uint8_t prefix, cf_span content, uint8_t tag[32]) {
    uint8_t inner[DIGEST];
    if (!EVP_MD_CTX_copy_ex(mac->work, mac->inner) || !EVP_DigestUpdate(mac->work, &prefix, 1) ||
        !EVP_DigestUpdate(mac->work, content.data, content.size) || !EVP_DigestFinal_ex(mac->work, inner, NULL) ||
        !EVP_MD_CTX_copy_ex(mac->work, mac->outer) || !EVP_DigestUpdate(mac->work, inner, DIGEST) ||
        !EVP_DigestFinal_ex(mac->work, tag, NULL))
        return cf_fail(CF_ERR_CRYPTO, "HMAC-SHA-256 of %zu bytes", content.size);
    return NULL;
}

cf_err *cf_mac_chunk_id(cf_mac *mac, cf_kind kind, cf_span content, cf_id32 *id) {
    return cf_mac_tag(mac, (uint8_t)kind, content, id->bytes);
}
