/* The inside of cf_state. Of this folder only.                                                           */
#ifndef CF_AGENT_STATE_INTERNAL_H
#define CF_AGENT_STATE_INTERNAL_H

#include <pthread.h>

#include "agent/db.h"
#include "agent/pace.h"
#include "agent/state.h"

struct cf_state {
    char *folder;
    int fd;
    cf_clock clock;
    uint32_t history_days;
    sqlite3 *db;
    cf_agent_pace *pace;
    pthread_mutex_t lock; /* a statement and what is read from it belong together */
};

/* cf_state_begin, cf_state_end: use the database; end commits (err NULL) or rolls back, and returns err. */
cf_err *cf_state_begin(cf_state *state) __attribute__((warn_unused_result));
cf_err *cf_state_end(cf_state *state, cf_err *err) __attribute__((warn_unused_result));

#endif
