/* The stored form of a liveness map (format, section 9). */
#include <stdlib.h>

#include "visible/map_internal.h"

enum { VERSION = 1, FLAG_DELTA = 1, FLAG_EXACT = 2, FLAG_FILL = 4, FLAGS = 7, CHAIN_MAX = 8 };
enum { CODE_NONE = 0, CODE_ALL = 1, CODE_RANGES = 2, CODE_MASK = 3, MASK_MAX = 8192, PACKS_MAX = 16777216 };
enum { BITSETS_MAX = 64 << 20 }; /* memory for the bit sets of a decoded map, besides the size of its input */

static size_t varint_size(uint64_t value) {
    size_t size = 1;
    for (; value >= 0x80; value >>= 7) size++;
    return size;
}

typedef struct run { /* walks over the ranges of live segments */
    uint32_t first, length, gap, end;
} run;

static bool next_run(const cf_live *live, run *at) {
    uint32_t first = cf_live_next(live, at->end);
    if (first >= CF_SEGMENTS_MAX) return false;
    uint32_t end = cf_live_gap(live, first);
    *at = (run){.first = first, .length = end - first, .gap = first - at->end, .end = end};
    return true;
}

struct shape { /* what decides which code is shortest */
    uint32_t runs, end;
    size_t ranges_size; /* without the count */
};

static struct shape shape_of(const cf_live *live) {
    struct shape made = {0};
    for (run at = {0}; next_run(live, &at); made.end = at.end) {
        made.runs++;
        made.ranges_size += varint_size(at.gap) + varint_size(at.length);
    }
    return made;
}

static void put_mask(const cf_live *live, uint32_t size, cf_buf *out) {
    cf_buf_put_varint(out, size);
    for (uint32_t i = 0; i < size; i++) cf_buf_put_u8(out, (uint8_t)(cf_live_word(live, i / 8) >> (8 * (i % 8))));
}

static void put_live(const cf_live *live, cf_buf *out) {
    struct shape shape = shape_of(live);
    uint32_t mask_size = (shape.end + 7) / 8;
    if (shape.end == live->live) {
        cf_buf_put_u8(out, CODE_ALL);
        cf_buf_put_varint(out, live->live);
    } else if (varint_size(shape.runs) + shape.ranges_size <= varint_size(mask_size) + mask_size) {
        cf_buf_put_u8(out, CODE_RANGES);
        cf_buf_put_varint(out, shape.runs);
        for (run at = {0}; next_run(live, &at);) {
            cf_buf_put_varint(out, at.gap);
            cf_buf_put_varint(out, at.length);
        }
    } else {
        cf_buf_put_u8(out, CODE_MASK);
        put_mask(live, mask_size, out);
    }
}

static void put_fill(const cf_live *live, cf_map_fill fill, void *context, cf_buf *out) {
    unsigned byte = 0, used = 0;
    for (uint32_t s = cf_live_next(live, 0); s < CF_SEGMENTS_MAX; s = cf_live_next(live, s + 1)) {
        byte |= (fill(context, live->pack, (uint16_t)s) & 3u) << used;
        used += 2;
        if (used < 8) continue;
        cf_buf_put_u8(out, (uint8_t)byte);
        byte = used = 0;
    }
    if (used) cf_buf_put_u8(out, (uint8_t)byte);
}

/* A difference to the base, pack by pack: live (NULL: gone) replaces what the base has. */
struct change {
    const cf_live *live;
    uint64_t pack;
};

struct walk {                 /* both maps, in step */
    const cf_map *map, *base; /* base may be NULL */
    size_t at_map, at_base;
    const cf_live *next, *old;
};

static struct walk walk_of(const cf_map *map, const cf_map *base) {
    struct walk made = {.map = map, .base = base};
    made.next = cf_map_next(map, &made.at_map);
    if (base) made.old = cf_map_next(base, &made.at_base);
    return made;
}

