/* The job around the attempts: history, hooks, coverage, and another session when one was lost. */
#include <stdlib.h>
#include <string.h>

#include "agent/backup_attempt.h"
#include "agent/backup_coverage.h"
#include "agent/hooks_run.h"
#include "agent/runner.h"
#include "base/log.h"

enum { SESSIONS_MAX = 3 };

static cf_err *run_attempts(const cf_backup_job *job, const cf_coverage *coverage, cf_job *running,
                            cf_backup_outcome *outcome) {
    bool resync = false;
    for (int session = 1;; session++) {
        bool again = false;
        cf_err *err = cf_backup_attempt(job, coverage, running, outcome, resync, &again, &resync);
        if (!again || session == SESSIONS_MAX) return err;
        cf_log_error(CF_LOG_WARNING, err);
        cf_err_free(err);
        if (job->note) job->note(job->context, "the session was lost: opening a new one; nothing is sent twice");
    }
}

static cf_err *run_covered(const cf_backup_job *job, cf_job *running, cf_backup_outcome *outcome) {
    CF_AUTO_COVERAGE cf_coverage room = {0};
    const cf_coverage *coverage = NULL;
    CF_TRY(cf_backup_coverage(job, running, &room, &coverage));
    return run_attempts(job, coverage, running, outcome);
}

/* The commands after the backup learn how it went, whatever that is. */
static cf_err *run_with_hooks(const cf_backup_job *job, cf_job *running, cf_backup_outcome *outcome) {
    cf_hooks_run hooks = {.config = job->config,
                          .config_path = job->config_path,
                          .names = job->hooks,
                          .job = running,
                          .server = job->access->server_name,
                          .scheduled = job->scheduled,
                          .cancel = job->cancel};
    cf_err *err = cf_hooks_before(&hooks);
    if (!err) err = run_covered(job, running, outcome);
    cf_hooks_end end = {.error = err, .point_id = err ? NULL : &outcome->point, .status = "completed"};
    if (err)
        end.status = cf_err_is(err, CF_ERR_CANCELLED) ? "cancelled" : "failed";
    else if (cf_job_warning_count(running))
        end.status = "completed_with_warnings";
    cf_err *after = cf_hooks_after(&hooks, &end);
    if (!err) return after;
    if (after) cf_log_error(CF_LOG_WARNING, after);
    cf_err_free(after);
    return err;
}

cf_err *cf_backup_run(const cf_backup_job *job, cf_backup_outcome *outcome) {
    *outcome = (cf_backup_outcome){.scan_reason = "", .status = "failed"};
    cf_clock clock = cf_clock_system();
    uint64_t before = cf_clock_ms(&clock);
    CF_AUTO(cf_job) running = NULL;
    cf_job_options options = {.type = "backup",
                              .lock = CF_STATE_LOCK_BACKUP,
                              .remote = job->access->remote,
                              .progress = job->progress,
                              .cancel = job->cancel,
                              .failed_files = true,
                              .plan.policy = job->policy != NULL};
    if (job->scheduled) options.plan.has_slot = cf_time_parse(job->scheduled, &options.plan.slot);
    CF_TRY(cf_job_start(job->state, &options, &running));
    outcome->job = *cf_job_id(running);
    cf_err *err = run_with_hooks(job, running, outcome);
    static const cf_id32 none;
    bool has_point = memcmp(&outcome->point, &none, sizeof none) != 0; /* it stands, whatever failed after it */
    cf_err *ending = cf_job_end(running, err, has_point ? &outcome->point : NULL, &outcome->status);
    outcome->seconds_ms = cf_clock_ms(&clock) - before;
    if (!err) return ending;
    cf_err_free(ending);
    return err;
}
