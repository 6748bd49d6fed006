/* Scheduled backups. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "base/log.h"
#include "base/text.h"
#include "daemon/internal.h"
#include "digest/digest.h"

enum {
    TRIES_MAX = 3, /* of a run that ends with the machine, again and again */
    LATE_S = 60,   /* later than that is worth a word */
    EXIT_BUSY = 4, /* of coffer: another backup holds the lock */
};

static cf_err *handled(cf_daemon *daemon, int64_t slot) {
    if (slot > daemon->slots.handled) daemon->slots.handled = slot;
    daemon->slots.stopped = 0;
    daemon->waiting = 0;
    return cf_daemon_keep_slots(daemon);
}

/* The backup that is at work, if any: its row goes to *row. */
static cf_err *find_running(cf_daemon *daemon, bool *found, cf_job_row *row) {
    cf_job_row *rows = NULL;
    size_t count = 0;
    *found = false;
    CF_TRY(cf_jobs_list_running(daemon->state, &rows, &count));
    for (size_t i = 0; i < count && !*found; i++) {
        if (strcmp(rows[i].type, "backup") != 0) continue;
        *found = true;
        *row = rows[i];
        row->error = NULL; /* running jobs have none */
    }
    cf_jobs_free_rows(rows, count);
    return NULL;
}

/* A backup of the policy's selection that is at work does what this run would do: if it ends well, see tried_before. */
static cf_err *merge(cf_daemon *daemon, const cf_job_row *row, int64_t slot) {
    char due[40], job[CF_HEX_SIZE(16)];
    bool is_this = row->plan.has_slot && row->plan.slot.seconds >= slot;
    if (is_this || (row->has_merged && row->merged_slot.seconds >= slot)) return NULL;
    cf_time_format((cf_time){slot, 0}, due);
    cf_hex_encode(row->id.bytes, 16, job);
    cf_log(CF_LOG_INFO, "the run due at %s is merged into job %.12s, which is at work", due, job);
    return cf_jobs_merge(daemon->state, &row->id, (cf_time){slot, 0});
}

static cf_err *start(cf_daemon *daemon, cf_worker *worker, int64_t slot) {
    char due[40];
    cf_time_format((cf_time){slot, 0}, due);
    const char *const words[] = {"-q", "--no-progress", "backup", "--scheduled", due, NULL};
    CF_TRY(cf_worker_start(daemon, worker, words));
    worker->slot = slot;
    daemon->waiting = 0;
    cf_log(CF_LOG_INFO, "backup due at %s: started as process %d", due, (int)worker->child.pid);
    return NULL;
}

/* What history says of this run: it may have ended, or been merged into one that did, before this daemon looked. */
static cf_err *tried_before(cf_daemon *daemon, int64_t slot, bool *done) {
    cf_job_row *rows = NULL;
    size_t count = 0;
    unsigned tries = 0;
    *done = false;
    CF_TRY(cf_jobs_list(daemon->state, 100, &rows, &count));
    for (size_t i = 0; i < count; i++) {
        const cf_job_row *row = &rows[i];
        bool for_it = (row->plan.has_slot && row->plan.slot.seconds == slot) ||
                      (row->has_merged && row->merged_slot.seconds == slot);
        if (strcmp(row->type, "backup") != 0 || !for_it) continue;
        bool by_us = strcmp(row->status, "cancelled") == 0 && daemon->slots.stopped == slot;
        if (strcmp(row->status, "interrupted") == 0 || by_us)
            tries++;
        else if (strcmp(row->status, "running") != 0)
            *done = true;
    }
    cf_jobs_free_rows(rows, count);
    if (tries >= TRIES_MAX) *done = true;
    return NULL;
}

/* A run is due. It waits for a backup of other files, is merged into one of the policy's, or starts. */
static cf_err *run_due(cf_daemon *daemon, cf_worker *worker, int64_t slot) {
    bool busy = false, done = false;
    cf_job_row row = {0};
    char due[40];
    cf_time_format((cf_time){slot, 0}, due);
    CF_TRY(find_running(daemon, &busy, &row));
    if (busy) {
        if (daemon->waiting != slot) cf_log(CF_LOG_INFO, "the run due at %s waits for a backup that is at work", due);
        daemon->waiting = slot; /* the daemon looks again every so often */
        return row.plan.policy ? merge(daemon, &row, slot) : NULL;
    }
    CF_TRY(tried_before(daemon, slot, &done));
    return done ? handled(daemon, slot) : start(daemon, worker, slot);
}

