#include "visible/point.h"

#include <stdlib.h>

#include "digest/digest.h"

static const uint8_t MAGIC[4] = {'C', 'F', 'R', 'P'};
enum { VERSION = 1, PREFIX_SIZE = 80, KEY_RECORD_SIZE = 132, SUM_SIZE = 16 };
enum { SUMMARY_MAX = 65536, PACK_LIST_MAX = 32 << 20, PACK_LIST_ENTRY_MIN = 17, PACK_LIST_COUNT_MAX = 1 << 20 };

static void put_prefix(const cf_point_frame *frame, cf_buf *out) {
    cf_buf_put(out, MAGIC, 4);
    cf_buf_put_u16(out, VERSION);
    cf_buf_put_u16(out, 0);
    cf_buf_put(out, frame->server.bytes, 16);
    cf_buf_put(out, frame->session.bytes, 16);
    cf_buf_put_u64(out, frame->counter);
    cf_buf_put(out, frame->previous.bytes, 32);
}

void cf_point_prefix_encode(const cf_point_frame *frame, uint8_t out[80]) {
    memset(out, 0, PREFIX_SIZE);
    memcpy(out, MAGIC, 4);
    out[4] = VERSION;
    memcpy(out + 8, frame->server.bytes, 16);
    memcpy(out + 24, frame->session.bytes, 16);
    for (size_t i = 0; i < 8; i++) out[40 + i] = (uint8_t)(frame->counter >> (8 * i));
    memcpy(out + 48, frame->previous.bytes, 32);
}

/* The limits of the five parts, the same for both directions. */
static cf_err *check_sizes(const cf_point_frame *frame) {
    if (frame->key_record.size != KEY_RECORD_SIZE || frame->summary.size > SUMMARY_MAX ||
        frame->pack_list.size > PACK_LIST_MAX || frame->map.size > CF_POINT_MAP_MAX ||
        frame->root.size > CF_POINT_ROOT_MAX)
        return cf_fail_reason(CF_ERR_FORMAT, "size", "recovery point: a part has a size that is not allowed");
    if (frame->counter < 1) return cf_fail_reason(CF_ERR_FORMAT, "counter", "recovery point number 0");
    if ((frame->counter == 1) != cf_id32_is_zero(&frame->previous))
        return cf_fail_reason(CF_ERR_FORMAT, "previous", "recovery point %llu: only the first has no previous one",
                              (unsigned long long)frame->counter);
    return NULL;
}

cf_err *cf_point_encode(const cf_point_frame *frame, cf_buf *out) {
    CF_TRY(check_sizes(frame));
    size_t start = out->size;
    put_prefix(frame, out);
    cf_buf_put_u32(out, (uint32_t)frame->key_record.size);
    cf_buf_put_u32(out, (uint32_t)frame->summary.size);
    cf_buf_put_u32(out, (uint32_t)frame->pack_list.size);
    cf_buf_put_u32(out, (uint32_t)frame->map.size);
    cf_buf_put_u32(out, (uint32_t)frame->root.size);
    cf_buf_put_u32(out, 0);
    cf_buf_put(out, frame->root_commitment, 32);
    cf_buf_put_span(out, frame->key_record);
    cf_buf_put_span(out, frame->summary);
    cf_buf_put_span(out, frame->pack_list);
    cf_buf_put_span(out, frame->map);
    cf_buf_put_span(out, frame->root);
    CF_TRY(cf_buf_check(out, "recovery point"));
    uint8_t sum[SUM_SIZE];
    cf_xxh3_128(cf_span_of(out->data + start, out->size - start), sum);
    cf_buf_put(out, sum, SUM_SIZE);
    return cf_buf_check(out, "recovery point");
}

static cf_err *decode_header(cf_cursor *cursor, cf_point_frame *frame, uint32_t sizes[5]) {
    uint8_t magic[4];
    cf_cursor_copy(cursor, magic, 4);
    uint16_t version = cf_cursor_u16(cursor);
    uint16_t zero = cf_cursor_u16(cursor);
    cf_cursor_copy(cursor, frame->server.bytes, 16);
    cf_cursor_copy(cursor, frame->session.bytes, 16);
    frame->counter = cf_cursor_u64(cursor);
    cf_cursor_copy(cursor, frame->previous.bytes, 32);
    for (size_t i = 0; i < 5; i++) sizes[i] = cf_cursor_u32(cursor);
    uint32_t reserved = cf_cursor_u32(cursor);
    cf_cursor_copy(cursor, frame->root_commitment, 32);
    CF_TRY(cf_cursor_check(cursor, CF_ERR_FORMAT, "recovery point"));
    if (memcmp(magic, MAGIC, 4) != 0) return cf_fail_reason(CF_ERR_FORMAT, "magic", "this is not a recovery point");
    if (version != VERSION)
        return cf_fail_reason(CF_ERR_FORMAT_VERSION, "version", "recovery point of version %u", version);
    if (zero != 0 || reserved != 0)
        return cf_fail_reason(CF_ERR_FORMAT, "reserved", "recovery point: a reserved field is not zero");
    return NULL;
}

