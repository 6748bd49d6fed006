#include "base/secret.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

/* The bytes stand in libsodium's guarded memory: locked where the limits allow it, left out of core dumps,
 * between guard pages, wiped when freed. */
struct cf_secret {
    size_t size;
    uint8_t *data;
};

cf_err *cf_secret_new(size_t size, cf_secret **secret) {
    if (size < 1 || size > 65536) return cf_fail(CF_ERR_INTERNAL, "a secret of %zu bytes", size);
    if (sodium_init() < 0) return cf_fail(CF_ERR_CRYPTO, "libsodium could not be initialised");
    cf_secret *made = calloc(1, sizeof *made);
    if (made) made->data = sodium_malloc(size);
    if (!made || !made->data) {
        free(made);
        return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a secret");
    }
    memset(made->data, 0, size);
    made->size = size;
    *secret = made;
    return NULL;
}

cf_err *cf_secret_from(const void *data, size_t size, cf_secret **secret) {
    CF_TRY(cf_secret_new(size, secret));
    memcpy((*secret)->data, data, size);
    return NULL;
}

uint8_t *cf_secret_data(cf_secret *secret) {
    return secret->data;
}
const uint8_t *cf_secret_bytes(const cf_secret *secret) {
    return secret->data;
}
size_t cf_secret_size(const cf_secret *secret) {
    return secret->size;
}

void cf_secret_shrink(cf_secret *secret, size_t size) {
    if (size >= secret->size) return;
    cf_wipe(secret->data + size, secret->size - size);
    secret->size = size;
}

void cf_secret_free(cf_secret *secret) {
    if (!secret) return;
    sodium_free(secret->data);
    free(secret);
}

void cf_wipe(void *data, size_t size) {
    sodium_memzero(data, size);
}

bool cf_equal_secret(const void *a, const void *b, size_t size) {
    return sodium_memcmp(a, b, size) == 0;
}
