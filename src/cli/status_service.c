#include "cli/status_service.h"

#include "agent/jobs.h"
#include "daemon/daemon.h"
#include "os/lock.h"
#include "policy/schedule.h"

enum { LATE_S = 600 };

/* The start of the newest backup, or 0. */
static cf_err *newest_start(const cf_agent *agent, int64_t *started) {
    cf_job_row row = {0};
    bool found = false;
    CF_TRY(cf_jobs_last(agent->state, "backup", "", &row, &found));
    *started = found ? row.started.seconds : 0;
    if (found) cf_job_row_wipe(&row);
    return NULL;
}

cf_err *cf_status_service_check(const cf_agent *agent, const cf_identity *identity, const cf_policy *policy,
                                cf_err **problem) {
    bool held = false, found = false;
    int64_t slot = 0, started = 0, now = cf_clock_wall(cf_state_clock(agent->state)).seconds;
    *problem = NULL;
    if (!policy || !cf_schedule_active(policy)) return NULL;
    CF_TRY(cf_lock_peek(cf_state_fd(agent->state), CF_DAEMON_LOCK, &held, NULL));
    if (held) return NULL;
    cf_err *err = cf_schedule_last(policy, now - LATE_S - (int64_t)policy->random_delay_minutes * 60, &found, &slot);
    if (err) found = false; /* an unknown zone is reported by itself */
    cf_err_free(err);
    if (!found || slot <= identity->registered.seconds) return NULL;
    CF_TRY(newest_start(agent, &started));
    if (started >= slot) return NULL;
    char due[40];
    cf_time_format((cf_time){slot, 0}, due);
    *problem =
        cf_fail(CF_ERR_SERVICE_STOPPED, "cofferd is not running: nothing started the backup that was due at %s", due);
    return NULL;
}
