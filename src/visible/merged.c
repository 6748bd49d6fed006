#include "visible/merged.h"

#include <stdlib.h>

#include "digest/digest.h"

static const uint8_t MAGIC[4] = {'C', 'F', 'M', 'G'};
enum { VERSION = 1, SUM_SIZE = 16 };

void cf_merged_head_encode(const cf_id16 *server, const cf_id16 *id, const cf_merged_pack *packs, size_t count,
                           cf_buf *out) {
    size_t start = out->size;
    cf_buf_put(out, MAGIC, 4);
    cf_buf_put_u16(out, VERSION);
    cf_buf_put_u16(out, 0);
    cf_buf_put(out, server->bytes, 16);
    cf_buf_put(out, id->bytes, 16);
    cf_buf_put_u32(out, (uint32_t)count);
    cf_buf_put_u32(out, 0);
    for (size_t i = 0; i < count; i++) {
        cf_buf_put_u64(out, packs[i].number);
        cf_buf_put(out, packs[i].session.bytes, 16);
        cf_buf_put_u32(out, packs[i].generation);
        cf_buf_put_u32(out, 0);
        cf_buf_put_u64(out, packs[i].offset);
        cf_buf_put_u64(out, packs[i].size);
    }
    if (out->failed) return;
    uint8_t sum[SUM_SIZE];
    cf_xxh3_128(cf_span_of(out->data + start, out->size - start), sum);
    cf_buf_put(out, sum, SUM_SIZE);
}

static cf_err *take_header(cf_cursor *cursor, const cf_id16 *server, const cf_id16 *id, size_t *count) {
    uint8_t magic[4];
    cf_id16 named_server, named;
    cf_cursor_copy(cursor, magic, 4);
    uint16_t version = cf_cursor_u16(cursor), zero = cf_cursor_u16(cursor);
    cf_cursor_copy(cursor, named_server.bytes, 16);
    cf_cursor_copy(cursor, named.bytes, 16);
    uint32_t number = cf_cursor_u32(cursor), reserved = cf_cursor_u32(cursor);
    CF_TRY(cf_cursor_check(cursor, CF_ERR_FORMAT, "merged object"));
    if (memcmp(magic, MAGIC, 4) != 0) return cf_fail_reason(CF_ERR_FORMAT, "magic", "this is not a merged object");
    if (version != VERSION)
        return cf_fail_reason(CF_ERR_FORMAT_VERSION, "version", "merged object of version %u", version);
    if (zero != 0 || reserved != 0)
        return cf_fail_reason(CF_ERR_FORMAT, "reserved", "merged object: a reserved field is not zero");
    if (!cf_id16_equal(&named_server, server) || !cf_id16_equal(&named, id))
        return cf_fail_reason(CF_ERR_FORMAT, "name", "the merged object is not the one that its name says");
    if (number < 1 || number > CF_MERGED_PACKS_MAX)
        return cf_fail_reason(CF_ERR_FORMAT, "count", "a merged object of %u packs", number);
    *count = number;
    return NULL;
}

cf_err *cf_merged_count(cf_span header, const cf_id16 *server, const cf_id16 *id, size_t *count) {
    cf_cursor cursor = cf_cursor_of(header);
    return take_header(&cursor, server, id, count);
}

static bool take_entry(cf_cursor *cursor, uint64_t *end, uint64_t *last, uint64_t object_size, cf_merged_pack *pack) {
    pack->number = cf_cursor_u64(cursor);
    cf_cursor_copy(cursor, pack->session.bytes, 16);
    pack->generation = cf_cursor_u32(cursor);
    uint32_t zero = cf_cursor_u32(cursor);
    pack->offset = cf_cursor_u64(cursor);
    pack->size = cf_cursor_u64(cursor);
    bool right = !cursor->failed && zero == 0 && pack->generation >= 1 && pack->number > *last &&
                 pack->number <= CF_PACK_NUMBER_MAX && pack->offset == *end && pack->size <= CF_PACK_MAX &&
                 pack->offset <= object_size && pack->size <= object_size - pack->offset;
    *last = pack->number;
    *end = pack->offset + pack->size;
    return right;
}

cf_err *cf_merged_head_decode(cf_span head, uint64_t object_size, const cf_id16 *server, const cf_id16 *id,
                              cf_merged_pack **out, size_t *count) {
    cf_cursor cursor = cf_cursor_of(head);
    size_t number = 0;
    uint8_t stored[SUM_SIZE], sum[SUM_SIZE];
    CF_TRY(take_header(&cursor, server, id, &number));
    if (head.size != cf_merged_head_size(number))
        return cf_fail_reason(CF_ERR_FORMAT, "size", "a merged object's head of %zu bytes", head.size);
    CF_AUTO_FREE cf_merged_pack *packs = calloc(number, sizeof *packs);
    if (!packs) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a merged object");
    uint64_t end = head.size, last = 0;
    for (size_t i = 0; i < number; i++)
        if (!take_entry(&cursor, &end, &last, object_size, &packs[i]))
            return cf_fail_reason(CF_ERR_FORMAT, "packs", "merged object: its packs are not one behind the other");
    if (end != object_size) return cf_fail_reason(CF_ERR_FORMAT, "size", "merged object: its packs do not fill it");
    cf_cursor_copy(&cursor, stored, SUM_SIZE);
    CF_TRY(cf_cursor_done(&cursor, CF_ERR_FORMAT, "merged object"));
    cf_xxh3_128(cf_span_of(head.data, head.size - SUM_SIZE), sum);
    if (memcmp(sum, stored, SUM_SIZE) != 0) return cf_fail_reason(CF_ERR_FORMAT, "sum", "the merged object is damaged");
    *out = cf_take(packs);
    *count = number;
    return NULL;
}
