/* Proof before the bad day, as often as the policy says: a restore drill, then a share of all that is stored read back
 * and checked. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "base/log.h"
#include "base/text.h"
#include "daemon/internal.h"

enum {
    DAY = 86400,
    RETRY = 3600,     /* after one that could not be done at all */
    LOOK_MS = 600000, /* a due time is looked at so often: the wall clock may be set */
};
#define SETTING "proof" /* when the last one began */

static int64_t period_of(const cf_policy *policy) {
    switch (policy->drill) {
    case CF_DRILL_DAILY:
        return DAY;
    case CF_DRILL_WEEKLY:
        return 7 * DAY;
    case CF_DRILL_MONTHLY:
        return 30 * DAY;
    case CF_DRILL_NONE:
        break;
    }
    return 0;
}

static cf_err *last_begun(cf_daemon *daemon, int64_t *when) {
    CF_AUTO_FREE char *text = NULL;
    uint64_t seconds = 0;
    *when = 0;
    CF_TRY(cf_state_get_setting(daemon->state, SETTING, &text));
    if (text && cf_text_parse_u64(text, INT64_MAX, &seconds)) *when = (int64_t)seconds;
    return NULL;
}

static cf_err *keep_begun(cf_daemon *daemon, int64_t when) {
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)when);
    return cf_state_set_setting(daemon->state, SETTING, text);
}

/* Nothing can be proved before there is a point. */
static cf_err *has_point(cf_daemon *daemon, bool *yes) {
    cf_job_row row = {0};
    CF_TRY(cf_jobs_last(daemon->state, "backup", "completed", &row, yes));
    cf_job_row_wipe(&row);
    if (*yes) return NULL;
    CF_TRY(cf_jobs_last(daemon->state, "backup", "completed_with_warnings", &row, yes));
    cf_job_row_wipe(&row);
    return NULL;
}

static cf_err *begin(cf_daemon *daemon, cf_worker *worker, cf_proof_step step) {
    static const char *const drill[] = {"-q", "drill", NULL};
    static const char *const verify[] = {"-q", "verify", "latest", "--sample", "5", NULL};
    daemon->proof.step = step;
    return cf_worker_start(daemon, worker, step == CF_PROOF_DRILL ? drill : verify);
}

static cf_err *look(cf_daemon *daemon, cf_worker *worker, cf_wake *wake) {
    int64_t period = period_of(&daemon->policy), last = 0, now = cf_daemon_now(daemon);
    bool proved = false;
    if (worker->child.pid || !daemon->has_policy || period == 0 || daemon->policy.protection != CF_PROTECTION_ON)
        return NULL;
    if (daemon->proof.step == CF_PROOF_VERIFY) return begin(daemon, worker, CF_PROOF_VERIFY); /* its second half */
    uint64_t again = cf_daemon_ms(daemon) + LOOK_MS;
    if (again < wake->monotonic_ms) wake->monotonic_ms = again;
    if (now < daemon->proof.not_before || daemon->workers[CF_WORK_BACKUP].child.pid) return NULL;
    CF_TRY(last_begun(daemon, &last));
    if (last != 0 && last <= now && now - last < period) return NULL;
    CF_TRY(has_point(daemon, &proved));
    if (!proved) return NULL;
    CF_TRY(keep_begun(daemon, now));
    return begin(daemon, worker, CF_PROOF_DRILL);
}

/* Damage that was found (exit status 3) is a result, told by the job; anything else is tried again. */
static cf_err *ended(cf_daemon *daemon, cf_worker *worker, int status) {
    (void)worker;
    bool done = WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 3);
    bool first = daemon->proof.step == CF_PROOF_DRILL;
    daemon->proof.step = done && first ? CF_PROOF_VERIFY : CF_PROOF_NONE;
    if (done) return NULL;
    char how[64];
    cf_child_text(status, how);
    cf_log(CF_LOG_WARNING, "the %s that the policy asks for did not end well: %s", first ? "drill" : "verification",
           how);
    daemon->proof.not_before = cf_daemon_now(daemon) + RETRY;
    return keep_begun(daemon, 0);
}

const cf_work_kind cf_work_drill = {"drill", look, ended};
