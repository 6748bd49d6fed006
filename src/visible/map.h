/* Liveness maps (format, section 9): which segments of which packs a recovery point needs.
 * In memory a map is a sorted array of packs with a bit set each; it knows nothing of bytes stored.
 * Threads: one at a time, or many readers.                                                              */
#ifndef CF_VISIBLE_MAP_H
#define CF_VISIBLE_MAP_H

#include "base/buf.h"
#include "base/err.h"
#include "base/ids.h"

typedef struct cf_map cf_map;

cf_err *cf_map_new(cf_map **map);
void cf_map_free(cf_map *map);
CF_DEFINE_AUTO(cf_map, cf_map_free)

/* cf_map_add: mark a segment (not the directory) as live. Adding twice is fine. Amortised O(1) for recent packs. */
cf_err *cf_map_add(cf_map *map, uint64_t pack, uint16_t segment);
cf_err *cf_map_add_all(cf_map *map, const cf_map *other);
bool cf_map_has(const cf_map *map, uint64_t pack, uint16_t segment);
bool cf_map_has_pack(const cf_map *map, uint64_t pack);
size_t cf_map_pack_count(const cf_map *map);
uint64_t cf_map_segment_count(const cf_map *map);
/* Iterate: packs ascending; segments of a pack ascending. *cursor starts at 0; false at the end.         */
bool cf_map_next_pack(const cf_map *map, size_t *cursor, uint64_t *pack);
/* cf_map_next_segment: the lowest live segment >= *segment of pack; false when there is none.             */
bool cf_map_next_segment(const cf_map *map, uint64_t pack, uint32_t *segment);
bool cf_map_equal(const cf_map *a, const cf_map *b);

/* What a stored map says of itself. */
typedef struct cf_map_header {
    bool delta;
    bool exact;
    bool has_fill;
    cf_id32 base; /* when delta */
    uint8_t chain;
} cf_map_header;

/* cf_map_encode: the whole map, or with base != NULL its difference from base (header->base names it).
 *   fill  NULL, or asked for every live segment: 0..3.                                                   */
typedef uint8_t (*cf_map_fill)(void *context, uint64_t pack, uint16_t segment);
cf_err *cf_map_encode(const cf_map *map, const cf_map_header *header, const cf_map *base, cf_map_fill fill,
                      void *context, cf_buf *out);
/* cf_map_peek: only the header (is it a delta, against which point?).                                     */
cf_err *cf_map_peek(cf_span bytes, cf_map_header *header);
/* cf_map_decode: base must be given exactly when the map is a delta (peek first); it is not changed.
 * Memory is bounded by the input: at most a few bytes for each byte of it ("all" of n segments counts n/8).
 * Fails: FORMAT, FORMAT_VERSION, TOO_LARGE.                                                               */
cf_err *cf_map_decode(cf_span bytes, const cf_map *base, cf_map_header *header, cf_map **map);

#endif
