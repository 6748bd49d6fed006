#include "agent/policy_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "os/file.h"
#include "os/lock.h"
#include "proto/json.h"
#include "remote/policy.h"

#define CACHE "policy.json"
#define PENDING "policy-pending.json"
#define SELECTION "policy-selection.json"
#define SUPERSEDED "policy-superseded.json"
#define MINIMUM "vault_minimum" /* a setting */

static cf_err *take_lock(cf_state *state, cf_lock **lock) {
    return cf_lock_wait(cf_state_fd(state), "lock.policy", CF_LOCK_EXCLUSIVE, "the policy",
                        cf_clock_wall(cf_state_clock(state)), lock);
}

static cf_err *read_document(cf_span text, const char *name, cf_policy *policy) {
    cf_policy read;
    CF_TRY(cf_policy_parse(text, name, &read));
    cf_policy_wipe(policy);
    *policy = read;
    return NULL;
}

/* A file that cannot be understood is as good as none: what it held is in the vault, or was told when it was lost. */
static cf_err *read_file(cf_state *state, const char *name, cf_policy *policy, bool *found) {
    CF_AUTO_BUF cf_buf text;
    cf_buf_init(&text, CF_POLICY_SIZE_MAX);
    *found = false;
    cf_err *err = cf_file_read(cf_state_fd(state), name, CF_POLICY_SIZE_MAX, &text);
    if (cf_err_code(err) == CF_ERR_NOT_FOUND) {
        cf_err_free(err);
        return NULL;
    }
    if (!err) err = read_document(cf_buf_span(&text), name, policy);
    if (!err) {
        *found = true;
        return NULL;
    }
    if (cf_err_code(err) == CF_ERR_OUT_OF_MEMORY || cf_err_code(err) == CF_ERR_IO) return err;
    cf_log_error(CF_LOG_WARNING, err);
    cf_err_free(err);
    return NULL;
}

static cf_err *write_file(cf_state *state, const char *name, const cf_policy *policy) {
    CF_AUTO_BUF cf_buf text;
    cf_buf_init(&text, CF_POLICY_SIZE_MAX);
    CF_TRY(cf_policy_format(policy, &text));
    cf_span span = cf_buf_span(&text);
    return cf_file_write_durable(cf_state_fd(state), name, &span, 1, 0600);
}

static cf_err *remove_file(cf_state *state, const char *name) {
    return cf_file_remove_durable(cf_state_fd(state), name, NULL);
}

/* All that is kept here. */
typedef struct store {
    cf_state *state;
    cf_policy cache, pending;
    bool has_cache, has_pending;
} store;

static void store_wipe(store *kept) {
    cf_policy_wipe(&kept->cache);
    cf_policy_wipe(&kept->pending);
}
#define AUTO_STORE __attribute__((cleanup(store_wipe)))

static cf_err *store_read(cf_state *state, store *kept) {
    kept->state = state;
    cf_policy_init(&kept->cache);
    cf_policy_init(&kept->pending);
    CF_TRY(read_file(state, CACHE, &kept->cache, &kept->has_cache));
    return read_file(state, PENDING, &kept->pending, &kept->has_pending);
}

static const cf_policy *in_force(const store *kept) {
    if (kept->has_pending) return &kept->pending;
    return kept->has_cache ? &kept->cache : NULL;
}

cf_err *cf_policy_store_load(cf_state *state, cf_policy *policy, bool *found) {
    AUTO_STORE store kept = {0};
    cf_policy_init(policy);
    CF_TRY(store_read(state, &kept));
    const cf_policy *now = in_force(&kept);
    *found = now != NULL;
    if (!now) return NULL;
    cf_policy copy;
    CF_TRY(cf_policy_copy(now, &copy));
    cf_policy_wipe(policy);
    *policy = copy;
    return NULL;
}

cf_err *cf_policy_store_pending(cf_state *state, bool *pending) {
    return cf_file_exists(cf_state_fd(state), PENDING, pending);
}

static cf_err *log_differences(const char *what, const cf_policy *before, const cf_policy *after) {
    CF_AUTO_STRINGS cf_strings lines = {0};
    CF_TRY(cf_policy_differences(before, after, &lines));
    for (size_t i = 0; i < lines.count; i++) cf_log(CF_LOG_WARNING, "%s: %s", what, lines.item[i]);
    return NULL;
}

/* A selection is held against the one that was last decided on this server; where nothing is known of such a
 * decision, against the first that was met here. */
static cf_err *keep_selection(const store *kept, const cf_policy *policy, bool decided_here) {
    bool exists = false;
    if (!decided_here) CF_TRY(cf_file_exists(cf_state_fd(kept->state), SELECTION, &exists));
    if (exists) return NULL;
    return write_file(kept->state, SELECTION, decided_here || !kept->has_cache ? policy : &kept->cache);
}

/* The newest version takes the place of the one here. The selection first: should this end in between, a cut is
 * still seen. */
