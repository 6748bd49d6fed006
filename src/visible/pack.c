#include "visible/pack.h"

#include "digest/digest.h"

static const uint8_t MAGIC[4] = {'C', 'F', 'P', 'K'};
static const uint8_t END_MAGIC[8] = {'C', 'F', 'P', 'K', 'E', 'N', 'D', '1'};
enum { VERSION = 1, EXTENTS_MIN = 2, EXTENTS_MAX = CF_SEGMENTS_MAX + 1, SUMMED_OF_TRAILER = 16 };

void cf_pack_header_encode(const cf_pack_header *header, uint8_t out[CF_PACK_HEADER_SIZE]) {
    /* A fixed buffer: nothing can fail. */
    memset(out, 0, CF_PACK_HEADER_SIZE);
    memcpy(out, MAGIC, 4);
    out[4] = VERSION;
    out[6] = (uint8_t)header->kind;
    memcpy(out + 8, header->server.bytes, 16);
    memcpy(out + 24, header->session.bytes, 16);
    for (size_t i = 0; i < 8; i++) out[40 + i] = (uint8_t)(header->number >> (8 * i));
    memcpy(out + 48, header->commitment, 32);
    memcpy(out + 80, header->directory_commitment, 32);
}

cf_err *cf_pack_header_decode(cf_span bytes, cf_pack_header *header) {
    cf_cursor cursor = cf_cursor_of(bytes);
    cf_pack_header made = {0};
    uint8_t magic[4];
    cf_cursor_copy(&cursor, magic, 4);
    uint16_t version = cf_cursor_u16(&cursor);
    uint8_t kind = cf_cursor_u8(&cursor);
    uint8_t zero = cf_cursor_u8(&cursor);
    cf_cursor_copy(&cursor, made.server.bytes, 16);
    cf_cursor_copy(&cursor, made.session.bytes, 16);
    made.number = cf_cursor_u64(&cursor);
    cf_cursor_copy(&cursor, made.commitment, 32);
    cf_cursor_copy(&cursor, made.directory_commitment, 32);
    CF_TRY(cf_cursor_done(&cursor, CF_ERR_FORMAT, "pack header"));
    if (memcmp(magic, MAGIC, 4) != 0) return cf_fail_reason(CF_ERR_FORMAT, "magic", "this is not a pack");
    if (version != VERSION) return cf_fail_reason(CF_ERR_FORMAT_VERSION, "version", "pack of version %u", version);
    if (kind > CF_KIND_TREE) return cf_fail_reason(CF_ERR_FORMAT, "kind", "pack of kind %u", kind);
    if (zero != 0) return cf_fail_reason(CF_ERR_FORMAT, "reserved", "pack header: reserved byte is %u", zero);
    if (made.number < 1 || made.number > CF_PACK_NUMBER_MAX)
        return cf_fail_reason(CF_ERR_FORMAT, "number", "pack number %llu", (unsigned long long)made.number);
    made.kind = (cf_kind)kind;
    *header = made;
    return NULL;
}

/* XXH3 of header, table and the first 16 bytes of the trailer. The last two stand together. */
static cf_err *sum_of(cf_span header, cf_span table_and_trailer, uint8_t sum[16]) {
    CF_AUTO(cf_xxh3_stream) stream = NULL;
    CF_TRY(cf_xxh3_stream_new(&stream));
    cf_xxh3_stream_add(stream, header);
    cf_xxh3_stream_add(stream, table_and_trailer);
    cf_xxh3_stream_end(stream, sum);
    return NULL;
}

void cf_pack_tail_encode(const uint8_t header[CF_PACK_HEADER_SIZE], uint64_t table_offset, const cf_extent *extents,
                         size_t count, cf_buf *out) {
    uint8_t copy[CF_PACK_HEADER_SIZE]; /* header may stand in out, which moves when it grows */
    memcpy(copy, header, sizeof copy);
    size_t start = out->size;
    if (count < EXTENTS_MIN || count > EXTENTS_MAX) {
        out->failed = out->too_large = true; /* cf_buf_check reports it */
        return;
    }
    for (size_t i = 0; i < count; i++) {
        cf_buf_put_u16(out, extents[i].segment);
        cf_buf_put_u16(out, 0);
        cf_buf_put_u32(out, extents[i].length);
        cf_buf_put_u64(out, extents[i].offset);
        cf_buf_put(out, extents[i].xxh3, 16);
    }
    cf_buf_put_u64(out, table_offset);
    cf_buf_put_u32(out, (uint32_t)count);
    cf_buf_put_u32(out, 0);
    if (out->failed) return;
    uint8_t sum[16];
    CF_AUTO(cf_err) err = sum_of(cf_span_of(copy, sizeof copy), cf_span_of(out->data + start, out->size - start), sum);
    if (err) out->failed = true;
    cf_buf_put(out, sum, 16);
    cf_buf_put(out, END_MAGIC, 8);
}

