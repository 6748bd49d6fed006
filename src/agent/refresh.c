#include "agent/refresh.h"

#include <stdlib.h>
#include <string.h>

#include "sealed/node.h"

enum { PARTS = 64, PART = CF_SEGMENT_RAW_MAX / PARTS, MATTERS_PERCENT = 120, MATTERS_SEGMENTS = 8 };

typedef struct used { /* of a segment */
    uint64_t pack;    /* 0: free */
    uint64_t parts;   /* that live chunks touch */
    uint32_t end;     /* behind the last of them: the segment is at least so large */
    uint32_t live;    /* bytes of live chunks, each reference counted: an upper bound */
    uint16_t segment;
} used;

struct cf_usage {
    used *table;
    size_t room, count; /* room: a power of two */
};

cf_err *cf_usage_new(cf_usage **out) {
    CF_AUTO(cf_usage) usage = calloc(1, sizeof *usage);
    if (!usage) return cf_fail(CF_ERR_OUT_OF_MEMORY, "counting what is used");
    usage->room = 1024;
    usage->table = calloc(usage->room, sizeof *usage->table);
    if (!usage->table) return cf_fail(CF_ERR_OUT_OF_MEMORY, "counting what is used");
    *out = cf_take(usage);
    return NULL;
}

void cf_usage_free(cf_usage *usage) {
    if (!usage) return;
    free(usage->table);
    free(usage);
}

static used *find(const cf_usage *usage, uint64_t pack, uint16_t segment) {
    uint64_t hash = (pack << 16 | segment) * 0x9E3779B97F4A7C15u;
    size_t at = (size_t)(hash >> 32) & (usage->room - 1);
    while (usage->table[at].pack && (usage->table[at].pack != pack || usage->table[at].segment != segment))
        at = (at + 1) & (usage->room - 1);
    return &usage->table[at];
}

static cf_err *grow(cf_usage *usage) {
    cf_usage larger = {.room = usage->room * 2, .count = usage->count};
    larger.table = calloc(larger.room, sizeof *larger.table);
    if (!larger.table) return cf_fail(CF_ERR_OUT_OF_MEMORY, "counting what is used");
    for (size_t i = 0; i < usage->room; i++)
        if (usage->table[i].pack) *find(&larger, usage->table[i].pack, usage->table[i].segment) = usage->table[i];
    free(usage->table);
    *usage = larger;
    return NULL;
}

cf_err *cf_usage_add(cf_usage *usage, uint64_t pack, uint16_t segment, uint32_t offset, uint32_t length) {
    used *at = find(usage, pack, segment);
    if (length == 0 || offset >= CF_SEGMENT_RAW_MAX || length > CF_SEGMENT_RAW_MAX - offset) return NULL;
    if (!at->pack) {
        if (usage->count >= CF_REFRESH_SEGMENTS) return NULL;
        if (usage->count * 2 >= usage->room) {
            CF_TRY(grow(usage));
            at = find(usage, pack, segment);
        }
        *at = (used){.pack = pack, .segment = segment};
        usage->count++;
    }
    uint32_t end = offset + length;
    for (uint32_t part = offset / PART; part * PART < end; part++) at->parts |= (uint64_t)1 << part;
    if (end > at->end) at->end = end;
    at->live = at->live > UINT32_MAX - length ? UINT32_MAX : at->live + length;
    return NULL;
}

/* The lesser of two upper bounds: parts that are touched, and lengths of references. */
static uint64_t live_bytes(const used *at) {
    uint64_t touched = (uint64_t)__builtin_popcountll(at->parts) * PART;
    uint64_t live = touched < at->live ? touched : at->live;
    return live < at->end ? live : at->end;
}