static bool next_change(struct walk *walk, struct change *change) {
    for (;;) {
        const cf_live *next = walk->next, *old = walk->old;
        if (!next && !old) return false;
        bool take_next = next && (!old || next->pack <= old->pack);
        bool take_old = old && (!next || old->pack <= next->pack);
        if (take_next) walk->next = cf_map_next(walk->map, &walk->at_map);
        if (take_old) walk->old = cf_map_next(walk->base, &walk->at_base);
        if (take_next && take_old && cf_live_equal(next, old)) continue;
        *change = (struct change){.live = take_next ? next : NULL, .pack = take_next ? next->pack : old->pack};
        return true;
    }
}

static cf_err *put_header(const cf_map_header *header, const cf_map *base, cf_map_fill fill, cf_buf *out) {
    bool chain_fits = header->delta ? header->chain >= 1 && header->chain <= CHAIN_MAX : header->chain == 0;
    if (header->delta != (base != NULL) || !chain_fits)
        return cf_fail(CF_ERR_INTERNAL, "liveness map: delta %d, chain %u", header->delta, header->chain);
    cf_buf_put_u8(out, VERSION);
    cf_buf_put_u8(
        out, (uint8_t)((header->delta ? FLAG_DELTA : 0) | (header->exact ? FLAG_EXACT : 0) | (fill ? FLAG_FILL : 0)));
    if (header->delta) {
        cf_buf_put(out, header->base.bytes, 32);
        cf_buf_put_u8(out, header->chain);
    }
    return NULL;
}

cf_err *cf_map_encode(const cf_map *map, const cf_map_header *header, const cf_map *base, cf_map_fill fill,
                      void *context, cf_buf *out) {
    CF_TRY(put_header(header, base, fill, out));
    size_t count = 0;
    struct change change;
    for (struct walk walk = walk_of(map, base); next_change(&walk, &change);) count++;
    if (count > PACKS_MAX) return cf_fail(CF_ERR_TOO_LARGE, "liveness map: %zu packs", count);
    cf_buf_put_varint(out, count);
    uint64_t before = 0;
    for (struct walk walk = walk_of(map, base); next_change(&walk, &change);) {
        cf_buf_put_varint(out, change.pack - before);
        before = change.pack;
        if (!change.live) {
            cf_buf_put_u8(out, CODE_NONE);
            continue;
        }
        put_live(change.live, out);
        if (fill) put_fill(change.live, fill, context, out);
    }
    return cf_buf_check(out, "liveness map");
}

static cf_err *take_header(cf_cursor *cursor, cf_map_header *header) {
    cf_map_header made = {0};
    uint8_t version = cf_cursor_u8(cursor);
    uint8_t flags = cf_cursor_u8(cursor);
    CF_TRY(cf_cursor_check(cursor, CF_ERR_FORMAT, "liveness map"));
    if (version != VERSION)
        return cf_fail_reason(CF_ERR_FORMAT_VERSION, "version", "liveness map of version %u", version);
    if (flags & ~FLAGS) return cf_fail_reason(CF_ERR_FORMAT, "flags", "liveness map: flags %u", flags);
    made.delta = flags & FLAG_DELTA;
    made.exact = flags & FLAG_EXACT;
    made.has_fill = flags & FLAG_FILL;
    if (made.delta) {
        cf_cursor_copy(cursor, made.base.bytes, 32);
        made.chain = cf_cursor_u8(cursor);
        CF_TRY(cf_cursor_check(cursor, CF_ERR_FORMAT, "liveness map"));
        if (made.chain < 1 || made.chain > CHAIN_MAX)
            return cf_fail_reason(CF_ERR_FORMAT, "chain", "liveness map: chain of %u", made.chain);
    }
    *header = made;
    return NULL;
}

cf_err *cf_map_peek(cf_span bytes, cf_map_header *header) {
    cf_cursor cursor = cf_cursor_of(bytes);
    return take_header(&cursor, header);
}

