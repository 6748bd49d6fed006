/* The recovery points of a mount: named by their time, opened when they are looked into, and closed again when many
 * others are.
 * Threads: any number.                                                                                    */
#ifndef CF_MOUNT_POINTS_H
#define CF_MOUNT_POINTS_H

#include "mount/volume.h"

enum { CF_POINT_NAME_SIZE = 48, CF_POINTS_OPEN = 8, CF_POINTS_MAX = 1 << 22 };

typedef struct cf_points cf_points;
/* cf_points_new: reader and pages are borrowed. Rows are copied, ascending by counter.                     */
cf_err *cf_points_new(cf_reader *reader, cf_pages *pages, const cf_point_row *rows, size_t count, cf_points **points)
    __attribute__((warn_unused_result));
void cf_points_free(cf_points *points); /* NULL-safe */
CF_DEFINE_AUTO(cf_points, cf_points_free)
/* cf_points_update: the newest list. Points that it does not have any more lose their names; slots stay what they
 * are. *changed when any was added or went.                                                               */
cf_err *cf_points_update(cf_points *points, const cf_point_row *rows, size_t count, bool *changed)
    __attribute__((warn_unused_result));
size_t cf_points_slots(cf_points *points); /* slots 0 to this - 1 were ever used */

/* What a folder per point needs to know. */
typedef struct cf_point_info {
    char name[CF_POINT_NAME_SIZE];
    cf_id32 id;
    cf_summary summary;
} cf_point_info;
bool cf_points_info(cf_points *points, size_t slot, cf_point_info *info); /* false: no such point (any more) */
bool cf_points_find(cf_points *points, cf_span name, size_t *slot);
bool cf_points_latest(cf_points *points, size_t *slot); /* what "latest" means */

/* cf_points_pin: opened, until cf_points_unpin. Fails as cf_reader_point_listed; POINT_NOT_FOUND.           */
cf_err *cf_points_pin(cf_points *points, size_t slot, cf_volume **volume) __attribute__((warn_unused_result));
void cf_points_unpin(cf_points *points, size_t slot);

/* cf_point_name: "2026-11-20_21-00-05" in local time (no colons: rsync and scp take them for a host's name).  */
void cf_point_name(int64_t started, char name[CF_POINT_NAME_SIZE]);

#endif
