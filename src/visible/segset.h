/* A set of segments of one pack, as bits; stored as ranges (the vault's database keeps retired segments so).
 * Plain memory: 8 KiB and nothing to free; a set of zeros is empty. Only the words in use are ever touched.
 * Threads: no state.                                                                                     */
#ifndef CF_VISIBLE_SEGSET_H
#define CF_VISIBLE_SEGSET_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/ids.h"

enum { CF_SEGSET_WORDS = 1024 };

typedef struct cf_segset {
    uint32_t used; /* words; those above hold anything */
    uint64_t words[CF_SEGSET_WORDS];
} cf_segset;

static inline void cf_segset_clear(cf_segset *set) {
    set->used = 0;
}
/* Segments at or above CF_SEGMENTS_MAX are left out. */
void cf_segset_add(cf_segset *set, uint32_t segment);
void cf_segset_add_range(cf_segset *set, uint32_t first, uint32_t count);
bool cf_segset_has(const cf_segset *set, uint32_t segment);
void cf_segset_unite(cf_segset *set, const cf_segset *other);
void cf_segset_subtract(cf_segset *set, const cf_segset *other);
void cf_segset_intersect(cf_segset *set, const cf_segset *other);
bool cf_segset_empty(const cf_segset *set);
bool cf_segset_equal(const cf_segset *a, const cf_segset *b);
uint32_t cf_segset_count(const cf_segset *set);
/* cf_segset_next: the lowest segment >= *segment; false when there is none. */
bool cf_segset_next(const cf_segset *set, uint32_t *segment);
void cf_segset_copy(cf_segset *set, const cf_segset *other);

/* Bytes: varint count of ranges, then for each a varint gap since the end of the one before (the first: since 0; else
 * at least 1) and a varint length (at least 1). An empty set is a count of 0.                              */
void cf_segset_encode(const cf_segset *set, cf_buf *out);
/* Fails: FORMAT.                                                                                         */
cf_err *cf_segset_decode(cf_span bytes, cf_segset *set) __attribute__((warn_unused_result));

#endif