/* Decoding of one pack's segments. What a few bytes of ranges can ask for in memory is counted. */
struct decoder {
    cf_cursor cursor;
    size_t memory_left;
    bool no_memory, too_large;
};

static size_t words_of(const cf_live *live) {
    return live->form == CF_LIVE_WORDS ? live->word_count : 0;
}

/* After an addition to live, which had that many words and which added says whether it had memory for. */
static void count_memory(struct decoder *decoder, const cf_live *live, size_t before, bool added) {
    size_t grown = (words_of(live) - before) * sizeof(uint64_t);
    if (!added) decoder->no_memory = true;
    if (grown > decoder->memory_left) decoder->too_large = true;
    decoder->memory_left -= grown < decoder->memory_left ? grown : decoder->memory_left;
}

static void take_range(struct decoder *decoder, cf_live *live, uint32_t first, uint32_t length) {
    size_t before = words_of(live);
    count_memory(decoder, live, before, cf_live_add_range(live, first, length));
}

static void take_ranges(struct decoder *decoder, cf_live *live) {
    uint32_t count = (uint32_t)cf_cursor_varint_max(&decoder->cursor, CF_SEGMENTS_MAX / 2), end = 0;
    if (count == 0) cf_cursor_fail(&decoder->cursor);
    for (uint32_t i = 0; i < count && !decoder->cursor.failed && !decoder->no_memory; i++) {
        uint32_t gap = (uint32_t)cf_cursor_varint_max(&decoder->cursor, CF_SEGMENTS_MAX - end);
        uint32_t length = (uint32_t)cf_cursor_varint_max(&decoder->cursor, CF_SEGMENTS_MAX - end - gap);
        if (length == 0 || (i > 0 && gap == 0)) cf_cursor_fail(&decoder->cursor);
        if (decoder->cursor.failed) return;
        take_range(decoder, live, end + gap, length);
        end += gap + length;
    }
}

static void take_mask(struct decoder *decoder, cf_live *live) {
    cf_span mask = cf_cursor_bytes(&decoder->cursor, MASK_MAX);
    if (mask.size == 0 || mask.data[mask.size - 1] == 0) {
        cf_cursor_fail(&decoder->cursor);
        return;
    }
    size_t before = words_of(live);
    bool added = true;
    for (size_t i = (mask.size + 7) / 8; i-- > 0 && added;) { /* highest first: one allocation */
        uint64_t bits = 0;
        for (size_t k = 8; k-- > 0;) bits = bits << 8 | (8 * i + k < mask.size ? mask.data[8 * i + k] : 0);
        if (i == MASK_MAX / 8 - 1 && bits >> 62) cf_cursor_fail(&decoder->cursor); /* no segments' numbers */
        if (decoder->cursor.failed) return;
        added = cf_live_or(live, (uint32_t)i, bits);
    }
    count_memory(decoder, live, before, added);
}

static void take_fill(struct decoder *decoder, const cf_live *live) {
    size_t size = (live->live + 3) / 4;
    cf_span classes = cf_cursor_take(&decoder->cursor, size);
    unsigned used = live->live % 4 * 2;
    if (classes.size && used && classes.data[size - 1] >> used) cf_cursor_fail(&decoder->cursor);
}

static cf_err *take_live(struct decoder *decoder, const cf_map_header *header, cf_live *live) {
    uint8_t code = cf_cursor_u8(&decoder->cursor);
    switch (code) {
    case CODE_NONE:
        if (!header->delta) cf_cursor_fail(&decoder->cursor);
        break;
    case CODE_ALL: {
        uint32_t count = (uint32_t)cf_cursor_varint_max(&decoder->cursor, CF_SEGMENTS_MAX);
        if (count == 0) cf_cursor_fail(&decoder->cursor);
        if (!decoder->cursor.failed) take_range(decoder, live, 0, count);
        break;
    }
    case CODE_RANGES:
        take_ranges(decoder, live);
        break;
    case CODE_MASK:
        take_mask(decoder, live);
        break;
    default:
        return cf_fail_reason(CF_ERR_FORMAT, "code", "liveness map: code %u", code);
    }
    if (header->has_fill && code != CODE_NONE && !decoder->cursor.failed) take_fill(decoder, live);
    CF_TRY(cf_cursor_check(&decoder->cursor, CF_ERR_FORMAT, "liveness map"));
    if (decoder->no_memory) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a liveness map");
    if (decoder->too_large) return cf_fail(CF_ERR_TOO_LARGE, "liveness map: its bit sets need too much memory");
    return NULL;
}

