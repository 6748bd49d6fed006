/* Recovery points: committing, listing, reading.                                                         */
#ifndef CF_REMOTE_POINTS_H
#define CF_REMOTE_POINTS_H

#include "base/buf.h"
#include "remote/sessions.h"
#include "visible/point.h"

/* What a commit found missing in the vault: these chunks must be stored again. */
typedef struct cf_remote_missing {
    cf_remote_segments *items;
    size_t count;
    bool more; /* there are more than were told */
} cf_remote_missing;
void cf_remote_missing_wipe(cf_remote_missing *missing);

/* cf_remote_store_point: commit. When it returns NULL the point is durable and visible.
 *   id            SHA-256 of bytes.
 *   scheduled     the slot (RFC 3339, in UTC) of the schedule's run that made it; NULL: it was started on demand.
 *   retain_until  "2027-01-31", or NULL.
 *   missing       written (the caller wipes it) when it fails with MISSING_SEGMENTS; may be NULL.
 * Fails: POINT_CONFLICT (another point came between), MISSING_SEGMENTS, SESSION_LOST,
 * TOO_MANY_POINTS (the vault keeps as many of this server as it may).                      */
cf_err *cf_remote_store_point(cf_remote *remote, const cf_id16 *session, const cf_id32 *id, const char *scheduled,
                              const char *retain_until, cf_span bytes, cf_remote_missing *missing)
    __attribute__((warn_unused_result));

enum { CF_REMOTE_TAGS_MAX = 8, CF_REMOTE_TAG_MAX = 16 };
typedef struct cf_remote_point {
    cf_id32 id, previous;
    uint64_t counter;
    cf_time received;
    uint64_t size; /* of the point object */
    bool has_retain_until, has_expires;
    cf_time retain_until, expires;
    char tags[CF_REMOTE_TAGS_MAX][CF_REMOTE_TAG_MAX];
    size_t tag_count;
    char status[32];
    cf_summary summary;
} cf_remote_point;
/* *points is a fresh array, ascending by counter, that the caller frees.                                   */
cf_err *cf_remote_list_points(cf_remote *remote, cf_remote_point **points, size_t *count)
    __attribute__((warn_unused_result));
/* cf_remote_get_point: the object, checked against its ID (SHA-256; fails BAD_REPLY, reason "digest"), appended
 * to out; cf_remote_get_map: its effective map, encoded without a base.                                    */
cf_err *cf_remote_get_point(cf_remote *remote, const cf_id32 *id, cf_buf *out) __attribute__((warn_unused_result));
cf_err *cf_remote_get_map(cf_remote *remote, const cf_id32 *id, cf_buf *out) __attribute__((warn_unused_result));

#endif
