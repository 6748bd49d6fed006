/* A set of 64-bit numbers as ascending inclusive ranges: applied packs, dead segments. Internal to the index.
 * Threads: none shared without the caller's lock.                                                         */
#ifndef CF_INDEX_RANGES_H
#define CF_INDEX_RANGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

typedef struct cf_range { /* both ends included */
    uint64_t first;
    uint64_t last;
} cf_range;

typedef struct cf_ranges { /* all zero: the empty set. Neighbours are never adjacent                   */
    cf_range *items;
    size_t count;
    size_t capacity;
} cf_ranges;

void cf_ranges_wipe(cf_ranges *set);
bool cf_ranges_contains(const cf_ranges *set, uint64_t value);
/* How many numbers; stays at UINT64_MAX when there are more. */
uint64_t cf_ranges_total(const cf_ranges *set);
cf_err *cf_ranges_add(cf_ranges *set, uint64_t value) __attribute__((warn_unused_result));
/* cf_ranges_append: first is not below the start of the last range; joins when it touches it.          */
cf_err *cf_ranges_append(cf_ranges *set, uint64_t first, uint64_t last) __attribute__((warn_unused_result));
/* copy, unite, subtract: out is an empty set before; left empty on failure.                            */
cf_err *cf_ranges_copy(const cf_ranges *set, cf_ranges *out) __attribute__((warn_unused_result));
cf_err *cf_ranges_unite(const cf_ranges *a, const cf_ranges *b, cf_ranges *out) __attribute__((warn_unused_result));
cf_err *cf_ranges_subtract(const cf_ranges *a, const cf_ranges *b, cf_ranges *out) __attribute__((warn_unused_result));
/* Bytes: varint count, then for each: distance from the end of the one before, length - 1.             */
void cf_ranges_encode(const cf_ranges *set, cf_buf *out);
/* cf_ranges_decode: a set that is not in canonical form makes the cursor fail. Error: only memory.     */
cf_err *cf_ranges_decode(cf_cursor *cursor, cf_ranges *out) __attribute__((warn_unused_result));

static inline void cf_ranges_auto_(cf_ranges *set) {
    cf_ranges_wipe(set);
}
#define CF_AUTO_RANGES __attribute__((cleanup(cf_ranges_auto_)))

#endif
