#include "visible/map.h"

#include <stdlib.h>

#include "visible/map_internal.h"

cf_err *cf_map_new(cf_map **map) {
    cf_map *made = calloc(1, sizeof *made);
    if (!made) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a liveness map");
    *map = made;
    return NULL;
}

void cf_map_free(cf_map *map) {
    if (!map) return;
    for (size_t b = 0; b < map->block_count; b++) {
        for (uint32_t i = 0; i < map->blocks[b]->count; i++) cf_live_wipe(&map->blocks[b]->packs[i]);
        free(map->blocks[b]);
    }
    free(map->blocks);
    free(map);
}

/* An empty block at position at; NULL without memory. */
static cf_map_block *insert_block(cf_map *map, size_t at) {
    if (map->block_count == map->block_capacity) {
        size_t capacity = map->block_capacity ? map->block_capacity * 2 : 16;
        cf_map_block **blocks = reallocarray(map->blocks, capacity, sizeof *blocks);
        if (!blocks) return NULL;
        map->blocks = blocks;
        map->block_capacity = capacity;
    }
    cf_map_block *block = malloc(sizeof *block);
    if (!block) return NULL;
    block->count = 0;
    memmove(map->blocks + at + 1, map->blocks + at, (map->block_count - at) * sizeof *map->blocks);
    map->blocks[at] = block;
    map->block_count++;
    return block;
}

