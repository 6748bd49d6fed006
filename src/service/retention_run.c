#include "service/retention_run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "service/call.h"
#include "service/retention_view.h"

enum {
    ENTRY_POINTS = 2000,   /* in one journal entry */
    RETRY_SECONDS = 3600,  /* after a failure, or when a day's share is used up */
    PINNED_SECONDS = 300,  /* while somebody uses one */
    AGAIN_SECONDS = 86400, /* in any case: the zones' rules may have changed */
};

/* ---- One server ---- */

static json_t *entry_point(const cf_history_row *row) {
    json_t *value = json_pack("{so,so,sI}", "id", cf_value_hex(row->id.bytes, 32), "counter",
                              cf_value_number(row->counter), "received", (json_int_t)row->received);
    int failed = !value;
    if (!failed && row->has_retain_until) failed = json_object_set_new(value, "until", json_integer(row->retain_until));
    if (!failed && row->scheduled) failed = json_object_set_new(value, "slot", json_integer(row->slot));
    if (!failed && row->manual) failed = json_object_set_new(value, "manual", json_true());
    if (!failed && row->flagged) failed = json_object_set_new(value, "flagged", json_true());
    if (!failed) return value;
    json_decref(value);
    return NULL;
}

static cf_err *journal_points(cf_vault *vault, const cf_id16 *server, const cf_history_row *const *rows, size_t count) {
    json_t *list = json_array();
    for (size_t i = 0; i < count && list; i++) {
        if (json_array_append_new(list, entry_point(rows[i])) == 0) continue;
        json_decref(list);
        list = NULL;
    }
    return cf_vault_journal(
        vault, CF_JOURNAL_POINTS_EXPIRED,
        json_pack("{so,ss,so}", "server_id", cf_value_hex(server->bytes, 16), "reason", "retention", "points", list),
        NULL);
}

static int by_date(const void *a, const void *b) {
    const cf_retained_point *x = *(cf_retained_point *const *)a, *y = *(cf_retained_point *const *)b;
    if (x->expires != y->expires) return x->expires < y->expires ? -1 : 1;
    return x->counter < y->counter ? -1 : x->counter > y->counter;
}

/* Those that are due, the longest overdue first; at most so many. */
static cf_err *choose(const cf_retention_view *view, size_t most, const cf_history_row ***out, size_t *count) {
    CF_AUTO_FREE const cf_retained_point **due = calloc(view->count + 1, sizeof *due);
    CF_AUTO_FREE const cf_history_row **rows = calloc(view->count + 1, sizeof *rows);
    size_t used = 0;
    if (!due || !rows) return cf_fail(CF_ERR_OUT_OF_MEMORY, "retention");
    for (size_t i = 0; i < view->count; i++)
        if (view->points[i].verdict == CF_VERDICT_DUE) due[used++] = &view->points[i];
    qsort(due, used, sizeof *due, by_date);
    if (used > most) used = most;
    for (size_t i = 0; i < used; i++) rows[i] = &view->rows[due[i] - view->points];
    *out = cf_take(rows);
    *count = used;
    return NULL;
}

static cf_err *let_go(cf_vault *vault, const cf_id16 *server, const cf_history_row *const *rows, size_t count,
                      int64_t now) {
    for (size_t at = 0; at < count; at += ENTRY_POINTS)
        CF_TRY(journal_points(vault, server, rows + at, count - at < ENTRY_POINTS ? count - at : ENTRY_POINTS));
    for (size_t i = 0; i < count; i++) CF_TRY(cf_records_expire_point(vault->records, &rows[i]->id, now, NULL));
    return NULL;
}

static void count_verdicts(const cf_retention_view *view, int64_t now, cf_retention_waiting *waiting) {
    for (size_t i = 0; i < view->count; i++) {
        cf_verdict verdict = view->points[i].verdict;
        if (verdict != CF_VERDICT_GONE) waiting->current++;
        if (verdict == CF_VERDICT_DUE) waiting->due++;
        if (verdict == CF_VERDICT_HELD) waiting->held++;
        if (verdict == CF_VERDICT_PINNED) waiting->pinned++;
    }
    size_t allowed = cf_retention_allowance(view->points, view->count, now);
    waiting->allowed = allowed < waiting->due ? allowed : waiting->due;
}

static int64_t look_again(const cf_retention_view *view, const cf_retention_waiting *waiting, bool left, int64_t now) {
    int64_t next = now + AGAIN_SECONDS;
    if (view->next < next) next = view->next;
    if (left && now + RETRY_SECONDS < next) next = now + RETRY_SECONDS;
    if (waiting->pinned && now + PINNED_SECONDS < next) next = now + PINNED_SECONDS;
    return next;
}

/* What a run did. */
typedef struct run_report {
    uint64_t went;
    uint64_t waiting, servers; /* points that a day's share is too small for, and whose */
} run_report;

static void note(const cf_id16 *server, size_t went, const cf_retention_waiting *waiting, run_report *report) {
    char hex[CF_HEX_SIZE(16)];
    cf_hex_encode(server->bytes, 16, hex);
    if (went) cf_log(CF_LOG_INFO, "server %s: %zu recovery points have expired", hex, went);
    report->went += went;
    if (waiting->due == went) return;
    report->waiting += waiting->due - went;
    report->servers++;
}