/* Runs that become due while our own is at work. */
static cf_err *merge_into_ours(cf_daemon *daemon, cf_worker *worker, int64_t slot) {
    bool found = false;
    cf_job_row row = {0};
    if (slot <= worker->slot) return NULL;
    CF_TRY(find_running(daemon, &found, &row));
    if (!found || !row.plan.policy) return NULL; /* it has only just begun */
    CF_TRY(merge(daemon, &row, slot));
    worker->slot = slot; /* with its end this one is done, too */
    return NULL;
}

static cf_err *look(cf_daemon *daemon, cf_worker *worker, cf_wake *wake) {
    if (!daemon->registered || !daemon->has_policy) return NULL;
    int64_t now = cf_daemon_now(daemon);
    cf_slot_decision decision;
    char due[40];
    CF_TRY(cf_slots_decide(&daemon->slots, &daemon->policy, &daemon->server, now, &decision));
    if (worker->child.pid)
        return decision.answer == CF_SLOT_RUN ? merge_into_ours(daemon, worker, decision.slot) : NULL;
    if (daemon->waiting > daemon->slots.handled) {
        /* Once due it stays due, however long what is in its way takes; a later one takes its place. */
        return run_due(daemon, worker, decision.answer == CF_SLOT_RUN ? decision.slot : daemon->waiting);
    }
    cf_time_format((cf_time){decision.slot, 0}, due);
    switch (decision.answer) {
    case CF_SLOT_NONE:
        return NULL;
    case CF_SLOT_LATER:
        wake->wall = decision.wake < wake->wall ? decision.wake : wake->wall;
        return NULL;
    case CF_SLOT_MISSED:
        cf_log(CF_LOG_WARNING, "the run due at %s was missed, and is older than the policy makes up for", due);
        return handled(daemon, decision.slot);
    case CF_SLOT_RUN:
        if (decision.slot + LATE_S < now) cf_log(CF_LOG_INFO, "the run due at %s was missed: made up for now", due);
        return run_due(daemon, worker, decision.slot);
    }
    return NULL;
}

/* A run that left nothing in the history is one that could not begin. */
static cf_err *record_lost(cf_daemon *daemon, int64_t slot, const char *how) {
    cf_job_row row = {0};
    bool found = false;
    CF_TRY(cf_jobs_last(daemon->state, "backup", "", &row, &found));
    bool known = found && ((row.plan.has_slot && row.plan.slot.seconds == slot) ||
                           (row.has_merged && row.merged_slot.seconds == slot));
    if (found) cf_job_row_wipe(&row);
    if (known) return NULL;
    cf_id16 id;
    cf_job_plan plan = {.policy = true, .has_slot = true, .slot = {slot, 0}};
    CF_AUTO(cf_err) why = cf_fail(CF_ERR_JOB_NOT_STARTED, "the scheduled backup could not begin: %s", how);
    CF_TRY(cf_random(id.bytes, sizeof id.bytes));
    CF_TRY(cf_jobs_begin(daemon->state, "backup", &id, &plan));
    return cf_jobs_finish(daemon->state, &id, &(cf_job_end_values){.status = "failed", .error = why});
}

static cf_err *ended(cf_daemon *daemon, cf_worker *worker, int status) {
    char due[40], how[64];
    int64_t slot = worker->slot;
    cf_time_format((cf_time){slot, 0}, due);
    cf_child_text(status, how);
    bool good = WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 3);
    cf_log(good ? CF_LOG_INFO : CF_LOG_WARNING, "backup due at %s: %s", due, how);
    CF_TRY(cf_jobs_sweep(daemon->state, NULL));
    cf_daemon_sync_soon(daemon);
    if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_BUSY) { /* it waits, or is merged */
        daemon->waiting = slot;
        return NULL;
    }
    if (cf_cancel_requested(daemon->options.cancel)) {
        daemon->slots.stopped = slot;
        return cf_daemon_keep_slots(daemon);
    }
    CF_TRY(record_lost(daemon, slot, how));
    return handled(daemon, slot);
}

const cf_work_kind cf_work_backup = {"backup", look, ended};
