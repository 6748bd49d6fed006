#include "visible/slot_header.h"

enum { LANES = 1 };

/* Size, magic and version. */
static cf_err *check_start(cf_cursor *cursor, size_t size, const char magic[4], const char *what) {
    if (cursor->size != size)
        return cf_fail_reason(CF_ERR_FORMAT, cursor->size < size ? "truncated" : "trailing",
                              "a %s has %zu bytes, not %zu", what, size, cursor->size);
    char start[4];
    cf_cursor_copy(cursor, start, sizeof start);
    uint16_t version = cf_cursor_u16(cursor);
    if (memcmp(start, magic, sizeof start) != 0) return cf_fail_reason(CF_ERR_FORMAT, "magic", "this is no %s", what);
    if (version != 1) return cf_fail_reason(CF_ERR_FORMAT_VERSION, "version", "a %s of version %u", what, version);
    return NULL;
}

static cf_err *check_costs(const cf_slot_header *header, uint32_t lanes) {
    if (lanes != LANES || header->memory_kib < CF_SLOT_MEMORY_MIN_KIB || header->memory_kib > CF_SLOT_MEMORY_MAX_KIB ||
        header->passes < CF_SLOT_PASSES_MIN || header->passes > CF_SLOT_PASSES_MAX)
        return cf_fail_reason(CF_ERR_FORMAT, "kdf_limits", "key slot: Argon2id costs of %u KiB, %u passes, %u lanes",
                              header->memory_kib, header->passes, lanes);
    return NULL;
}

/* What a passphrase is turned into the key with, up to the public key. */
static cf_err *read_passphrase(cf_cursor *cursor, cf_slot_header *header) {
    header->memory_kib = cf_cursor_u32(cursor);
    header->passes = cf_cursor_u32(cursor);
    uint32_t lanes = cf_cursor_u32(cursor);
    cf_cursor_copy(cursor, header->salt, sizeof header->salt);
    cf_cursor_copy(cursor, header->public_key, sizeof header->public_key);
    return check_costs(header, lanes);
}

static cf_err *read_recovery(cf_cursor *cursor, cf_slot_header *header) {
    cf_cursor_copy(cursor, header->recipient, sizeof header->recipient);
    cf_cursor_copy(cursor, header->public_key, sizeof header->public_key);
    if (cf_cursor_u64(cursor) == 0) return NULL;
    return cf_fail_reason(CF_ERR_FORMAT, "reserved", "key slot: reserved bytes are not zero");
}

cf_err *cf_slot_header_decode(cf_span slot, cf_slot_header *header) {
    cf_cursor cursor = cf_cursor_of(slot);
    CF_TRY(check_start(&cursor, CF_SLOT_BYTES, "CFKS", "key slot"));
    cf_slot_header out = {0};
    uint8_t kind = cf_cursor_u8(&cursor), zero = cf_cursor_u8(&cursor);
    cf_cursor_copy(&cursor, out.server.bytes, 16);
    out.number = cf_cursor_u32(&cursor);
    if (kind != CF_SLOT_PASSPHRASE && kind != CF_SLOT_RECOVERY)
        return cf_fail_reason(CF_ERR_FORMAT_VERSION, "kind", "a key slot of kind %u", kind);
    if (zero != 0) return cf_fail_reason(CF_ERR_FORMAT, "reserved", "key slot: a reserved byte is %u", zero);
    if (out.number == 0) return cf_fail_reason(CF_ERR_FORMAT, "number", "key slot number 0");
    out.kind = (cf_slot_kind)kind;
    CF_TRY(kind == CF_SLOT_PASSPHRASE ? read_passphrase(&cursor, &out) : read_recovery(&cursor, &out));
    CF_TRY(cf_cursor_check(&cursor, CF_ERR_FORMAT, "key slot"));
    *header = out;
    return NULL;
}

cf_err *cf_key_record_header_decode(cf_span record, cf_id16 *server, cf_id16 *session) {
    cf_cursor cursor = cf_cursor_of(record);
    CF_TRY(check_start(&cursor, CF_KEY_RECORD_BYTES, "CFKR", "key record"));
    uint16_t zero = cf_cursor_u16(&cursor);
    cf_id16 of, in;
    cf_cursor_copy(&cursor, of.bytes, 16);
    cf_cursor_copy(&cursor, in.bytes, 16);
    CF_TRY(cf_cursor_check(&cursor, CF_ERR_FORMAT, "key record"));
    if (zero != 0) return cf_fail_reason(CF_ERR_FORMAT, "reserved", "key record: a reserved field is not zero");
    *server = of;
    *session = in;
    return NULL;
}
