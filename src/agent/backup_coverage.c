#include "agent/backup_coverage.h"

#include <stdio.h>

#include "agent/policy_store.h"
#include "base/log.h"
#include "base/text.h"

cf_err *cf_backup_policy_load(cf_state *state, cf_remote *remote, cf_policy *policy) {
    cf_policy_sync outcome;
    cf_err *unreachable = remote ? cf_policy_store_sync(state, remote, &outcome) : NULL;
    if (unreachable) cf_log_error(CF_LOG_WARNING, unreachable); /* the policy known here stays in force */
    cf_err_free(unreachable);
    bool found = false;
    CF_TRY(cf_policy_store_load(state, policy, &found));
    bool removed =
        policy->protection == CF_PROTECTION_STOPPED_EXPIRE || policy->protection == CF_PROTECTION_STOPPED_KEEP;
    if (found && !removed) return NULL;
    cf_policy_wipe(policy);
    return cf_fail(CF_ERR_NO_POLICY, "%s",
                   removed ? "the policy of this server was removed" : "this server has no policy");
}

static const char runs_setting[] = "runs_since_full"; /* that completed since every file was read */

static cf_err *runs_since_full(cf_state *state, uint64_t *runs) {
    CF_AUTO_FREE char *text = NULL;
    CF_TRY(cf_state_get_setting(state, runs_setting, &text));
    *runs = 0;
    if (text && !cf_text_parse_u64(text, UINT32_MAX, runs)) *runs = 0; /* counted anew */
    return NULL;
}

cf_err *cf_backup_full_turn(cf_state *state, const cf_policy *policy, bool *turn) {
    uint64_t runs = 0;
    *turn = false;
    if (policy->full_every == 0) return NULL;
    CF_TRY(runs_since_full(state, &runs));
    *turn = runs + 1 >= policy->full_every;
    return NULL;
}

cf_err *cf_backup_count_run(cf_state *state, bool full) {
    uint64_t runs = 0;
    char text[24];
    CF_TRY(runs_since_full(state, &runs));
    snprintf(text, sizeof text, "%llu", full ? 0ull : (unsigned long long)runs + 1);
    return cf_state_set_setting(state, runs_setting, text);
}

static void warn(cf_job *running, cf_span path, const cf_err *why) {
    if (running)
        cf_job_warning(running, path, why);
    else
        cf_log_error(CF_LOG_WARNING, why);
}

static void warn_missing(void *context, cf_span path, const cf_err *why) {
    warn(context, path, why);
}

/* The point's own mark is the count of warnings in its summary. */
static cf_err *warn_of_cuts(cf_state *state, cf_job *running) {
    cf_strings lines = {0};
    cf_err *err = cf_policy_store_cut(state, &lines);
    for (size_t i = 0; !err && i < lines.count; i++) {
        cf_err *why = cf_fail(CF_ERR_SELECTION_CUT, "%s", lines.item[i]);
        warn(running, cf_span_of(NULL, 0), why);
        cf_err_free(why);
    }
    cf_strings_wipe(&lines);
    return err;
}

cf_err *cf_backup_coverage(const cf_backup_job *job, cf_job *running, cf_coverage *room, const cf_coverage **coverage) {
    *coverage = job->coverage;
    if (!job->policy) return NULL;
    CF_TRY(warn_of_cuts(job->state, running));
    CF_TRY(cf_coverage_from_policy(job->policy, warn_missing, running, room));
    CF_TRY(cf_coverage_check(room));
    *coverage = room;
    return NULL;
}
