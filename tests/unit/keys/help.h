/* Shared by the tests of keys, chunk, visible and sealed.                                                */
#ifndef CF_TESTS_CODEC_HELP_H
#define CF_TESTS_CODEC_HELP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/secret.h"
#include "base/text.h"

/* The call must succeed. */
#define assert_ok(call)                                                                                     \
    do {                                                                                                    \
        CF_AUTO(cf_err) help_err_ = (call);                                                                 \
        if (help_err_) fail_msg("%s: %s (%s)", #call, cf_err_message(help_err_), cf_err_reason(help_err_)); \
    } while (0)

/* The call must fail with this code and, unless reason is NULL, this reason. */
#define assert_fails(call, code, reason)                                               \
    do {                                                                               \
        CF_AUTO(cf_err) help_err_ = (call);                                            \
        const char *help_reason_ = (reason);                                           \
        assert_int_equal(cf_err_code(help_err_), (code));                              \
        if (help_reason_) assert_string_equal(cf_err_reason(help_err_), help_reason_); \
    } while (0)

static inline void assert_hex(const void *data, size_t size, const char *want) {
    char got[2 * 4096 + 1];
    assert_true(size <= 4096);
    cf_hex_encode(data, size, got);
    assert_string_equal(got, want);
}

/* Bytes from hexadecimal digits; the caller frees. */
static inline uint8_t *unhex(const char *text, size_t *size) {
    *size = strlen(text) / 2;
    uint8_t *data = malloc(*size + 1);
    assert_non_null(data);
    assert_true(cf_hex_decode(text, data, *size));
    return data;
}

static inline cf_secret *secret_hex(const char *text) {
    size_t size;
    uint8_t *data = unhex(text, &size);
    cf_secret *secret = NULL;
    assert_ok(cf_secret_from(data, size, &secret));
    free(data);
    return secret;
}

static inline cf_secret *secret_text(const char *text) {
    cf_secret *secret = NULL;
    assert_ok(cf_secret_from(text, strlen(text), &secret));
    return secret;
}

static inline cf_secret *secret_fill(uint8_t byte) {
    uint8_t bytes[32];
    memset(bytes, byte, sizeof bytes);
    cf_secret *secret = NULL;
    assert_ok(cf_secret_from(bytes, sizeof bytes, &secret));
    return secret;
}

/* A reproducible stream of bytes (xorshift64*). */
static inline uint64_t next_random(uint64_t *state) {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545F4914F6CDD1Dull;
}
static inline void fill_random(void *out, size_t size, uint64_t seed) {
    uint8_t *at = out;
    uint64_t state = seed * 2 + 1;
    for (size_t i = 0; i < size; i++) at[i] = (uint8_t)(next_random(&state) >> 56);
}
/* The same, compressible: words of a small set. */
static inline void fill_text(void *out, size_t size, uint64_t seed) {
    static const char *const words[] = {"alpha ", "backup ", "segment ", "point\n", "of ", "the ", "map=", "00000000"};
    uint8_t *at = out;
    uint64_t state = seed * 2 + 1;
    for (size_t i = 0; i < size;) {
        const char *word = words[next_random(&state) >> 61];
        for (; *word && i < size; word++) at[i++] = (uint8_t)*word;
    }
}

/* A copy of exactly size bytes on the heap, so that the sanitizer sees every read past it. */
static inline uint8_t *exact_copy(const void *data, size_t size) {
    uint8_t *copy = malloc(size ? size : 1);
    assert_non_null(copy);
    if (size) memcpy(copy, data, size);
    return copy;
}

#endif