cf_err *cf_pack_trailer_decode(cf_span last40, uint64_t object_size, uint64_t *table_offset, uint32_t *count) {
    if (object_size > CF_PACK_MAX)
        return cf_fail_reason(CF_ERR_FORMAT, "size", "a pack of %llu bytes", (unsigned long long)object_size);
    cf_cursor cursor = cf_cursor_of(last40);
    uint64_t offset = cf_cursor_u64(&cursor);
    uint32_t extents = cf_cursor_u32(&cursor);
    uint32_t zero = cf_cursor_u32(&cursor);
    uint8_t sum[16], magic[8];
    cf_cursor_copy(&cursor, sum, 16);
    cf_cursor_copy(&cursor, magic, 8);
    CF_TRY(cf_cursor_done(&cursor, CF_ERR_FORMAT, "pack trailer"));
    if (memcmp(magic, END_MAGIC, 8) != 0)
        return cf_fail_reason(CF_ERR_FORMAT, "magic", "the pack's end is missing: it was cut or never finished");
    if (zero != 0) return cf_fail_reason(CF_ERR_FORMAT, "reserved", "pack trailer: reserved field is %u", zero);
    if (extents < EXTENTS_MIN || extents > EXTENTS_MAX)
        return cf_fail_reason(CF_ERR_FORMAT, "count", "a pack of %u extents", extents);
    uint64_t tail = (uint64_t)extents * CF_EXTENT_SIZE + CF_PACK_TRAILER_SIZE;
    if (object_size < CF_PACK_HEADER_SIZE + tail || offset != object_size - tail)
        return cf_fail_reason(CF_ERR_FORMAT, "size", "pack trailer: table at %llu of %llu bytes does not fit",
                              (unsigned long long)offset, (unsigned long long)object_size);
    *table_offset = offset;
    *count = extents;
    return NULL;
}

static int by_offset(const void *left, const void *right) {
    const cf_extent *a = left, *b = right;
    return (a->offset > b->offset) - (a->offset < b->offset);
}

/* Do extents lie between header and table without overlapping? A sorted copy is looked at: compaction may
 * store segments in another order than their numbers'. */
static cf_err *check_places(const cf_extent *extents, size_t count, uint64_t table_offset) {
    CF_AUTO_FREE cf_extent *sorted = malloc(count * sizeof *sorted);
    if (!sorted) return cf_fail(CF_ERR_OUT_OF_MEMORY, "an extent table");
    memcpy(sorted, extents, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, by_offset);
    uint64_t end = CF_PACK_HEADER_SIZE;
    for (size_t i = 0; i < count; i++) {
        const cf_extent *extent = &sorted[i];
        if (extent->offset < end || extent->offset > table_offset || extent->length > table_offset - extent->offset)
            return cf_fail_reason(CF_ERR_FORMAT, "extent", "pack: extent of segment %u overlaps or lies outside",
                                  extent->segment);
        end = extent->offset + extent->length;
    }
    return NULL;
}

static cf_err *decode_table(cf_cursor *cursor, cf_extent *extents, size_t count) {
    uint32_t next = 0;
    for (size_t i = 0; i < count; i++) {
        cf_extent *extent = &extents[i];
        extent->segment = cf_cursor_u16(cursor);
        uint16_t zero = cf_cursor_u16(cursor);
        extent->length = cf_cursor_u32(cursor);
        extent->offset = cf_cursor_u64(cursor);
        cf_cursor_copy(cursor, extent->xxh3, 16);
        CF_TRY(cf_cursor_check(cursor, CF_ERR_FORMAT, "extent table"));
        bool last = i + 1 == count;
        bool placed = last ? extent->segment == CF_SEGMENT_DIRECTORY
                           : extent->segment >= next && extent->segment < CF_SEGMENTS_MAX;
        if (!placed || zero != 0 || extent->length == 0)
            return cf_fail_reason(CF_ERR_FORMAT, "extent", "pack: extent %zu (segment %u) is out of order or empty", i,
                                  extent->segment);
        next = extent->segment + 1u;
    }
    return NULL;
}

cf_err *cf_pack_tail_decode(cf_span header, cf_span tail, uint64_t object_size, cf_extent **extents, size_t *count) {
    if (header.size != CF_PACK_HEADER_SIZE || tail.size < CF_PACK_TRAILER_SIZE || tail.size > object_size)
        return cf_fail_reason(CF_ERR_FORMAT, "truncated", "a pack's tail of %zu bytes", tail.size);
    cf_span trailer = cf_span_of(tail.data + tail.size - CF_PACK_TRAILER_SIZE, CF_PACK_TRAILER_SIZE);
    uint64_t table_offset;
    uint32_t number;
    CF_TRY(cf_pack_trailer_decode(trailer, object_size, &table_offset, &number));
    if (object_size - table_offset != tail.size)
        return cf_fail_reason(CF_ERR_FORMAT, "size", "a pack's tail of %zu bytes for %u extents", tail.size, number);
    uint8_t sum[16];
    size_t table_size = tail.size - CF_PACK_TRAILER_SIZE;
    CF_TRY(sum_of(header, cf_span_of(tail.data, table_size + SUMMED_OF_TRAILER), sum));
    if (memcmp(sum, trailer.data + SUMMED_OF_TRAILER, 16) != 0)
        return cf_fail_reason(CF_ERR_FORMAT, "sum", "the pack's header or extent table is damaged");
    CF_AUTO_FREE cf_extent *made = calloc(number, sizeof *made);
    if (!made) return cf_fail(CF_ERR_OUT_OF_MEMORY, "an extent table");
    cf_cursor cursor = cf_cursor_of(cf_span_of(tail.data, table_size));
    CF_TRY(decode_table(&cursor, made, number));
    CF_TRY(check_places(made, number, table_offset));
    *extents = cf_take(made);
    *count = number;
    return NULL;
}