static cf_err *adopt(store *kept, const cf_remote_policy *newest) {
    CF_TRY(keep_selection(kept, &newest->policy, !newest->by_vault));
    if (kept->has_cache)
        CF_TRY(log_differences(newest->by_vault ? "policy changed at the vault" : "policy changed", &kept->cache,
                               &newest->policy));
    CF_TRY(write_file(kept->state, CACHE, &newest->policy));
    return kept->has_pending ? remove_file(kept->state, PENDING) : NULL;
}

/* A waiting edit that cannot become the newest is kept for people to read. */
static cf_err *give_up_pending(store *kept) {
    cf_log(CF_LOG_WARNING, "the change of the policy that waited for the vault was not taken; it is kept in %s/%s",
           cf_state_folder(kept->state), SUPERSEDED);
    return write_file(kept->state, SUPERSEDED, &kept->pending);
}

static bool refused(const cf_err *err) {
    cf_code code = cf_err_code(err);
    return code == CF_ERR_POLICY_INVALID || code == CF_ERR_RETENTION_INVALID || code == CF_ERR_TOO_MANY_POINTS ||
           code == CF_ERR_ZONE_UNKNOWN || code == CF_ERR_BAD_SOURCE_PATH || code == CF_ERR_BAD_REQUEST;
}

static bool unreachable(const cf_err *err) {
    cf_code code = cf_err_code(err);
    return code == CF_ERR_VAULT_UNREACHABLE || code == CF_ERR_VAULT_BUSY || code == CF_ERR_PROXY;
}

/* What was sent is the newest: it becomes the version here. */
static cf_err *accepted(store *kept, const cf_policy *sent, uint64_t number) {
    cf_policy made;
    CF_TRY(cf_policy_copy(sent, &made));
    made.number = number;
    cf_err *err = write_file(kept->state, CACHE, &made);
    cf_policy_wipe(&made);
    if (!err && kept->has_pending) err = remove_file(kept->state, PENDING);
    return err;
}

static cf_err *adopt_changed(store *kept, const cf_remote_policy *newest, cf_policy_sync *outcome) {
    CF_TRY(adopt(kept, newest));
    outcome->found = outcome->changed = true;
    outcome->number = newest->number;
    return NULL;
}

static cf_err *send_pending(store *kept, cf_remote *remote, cf_policy_sync *outcome) {
    cf_remote_policy newest;
    bool conflict = false;
    uint64_t number = 0;
    cf_err *err = cf_remote_put_policy(remote, &kept->pending, kept->pending.number, &conflict, &number, &newest);
    if (err && refused(err)) {
        cf_log_error(CF_LOG_WARNING, err);
        cf_err_free(err);
        cf_remote_policy_wipe(&newest);
        err = cf_remote_get_policy(remote, &newest);
        conflict = true;
    }
    if (!err && conflict) {
        outcome->superseded = true;
        err = give_up_pending(kept);
        if (!err) err = log_differences("the newest policy differs from the change", &kept->pending, &newest.policy);
        if (!err && newest.exists)
            err = adopt_changed(kept, &newest, outcome);
        else if (!err)
            err = remove_file(kept->state, PENDING);
    } else if (!err) {
        err = accepted(kept, &kept->pending, number);
        outcome->found = outcome->sent = true;
        outcome->number = number;
    }
    cf_remote_policy_wipe(&newest);
    return err;
}

static cf_err *same_document(const cf_policy *a, const cf_policy *b, bool *same) {
    CF_AUTO_BUF cf_buf x, y;
    cf_buf_init(&x, CF_POLICY_SIZE_MAX);
    cf_buf_init(&y, CF_POLICY_SIZE_MAX);
    CF_TRY(cf_policy_format(a, &x));
    CF_TRY(cf_policy_format(b, &y));
    *same = cf_span_equal(cf_buf_span(&x), cf_buf_span(&y));
    return NULL;
}

/* The vault was put back to an older state, or made anew: what it forgot is sent again. */
static cf_err *send_again(store *kept, cf_remote *remote, uint64_t base, cf_policy_sync *outcome) {
    bool conflict = false;
    uint64_t number = 0;
    cf_log(CF_LOG_WARNING, "the vault has version %llu of the policy, this server version %llu: sent again",
           (unsigned long long)base, (unsigned long long)kept->cache.number);
    CF_TRY(cf_remote_put_policy(remote, &kept->cache, base, &conflict, &number, NULL));
    outcome->found = true;
    outcome->number = conflict ? kept->cache.number : number; /* somebody was faster: the next sync meets it */
    return conflict ? NULL : accepted(kept, &kept->cache, number);
}

/* Not worth a write when nothing changed: every job asks. */
static cf_err *keep_minimum(cf_state *state, const cf_retention_floor *minimum) {
    CF_AUTO_FREE char *known = NULL;
    CF_AUTO_FREE char *text = cf_text_format("%u %u %u %u %u", minimum->days, minimum->weeks, minimum->months,
                                             minimum->years, minimum->on_demand_days);
    if (!text) return cf_fail(CF_ERR_OUT_OF_MEMORY, "the vault's minimum");
    CF_TRY(cf_state_get_setting(state, MINIMUM, &known));
    return known && strcmp(known, text) == 0 ? NULL : cf_state_set_setting(state, MINIMUM, text);
}