/* Base packs below limit go over unchanged; then *at stands at the first that is not. */
static cf_err *copy_until(cf_map *map, const cf_map *base, size_t *cursor, const cf_live **at, uint64_t limit) {
    while (*at && (*at)->pack < limit) {
        if (!cf_map_append_copy(map, *at)) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a liveness map");
        *at = cf_map_next(base, cursor);
    }
    return NULL;
}

static cf_err *take_pack(struct decoder *decoder, const cf_map_header *header, uint64_t pack, bool in_base,
                         cf_map *map) {
    cf_live live = {.pack = pack};
    cf_err *err = take_live(decoder, header, &live);
    if (!err && live.live == 0 && !in_base)
        err = cf_fail_reason(CF_ERR_FORMAT, "base", "liveness map: pack %llu, to be removed, is not in the base",
                             (unsigned long long)pack);
    if (!err && live.live > 0 && !cf_map_append(map, &live)) err = cf_fail(CF_ERR_OUT_OF_MEMORY, "a liveness map");
    if (err) cf_live_wipe(&live);
    return err;
}

static cf_err *take_packs(struct decoder *decoder, const cf_map *base, const cf_map_header *header, cf_map *map) {
    uint64_t count = cf_cursor_varint_max(&decoder->cursor, PACKS_MAX);
    CF_TRY(cf_cursor_check(&decoder->cursor, CF_ERR_FORMAT, "liveness map"));
    size_t base_cursor = 0;
    const cf_live *old = base ? cf_map_next(base, &base_cursor) : NULL;
    uint64_t pack = 0;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t step = cf_cursor_varint_max(&decoder->cursor, CF_PACK_NUMBER_MAX - pack);
        CF_TRY(cf_cursor_check(&decoder->cursor, CF_ERR_FORMAT, "liveness map"));
        if (step == 0) return cf_fail_reason(CF_ERR_FORMAT, "order", "liveness map: packs do not ascend");
        pack += step;
        CF_TRY(copy_until(map, base, &base_cursor, &old, pack));
        bool in_base = old && old->pack == pack;
        if (in_base) old = cf_map_next(base, &base_cursor);
        CF_TRY(take_pack(decoder, header, pack, in_base, map));
    }
    CF_TRY(copy_until(map, base, &base_cursor, &old, UINT64_MAX));
    if (cf_map_pack_count(map) > PACKS_MAX) return cf_fail(CF_ERR_TOO_LARGE, "liveness map: too many packs");
    return cf_cursor_done(&decoder->cursor, CF_ERR_FORMAT, "liveness map");
}

cf_err *cf_map_decode(cf_span bytes, const cf_map *base, cf_map_header *header, cf_map **map) {
    struct decoder decoder = {.cursor = cf_cursor_of(bytes), .memory_left = BITSETS_MAX + bytes.size};
    cf_map_header made_header;
    CF_TRY(take_header(&decoder.cursor, &made_header));
    if (made_header.delta != (base != NULL))
        return cf_fail_reason(CF_ERR_FORMAT, "base", "liveness map: a base is given exactly for a delta");
    CF_AUTO(cf_map) made = NULL;
    CF_TRY(cf_map_new(&made));
    CF_TRY(take_packs(&decoder, base, &made_header, made));
    *header = made_header;
    *map = cf_take(made);
    return NULL;
}
