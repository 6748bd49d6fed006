#include "visible/relocation.h"

#include <stdlib.h>

#include "digest/digest.h"

static const uint8_t MAGIC[4] = {'C', 'F', 'R', 'L'};
enum { VERSION = 1, KEY_RECORD_SIZE = 132, SUM_SIZE = 16, SEALED_MIN = 12 + 16 };

void cf_relocation_prefix(const cf_relocation_frame *frame, uint8_t out[CF_RELOCATION_PREFIX_SIZE]) {
    memset(out, 0, CF_RELOCATION_PREFIX_SIZE);
    memcpy(out, MAGIC, 4);
    out[4] = VERSION;
    memcpy(out + 8, frame->server.bytes, 16);
    memcpy(out + 24, frame->session.bytes, 16);
    for (size_t i = 0; i < 8; i++) out[40 + i] = (uint8_t)(frame->number >> (8 * i));
}

static cf_err *check_sizes(const cf_relocation_frame *frame) {
    if (frame->key_record.size != KEY_RECORD_SIZE || frame->points.size > 3 + 32 * CF_RELOCATION_POINTS_MAX ||
        frame->extra.size > CF_RELOCATION_MAP_MAX || frame->healed.size > CF_RELOCATION_MAP_MAX ||
        frame->sealed.size < SEALED_MIN || frame->sealed.size > CF_RELOCATION_SEALED_MAX)
        return cf_fail_reason(CF_ERR_FORMAT, "size", "relocation record: a part has a size that is not allowed");
    if (frame->number < 1) return cf_fail_reason(CF_ERR_FORMAT, "number", "relocation record number 0");
    return NULL;
}

cf_err *cf_relocation_encode(const cf_relocation_frame *frame, cf_buf *out) {
    uint8_t prefix[CF_RELOCATION_PREFIX_SIZE], sum[SUM_SIZE];
    const cf_span parts[5] = {frame->key_record, frame->points, frame->extra, frame->healed, frame->sealed};
    cf_err *err = check_sizes(frame);
    if (err) return cf_wrap(err, CF_ERR_INTERNAL, "a relocation record that could not be read again");
    size_t start = out->size;
    cf_relocation_prefix(frame, prefix);
    cf_buf_put(out, prefix, sizeof prefix);
    for (size_t i = 0; i < 5; i++) cf_buf_put_u32(out, (uint32_t)parts[i].size);
    cf_buf_put_u32(out, 0);
    cf_buf_put(out, frame->commitment, 32);
    for (size_t i = 0; i < 5; i++) cf_buf_put_span(out, parts[i]);
    CF_TRY(cf_buf_check(out, "relocation record"));
    cf_xxh3_128(cf_span_of(out->data + start, out->size - start), sum);
    cf_buf_put(out, sum, SUM_SIZE);
    return cf_buf_check(out, "relocation record");
}

static cf_err *decode_header(cf_cursor *cursor, cf_relocation_frame *frame, uint32_t sizes[5]) {
    uint8_t magic[4];
    cf_cursor_copy(cursor, magic, 4);
    uint16_t version = cf_cursor_u16(cursor), zero = cf_cursor_u16(cursor);
    cf_cursor_copy(cursor, frame->server.bytes, 16);
    cf_cursor_copy(cursor, frame->session.bytes, 16);
    frame->number = cf_cursor_u64(cursor);
    for (size_t i = 0; i < 5; i++) sizes[i] = cf_cursor_u32(cursor);
    uint32_t reserved = cf_cursor_u32(cursor);
    cf_cursor_copy(cursor, frame->commitment, 32);
    CF_TRY(cf_cursor_check(cursor, CF_ERR_FORMAT, "relocation record"));
    if (memcmp(magic, MAGIC, 4) != 0) return cf_fail_reason(CF_ERR_FORMAT, "magic", "this is not a relocation record");
    if (version != VERSION)
        return cf_fail_reason(CF_ERR_FORMAT_VERSION, "version", "relocation record of version %u", version);
    if (zero != 0 || reserved != 0)
        return cf_fail_reason(CF_ERR_FORMAT, "reserved", "relocation record: a reserved field is not zero");
    return NULL;
}

cf_err *cf_relocation_decode(cf_span bytes, cf_relocation_frame *frame) {
    if (bytes.size > CF_RELOCATION_MAX)
        return cf_fail_reason(CF_ERR_FORMAT, "size", "a relocation record of %zu bytes", bytes.size);
    cf_cursor cursor = cf_cursor_of(bytes);
    cf_relocation_frame made = {0};
    uint32_t sizes[5];
    CF_TRY(decode_header(&cursor, &made, sizes));
    cf_span *const parts[5] = {&made.key_record, &made.points, &made.extra, &made.healed, &made.sealed};
    for (size_t i = 0; i < 5; i++) *parts[i] = cf_cursor_take(&cursor, sizes[i]);
    size_t summed = cursor.offset;
    uint8_t stored[SUM_SIZE], sum[SUM_SIZE];
    cf_cursor_copy(&cursor, stored, SUM_SIZE);
    CF_TRY(cf_cursor_done(&cursor, CF_ERR_FORMAT, "relocation record"));
    cf_xxh3_128(cf_span_of(bytes.data, summed), sum);
    if (memcmp(sum, stored, SUM_SIZE) != 0)
        return cf_fail_reason(CF_ERR_FORMAT, "sum", "the relocation record is damaged");
    CF_TRY(check_sizes(&made));
    *frame = made;
    return NULL;
}

void cf_relocation_points_encode(const cf_id32 *points, size_t count, cf_buf *out) {
    cf_buf_put_varint(out, count);
    for (size_t i = 0; i < count; i++) cf_buf_put(out, points[i].bytes, 32);
}

cf_err *cf_relocation_points_decode(cf_span bytes, cf_id32 **out, size_t *count) {
    cf_cursor cursor = cf_cursor_of(bytes);
    size_t number = (size_t)cf_cursor_varint_max(&cursor, CF_RELOCATION_POINTS_MAX);
    if (cursor.failed || number == 0 || cf_cursor_left(&cursor) != 32 * number)
        return cf_fail_reason(CF_ERR_FORMAT, "points", "relocation record: its list of recovery points is malformed");
    CF_AUTO_FREE cf_id32 *points = calloc(number, sizeof *points);
    if (!points) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a list of recovery points");
    for (size_t i = 0; i < number; i++) {
        cf_cursor_copy(&cursor, points[i].bytes, 32);
        if (i > 0 && memcmp(points[i - 1].bytes, points[i].bytes, 32) >= 0)
            return cf_fail_reason(CF_ERR_FORMAT, "points", "relocation record: its recovery points do not ascend");
    }
    *out = cf_take(points);
    *count = number;
    return NULL;
}

cf_err *cf_relocation_map(cf_span bytes, cf_map **map) {
    cf_map_header header;
    CF_TRY(cf_map_peek(bytes, &header));
    if (header.delta) return cf_fail_reason(CF_ERR_FORMAT, "map", "relocation record: its map is no whole one");
    return cf_map_decode(bytes, NULL, &header, map);
}

static int compare_ids(const void *a, const void *b) {
    return memcmp(a, b, 32);
}

bool cf_relocation_concerns(const cf_id32 *points, size_t count, const cf_id32 *point) {
    return count && bsearch(point, points, count, sizeof *points, compare_ids) != NULL;
}