cf_err *cf_point_decode(cf_span bytes, cf_point_frame *frame) {
    if (bytes.size > CF_POINT_MAX)
        return cf_fail_reason(CF_ERR_FORMAT, "size", "a recovery point of %zu bytes", bytes.size);
    cf_cursor cursor = cf_cursor_of(bytes);
    cf_point_frame made = {0};
    uint32_t sizes[5];
    CF_TRY(decode_header(&cursor, &made, sizes));
    made.header = cf_span_of(bytes.data, CF_POINT_HEADER_SIZE);
    cf_span *const parts[5] = {&made.key_record, &made.summary, &made.pack_list, &made.map, &made.root};
    for (size_t i = 0; i < 5; i++) *parts[i] = cf_cursor_take(&cursor, sizes[i]);
    size_t summed = cursor.offset;
    uint8_t stored[SUM_SIZE], sum[SUM_SIZE];
    cf_cursor_copy(&cursor, stored, SUM_SIZE);
    CF_TRY(cf_cursor_done(&cursor, CF_ERR_FORMAT, "recovery point"));
    cf_xxh3_128(cf_span_of(bytes.data, summed), sum);
    if (memcmp(sum, stored, SUM_SIZE) != 0)
        return cf_fail_reason(CF_ERR_FORMAT, "sum", "the recovery point is damaged");
    CF_TRY(check_sizes(&made));
    *frame = made;
    return NULL;
}

void cf_summary_encode(const cf_summary *summary, cf_buf *out) {
    cf_buf_put_u8(out, 1);
    cf_buf_put_u8(out, (uint8_t)summary->selection);
    cf_buf_put_u8(out, summary->tracked ? 1 : 0);
    cf_buf_put_u8(out, summary->with_warnings ? 1 : 0);
    const uint64_t numbers[] = {
        summary->started,         summary->finished,   summary->files,        summary->directories,
        summary->others,          summary->bytes,      summary->files_new,    summary->files_changed,
        summary->files_unchanged, summary->bytes_read, summary->bytes_stored, summary->warnings,
    };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) cf_buf_put_varint(out, numbers[i]);
    cf_buf_put(out, summary->selection_id.bytes, 16);
    cf_buf_put_varint(out, 0); /* pairs: none in this version */
}

cf_err *cf_summary_decode(cf_span bytes, cf_summary *summary) {
    cf_cursor cursor = cf_cursor_of(bytes);
    uint8_t version = cf_cursor_u8(&cursor);
    if (!cursor.failed && version != 1)
        return cf_fail_reason(CF_ERR_FORMAT_VERSION, "version", "summary of version %u", version);
    cf_summary made = {0};
    uint8_t selection = cf_cursor_u8(&cursor);
    uint8_t scan = cf_cursor_u8(&cursor);
    uint8_t flags = cf_cursor_u8(&cursor);
    uint64_t *const numbers[] = {
        &made.started,         &made.finished,   &made.files,        &made.directories,
        &made.others,          &made.bytes,      &made.files_new,    &made.files_changed,
        &made.files_unchanged, &made.bytes_read, &made.bytes_stored, &made.warnings,
    };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) *numbers[i] = cf_cursor_varint(&cursor);
    cf_cursor_copy(&cursor, made.selection_id.bytes, 16);
    uint64_t pairs = cf_cursor_varint(&cursor);
    CF_TRY(cf_cursor_check(&cursor, CF_ERR_FORMAT, "summary"));
    if (selection > CF_SELECTION_MANUAL || scan > 1)
        return cf_fail_reason(CF_ERR_FORMAT, "type", "summary: selection %u, scan %u", selection, scan);
    if (flags > 1) return cf_fail_reason(CF_ERR_FORMAT, "flags", "summary: flags %u", flags);
    if (pairs != 0)
        return cf_fail_reason(CF_ERR_FORMAT, "flags", "summary: %llu unknown pairs", (unsigned long long)pairs);
    CF_TRY(cf_cursor_done(&cursor, CF_ERR_FORMAT, "summary"));
    made.selection = (cf_selection)selection;
    made.tracked = scan == 1;
    made.with_warnings = flags & 1;
    *summary = made;
    return NULL;
}

void cf_pack_list_encode(const cf_pack_name *names, size_t count, cf_buf *out) {
    cf_buf_put_varint(out, count);
    for (size_t i = 0; i < count; i++) {
        cf_buf_put_varint(out, names[i].number);
        cf_buf_put(out, names[i].session.bytes, 16);
    }
}

cf_err *cf_pack_list_decode(cf_span bytes, cf_pack_name **names, size_t *count) {
    cf_cursor cursor = cf_cursor_of(bytes);
    size_t number = (size_t)cf_cursor_varint_max(&cursor, PACK_LIST_COUNT_MAX);
    if (number > cf_cursor_left(&cursor) / PACK_LIST_ENTRY_MIN) cf_cursor_fail(&cursor);
    CF_TRY(cf_cursor_check(&cursor, CF_ERR_FORMAT, "pack list"));
    CF_AUTO_FREE cf_pack_name *made = calloc(number ? number : 1, sizeof *made);
    if (!made) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a pack list");
    uint64_t before = 0;
    for (size_t i = 0; i < number; i++) {
        made[i].number = cf_cursor_varint_max(&cursor, CF_PACK_NUMBER_MAX);
        cf_cursor_copy(&cursor, made[i].session.bytes, 16);
        CF_TRY(cf_cursor_check(&cursor, CF_ERR_FORMAT, "pack list"));
        if (made[i].number <= before) return cf_fail_reason(CF_ERR_FORMAT, "order", "pack list: numbers do not ascend");
        before = made[i].number;
    }
    CF_TRY(cf_cursor_done(&cursor, CF_ERR_FORMAT, "pack list"));
    *names = cf_take(made);
    *count = number;
    return NULL;
}
