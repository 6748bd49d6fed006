/* Internal to visible: how a map stands in memory, for its encoder and decoder.                           */
#ifndef CF_VISIBLE_MAP_INTERNAL_H
#define CF_VISIBLE_MAP_INTERNAL_H

#include "visible/map.h"

enum { CF_MAP_BLOCK = 256 };

typedef enum cf_live_form {
    CF_LIVE_INLINE = 0, /* segments 0 .. 63 in bits     */
    CF_LIVE_FULL,       /* segments 0 .. live - 1       */
    CF_LIVE_WORDS,      /* word_count words in words    */
} cf_live_form;

/* The live segments of a pack. Almost every pack has at most 64 segments: then nothing is allocated.       */
typedef struct cf_live {
    uint64_t pack;
    union {
        uint64_t bits;
        uint64_t *words;
    };
    uint32_t live;
    uint16_t word_count;
    uint8_t form;
} cf_live;

/* A sorted run of packs. Blocks keep an insertion in the middle from moving everything behind it.          */
typedef struct cf_map_block {
    uint32_t count;
    cf_live packs[CF_MAP_BLOCK];
} cf_map_block;

struct cf_map {
    cf_map_block **blocks; /* ascending, none empty */
    size_t block_count, block_capacity;
    size_t pack_count;
    uint64_t segment_count;
    size_t recent_block, recent_at; /* where the last addition went */
};

uint32_t cf_live_word_count(const cf_live *live);
uint64_t cf_live_word(const cf_live *live, uint32_t index);
bool cf_live_equal(const cf_live *a, const cf_live *b);
/* cf_live_or: segments 64 * index .. as bits; false without memory. */
bool cf_live_or(cf_live *live, uint32_t index, uint64_t bits);
/* cf_live_add: false without memory. */
bool cf_live_add(cf_live *live, uint16_t segment);
/* cf_live_add_range: first .. first + length - 1; false without memory. */
bool cf_live_add_range(cf_live *live, uint32_t first, uint32_t length);
void cf_live_wipe(cf_live *live);
/* cf_live_next: the lowest live segment >= from; CF_SEGMENTS_MAX when there is none. */
uint32_t cf_live_next(const cf_live *live, uint32_t from);
/* cf_live_gap: the lowest segment >= from that is not live. */
uint32_t cf_live_gap(const cf_live *live, uint32_t from);

/* cf_map_append: a pack behind all others, *live taken (or copied); false without memory: it is the caller's still. */
bool cf_map_append(cf_map *map, const cf_live *live);
bool cf_map_append_copy(cf_map *map, const cf_live *live);
const cf_live *cf_map_find(const cf_map *map, uint64_t pack);
/* cf_map_next: like cf_map_next_pack; NULL at the end. */
const cf_live *cf_map_next(const cf_map *map, size_t *cursor);

#endif