static void totals(const cf_usage *usage, uint64_t *read, uint64_t *live) {
    *read = *live = 0;
    for (size_t i = 0; i < usage->room; i++) {
        if (!usage->table[i].pack) continue;
        *read += usage->table[i].end;
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
    if (!at->pack || at->end == 0) return 3;
    uint64_t quarter = live_bytes(at) * 4 / at->end;
    return quarter > 3 ? 3 : (uint8_t)quarter;
}

static int by_share(const void *a, const void *b) {
    const used *x = *(const used *const *)a, *y = *(const used *const *)b;
    uint64_t left = live_bytes(x) * y->end, right = live_bytes(y) * x->end;
    if (left != right) return left < right ? -1 : 1;
    if (x->pack != y->pack) return x->pack < y->pack ? -1 : 1;
    return (x->segment > y->segment) - (x->segment < y->segment);
}

cf_err *cf_usage_sparse(const cf_usage *usage, cf_map **segments) {
    CF_AUTO(cf_map) chosen = NULL;
    uint64_t read, live, taken = 0;
    size_t count = 0;
    *segments = NULL;
    totals(usage, &read, &live);
    if (live == 0 || read * 100 <= live * CF_REFRESH_AMPLIFICATION) return NULL;
    CF_AUTO_FREE const used **list = calloc(usage->count + 1, sizeof *list);
    if (!list) return cf_fail(CF_ERR_OUT_OF_MEMORY, "counting what is used");
    for (size_t i = 0; i < usage->room; i++)
        if (usage->table[i].pack && live_bytes(&usage->table[i]) * 2 < usage->table[i].end)
            list[count++] = &usage->table[i];
    if (count) qsort(list, count, sizeof *list, by_share);
    for (size_t i = 0; i < count; i++) {
        taken += live_bytes(list[i]);
        if (taken * 100 > live * CF_REFRESH_SHARE) break;
        if (!chosen) CF_TRY(cf_map_new(&chosen));
        CF_TRY(cf_map_add(chosen, list[i]->pack, list[i]->segment));
    }
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
static cf_err *add_pairs(cf_usage *usage, cf_span pairs) {
    cf_cursor cursor = cf_cursor_of(pairs);
    uint64_t pack;
    uint16_t segment;
    while (cf_pairs_next(&cursor, &pack, &segment)) CF_TRY(cf_usage_add(usage, pack, segment, 0, CF_SEGMENT_RAW_MAX));
    return NULL;
}

static cf_err *add_content(cf_usage *usage, const cf_content *content) {
    cf_cursor cursor = cf_cursor_of(content->refs);
    for (uint32_t i = 0; i < content->count; i++) {
        cf_ref ref;
        cf_ref_decode(&cursor, &ref);
        if (cursor.failed) return NULL; /* the scan reads such a file again */
        CF_TRY(cf_usage_add(usage, ref.pack, ref.segment, ref.offset, ref.length));
    }
    return NULL;
}

static cf_err *add_entry(walk *at, const cf_cache_entry *item) {
    cf_entry entry;
    CF_AUTO(cf_err) malformed = cf_entry_decode(item->entry, at->xattrs, &entry);
    if (malformed) return NULL; /* likewise */
    if (item->stat.type == CF_TYPE_DIRECTORY && item->child.length) CF_TRY(push(at, item->child));
    if (entry.not_read) return NULL;
    bool is_file = entry.meta.type == CF_TYPE_FILE;
    /* Of a file of many chunks only the lists' own addresses are at hand. */
    if ((is_file && entry.content.depth) || (entry.xattrs_chunked && entry.xattr_content.depth))
        return add_pairs(at->usage, item->segments);
    if (entry.xattrs_chunked) CF_TRY(add_content(at->usage, &entry.xattr_content));
    return is_file ? add_content(at->usage, &entry.content) : NULL;
}

static cf_err *add_folder(walk *at, const cf_cache_folder *folder) {
    cf_cursor cursor = cf_cursor_of(folder->segments);
    uint64_t pack;
    uint16_t segment;
    bool first = cf_pairs_next(&cursor, &pack, &segment), more = first && cf_pairs_next(&cursor, &pack, &segment);
    if (more) return add_pairs(at->usage, folder->segments); /* a split folder */
    return cf_usage_add(at->usage, folder->node.pack, folder->node.segment, folder->node.offset, folder->node.length);
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
    CF_TRY(add_folder(at, &folder));
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

cf_err *cf_usage_count(cf_cache *cache, const cf_map *map, cf_usage **out) {
    CF_AUTO(cf_usage) usage = NULL;
    walk at = {.cache = cache};
    bool does = false;
    *out = NULL;
    CF_TRY(matters(cache, map, &does));
    if (!does) return NULL;
    CF_TRY(cf_usage_new(&usage));
    at.usage = usage;
    at.xattrs = calloc(CF_XATTRS_MAX, sizeof *at.xattrs);
    cf_err *err = at.xattrs ? push(&at, cf_cache_get_root(cache)->block) : cf_fail(CF_ERR_OUT_OF_MEMORY, "counting");
    while (!err && at.depth) err = add_block(&at, at.stack[--at.depth]);
    free(at.stack);
    free(at.xattrs);
    if (!err) *out = cf_take(usage);
    return err;
}
