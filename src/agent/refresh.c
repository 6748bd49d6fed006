#include "agent/refresh.h"

#include <stdlib.h>
#include <string.h>

#include "sealed/node.h"

enum {
    PARTS = 16,
    PART = CF_SEGMENT_RAW_MAX / PARTS,
    UNIT = 8, /* counters count so many bytes as one */
    SHARES = 256,
    LAST_SEGMENTS = 4,
    FULL_MIN =
        CF_SEGMENT_RAW_MAX / 8 * 7, /* what a segment has on average that was closed because a chunk did not fit */
    MATTERS_PERCENT = 120,
    MATTERS_SEGMENTS = 8,
};

typedef struct used { /* of a segment */
    uint16_t parts;   /* that live chunks touch */
    uint16_t end;     /* units: behind the last of them; the segment is at least so large */
    uint16_t live;    /* units of live chunks, each reference counted: an upper bound */
} used;

typedef struct counters { /* of a pack's counters */
    uint64_t pack;
    size_t first;
    uint32_t room; /* segments */
} counters;

struct cf_usage {
    counters *packs; /* ascending */
    size_t pack_count;
    used *table;
    size_t room;
    uint64_t segments; /* live ones that have counters */
    size_t recent;
};

/* The packs' places, until there are too many segments. */
static void lay_out(cf_usage *usage, const cf_map *map) {
    size_t cursor = 0;
    uint64_t pack;
    while (cf_map_next_pack(map, &cursor, &pack)) {
        uint32_t segment = 0, end = 0;
        uint64_t count = 0;
        while (cf_map_next_segment(map, pack, &segment)) {
            end = ++segment;
            count++;
        }
        if (usage->room + end > CF_REFRESH_SEGMENTS) return;
        usage->packs[usage->pack_count++] = (counters){pack, usage->room, end};
        usage->room += end;
        usage->segments += count;
    }
}

cf_err *cf_usage_new(const cf_map *map, cf_usage **out) {
    CF_AUTO(cf_usage) usage = calloc(1, sizeof *usage);
    if (usage) usage->packs = calloc(cf_map_pack_count(map) + 1, sizeof *usage->packs);
    if (usage && usage->packs) lay_out(usage, map);
    if (usage && usage->packs) usage->table = calloc(usage->room + 1, sizeof *usage->table);
    if (!usage || !usage->table) return cf_fail(CF_ERR_OUT_OF_MEMORY, "counting what is used");
    *out = cf_take(usage);
    return NULL;
}

void cf_usage_free(cf_usage *usage) {
    if (!usage) return;
    free(usage->packs);
    free(usage->table);
    free(usage);
}

/* NULL: the segment has no counters. */
static used *find(cf_usage *usage, uint64_t pack, uint16_t segment) {
    if (usage->pack_count == 0) return NULL;
    if (usage->packs[usage->recent].pack != pack) {
        size_t low = 0, high = usage->pack_count - 1;
        while (low < high) {
            size_t middle = low + (high - low) / 2;
            if (usage->packs[middle].pack < pack)
                low = middle + 1;
            else
                high = middle;
        }
        usage->recent = low;
    }
    const counters *at = &usage->packs[usage->recent];
    return at->pack == pack && segment < at->room ? &usage->table[at->first + segment] : NULL;
}

static uint16_t units(uint64_t bytes) {
    uint64_t count = (bytes + UNIT - 1) / UNIT;
    return count > UINT16_MAX ? UINT16_MAX : (uint16_t)count;
}

void cf_usage_add_between(cf_usage *usage, uint64_t pack, uint16_t segment, uint32_t start, uint32_t end,
                          uint32_t bytes) {
    used *at = find(usage, pack, segment);
    if (!at || start >= end || end > CF_SEGMENT_RAW_MAX) return;
    for (uint32_t part = start / PART; part * PART < end; part++) at->parts |= (uint16_t)(1u << part);
    if (units(end) > at->end) at->end = units(end);
    at->live = units((uint64_t)at->live * UNIT + bytes);
}

void cf_usage_add(cf_usage *usage, uint64_t pack, uint16_t segment, uint32_t offset, uint32_t length) {
    if (offset >= CF_SEGMENT_RAW_MAX || length > CF_SEGMENT_RAW_MAX - offset) return;
    cf_usage_add_between(usage, pack, segment, offset, offset + length, length);
}

static uint64_t end_bytes(const used *at) {
    return (uint64_t)at->end * UNIT;
}

/* The lesser of two upper bounds: parts that are touched, and lengths of references. */
static uint64_t live_bytes(const used *at) {
    uint64_t touched = (uint64_t)__builtin_popcount(at->parts) * PART, live = (uint64_t)at->live * UNIT;
    if (touched < live) live = touched;
    return live < end_bytes(at) ? live : end_bytes(at);
}

