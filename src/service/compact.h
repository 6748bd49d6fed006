/* Compaction: packs of which little is needed (setting compact_percent), and small packs of one server, are written anew without their dead segments.
 *
 * Addresses stay: only where a pack stands and its extent table change. In this order, so that a crash at any point
 * costs nothing but a leftover object, which a later pass removes:
 *   1  under the server's lock: the segments to be left out are ripe and not marked; a row of `compacting` makes them
 *      missing for every commit from here on (the point of no return)
 *   2  the new object, durable, each segment checked while it is copied
 *   3  one transaction: the packs' rows say the new place and extent table; the old objects are noted
 *   4  old objects go once no address of theirs can be valid any more (CF_URL_SECONDS)
 * Runs as a part of a pass of reclaiming. docs/scrub.md.                                                 */
#ifndef CF_SERVICE_COMPACT_H
#define CF_SERVICE_COMPACT_H

#include "service/reclaim.h"

enum {
    CF_COMPACT_SMALL = 1 << 20,        /* packs below are merged                                       */
    CF_COMPACT_GROUP_MIN = 8,          /* so many at least                                             */
    CF_COMPACT_GROUP_MAX = 256,        /* packs in a merged object                                     */
    CF_COMPACT_GROUP_BYTES = 16 << 20, /* and about so many bytes                                      */
    CF_COMPACT_GRACE_SECONDS = 600,    /* beyond the life of an address, before an old object goes     */
};

typedef struct cf_compact_report {
    uint64_t packs;       /* written anew                              */
    uint64_t merged;      /* of these, into objects shared with others */
    uint64_t bytes_freed; /* old objects' sizes less new objects'      */
    uint64_t old_removed; /* objects of before                         */
} cf_compact_report;

struct cf_reclaim_pass;
/* cf_compact_server: with the pass's mark. A pack that cannot be read is left as it is (and marked as damaged). */
cf_err *cf_compact_server(struct cf_reclaim_pass *pass, cf_compact_report *report) __attribute__((warn_unused_result));

/* cf_compact_missing: adds to *map (made when needed) the segments of the server that are being left out.  */
cf_err *cf_compact_missing(cf_vault *vault, const cf_id16 *server, cf_map **map) __attribute__((warn_unused_result));

#endif
