#include "visible/journal.h"

#include "digest/digest.h"

static const uint8_t MAGIC[4] = {'C', 'F', 'J', 'N'};
enum { VERSION = 1, SUM_SIZE = 16 };

static bool known(uint16_t type) {
    return type >= CF_JOURNAL_VAULT_CREATED && type <= CF_JOURNAL_EPOCH;
}

cf_err *cf_journal_encode(const cf_journal_entry *entry, cf_buf *out) {
    if (!known(entry->type)) return cf_fail(CF_ERR_INTERNAL, "journal type %u", entry->type);
    if (entry->body.size > CF_JOURNAL_BODY_MAX)
        return cf_fail(CF_ERR_TOO_LARGE, "a journal body of %zu bytes", entry->body.size);
    size_t start = out->size;
    cf_buf_put(out, MAGIC, 4);
    cf_buf_put_u16(out, VERSION);
    cf_buf_put_u16(out, entry->type);
    cf_buf_put_u64(out, entry->sequence);
    cf_buf_put_u64(out, entry->time);
    cf_buf_put_u32(out, (uint32_t)entry->body.size);
    cf_buf_put_span(out, entry->body);
    CF_TRY(cf_buf_check(out, "journal object"));
    uint8_t sum[SUM_SIZE];
    cf_xxh3_128(cf_span_of(out->data + start, out->size - start), sum);
    cf_buf_put(out, sum, SUM_SIZE);
    return cf_buf_check(out, "journal object");
}

cf_err *cf_journal_decode(cf_span bytes, cf_journal_entry *entry) {
    cf_cursor cursor = cf_cursor_of(bytes);
    cf_journal_entry made = {0};
    uint8_t magic[4];
    cf_cursor_copy(&cursor, magic, 4);
    uint16_t version = cf_cursor_u16(&cursor);
    made.type = cf_cursor_u16(&cursor);
    made.sequence = cf_cursor_u64(&cursor);
    made.time = cf_cursor_u64(&cursor);
    uint32_t size = cf_cursor_u32(&cursor);
    CF_TRY(cf_cursor_check(&cursor, CF_ERR_FORMAT, "journal object"));
    if (memcmp(magic, MAGIC, 4) != 0) return cf_fail_reason(CF_ERR_FORMAT, "magic", "this is not a journal object");
    if (version != VERSION)
        return cf_fail_reason(CF_ERR_FORMAT_VERSION, "version", "journal object of version %u", version);
    if (size > CF_JOURNAL_BODY_MAX) return cf_fail_reason(CF_ERR_FORMAT, "size", "journal body of %u bytes", size);
    made.body = cf_cursor_take(&cursor, size);
    size_t summed = cursor.offset;
    uint8_t stored[SUM_SIZE], sum[SUM_SIZE];
    cf_cursor_copy(&cursor, stored, SUM_SIZE);
    CF_TRY(cf_cursor_done(&cursor, CF_ERR_FORMAT, "journal object"));
    cf_xxh3_128(cf_span_of(bytes.data, summed), sum);
    if (memcmp(sum, stored, SUM_SIZE) != 0)
        return cf_fail_reason(CF_ERR_FORMAT, "sum", "the journal object is damaged");
    /* After the sum: damage is not reported as a newer version. */
    if (!known(made.type))
        return cf_fail_reason(CF_ERR_FORMAT_VERSION, "type", "journal object of unknown type %u", made.type);
    *entry = made;
    return NULL;
}