/* Inside a transaction. */
static cf_err *run_server(cf_vault *vault, const cf_id16 *server, bool confirmed, run_report *report) {
    CF_AUTO_RETENTION_VIEW cf_retention_view view = {0};
    CF_AUTO_FREE const cf_history_row **rows = NULL;
    int64_t now = cf_vault_now(vault);
    cf_retention_waiting waiting = {0};
    size_t count = 0;
    CF_TRY(cf_retention_view_load(vault, server, now, &view));
    count_verdicts(&view, now, &waiting);
    CF_TRY(choose(&view, confirmed ? SIZE_MAX : (size_t)waiting.allowed, &rows, &count));
    CF_TRY(let_go(vault, server, rows, count, now));
    CF_TRY(cf_records_set_retention_due(vault->records, server, look_again(&view, &waiting, waiting.due > count, now)));
    note(server, count, &waiting, report);
    return NULL;
}

/* In a transaction of its own; a failure is logged, and the server looked at again later. */
static cf_err *run_one(cf_vault *vault, const cf_id16 *server, bool confirmed, run_report *report) {
    run_report after = *report;
    char hex[CF_HEX_SIZE(16)];
    cf_hex_encode(server->bytes, 16, hex);
    CF_TRY(cf_records_begin(vault->records));
    cf_err *err = cf_records_finish(vault->records, run_server(vault, server, confirmed, &after));
    if (!err) {
        *report = after;
        return NULL;
    }
    err = cf_note(err, "retention of server %s", hex);
    cf_log_error(CF_LOG_ERROR, err);
    cf_err_free(err);
    return cf_records_set_retention_due(vault->records, server, cf_vault_now(vault) + RETRY_SECONDS);
}

static cf_err *run(cf_vault *vault, int64_t due, bool confirmed, uint64_t *expired) {
    CF_AUTO_FREE cf_id16 *servers = NULL;
    size_t count = 0;
    run_report report = {0};
    CF_TRY(cf_records_list_retention_due(vault->records, due, &servers, &count));
    for (size_t i = 0; i < count; i++) CF_TRY(run_one(vault, &servers[i], confirmed, &report));
    if (report.waiting && report.waiting != vault->anchor.told)
        cf_log(CF_LOG_WARNING,
               "%llu recovery points of %llu servers wait: at most a fifth of a server's expire in a day, unless "
               "coffer-vault confirm says so",
               (unsigned long long)report.waiting, (unsigned long long)report.servers);
    vault->anchor.told = report.waiting;
    *expired = report.went;
    return NULL;
}

cf_err *cf_retention_run(cf_vault *vault, bool all, uint64_t *out) {
    cf_expiry_stop stop;
    uint64_t expired = 0;
    CF_TRY(cf_expiry_stopped(vault, &stop));
    if (!stop.reason[0]) CF_TRY(run(vault, all ? INT64_MAX : cf_vault_now(vault), false, &expired));
    if (out) *out = expired;
    return NULL;
}

cf_err *cf_retention_tick(cf_vault *vault) {
    CF_TRY(cf_time_guard_check(vault));
    /* Not before it is known that the database is not behind what is stored: reclaiming looks first. */
    return atomic_load(&vault->looked) ? cf_retention_run(vault, false, NULL) : NULL;
}

/* ---- For the administrator ---- */

static cf_err *show_server(cf_vault *vault, cf_retention_waiting *row) {
    CF_AUTO_RETENTION_VIEW cf_retention_view view = {0};
    int64_t now = cf_vault_now(vault);
    cf_err *err = cf_retention_view_load(vault, &row->server, now, &view);
    if (cf_err_code(err) == CF_ERR_ZONE_UNKNOWN || cf_err_code(err) == CF_ERR_POLICY_INVALID) {
        snprintf(row->problem, sizeof row->problem, "%s", cf_err_message(err));
        cf_err_free(err);
        return NULL;
    }
    CF_TRY(err);
    count_verdicts(&view, now, row);
    return NULL;
}

cf_err *cf_retention_show(cf_vault *vault, cf_retention_waiting **out, size_t *count) {
    CF_AUTO_FREE cf_id16 *servers = NULL;
    size_t total = 0;
    CF_TRY(cf_records_list_retention_due(vault->records, INT64_MAX, &servers, &total));
    CF_AUTO_FREE cf_retention_waiting *rows = calloc(total + 1, sizeof *rows);
    if (!rows) return cf_fail(CF_ERR_OUT_OF_MEMORY, "retention");
    for (size_t i = 0; i < total; i++) {
        rows[i].server = servers[i];
        CF_TRY(show_server(vault, &rows[i]));
    }
    *out = cf_take(rows);
    *count = total;
    return NULL;
}

static cf_err *confirm(cf_vault *vault) {
    uint64_t sequence = 0;
    CF_TRY(cf_vault_journal(vault, CF_JOURNAL_EXPIRY_CONFIRMED, json_object(), &sequence));
    return cf_expiry_go_on(vault, sequence);
}

cf_err *cf_retention_confirm(cf_vault *vault, uint64_t *expired) {
    cf_expiry_stop stop;
    CF_TRY(cf_expiry_stopped(vault, &stop));
    if (strcmp(stop.reason, "frozen") == 0)
        return cf_fail_reason(
            CF_ERR_EXPIRY_STOPPED, "frozen",
            "the database is behind what the store or an agent has (%s): run coffer-vault rebuild --merge", stop.why);
    CF_TRY(cf_records_begin(vault->records));
    CF_TRY(cf_records_finish(vault->records, confirm(vault)));
    return run(vault, INT64_MAX, true, expired);
}
