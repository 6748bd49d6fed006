/* The pieces that nodes are made of: references, extents, xattrs, totals, lists. */
#include "sealed/node.h"

#include "sealed/entry_internal.h"

void cf_ref_encode(const cf_ref *ref, cf_buf *out) {
    cf_buf_put(out, ref->id.bytes, 32);
    cf_buf_put_varint(out, ref->pack);
    cf_buf_put_varint(out, ref->segment);
    cf_buf_put_varint(out, ref->offset);
    cf_buf_put_varint(out, ref->length);
}

void cf_ref_decode(cf_cursor *cursor, cf_ref *ref) {
    cf_cursor_copy(cursor, ref->id.bytes, 32);
    ref->pack = cf_cursor_varint_max(cursor, CF_PACK_NUMBER_MAX);
    ref->segment = (uint16_t)cf_cursor_varint_max(cursor, CF_SEGMENTS_MAX - 1);
    ref->offset = (uint32_t)cf_cursor_varint_max(cursor, CF_SEGMENT_RAW_MAX - 1);
    ref->length = (uint32_t)cf_cursor_varint_max(cursor, CF_SEGMENT_RAW_MAX - ref->offset);
    if (ref->pack == 0 || ref->length == 0) cf_cursor_fail(cursor);
}

cf_span cf_refs_take(cf_cursor *cursor, uint32_t count, uint64_t *length) {
    size_t start = cursor->offset;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < count && !cursor->failed; i++) {
        cf_ref ref;
        cf_ref_decode(cursor, &ref);
        sum += ref.length;
    }
    *length = sum;
    if (cursor->failed || count == 0) return cf_span_of(NULL, 0);
    return cf_span_of(cursor->data + start, cursor->offset - start);
}

void cf_extents_add(cf_buf *out, uint64_t *end, uint64_t offset, uint64_t length) {
    cf_buf_put_varint(out, offset - *end);
    cf_buf_put_varint(out, length);
    *end = offset + length;
}

bool cf_extents_next(cf_cursor *cursor, uint64_t *end, cf_data_extent *extent) {
    if (cf_cursor_left(cursor) == 0) return false;
    uint64_t offset = *end + cf_cursor_varint_max(cursor, CF_FILE_SIZE_MAX - *end);
    uint64_t length = cf_cursor_varint_max(cursor, CF_FILE_SIZE_MAX - offset);
    if (length == 0) cf_cursor_fail(cursor);
    if (cursor->failed) return false;
    *extent = (cf_data_extent){.offset = offset, .length = length};
    *end = offset + length;
    return true;
}

void cf_xattrs_encode(const cf_xattr *xattrs, uint32_t count, cf_buf *out) {
    cf_buf_put_varint(out, count);
    for (uint32_t i = 0; i < count; i++) {
        cf_buf_put_bytes(out, xattrs[i].name);
        cf_buf_put_bytes(out, xattrs[i].value);
    }
}

const char *cf_xattrs_take(cf_cursor *cursor, cf_xattr *xattrs, uint32_t *count) {
    uint32_t number = (uint32_t)cf_cursor_varint_max(cursor, CF_XATTRS_MAX);
    if (cursor->failed) return "truncated";
    if (number == 0) return "xattrs";
    cf_xattr before = {0};
    for (uint32_t i = 0; i < number; i++) {
        cf_xattr xattr;
        xattr.name = cf_cursor_bytes(cursor, CF_NAME_SIZE_MAX);
        xattr.value = cf_cursor_bytes(cursor, CF_XATTR_VALUE_MAX);
        if (cursor->failed) return "truncated";
        if (xattr.name.size == 0 || memchr(xattr.name.data, 0, xattr.name.size)) return "xattrs";
        if (i > 0 && cf_span_compare(before.name, xattr.name) >= 0) return "xattrs";
        if (xattrs) xattrs[i] = xattr;
        before = xattr;
    }
    *count = number;
    return NULL;
}

cf_err *cf_xattrs_decode(cf_span bytes, cf_xattr *xattrs, uint32_t *count) {
    cf_cursor cursor = cf_cursor_of(bytes);
    uint32_t number = 0;
    const char *reason = cf_xattrs_take(&cursor, xattrs, &number);
    if (reason)
        return cf_fail_reason(CF_ERR_FORMAT, reason, "extended attributes of %zu bytes: %s", bytes.size, reason);
    CF_TRY(cf_cursor_done(&cursor, CF_ERR_FORMAT, "extended attributes"));
    *count = number;
    return NULL;
}

void cf_totals_put(const cf_totals *totals, cf_buf *out) {
    cf_buf_put_varint(out, totals->files);
    cf_buf_put_varint(out, totals->directories);
    cf_buf_put_varint(out, totals->others);
    cf_buf_put_varint(out, totals->bytes);
}

void cf_totals_take(cf_cursor *cursor, cf_totals *totals) {
    totals->files = cf_cursor_varint(cursor);
    totals->directories = cf_cursor_varint(cursor);
    totals->others = cf_cursor_varint(cursor);
    totals->bytes = cf_cursor_varint(cursor);
}

static void begin(cf_buf *out, cf_node_kind kind, uint8_t level, uint32_t count) {
    cf_buf_put_u8(out, CF_NODE_VERSION);
    cf_buf_put_u8(out, (uint8_t)kind);
    cf_buf_put_u8(out, level);
    cf_buf_put_varint(out, count);
}

void cf_split_begin(cf_buf *out, uint8_t level, uint32_t count) {
    begin(out, CF_NODE_SPLIT, level, count);
}

void cf_split_add(cf_buf *out, const cf_part *part) {
    cf_buf_put_bytes(out, part->first_name);
    cf_ref_encode(&part->node, out);
    cf_totals_put(&part->totals, out);
}

void cf_list_encode(uint8_t depth, uint32_t count, cf_span refs, cf_buf *out) {
    begin(out, CF_NODE_LIST, depth, count);
    cf_buf_put_span(out, refs);
}
