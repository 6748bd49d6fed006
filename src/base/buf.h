/* Bytes: cf_span (borrowed), cf_buf (owned, grows up to a stated maximum), cf_cursor (bounded decoding
 * with a sticky error) and little-endian / varint encoding into a cf_buf.
 * Threads: none of these is shared without the caller's lock.                                         */
#ifndef CF_BASE_BUF_H
#define CF_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/err.h"

typedef struct cf_span {
    const uint8_t *data; /* may be NULL when size is 0 */
    size_t size;
} cf_span;

static inline cf_span cf_span_of(const void *data, size_t size) {
    return (cf_span){(const uint8_t *)data, size};
}
static inline cf_span cf_span_text(const char *text) {
    return (cf_span){(const uint8_t *)text, strlen(text)};
}
static inline bool cf_span_equal(cf_span a, cf_span b) {
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}
/* cf_span_compare: like memcmp, the shorter first when one is the other's beginning.                  */
int cf_span_compare(cf_span a, cf_span b);
/* cf_span_dup_text: a fresh NUL-terminated copy; NULL only without memory.                            */
char *cf_span_dup_text(cf_span span);

/* An owned, growing array of bytes. max bounds size: writing past it makes the buffer "failed" (sticky),
 * which cf_buf_check reports; so encoders write without looking and check once at the end.            */
typedef struct cf_buf {
    uint8_t *data;
    size_t size;
    size_t capacity;
    size_t max;
    bool failed;
    bool too_large; /* failed because of max, not for lack of memory */
} cf_buf;

void cf_buf_init(cf_buf *buf, size_t max);
void cf_buf_wipe(cf_buf *buf);  /* frees; buf is empty and usable again with the same max              */
void cf_buf_reset(cf_buf *buf); /* size 0, memory kept for reuse, failure forgotten                    */
/* cf_buf_reserve: room for at least extra more bytes; returns where they go, NULL when failed.        */
uint8_t *cf_buf_reserve(cf_buf *buf, size_t extra);
void cf_buf_put(cf_buf *buf, const void *data, size_t size);
void cf_buf_put_span(cf_buf *buf, cf_span span);
void cf_buf_put_zero(cf_buf *buf, size_t size);
void cf_buf_put_u8(cf_buf *buf, uint8_t value);
void cf_buf_put_u16(cf_buf *buf, uint16_t value); /* little-endian */
void cf_buf_put_u32(cf_buf *buf, uint32_t value);
void cf_buf_put_u64(cf_buf *buf, uint64_t value);
void cf_buf_put_varint(cf_buf *buf, uint64_t value); /* LEB128, shortest form                         */
void cf_buf_put_zigzag(cf_buf *buf, int64_t value);  /* zigzag, then varint                           */
void cf_buf_put_bytes(cf_buf *buf, cf_span span);    /* varint length, then the bytes                 */
/* cf_buf_check: CF_ERR_OUT_OF_MEMORY or CF_ERR_TOO_LARGE when a write failed; NULL when all is there. */
cf_err *cf_buf_check(const cf_buf *buf, const char *what) __attribute__((warn_unused_result));
static inline cf_span cf_buf_span(const cf_buf *buf) {
    return cf_span_of(buf->data, buf->size);
}

static inline void cf_buf_auto_(cf_buf *buf) {
    cf_buf_wipe(buf);
}
/* CF_AUTO_BUF cf_buf buf; cf_buf_init(&buf, max); */
#define CF_AUTO_BUF __attribute__((cleanup(cf_buf_auto_)))

/* Reads forward over borrowed bytes. After the first read past the end, or a value out of range,
 * every read returns 0 / an empty span and cf_cursor_check fails.                                     */
typedef struct cf_cursor {
    const uint8_t *data;
    size_t size;
    size_t offset;
    bool failed;
} cf_cursor;

static inline cf_cursor cf_cursor_of(cf_span span) {
    return (cf_cursor){span.data, span.size, 0, false};
}
uint8_t cf_cursor_u8(cf_cursor *cursor);
uint16_t cf_cursor_u16(cf_cursor *cursor);
uint32_t cf_cursor_u32(cf_cursor *cursor);
uint64_t cf_cursor_u64(cf_cursor *cursor);
/* A varint that is not in its shortest form, or over 64 bits, fails. */
uint64_t cf_cursor_varint(cf_cursor *cursor);
/* A varint above max fails. */
uint64_t cf_cursor_varint_max(cf_cursor *cursor, uint64_t max);
int64_t cf_cursor_zigzag(cf_cursor *cursor);
cf_span cf_cursor_take(cf_cursor *cursor, size_t size);
/* Varint length (at most max), then that many bytes. */
cf_span cf_cursor_bytes(cf_cursor *cursor, size_t max);
void cf_cursor_copy(cf_cursor *cursor, void *out, size_t size); /* zeroes out on failure */
static inline size_t cf_cursor_left(const cf_cursor *cursor) {
    return cursor->failed ? 0 : cursor->size - cursor->offset;
}
static inline void cf_cursor_fail(cf_cursor *cursor) {
    cursor->failed = true;
}
/* cf_cursor_check: code with reason "truncated" when a read failed.                                   */
cf_err *cf_cursor_check(const cf_cursor *cursor, cf_code code, const char *what) __attribute__((warn_unused_result));
/* cf_cursor_done: also fails (reason "trailing") when bytes are left over.                            */
cf_err *cf_cursor_done(const cf_cursor *cursor, cf_code code, const char *what) __attribute__((warn_unused_result));

#endif