static void totals(const cf_usage *usage, uint64_t *read, uint64_t *live) {
    *read = *live = 0;
    for (size_t i = 0; i < usage->room; i++) {
        *read += end_bytes(&usage->table[i]);
        *live += live_bytes(&usage->table[i]);
    }
}

unsigned cf_usage_amplification(const cf_usage *usage) {
    uint64_t read, live;
    totals(usage, &read, &live);
    return live ? (unsigned)(read * 100 / live) : 100;
}

uint8_t cf_usage_class(void *context, uint64_t pack, uint16_t segment) {
    const used *at = find(context, pack, segment);
    if (!at || at->end == 0) return 3;
    uint64_t quarter = live_bytes(at) * 4 / end_bytes(at);
    return quarter > 3 ? 3 : (uint8_t)quarter;
}

/* How full it is, in SHARES parts of two thirds; SHARES: fuller, or not in use at all. While reading takes more than 1.5 times the
 * point's bytes, some are not so full. */
static unsigned share(const used *at) {
    uint64_t live = live_bytes(at), end = end_bytes(at);
    return end && live * 3 < end * 2 ? (unsigned)(live * 3 * SHARES / (end * 2)) : SHARES;
}

/* Up to which share all may be stored again within the budget; *left is for those of the next one. */
static unsigned limit_share(const cf_usage *usage, uint64_t budget, uint64_t *left) {
    uint64_t live[SHARES] = {0};
    for (size_t i = 0; i < usage->room; i++) {
        unsigned at = share(&usage->table[i]);
        if (at < SHARES) live[at] += live_bytes(&usage->table[i]);
    }
    unsigned limit = 0;
    for (; limit < SHARES && live[limit] <= budget; limit++) budget -= live[limit];
    *left = budget;
    return limit;
}

static cf_err *choose(const cf_usage *usage, unsigned limit, uint64_t left, cf_map **chosen) {
    for (size_t i = 0; i < usage->pack_count; i++) {
        for (uint32_t segment = 0; segment < usage->packs[i].room; segment++) {
            const used *at = &usage->table[usage->packs[i].first + segment];
            unsigned part = share(at);
            if (part == SHARES || part > limit || (part == limit && live_bytes(at) > left)) continue;
            if (part == limit) left -= live_bytes(at);
            if (!*chosen) CF_TRY(cf_map_new(chosen));
            CF_TRY(cf_map_add(*chosen, usage->packs[i].pack, (uint16_t)segment));
        }
    }
    return NULL;
}

cf_err *cf_usage_sparse(const cf_usage *usage, cf_map **segments) {
    CF_AUTO(cf_map) chosen = NULL;
    uint64_t read, live, left;
    *segments = NULL;
    totals(usage, &read, &live);
    if (live == 0 || read * 100 <= live * CF_REFRESH_AMPLIFICATION) return NULL;
    unsigned limit = limit_share(usage, live * CF_REFRESH_SHARE / 100, &left);
    CF_TRY(choose(usage, limit, left, &chosen));
    *segments = cf_take(chosen);
    return NULL;
}

/* ---- From the tree cache ---- */

typedef struct walk {
    cf_cache *cache;
    cf_usage *usage;
    cf_block_place *stack;
    size_t depth, room;
    cf_xattr *xattrs;
} walk;

static cf_err *push(walk *at, cf_block_place place) {
    if (at->depth == at->room) {
        size_t room = at->room ? 2 * at->room : 64;
        cf_block_place *grown = reallocarray(at->stack, room, sizeof *grown);
        if (!grown) return cf_fail(CF_ERR_OUT_OF_MEMORY, "counting what is used");
        at->stack = grown;
        at->room = room;
    }
    at->stack[at->depth++] = place;
    return NULL;
}

/* Nothing closer is known: they count as used in full. */
static void add_pairs(cf_usage *usage, cf_span pairs) {
    cf_cursor cursor = cf_cursor_of(pairs);
    uint64_t pack;
    uint16_t segment;
    while (cf_pairs_next(&cursor, &pack, &segment)) cf_usage_add(usage, pack, segment, 0, CF_SEGMENT_RAW_MAX);
}

/* Of a file of many chunks the cache has no references, but what it uses of each segment, for the last `count` pairs. */
static void add_listed(cf_usage *usage, cf_span pairs) {
    cf_cursor at = cf_cursor_of(pairs), uses = at;
    uint64_t pack, total = 0;
    uint16_t segment;
    uint32_t count;
    while (cf_pairs_next(&uses, &pack, &segment)) total++;
    if (!cf_uses_begin(&uses, &count) || count > total) {
        add_pairs(usage, pairs);
        return;
    }
    for (uint64_t i = 0; cf_pairs_next(&at, &pack, &segment); i++) {
        cf_use use;
        if (i < total - count) continue; /* of the attributes, which have references */
        cf_uses_next(&uses, &use);
        if (uses.failed) return; /* the scan reads such a file again */
        cf_usage_add_between(usage, pack, segment, use.start, use.end, use.bytes);
    }
}