cf_err *cf_policy_store_minimum(cf_state *state, cf_retention_floor *minimum) {
    CF_AUTO_FREE char *text = NULL;
    cf_retention_floor read;
    *minimum = CF_RETENTION_FLOOR_DEFAULT;
    CF_TRY(cf_state_get_setting(state, MINIMUM, &text));
    if (text &&
        sscanf(text, "%u %u %u %u %u", &read.days, &read.weeks, &read.months, &read.years, &read.on_demand_days) == 5)
        *minimum = read;
    return NULL;
}

static cf_err *compare(store *kept, cf_remote *remote, const cf_remote_policy *newest, cf_policy_sync *outcome) {
    bool same = false;
    uint64_t here = kept->has_cache ? kept->cache.number : 0;
    if (newest->number < here) return send_again(kept, remote, newest->number, outcome);
    if (!newest->exists) return NULL;
    if (kept->has_cache) CF_TRY(same_document(&kept->cache, &newest->policy, &same));
    if (!same) return adopt_changed(kept, newest, outcome);
    outcome->found = true;
    outcome->number = here;
    return NULL;
}

cf_err *cf_policy_store_sync(cf_state *state, cf_remote *remote, cf_policy_sync *outcome) {
    AUTO_STORE store kept = {0};
    CF_AUTO(cf_lock) lock = NULL;
    *outcome = (cf_policy_sync){0};
    CF_TRY(take_lock(state, &lock));
    CF_TRY(store_read(state, &kept));
    if (kept.has_pending) return send_pending(&kept, remote, outcome);
    cf_remote_policy newest;
    cf_err *err = cf_remote_get_policy(remote, &newest);
    if (!err) err = keep_minimum(state, &newest.minimum);
    if (!err) err = compare(&kept, remote, &newest, outcome);
    cf_remote_policy_wipe(&newest);
    return err;
}

/* *taken: it is the newest; else it has to wait. */
static cf_err *send_edit(store *kept, cf_remote *remote, const cf_policy *policy, bool *taken, uint64_t *number) {
    cf_remote_policy newest;
    bool conflict = false;
    cf_err *err = cf_remote_put_policy(remote, policy, policy->number, &conflict, number, &newest);
    if (!err && conflict) {
        err = adopt(kept, &newest);
        if (!err)
            err = cf_fail(CF_ERR_POLICY_CHANGED, "version %llu is the newest, the change was made to version %llu",
                          (unsigned long long)newest.number, (unsigned long long)policy->number);
    }
    cf_remote_policy_wipe(&newest);
    *taken = !err;
    if (!unreachable(err)) return err;
    cf_log_error(CF_LOG_WARNING, err);
    cf_err_free(err);
    return NULL;
}

cf_err *cf_policy_store_save(cf_state *state, cf_remote *remote, cf_policy *policy, bool *pending) {
    AUTO_STORE store kept = {0};
    CF_AUTO(cf_lock) lock = NULL;
    bool taken = false;
    uint64_t number = policy->number;
    CF_TRY(cf_policy_check(policy));
    CF_TRY(take_lock(state, &lock));
    CF_TRY(store_read(state, &kept));
    if (remote) CF_TRY(send_edit(&kept, remote, policy, &taken, &number));
    const cf_policy *before = in_force(&kept);
    CF_TRY(keep_selection(&kept, policy, !before || !cf_policy_same_selection(before, policy)));
    if (taken)
        CF_TRY(accepted(&kept, policy, number));
    else
        CF_TRY(write_file(state, PENDING, policy));
    policy->number = number;
    *pending = !taken;
    return NULL;
}

cf_err *cf_policy_store_cut(cf_state *state, cf_strings *lines) {
    AUTO_STORE store kept = {0};
    cf_policy decided;
    bool known = false;
    CF_TRY(store_read(state, &kept));
    const cf_policy *now = in_force(&kept);
    if (!now) return NULL;
    cf_policy_init(&decided);
    cf_err *err = read_file(state, SELECTION, &decided, &known);
    if (!err && known) err = cf_policy_cut(&decided, now, lines);
    cf_policy_wipe(&decided);
    return err;
}

cf_err *cf_policy_store_confirm(cf_state *state) {
    AUTO_STORE store kept = {0};
    CF_AUTO(cf_lock) lock = NULL;
    CF_TRY(take_lock(state, &lock));
    CF_TRY(store_read(state, &kept));
    const cf_policy *now = in_force(&kept);
    return now ? write_file(state, SELECTION, now) : NULL;
}

cf_err *cf_policy_store_forget(cf_state *state) {
    CF_AUTO(cf_lock) lock = NULL;
    CF_TRY(take_lock(state, &lock));
    CF_TRY(remove_file(state, PENDING));
    CF_TRY(remove_file(state, CACHE));
    CF_TRY(remove_file(state, SELECTION));
    CF_TRY(cf_state_set_setting(state, MINIMUM, NULL));
    return remove_file(state, SUPERSEDED);
}
