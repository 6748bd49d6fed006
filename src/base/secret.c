#include "base/secret.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Each secret has pages of its own, so that locking and MADV_DONTDUMP concern nothing else. */
struct cf_secret {
    size_t size;
    size_t mapped;
    uint8_t data[];
};

cf_err *cf_secret_new(size_t size, cf_secret **secret) {
    if (size < 1 || size > 65536) return cf_fail(CF_ERR_INTERNAL, "a secret of %zu bytes", size);
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t mapped = (sizeof(cf_secret) + size + page - 1) / page * page;
    void *memory = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a secret");
    /* Both may be refused (limits, old kernels); then the memory is only wiped. */
    (void)mlock(memory, mapped);
    (void)madvise(memory, mapped, MADV_DONTDUMP);
    cf_secret *made = memory;
    made->size = size;
    made->mapped = mapped;
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
    size_t mapped = secret->mapped;
    cf_wipe(secret, mapped);
    (void)munlock(secret, mapped);
    munmap(secret, mapped);
}

void cf_wipe(void *data, size_t size) {
    explicit_bzero(data, size);
}

bool cf_equal_secret(const void *a, const void *b, size_t size) {
    const uint8_t *x = a, *y = b;
    uint8_t difference = 0;
    for (size_t i = 0; i < size; i++) difference |= (uint8_t)(x[i] ^ y[i]);
    return difference == 0;
}
