#include "base/buf.h"

#include <stdlib.h>

int cf_span_compare(cf_span a, cf_span b) {
    size_t common = a.size < b.size ? a.size : b.size;
    int order = common ? memcmp(a.data, b.data, common) : 0;
    if (order) return order;
    return (a.size > b.size) - (a.size < b.size);
}

char *cf_span_dup_text(cf_span span) {
    char *text = malloc(span.size + 1);
    if (!text) return NULL;
    if (span.size) memcpy(text, span.data, span.size);
    text[span.size] = '\0';
    return text;
}

void cf_buf_init(cf_buf *buf, size_t max) {
    *buf = (cf_buf){.max = max};
}

void cf_buf_wipe(cf_buf *buf) {
    free(buf->data);
    cf_buf_init(buf, buf->max);
}

void cf_buf_reset(cf_buf *buf) {
    buf->size = 0;
    buf->failed = buf->too_large = false;
}

uint8_t *cf_buf_reserve(cf_buf *buf, size_t extra) {
    if (buf->failed) return NULL;
    if (extra > buf->max || buf->size > buf->max - extra) {
        buf->failed = buf->too_large = true;
        return NULL;
    }
    size_t need = buf->size + extra;
    if (need > buf->capacity || !buf->data) {
        size_t capacity = buf->capacity < 64 ? 64 : buf->capacity;
        while (capacity < need) capacity = capacity > SIZE_MAX / 2 ? need : capacity * 2;
        if (capacity > buf->max) capacity = buf->max < need || buf->max < 1 ? need : buf->max;
        if (capacity == 0) capacity = 1;
        uint8_t *data = realloc(buf->data, capacity);
        if (!data) {
            buf->failed = true;
            return NULL;
        }
        buf->data = data;
        buf->capacity = capacity;
    }
    return buf->data + buf->size;
}

void cf_buf_put(cf_buf *buf, const void *data, size_t size) {
    uint8_t *out = cf_buf_reserve(buf, size);
    if (!out || size == 0) return;
    memcpy(out, data, size);
    buf->size += size;
}

void cf_buf_put_span(cf_buf *buf, cf_span span) {
    cf_buf_put(buf, span.data, span.size);
}

void cf_buf_put_zero(cf_buf *buf, size_t size) {
    uint8_t *out = cf_buf_reserve(buf, size);
    if (!out || size == 0) return;
    memset(out, 0, size);
    buf->size += size;
}

static void put_little_endian(cf_buf *buf, uint64_t value, size_t size) {
    uint8_t bytes[8];
    for (size_t i = 0; i < size; i++) bytes[i] = (uint8_t)(value >> (8 * i));
    cf_buf_put(buf, bytes, size);
}

void cf_buf_put_u8(cf_buf *buf, uint8_t value) {
    put_little_endian(buf, value, 1);
}
void cf_buf_put_u16(cf_buf *buf, uint16_t value) {
    put_little_endian(buf, value, 2);
}
void cf_buf_put_u32(cf_buf *buf, uint32_t value) {
    put_little_endian(buf, value, 4);
}
void cf_buf_put_u64(cf_buf *buf, uint64_t value) {
    put_little_endian(buf, value, 8);
}

void cf_buf_put_varint(cf_buf *buf, uint64_t value) {
    uint8_t bytes[10];
    size_t size = 0;
    while (value >= 0x80) {
        bytes[size++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    bytes[size++] = (uint8_t)value;
    cf_buf_put(buf, bytes, size);
}

void cf_buf_put_zigzag(cf_buf *buf, int64_t value) {
    cf_buf_put_varint(buf, ((uint64_t)value << 1) ^ (uint64_t)(value >> 63));
}

void cf_buf_put_bytes(cf_buf *buf, cf_span span) {
    cf_buf_put_varint(buf, span.size);
    cf_buf_put_span(buf, span);
}

cf_err *cf_buf_check(const cf_buf *buf, const char *what) {
    if (!buf->failed) return NULL;
    if (buf->too_large) return cf_fail(CF_ERR_TOO_LARGE, "%s: more than %zu bytes", what, buf->max);
    return cf_fail(CF_ERR_OUT_OF_MEMORY, "%s: no memory for %zu bytes", what, buf->size);
}

/* The next size bytes, or NULL after marking the cursor as failed. */
static const uint8_t *advance(cf_cursor *cursor, size_t size) {
    if (cursor->failed || size > cursor->size - cursor->offset) {
        cursor->failed = true;
        return NULL;
    }
    const uint8_t *at = cursor->data + cursor->offset;
    cursor->offset += size;
    return at;
}

static uint64_t take_little_endian(cf_cursor *cursor, size_t size) {
    const uint8_t *at = advance(cursor, size);
    uint64_t value = 0;
    for (size_t i = 0; at && i < size; i++) value |= (uint64_t)at[i] << (8 * i);
    return value;
}

uint8_t cf_cursor_u8(cf_cursor *cursor) {
    return (uint8_t)take_little_endian(cursor, 1);
}
uint16_t cf_cursor_u16(cf_cursor *cursor) {
    return (uint16_t)take_little_endian(cursor, 2);
}
uint32_t cf_cursor_u32(cf_cursor *cursor) {
    return (uint32_t)take_little_endian(cursor, 4);
}
uint64_t cf_cursor_u64(cf_cursor *cursor) {
    return take_little_endian(cursor, 8);
}

uint64_t cf_cursor_varint(cf_cursor *cursor) {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        const uint8_t *at = advance(cursor, 1);
        if (!at) return 0;
        uint8_t byte = *at;
        if (shift == 63 && byte > 1) break; /* over 64 bits              */
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte & 0x80) continue;
        if (byte == 0 && shift > 0) break; /* not in its shortest form  */
        return value;
    }
    cursor->failed = true;
    return 0;
}

uint64_t cf_cursor_varint_max(cf_cursor *cursor, uint64_t max) {
    uint64_t value = cf_cursor_varint(cursor);
    if (value <= max) return value;
    cursor->failed = true;
    return 0;
}

int64_t cf_cursor_zigzag(cf_cursor *cursor) {
    uint64_t value = cf_cursor_varint(cursor);
    return (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
}

cf_span cf_cursor_take(cf_cursor *cursor, size_t size) {
    const uint8_t *at = advance(cursor, size);
    return at ? cf_span_of(at, size) : cf_span_of(NULL, 0);
}

cf_span cf_cursor_bytes(cf_cursor *cursor, size_t max) {
    return cf_cursor_take(cursor, (size_t)cf_cursor_varint_max(cursor, max));
}

void cf_cursor_copy(cf_cursor *cursor, void *out, size_t size) {
    const uint8_t *at = advance(cursor, size);
    if (at && size)
        memcpy(out, at, size);
    else
        memset(out, 0, size);
}

cf_err *cf_cursor_check(const cf_cursor *cursor, cf_code code, const char *what) {
    if (!cursor->failed) return NULL;
    return cf_fail_reason(code, "truncated", "%s: cut short or out of range near byte %zu of %zu", what, cursor->offset,
                          cursor->size);
}

cf_err *cf_cursor_done(const cf_cursor *cursor, cf_code code, const char *what) {
    CF_TRY(cf_cursor_check(cursor, code, what));
    if (cursor->offset == cursor->size) return NULL;
    return cf_fail_reason(code, "trailing", "%s: %zu bytes more than expected", what, cursor->size - cursor->offset);
}