static void add_content(cf_usage *usage, const cf_content *content) {
    cf_cursor cursor = cf_cursor_of(content->refs);
    for (uint32_t i = 0; i < content->count; i++) {
        cf_ref ref;
        cf_ref_decode(&cursor, &ref);
        if (cursor.failed) return; /* likewise */
        cf_usage_add(usage, ref.pack, ref.segment, ref.offset, ref.length);
    }
}

static cf_err *add_entry(walk *at, const cf_cache_entry *item) {
    cf_entry entry;
    CF_AUTO(cf_err) malformed = cf_entry_decode(item->entry, at->xattrs, &entry);
    if (malformed) return NULL; /* likewise */
    if (item->stat.type == CF_TYPE_DIRECTORY && item->child.length) CF_TRY(push(at, item->child));
    if (entry.not_read) return NULL;
    if (entry.xattrs_chunked) add_content(at->usage, &entry.xattr_content);
    if (entry.meta.type != CF_TYPE_FILE) return NULL;
    if (entry.content.depth)
        add_listed(at->usage, item->segments);
    else
        add_content(at->usage, &entry.content);
    return NULL;
}

static void add_folder(walk *at, const cf_cache_folder *folder) {
    cf_cursor cursor = cf_cursor_of(folder->segments);
    uint64_t pack;
    uint16_t segment;
    bool first = cf_pairs_next(&cursor, &pack, &segment), more = first && cf_pairs_next(&cursor, &pack, &segment);
    if (more) /* a split folder */
        add_pairs(at->usage, folder->segments);
    else
        cf_usage_add(at->usage, folder->node.pack, folder->node.segment, folder->node.offset, folder->node.length);
}

static cf_err *add_block(walk *at, cf_block_place place) {
    CF_AUTO_BUF cf_buf block;
    cf_cursor cursor;
    cf_cache_folder folder;
    cf_cache_entry entry;
    bool ok = false;
    cf_buf_init(&block, (size_t)2 << 30);
    CF_TRY(cf_cache_read(at->cache, place, &block, &ok));
    if (!ok || !cf_block_open(cf_buf_span(&block), &cursor, &folder)) return NULL;
    add_folder(at, &folder);
    while (cf_block_next(&cursor, &entry)) CF_TRY(add_entry(at, &entry));
    return NULL;
}

/* Do the point's segments hold much more than its bytes? */
static cf_err *matters(cf_cache *cache, const cf_map *map, bool *does) {
    CF_AUTO_BUF cf_buf block;
    cf_cursor cursor;
    cf_cache_folder folder;
    bool ok = false;
    uint64_t segments = cf_map_segment_count(map);
    *does = false;
    cf_buf_init(&block, (size_t)2 << 30);
    if (segments < MATTERS_SEGMENTS) return NULL;
    CF_TRY(cf_cache_read(cache, cf_cache_get_root(cache)->block, &block, &ok));
    if (!ok || !cf_block_open(cf_buf_span(&block), &cursor, &folder)) return NULL;
    *does = segments * CF_SEGMENT_RAW_MAX / 100 * 100 > folder.totals.bytes / 100 * MATTERS_PERCENT;
    return NULL;
}

/* Of a segment that was closed because it was full, more is there than what is used shows. Only the last ones of a pack, which
 * lanes hand in at the end of a session, may be small. */
static void expect_full(cf_usage *usage) {
    for (size_t i = 0; i < usage->pack_count; i++) {
        used *first = &usage->table[usage->packs[i].first];
        for (uint32_t segment = 0; segment + LAST_SEGMENTS < usage->packs[i].room; segment++)
            if (first[segment].end && first[segment].end < FULL_MIN / UNIT) first[segment].end = FULL_MIN / UNIT;
    }
}

cf_err *cf_usage_count(cf_cache *cache, const cf_map *map, cf_usage **out) {
    CF_AUTO(cf_usage) usage = NULL;
    walk at = {.cache = cache};
    bool does = false;
    *out = NULL;
    CF_TRY(matters(cache, map, &does));
    if (!does) return NULL;
    CF_TRY(cf_usage_new(map, &usage));
    at.usage = usage;
    at.xattrs = calloc(CF_XATTRS_MAX, sizeof *at.xattrs);
    cf_err *err = at.xattrs ? push(&at, cf_cache_get_root(cache)->block) : cf_fail(CF_ERR_OUT_OF_MEMORY, "counting");
    while (!err && at.depth) err = add_block(&at, at.stack[--at.depth]);
    free(at.stack);
    free(at.xattrs);
    if (!err) expect_full(usage);
    if (!err) *out = cf_take(usage);
    return err;
}
