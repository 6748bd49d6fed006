/* What a list of recovery points shows of each and only its sealed root tells: its time and its sources. Points are
 * opened by several threads; what was once opened can be taken from the cache of trees (with a code of authenticity
 * under this server's key), so that a list of thousands costs no thousands of requests.                       */
#ifndef CF_REPO_POINT_INFO_H
#define CF_REPO_POINT_INFO_H

#include "repo/reader.h"

typedef struct cf_point_info {
    cf_err *damaged; /* not NULL: it does not open, the rest is unset; owned */
    cf_time time;
    cf_span *sources; /* absolute paths */
    size_t source_count;
    cf_buf storage; /* of what sources point to */
} cf_point_info;
void cf_point_infos_wipe(cf_point_info *infos, size_t count);

/* cf_point_infos_get: of rows[0 .. count), into infos (zeroed, wiped by the caller in either case).
 *   opened  so many at the end, the newest ones, are opened whatever is remembered of them: so that damage to what
 *           people are about to restore shows.
 * Fails as cf_reader_point_open, but for damage. */
cf_err *cf_point_infos_get(cf_reader *reader, const cf_point_row *rows, size_t count, size_t opened, cf_cancel *cancel,
                           cf_point_info *infos) __attribute__((warn_unused_result));

#endif
