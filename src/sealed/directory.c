#include "sealed/segment.h"

/* What the limits of a segment, a chunk and a pack say about one more chunk. */
typedef struct tally {
    size_t chunks;
    uint32_t in_segment; /* bytes of the chunks so far */
} tally;

static bool add_chunk(tally *sums, uint64_t length) {
    if (length < 1 || length > CF_CHUNK_MAX - sums->in_segment || sums->chunks >= CF_PACK_CHUNKS_MAX) return false;
    sums->in_segment += (uint32_t)length;
    sums->chunks++;
    return true;
}

/* How many of entries, from at on, belong to the segment of the first. */
static size_t run_length(const cf_directory_entry *entries, size_t at, size_t count) {
    size_t end = at + 1;
    while (end < count && entries[end].segment == entries[at].segment) end++;
    return end - at;
}

cf_err *cf_directory_encode(const cf_directory_entry *entries, size_t count, cf_buf *out) {
    size_t segments = 0;
    for (size_t i = 0; i < count; i += run_length(entries, i, count)) segments++;
    if (segments < 1) return cf_fail(CF_ERR_INTERNAL, "an empty pack directory");
    cf_buf_put_varint(out, segments);
    tally sums = {0};
    for (size_t i = 0; i < count;) {
        size_t run = run_length(entries, i, count);
        if (entries[i].segment >= CF_SEGMENTS_MAX || (i > 0 && entries[i].segment <= entries[i - 1].segment))
            return cf_fail(CF_ERR_INTERNAL, "pack directory: segment %u out of order", entries[i].segment);
        cf_buf_put_varint(out, entries[i].segment);
        cf_buf_put_varint(out, run);
        sums.in_segment = 0;
        for (size_t end = i + run; i < end; i++) {
            if (entries[i].offset != sums.in_segment || !add_chunk(&sums, entries[i].length))
                return cf_fail(CF_ERR_INTERNAL, "pack directory: chunk %zu at %u, %u bytes", i, entries[i].offset,
                               entries[i].length);
            cf_buf_put(out, entries[i].id.bytes, 32);
            cf_buf_put_varint(out, entries[i].length);
        }
    }
    return cf_buf_check(out, "pack directory");
}

/* One pass over the directory: counts into sums; entries (NULL: only check) receives the chunks. */
static bool walk(cf_span raw, cf_directory_entry *entries, tally *sums) {
    cf_cursor cursor = cf_cursor_of(raw);
    uint64_t segments = cf_cursor_varint_max(&cursor, CF_SEGMENTS_MAX);
    if (segments < 1) return false;
    uint64_t next = 0;
    for (uint64_t s = 0; s < segments; s++) {
        uint64_t number = cf_cursor_varint_max(&cursor, CF_SEGMENTS_MAX - 1);
        uint64_t chunks = cf_cursor_varint_max(&cursor, CF_PACK_CHUNKS_MAX);
        if (cursor.failed || number < next || chunks < 1) return false;
        next = number + 1;
        sums->in_segment = 0;
        for (uint64_t c = 0; c < chunks; c++) {
            cf_directory_entry entry = {.segment = (uint16_t)number, .offset = sums->in_segment};
            cf_cursor_copy(&cursor, entry.id.bytes, 32);
            entry.length = (uint32_t)cf_cursor_varint_max(&cursor, CF_CHUNK_MAX);
            if (cursor.failed || !add_chunk(sums, entry.length)) return false;
            if (entries) entries[sums->chunks - 1] = entry;
        }
    }
    return cf_cursor_left(&cursor) == 0;
}

cf_err *cf_directory_decode(cf_span raw, cf_directory_entry **entries, size_t *count) {
    tally first = {0}, second = {0};
    if (raw.size > CF_DIRECTORY_RAW_MAX || !walk(raw, NULL, &first))
        return cf_fail_reason(CF_ERR_FORMAT, "directory", "a pack directory of %zu bytes is not well-formed", raw.size);
    CF_AUTO_FREE cf_directory_entry *made = malloc(first.chunks * sizeof *made);
    if (!made) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a pack directory");
    (void)walk(raw, made, &second); /* the same bytes, seen to be good */
    *entries = cf_take(made);
    *count = first.chunks;
    return NULL;
}
