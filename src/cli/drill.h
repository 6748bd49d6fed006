/* When restorability was last proved, and with how much: kept in the state folder. */
#ifndef CF_CLI_DRILL_H
#define CF_CLI_DRILL_H

#include "agent/state.h"

typedef struct cf_drill_result {
    cf_time time; /* when it was remembered */
    cf_id32 point;
    uint64_t chosen, files, files_total, bytes, bytes_fetched, failed;
} cf_drill_result;

/* cf_drill_remember: at the clock's time. cf_drill_recall: *found is false when there was none, or nothing that this
 * version understands.                                                                                     */
cf_err *cf_drill_remember(cf_state *state, const cf_drill_result *result) __attribute__((warn_unused_result));
cf_err *cf_drill_recall(cf_state *state, cf_drill_result *result, bool *found) __attribute__((warn_unused_result));

#endif
