#include "visible/slot_header.h"

enum { MEMORY_MIN = 19456, MEMORY_MAX = 1048576, PASSES_MIN = 2, PASSES_MAX = 16 };

static cf_err *check_start(cf_cursor *cursor, const char magic[4], const char *what) {
    char start[4];
    cf_cursor_copy(cursor, start, sizeof start);
    uint16_t version = cf_cursor_u16(cursor);
    CF_TRY(cf_cursor_check(cursor, CF_ERR_FORMAT, what));
    if (memcmp(start, magic, sizeof start) != 0) return cf_fail_reason(CF_ERR_FORMAT, "magic", "this is no %s", what);
    if (version != 1) return cf_fail(CF_ERR_FORMAT_VERSION, "a %s of version %u", what, version);
    return NULL;
}

cf_err *cf_slot_header_decode(cf_span slot, cf_slot_header *header) {
    if (slot.size != CF_SLOT_BYTES)
        return cf_fail_reason(CF_ERR_FORMAT, "size", "a key slot has %d bytes, not %zu", CF_SLOT_BYTES, slot.size);
    cf_cursor cursor = cf_cursor_of(slot);
    CF_TRY(check_start(&cursor, "CFKS", "key slot"));
    cf_slot_header out;
    uint8_t kind = cf_cursor_u8(&cursor), zero = cf_cursor_u8(&cursor);
    cf_cursor_copy(&cursor, out.server.bytes, 16);
    out.number = cf_cursor_u32(&cursor);
    out.memory_kib = cf_cursor_u32(&cursor);
    out.passes = cf_cursor_u32(&cursor);
    uint32_t lanes = cf_cursor_u32(&cursor);
    cf_cursor_copy(&cursor, out.salt, sizeof out.salt);
    cf_cursor_copy(&cursor, out.public_key, sizeof out.public_key);
    CF_TRY(cf_cursor_check(&cursor, CF_ERR_FORMAT, "key slot"));
    if (kind != 1 || zero != 0) return cf_fail(CF_ERR_FORMAT_VERSION, "a key slot of kind %u", kind);
    if (out.number == 0 || lanes != 1 || out.memory_kib < MEMORY_MIN || out.memory_kib > MEMORY_MAX ||
        out.passes < PASSES_MIN || out.passes > PASSES_MAX)
        return cf_fail_reason(CF_ERR_FORMAT, "range", "a key slot's number or costs are out of bounds");
    *header = out;
    return NULL;
}

cf_err *cf_key_record_header_decode(cf_span record, cf_id16 *server, cf_id16 *session) {
    if (record.size != CF_KEY_RECORD_BYTES)
        return cf_fail_reason(CF_ERR_FORMAT, "size", "a key record has %d bytes, not %zu", CF_KEY_RECORD_BYTES,
                              record.size);
    cf_cursor cursor = cf_cursor_of(record);
    CF_TRY(check_start(&cursor, "CFKR", "key record"));
    uint16_t zero = cf_cursor_u16(&cursor);
    cf_id16 of, in;
    cf_cursor_copy(&cursor, of.bytes, 16);
    cf_cursor_copy(&cursor, in.bytes, 16);
    CF_TRY(cf_cursor_check(&cursor, CF_ERR_FORMAT, "key record"));
    if (zero != 0) return cf_fail(CF_ERR_FORMAT_VERSION, "a key record with unknown flags");
    *server = of;
    *session = in;
    return NULL;
}
