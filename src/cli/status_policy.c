#include "cli/status_policy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/jobs.h"
#include "agent/policy_store.h"
#include "cli/output.h"
#include "policy/schedule.h"

enum { JOBS_LOOKED_AT = 1000, DAY = 86400 };

void cf_status_policy_wipe(cf_status_policy *status) {
    cf_policy_wipe(&status->policy);
    cf_err_free(status->problem);
    cf_err_free(status->zone);
}

/* When the newest point of the policy's selection was made; of all that this server remembers. */
static cf_err *last_point(const cf_agent *agent, bool *found, int64_t *finished) {
    cf_job_row *rows = NULL;
    size_t count = 0;
    *found = false;
    CF_TRY(cf_jobs_list(agent->state, JOBS_LOOKED_AT, &rows, &count));
    for (size_t i = 0; i < count && !*found; i++) {
        *found = rows[i].plan.policy && rows[i].has_point && rows[i].has_finished;
        if (*found) *finished = rows[i].finished.seconds;
    }
    cf_jobs_free_rows(rows, count);
    return NULL;
}

/* Older than a week, and two runs should have come since. */
static cf_err *check_stale(const cf_agent *agent, const cf_identity *identity, int64_t now, cf_status_policy *status) {
    int64_t since = identity->registered.seconds, slot = 0;
    bool made = false, due = false;
    CF_TRY(last_point(agent, &made, &since));
    if (now - since <= (int64_t)CF_STALE_DAYS * DAY) return NULL;
    CF_TRY(cf_schedule_last(&status->policy, now, &due, &slot));
    if (due && made) CF_TRY(cf_schedule_last(&status->policy, slot - 1, &due, &slot));
    if (due && since >= slot) return NULL;
    long long days = (long long)((now - since) / DAY);
    if (made)
        status->problem = cf_fail_reason(CF_ERR_NO_POLICY, "stale", "no backup was completed for %lld days", days);
    else
        status->problem =
            cf_fail_reason(CF_ERR_NO_POLICY, "stale",
                           "this server was registered %lld days ago, and no backup was completed yet", days);
    return NULL;
}

static cf_err *read_schedule(const cf_agent *agent, const cf_identity *identity, cf_status_policy *status) {
    const cf_policy *policy = &status->policy;
    int64_t now = cf_clock_wall(cf_state_clock(agent->state)).seconds;
    CF_TRY(check_stale(agent, identity, now, status));
    if (!cf_schedule_active(policy)) return NULL;
    /* A run that its delay still holds back comes before the next slot's. */
    int64_t slot = 0;
    bool found = false;
    CF_TRY(cf_schedule_last(policy, now, &found, &slot));
    if (found && slot + cf_schedule_delay(policy, &identity->server_id, slot) <= now)
        CF_TRY(cf_schedule_next(policy, now, &found, &slot));
    status->has_next = found;
    status->next_run = found ? slot + cf_schedule_delay(policy, &identity->server_id, slot) : 0;
    return NULL;
}

cf_err *cf_status_policy_read(const cf_agent *agent, const cf_identity *identity, cf_status_policy *status) {
    *status = (cf_status_policy){0};
    CF_TRY(cf_policy_store_load(agent->state, &status->policy, &status->exists));
    if (!status->exists) {
        status->problem = cf_fail(CF_ERR_NO_POLICY, "no policy is set for this server");
        return NULL;
    }
    if (status->policy.protection >= CF_PROTECTION_STOPPED_EXPIRE) {
        status->problem = cf_fail(CF_ERR_NO_POLICY, "the policy of this server was removed");
        return NULL;
    }
    cf_err *err = read_schedule(agent, identity, status);
    if (cf_err_code(err) != CF_ERR_ZONE_UNKNOWN) return err;
    status->zone = err;
    return NULL;
}

void cf_status_policy_print(const cf_status_policy *status) {
    static const char *const states[] = {"", ", paused", ", removed", ", removed"};
    if (!status->exists) {
        printf("policy       none\n");
        return;
    }
    CF_AUTO_FREE char *schedule = cf_schedule_text(&status->policy.schedule);
    printf("policy       version %llu, %s%s\n", (unsigned long long)status->policy.number,
           status->policy.schedule.kind == CF_SCHEDULE_NONE ? "no schedule" : (schedule ? schedule : ""),
           states[status->policy.protection]);
    if (!status->has_next) return;
    char when[40];
    cf_time_local((cf_time){status->next_run, 0}, when);
    printf("next run     %s\n", when);
}
