#include "service/packcheck.h"

#include <stdlib.h>

#include "digest/digest.h"

#define BLOCK ((size_t)1 << 20)
#define TAIL_MAX (CF_EXTENT_SIZE * (size_t)(CF_SEGMENTS_MAX + 1) + CF_PACK_TRAILER_SIZE)

void cf_pack_frame_wipe(cf_pack_frame *frame) {
    cf_buf_wipe(&frame->tail);
    free(frame->extents);
    frame->extents = NULL;
}

static cf_err *read_exact(cf_object_reader *reader, uint64_t offset, void *out, size_t size) {
    size_t got = 0;
    CF_TRY(cf_object_reader_read(reader, offset, out, size, &got));
    return got == size ? NULL : cf_fail_reason(CF_ERR_FORMAT, "truncated", "the pack ends early");
}

cf_err *cf_pack_frame_read(cf_object_reader *reader, cf_pack_frame *frame) {
    return cf_pack_frame_read_at(reader, 0, cf_object_reader_size(reader), frame);
}

cf_err *cf_pack_frame_read_at(cf_object_reader *reader, uint64_t base, uint64_t pack_size, cf_pack_frame *frame) {
    uint8_t trailer[CF_PACK_TRAILER_SIZE];
    uint64_t table = 0;
    uint32_t count = 0;
    frame->size = pack_size;
    cf_buf_init(&frame->tail, TAIL_MAX);
    if (frame->size < CF_PACK_HEADER_SIZE + sizeof trailer || frame->size > CF_PACK_MAX)
        return cf_fail_reason(CF_ERR_FORMAT, "size", "a pack of %llu bytes", (unsigned long long)frame->size);
    CF_TRY(read_exact(reader, base, frame->header_bytes, sizeof frame->header_bytes));
    CF_TRY(cf_pack_header_decode(cf_span_of(frame->header_bytes, sizeof frame->header_bytes), &frame->header));
    CF_TRY(read_exact(reader, base + frame->size - sizeof trailer, trailer, sizeof trailer));
    CF_TRY(cf_pack_trailer_decode(cf_span_of(trailer, sizeof trailer), frame->size, &table, &count));
    if (table > frame->size || frame->size - table > TAIL_MAX)
        return cf_fail_reason(CF_ERR_FORMAT, "range", "the pack's extent table is out of bounds");
    size_t size = (size_t)(frame->size - table);
    uint8_t *room = cf_buf_reserve(&frame->tail, size);
    if (!room) return cf_buf_check(&frame->tail, "an extent table");
    CF_TRY(read_exact(reader, base + table, room, size));
    frame->tail.size = size;
    return cf_pack_tail_decode(cf_span_of(frame->header_bytes, sizeof frame->header_bytes), cf_buf_span(&frame->tail),
                               frame->size, &frame->extents, &frame->count);
}

static int compare_offsets(const void *a, const void *b) {
    const cf_extent *left = a, *right = b;
    return left->offset < right->offset ? -1 : left->offset > right->offset;
}

/* State of one pass over the object; extents are in the order of their offsets. */
typedef struct pass {
    const cf_extent *extents;
    size_t count, at;
    cf_xxh3_stream *whole, *one;
    cf_pack_bad bad;
    void *context;
} pass;

static cf_err *end_extent(pass *state) {
    uint8_t sum[16];
    const cf_extent *extent = &state->extents[state->at];
    cf_xxh3_stream_end(state->one, sum);
    if (memcmp(sum, extent->xxh3, 16) != 0) CF_TRY(state->bad(state->context, extent));
    cf_xxh3_stream_reset(state->one);
    state->at++;
    return NULL;
}

static cf_err *add_block(pass *state, uint64_t offset, const uint8_t *data, size_t size) {
    cf_xxh3_stream_add(state->whole, cf_span_of(data, size));
    uint64_t end = offset + size;
    while (state->at < state->count) {
        const cf_extent *extent = &state->extents[state->at];
        uint64_t from = extent->offset > offset ? extent->offset : offset;
        uint64_t last = extent->offset + extent->length, to = last < end ? last : end;
        if (from < to) cf_xxh3_stream_add(state->one, cf_span_of(data + (from - offset), (size_t)(to - from)));
        if (last > end) break;
        CF_TRY(end_extent(state));
    }
    return NULL;
}

static cf_err *run_pass(cf_object_reader *reader, uint64_t base, uint64_t size, pass *state, uint8_t *block) {
    for (uint64_t offset = 0; offset < size;) {
        size_t step = size - offset < BLOCK ? (size_t)(size - offset) : BLOCK;
        CF_TRY(read_exact(reader, base + offset, block, step));
        CF_TRY(add_block(state, offset, block, step));
        offset += step;
    }
    return NULL;
}

static cf_err *refuse(void *context, const cf_extent *extent) {
    (void)context;
    return cf_fail_reason(CF_ERR_UPLOAD_REFUSED, "extent", "segment %u does not have the sum that the pack says",
                          extent->segment);
}

cf_err *cf_pack_frame_verify(cf_object_reader *reader, const cf_pack_frame *frame, uint8_t xxh3[16]) {
    return cf_pack_frame_examine(reader, 0, frame, refuse, NULL, xxh3);
}

cf_err *cf_pack_frame_examine(cf_object_reader *reader, uint64_t base, const cf_pack_frame *frame, cf_pack_bad bad,
                              void *context, uint8_t xxh3[16]) {
    CF_AUTO(cf_xxh3_stream) whole = NULL;
    CF_AUTO(cf_xxh3_stream) one = NULL;
    CF_AUTO_FREE uint8_t *block = malloc(BLOCK);
    CF_AUTO_FREE cf_extent *sorted = calloc(frame->count ? frame->count : 1, sizeof *sorted);
    if (!block || !sorted) return cf_fail(CF_ERR_OUT_OF_MEMORY, "checking a pack");
    if (frame->count) memcpy(sorted, frame->extents, frame->count * sizeof *sorted);
    qsort(sorted, frame->count, sizeof *sorted, compare_offsets);
    CF_TRY(cf_xxh3_stream_new(&whole));
    CF_TRY(cf_xxh3_stream_new(&one));
    pass state = {sorted, frame->count, 0, whole, one, bad, context};
    CF_TRY(run_pass(reader, base, frame->size, &state, block));
    cf_xxh3_stream_end(whole, xxh3);
    return NULL;
}

cf_pack_row cf_pack_frame_row(const cf_pack_frame *frame, const uint8_t xxh3[16]) {
    cf_pack_row row = {.server = frame->header.server,
                       .session = frame->header.session,
                       .number = frame->header.number,
                       .size = frame->size,
                       .kind = frame->header.kind,
                       .segments = (uint32_t)(frame->count - 1)};
    memcpy(row.xxh3, xxh3, 16);
    /* Ascending, the directory last: without gaps exactly when the last has the number count - 2. */
    row.gaps = frame->count < 2 || frame->extents[frame->count - 2].segment != frame->count - 2;
    return row;
}
