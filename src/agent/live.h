/* How far running jobs have come, for those who look on: a small file for each job, <state>/live/<job>, written every
 * second without sync and gone with the job. Only decoration: whatever fails, the job goes on.
 * Threads: writing belongs to the job's heartbeat; any process reads.                                     */
#ifndef CF_AGENT_LIVE_H
#define CF_AGENT_LIVE_H

#include "agent/state.h"
#include "base/progress.h"

typedef struct cf_live cf_live;
/* cf_live_open: NULL when it cannot be (it is then not shown). */
cf_live *cf_live_open(cf_state *state, const cf_id16 *job);
void cf_live_write(cf_live *live, cf_progress *progress);
void cf_live_close(cf_live *live); /* and removes it; NULL-safe */

typedef struct cf_live_now {
    uint64_t bytes_total, bytes_done, files_total, files_done, bytes_moved, warnings;
    char phase[32];
    char item[CF_PROGRESS_ITEM_MAX + 1]; /* printable UTF-8 */
} cf_live_now;
/* cf_live_read: false when the job says nothing (yet). */
bool cf_live_read(cf_state *state, const cf_id16 *job, cf_live_now *now);

/* cf_live_remove: what a job that was killed left. */
void cf_live_remove(cf_state *state, const cf_id16 *job);

#endif