/* The last block whose first pack is not above pack; 0 when there is none. */
static size_t find_block(const cf_map *map, uint64_t pack) {
    size_t low = 0, high = map->block_count;
    while (low + 1 < high) {
        size_t middle = low + (high - low) / 2;
        if (map->blocks[middle]->packs[0].pack <= pack)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* The first position in block whose pack is not below pack. */
static uint32_t find_in_block(const cf_map_block *block, uint64_t pack) {
    uint32_t low = 0, high = block->count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (block->packs[middle].pack < pack)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const cf_live *cf_map_find(const cf_map *map, uint64_t pack) {
    if (map->block_count == 0) return NULL;
    const cf_map_block *block = map->blocks[find_block(map, pack)];
    uint32_t at = find_in_block(block, pack);
    return at < block->count && block->packs[at].pack == pack ? &block->packs[at] : NULL;
}

bool cf_map_append(cf_map *map, const cf_live *live) {
    cf_map_block *block = map->block_count ? map->blocks[map->block_count - 1] : NULL;
    if (!block || block->count == CF_MAP_BLOCK) block = insert_block(map, map->block_count);
    if (!block) return false;
    block->packs[block->count++] = *live;
    map->pack_count++;
    map->segment_count += live->live;
    map->recent_block = map->block_count - 1;
    map->recent_at = block->count - 1;
    return true;
}

bool cf_map_append_copy(cf_map *map, const cf_live *live) {
    cf_live copy = *live;
    if (live->form == CF_LIVE_WORDS) {
        copy.words = malloc(live->word_count * sizeof *copy.words);
        if (!copy.words) return false;
        memcpy(copy.words, live->words, live->word_count * sizeof *copy.words);
    }
    if (cf_map_append(map, &copy)) return true;
    cf_live_wipe(&copy);
    return false;
}

/* The upper half of a full block moves into a new one behind it. */
static bool split_block(cf_map *map, size_t at) {
    cf_map_block *upper = insert_block(map, at + 1);
    if (!upper) return false;
    cf_map_block *lower = map->blocks[at];
    upper->count = CF_MAP_BLOCK / 2;
    lower->count = CF_MAP_BLOCK - CF_MAP_BLOCK / 2;
    memcpy(upper->packs, lower->packs + lower->count, upper->count * sizeof *upper->packs);
    return true;
}

/* The place of pack, made when it is not there; NULL without memory. */
static cf_live *place_of(cf_map *map, uint64_t pack) {
    if (map->block_count == 0) return cf_map_append(map, &(cf_live){.pack = pack}) ? &map->blocks[0]->packs[0] : NULL;
    cf_live *recent = &map->blocks[map->recent_block]->packs[map->recent_at];
    if (recent->pack == pack) return recent;
    const cf_map_block *last = map->blocks[map->block_count - 1];
    if (last->packs[last->count - 1].pack < pack) {
        if (!cf_map_append(map, &(cf_live){.pack = pack})) return NULL;
        return &map->blocks[map->recent_block]->packs[map->recent_at];
    }
    size_t b = find_block(map, pack);
    uint32_t at = find_in_block(map->blocks[b], pack);
    if (at >= map->blocks[b]->count || map->blocks[b]->packs[at].pack != pack) {
        map->recent_block = map->recent_at = 0; /* a split moves things */
        if (map->blocks[b]->count == CF_MAP_BLOCK) {
            if (!split_block(map, b)) return NULL;
            if (at > map->blocks[b]->count) at -= map->blocks[b++]->count;
        }
        cf_map_block *block = map->blocks[b];
        memmove(block->packs + at + 1, block->packs + at, (block->count - at) * sizeof *block->packs);
        block->packs[at] = (cf_live){.pack = pack};
        block->count++;
        map->pack_count++;
    }
    map->recent_block = b;
    map->recent_at = at;
    return &map->blocks[b]->packs[at];
}

cf_err *cf_map_add(cf_map *map, uint64_t pack, uint16_t segment) {
    if (pack < 1 || pack > CF_PACK_NUMBER_MAX || segment >= CF_SEGMENTS_MAX)
        return cf_fail(CF_ERR_INTERNAL, "liveness of segment %u of pack %llu", segment, (unsigned long long)pack);
    cf_live *live = place_of(map, pack);
    uint32_t before = live ? live->live : 0;
    if (!live || !cf_live_add(live, segment)) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a liveness map");
    map->segment_count += live->live - before;
    return NULL;
}

cf_err *cf_map_add_all(cf_map *map, const cf_map *other) {
    size_t cursor = 0;
    for (const cf_live *from; (from = cf_map_next(other, &cursor)) != NULL;) {
        cf_live *live = place_of(map, from->pack);
        if (!live) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a liveness map");
        uint32_t before = live->live;
        bool added = true;
        for (uint32_t first = cf_live_next(from, 0); added && first < CF_SEGMENTS_MAX;) {
            uint32_t end = cf_live_gap(from, first);
            added = cf_live_add_range(live, first, end - first);
            first = cf_live_next(from, end);
        }
        map->segment_count += live->live - before;
        if (!added) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a liveness map");
    }
    return NULL;
}

bool cf_map_has(const cf_map *map, uint64_t pack, uint16_t segment) {
    const cf_live *live = cf_map_find(map, pack);
    return live && (cf_live_word(live, segment / 64) >> (segment % 64) & 1);
}

bool cf_map_has_pack(const cf_map *map, uint64_t pack) {
    return cf_map_find(map, pack) != NULL;
}

size_t cf_map_pack_count(const cf_map *map) {
    return map->pack_count;
}

uint64_t cf_map_segment_count(const cf_map *map) {
    return map->segment_count;
}

/* A cursor is block * CF_MAP_BLOCK + position. */
const cf_live *cf_map_next(const cf_map *map, size_t *cursor) {
    size_t b = *cursor / CF_MAP_BLOCK, at = *cursor % CF_MAP_BLOCK;
    if (b >= map->block_count) return NULL;
    *cursor = at + 1 < map->blocks[b]->count ? *cursor + 1 : (b + 1) * CF_MAP_BLOCK;
    return &map->blocks[b]->packs[at];
}

bool cf_map_next_pack(const cf_map *map, size_t *cursor, uint64_t *pack) {
    const cf_live *live = cf_map_next(map, cursor);
    if (live) *pack = live->pack;
    return live != NULL;
}

bool cf_map_next_segment(const cf_map *map, uint64_t pack, uint32_t *segment) {
    const cf_live *live = cf_map_find(map, pack);
    uint32_t found = live && *segment < CF_SEGMENTS_MAX ? cf_live_next(live, *segment) : CF_SEGMENTS_MAX;
    if (found >= CF_SEGMENTS_MAX) return false;
    *segment = found;
    return true;
}

bool cf_map_equal(const cf_map *a, const cf_map *b) {
    if (a->pack_count != b->pack_count || a->segment_count != b->segment_count) return false;
    size_t at_a = 0, at_b = 0;
    const cf_live *from_a, *from_b;
    while ((from_a = cf_map_next(a, &at_a)) != NULL && (from_b = cf_map_next(b, &at_b)) != NULL)
        if (from_a->pack != from_b->pack || !cf_live_equal(from_a, from_b)) return false;
    return true;
}
