/* A recovery point on its way into the vault, from the bytes to the row. Of this folder only.
 *
 * Order: everything that it needs is checked; the database notes that it is coming (an intent); the object is stored;
 * one transaction brings back retired segments that it needs, adds the row and drops the intent. An intent that a crash
 * leaves behind is settled by reclaiming: such a point is never taken for one that the database has forgotten.
 * All of it under the server's lock (cf_service_lock).                                                    */
#ifndef CF_SERVICE_COMMIT_H
#define CF_SERVICE_COMMIT_H

#include "records/reclaim.h"
#include "service/vault.h"
#include "visible/map.h"
#include "visible/point.h"

typedef struct cf_commit {
    cf_vault *vault;
    cf_intent_row as;     /* server, session, ID, when it was received, for how long */
    cf_span object;       /* borrowed */
    cf_point_frame frame; /* of object */
    /* Learned by cf_commit_check. */
    bool manual, flagged;
    cf_map_header map_header;
    cf_map *revive; /* retired segments that it needs; may be NULL */
    cf_pack_name *packs;
    size_t pack_count;
    uint64_t stamp;
    json_t *missing; /* what the vault lacks, with MISSING_SEGMENTS */
} cf_commit;
void cf_commit_wipe(cf_commit *commit);
#define CF_AUTO_COMMIT __attribute__((cleanup(cf_commit_wipe)))

/* cf_commit_check: does it follow the newest point, and is everything here? Fails: POINT_CONFLICT, BAD_REQUEST,
 * MISSING_SEGMENTS (missing is filled), TOO_LARGE, FORMAT.                                                */
cf_err *cf_commit_check(cf_commit *commit) __attribute__((warn_unused_result));
/* cf_commit_row: inside a transaction, once the object is stored; everything that may have changed since
 * cf_commit_check is looked at again. Fails also: INTERNAL when segments were reclaimed since (a program without the
 * lock).                                                                                                  */
cf_err *cf_commit_row(cf_commit *commit) __attribute__((warn_unused_result));
/* cf_commit_adopt: an intent without a row: when its object is stored and still follows the newest point, the commit is
 * made complete; when nothing is stored, it is forgotten; else it stays. Never removes an object.                                    */
cf_err *cf_commit_adopt(cf_vault *vault, const cf_intent_row *intent) __attribute__((warn_unused_result));

#endif
