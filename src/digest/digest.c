#include "digest/digest.h"

#include <errno.h>
#include <openssl/evp.h>
#include <sys/random.h>
#include <xxhash.h>

cf_err *cf_sha256(cf_span data, uint8_t out[32]) {
    unsigned size = 0;
    if (!EVP_Digest(data.data, data.size, out, &size, EVP_sha256(), NULL) || size != 32)
        return cf_fail(CF_ERR_CRYPTO, "SHA-256 of %zu bytes", data.size);
    return NULL;
}

void cf_xxh3_128(cf_span data, uint8_t out[16]) {
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits(data.data, data.size));
    memcpy(out, canonical.digest, 16);
}

uint64_t cf_xxh3_64(cf_span data, uint64_t seed) {
    return XXH3_64bits_withSeed(data.data, data.size, seed);
}

cf_err *cf_random(void *out, size_t size) {
    uint8_t *at = out;
    while (size) {
        ssize_t got = getrandom(at, size, 0);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return cf_fail_errno(CF_ERR_CRYPTO, errno, "the system's random generator");
        at += got;
        size -= (size_t)got;
    }
    return NULL;
}

struct cf_xxh3_stream {
    XXH3_state_t *state;
};

cf_err *cf_xxh3_stream_new(cf_xxh3_stream **stream) {
    CF_AUTO(cf_xxh3_stream) made = calloc(1, sizeof *made);
    if (made) made->state = XXH3_createState();
    if (!made || !made->state) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a hash stream");
    cf_xxh3_stream_reset(made);
    *stream = cf_take(made);
    return NULL;
}

void cf_xxh3_stream_free(cf_xxh3_stream *stream) {
    if (!stream) return;
    XXH3_freeState(stream->state);
    free(stream);
}

/* The XXH3 calls below fail only on a NULL state, which _new excludes. */
void cf_xxh3_stream_reset(cf_xxh3_stream *stream) {
    (void)XXH3_128bits_reset(stream->state);
}

void cf_xxh3_stream_add(cf_xxh3_stream *stream, cf_span data) {
    (void)XXH3_128bits_update(stream->state, data.data, data.size);
}

void cf_xxh3_stream_end(cf_xxh3_stream *stream, uint8_t out[16]) {
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(stream->state));
    memcpy(out, canonical.digest, 16);
}
