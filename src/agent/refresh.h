/* Refresh: segments of which the newest recovery point uses little are stored again, chunk by chunk with others, so that
 * reading a point does not mean reading what only older ones need (docs/scrub.md).
 *
 * What is used is counted from the tree cache, which is the newest point of its selection: for each segment, what chunks touch of its
 * 16 parts, and how many bytes they have.
 * Memory: 6 bytes for each segment (12 MB for each TB), at most CF_REFRESH_SEGMENTS of them; of a larger server the rest counts
 * as used in full.
 * Threads: one.                                                                                          */
#ifndef CF_AGENT_REFRESH_H
#define CF_AGENT_REFRESH_H

#include "scan/cache.h"
#include "visible/map.h"

enum {
    CF_REFRESH_SEGMENTS = 1 << 25,
    CF_REFRESH_AMPLIFICATION = 145, /* percent: above it segments are stored again. What stands behind the last live
                                     * chunk of a segment is not seen: in truth it is about 150 */
    CF_REFRESH_SHARE = 2,           /* percent of the live bytes that are stored again in a run */
};

typedef struct cf_usage cf_usage;
/* cf_usage_count: goes through the cache, which must have a root. *usage is NULL when it cannot matter: the point's
 * segments would hardly hold more than its bytes.                                                        */
cf_err *cf_usage_count(cf_cache *cache, const cf_map *map, cf_usage **usage) __attribute__((warn_unused_result));
void cf_usage_free(cf_usage *usage);
CF_DEFINE_AUTO(cf_usage, cf_usage_free)
/* cf_usage_amplification: bytes that have to be opened for 100 bytes of the point. */
unsigned cf_usage_amplification(const cf_usage *usage);
/* cf_usage_class: the fill class of a segment (format, section 9); 3 when nothing is known of it. context is a cf_usage. */
uint8_t cf_usage_class(void *context, uint64_t pack, uint16_t segment);
/* cf_usage_sparse: the segments to be stored again in this run; *segments is NULL when there are none.    */
cf_err *cf_usage_sparse(const cf_usage *usage, cf_map **segments) __attribute__((warn_unused_result));

/* cf_usage_new: nothing of the map's segments is used yet. cf_usage_add: a chunk is. cf_usage_add_between: so many bytes between
 * two places are. Segments outside the map, and places outside a segment, are passed over.                */
cf_err *cf_usage_new(const cf_map *map, cf_usage **usage) __attribute__((warn_unused_result));
void cf_usage_add(cf_usage *usage, uint64_t pack, uint16_t segment, uint32_t offset, uint32_t length);
void cf_usage_add_between(cf_usage *usage, uint64_t pack, uint16_t segment, uint32_t start, uint32_t end,
                          uint32_t bytes);

#endif
