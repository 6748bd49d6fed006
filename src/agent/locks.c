/* Who may run beside whom: see agent/state.h. */
#include <stdlib.h>

#include "agent/state.h"
#include "base/text.h"
#include "os/lock.h"

struct cf_state_lock {
    cf_lock *all, *own;
};

static cf_err *refused(const cf_lock_holder *holder, cf_code code) {
    char since[40];
    cf_time_format(holder->since, since);
    if (!holder->pid)
        return cf_fail(code, "%s is running", code == CF_ERR_REGISTRATION_RUNNING ? "a registration" : "another job");
    return cf_fail(code, "%s is running: pid %d, since %s", *holder->note ? holder->note : "another job",
                   (int)holder->pid, since);
}

static cf_err *take(cf_state *state, const char *name, cf_lock_kind kind, const char *note, cf_code code,
                    cf_lock **lock) {
    cf_lock_holder holder = {0};
    cf_time now = cf_clock_wall(cf_state_clock(state));
    CF_TRY(cf_lock_try(cf_state_fd(state), name, kind, note, now, lock, &holder));
    return *lock ? NULL : refused(&holder, code);
}

cf_err *cf_state_lock_take(cf_state *state, cf_state_lock_kind kind, const char *note, cf_state_lock **out) {
    CF_AUTO(cf_state_lock) lock = calloc(1, sizeof *lock);
    if (!lock) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a lock");
    if (kind == CF_STATE_LOCK_REGISTER) {
        CF_TRY(take(state, "lock.register", CF_LOCK_EXCLUSIVE, note, CF_ERR_REGISTRATION_RUNNING, &lock->own));
    } else {
        /* The backup's own lock first: a second backup is told of the first, not of a restore beside it. */
        if (kind == CF_STATE_LOCK_BACKUP)
            CF_TRY(take(state, "lock.backup", CF_LOCK_EXCLUSIVE, note, CF_ERR_JOB_RUNNING, &lock->own));
        CF_TRY(take(state, "lock", kind == CF_STATE_LOCK_EXCLUSIVE ? CF_LOCK_EXCLUSIVE : CF_LOCK_SHARED, note,
                    CF_ERR_JOB_RUNNING, &lock->all));
    }
    *out = cf_take(lock);
    return NULL;
}

void cf_state_lock_free(cf_state_lock *lock) {
    if (!lock) return;
    cf_lock_free(lock->all);
    cf_lock_free(lock->own);
    free(lock);
}
