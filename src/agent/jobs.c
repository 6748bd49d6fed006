#include "agent/jobs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/job_process.h"
#include "agent/live.h"
#include "agent/state_internal.h"
#include "base/text.h"
#include "proto/error_json.h"
#include "proto/json.h"

enum { LIST_MAX = 100000, HISTORY_MAX = 100000, LATELY_S = 60, TRIM_AT_ONCE = 100 };

#define COLUMNS                                                                                                             \
    "id, type, status, started, finished, point_id, bytes, bytes_sent, warnings, error, pid, pid_started, boot, reported, " \
    "policy, slot, merged_slot, seen"

void cf_job_row_wipe(cf_job_row *row) {
    free(row->error);
    memset(row, 0, sizeof *row);
}

void cf_jobs_free_rows(cf_job_row *rows, size_t count) {
    for (size_t i = 0; rows && i < count; i++) cf_job_row_wipe(&rows[i]);
    free(rows);
}

void cf_warning_rows_free(cf_warning_row *warnings, size_t count) {
    for (size_t i = 0; warnings && i < count; i++) {
        cf_buf_wipe(&warnings[i].path);
        free(warnings[i].message);
    }
    free(warnings);
}

/* What a job left besides its rows. */
static void remove_files(cf_state *state, const uint8_t id[16]) {
    char hex[CF_HEX_SIZE(16)];
    cf_hex_encode(id, 16, hex);
    CF_AUTO_FREE char *name = cf_text_format("%s/logs/LastBackupFailedFiles%s.txt", state->folder, hex);
    if (name) (void)unlink(name); /* most jobs have none */
}

/* History is bounded: by age, and by number. A few at a time: this runs at the start of every job. */
static cf_err *trim_history(cf_state *state) {
    CF_AUTO_STATEMENT sqlite3_stmt *select = NULL, *remove = NULL;
    uint8_t old[TRIM_AT_ONCE][16];
    size_t count = 0;
    CF_TRY(cf_sql_prepare(state->db,
                          "SELECT id FROM jobs WHERE status <> 'running' AND (started < ? OR number <= "
                          "(SELECT max(number) FROM jobs) - ?) ORDER BY number LIMIT ?",
                          &select));
    (void)sqlite3_bind_int64(select, 1, cf_clock_wall(&state->clock).seconds - state->history_days * (int64_t)86400);
    (void)sqlite3_bind_int(select, 2, HISTORY_MAX);
    (void)sqlite3_bind_int(select, 3, TRIM_AT_ONCE);
    for (bool row = true; count < TRIM_AT_ONCE; count++) {
        CF_TRY(cf_sql_step(state->db, select, &row));
        if (!row || !cf_sql_copy_bytes(select, 0, old[count], 16)) break;
    }
    CF_TRY(cf_sql_prepare(state->db, "DELETE FROM jobs WHERE id = ?", &remove));
    for (size_t i = 0; i < count; i++) {
        cf_sql_bind_bytes(remove, 1, cf_span_of(old[i], 16));
        CF_TRY(cf_sql_run(state->db, remove));
        (void)sqlite3_reset(remove); /* repeats the result of the step, which was good */
        remove_files(state, old[i]);
    }
    return NULL;
}

static cf_err *insert_job(cf_state *state, const char *type, const cf_id16 *id, const cf_job_plan *plan,
                          const cf_job_process *self) {
    CF_AUTO_STATEMENT sqlite3_stmt *statement = NULL;
    CF_TRY(cf_sql_prepare(state->db,
                          "INSERT INTO jobs(id, type, status, started, pid, pid_started, boot, policy, slot)"
                          " VALUES(?, ?, 'running', ?, ?, ?, ?, ?, ?)",
                          &statement));
    cf_sql_bind_bytes(statement, 1, cf_span_of(id->bytes, 16));
    cf_sql_bind_text(statement, 2, type);
    (void)sqlite3_bind_int64(statement, 3, cf_clock_wall(&state->clock).seconds);
    cf_sql_bind_number(statement, 4, (uint64_t)self->pid);
    cf_sql_bind_number(statement, 5, self->started);
    cf_sql_bind_text(statement, 6, self->boot);
    (void)sqlite3_bind_int(statement, 7, plan && plan->policy);
    if (plan && plan->has_slot) (void)sqlite3_bind_int64(statement, 8, plan->slot.seconds);
    CF_TRY(cf_sql_run(state->db, statement));
    return trim_history(state);
}

cf_err *cf_jobs_begin(cf_state *state, const char *type, const cf_id16 *id, const cf_job_plan *plan) {
    cf_job_process self;
    CF_TRY(cf_job_process_self(&self));
    CF_TRY(cf_state_begin(state));
    return cf_state_end(state, insert_job(state, type, id, plan, &self));
}

static cf_err *update_job(cf_state *state, const cf_id16 *id, uint64_t bytes, uint64_t bytes_sent) {
    CF_AUTO_STATEMENT sqlite3_stmt *statement = NULL;
    CF_TRY(cf_sql_prepare(state->db, "UPDATE jobs SET bytes = ?, bytes_sent = ?, seen = ? WHERE id = ?", &statement));
    cf_sql_bind_number(statement, 1, bytes);
    cf_sql_bind_number(statement, 2, bytes_sent);
    (void)sqlite3_bind_int64(statement, 3, cf_clock_wall(&state->clock).seconds);
    cf_sql_bind_bytes(statement, 4, cf_span_of(id->bytes, 16));
    return cf_sql_run(state->db, statement);
}

cf_err *cf_jobs_update(cf_state *state, const cf_id16 *id, uint64_t bytes, uint64_t bytes_sent) {
    CF_TRY(cf_state_begin(state));
    return cf_state_end(state, update_job(state, id, bytes, bytes_sent));
}

static cf_err *count_warnings(cf_state *state, const cf_id16 *id, uint64_t *count) {
    CF_AUTO_STATEMENT sqlite3_stmt *statement = NULL;
    bool row;
    CF_TRY(cf_sql_prepare(state->db, "SELECT warnings FROM jobs WHERE id = ?", &statement));
    cf_sql_bind_bytes(statement, 1, cf_span_of(id->bytes, 16));
    CF_TRY(cf_sql_step(state->db, statement, &row));
    if (!row) return cf_fail(CF_ERR_INTERNAL, "a warning for a job that is not in the history");
    *count = cf_sql_column_number(statement, 0);
    return NULL;
}

static cf_err *insert_warning(cf_state *state, sqlite3_stmt *statement, const cf_id16 *id, uint64_t number,
                              const cf_warning_row *warning) {
    cf_sql_bind_bytes(statement, 1, cf_span_of(id->bytes, 16));
    cf_sql_bind_number(statement, 2, number);
    cf_sql_bind_bytes(statement, 3, cf_buf_span(&warning->path));
    (void)sqlite3_bind_int(statement, 4, warning->code);
    (void)sqlite3_bind_int(statement, 5, warning->err_no);
    cf_sql_bind_text(statement, 6, warning->message ? warning->message : "");
    CF_TRY(cf_sql_run(state->db, statement));
    (void)sqlite3_reset(statement); /* repeats the result of the step, which was good */
    return NULL;
}

static cf_err *insert_warnings(cf_state *state, const cf_id16 *id, const cf_warning_row *warnings, size_t count) {
    uint64_t before = 0;
    CF_TRY(count_warnings(state, id, &before));
    CF_AUTO_STATEMENT sqlite3_stmt *insert = NULL;
    CF_TRY(cf_sql_prepare(state->db,
                          "INSERT INTO job_warnings(job, number, path, code, err_no, message) VALUES(?, ?, ?, ?, ?, ?)",
                          &insert));
    for (size_t i = 0; i < count && before + i < CF_JOB_WARNINGS_MAX; i++)
        CF_TRY(insert_warning(state, insert, id, before + i + 1, &warnings[i]));
    CF_AUTO_STATEMENT sqlite3_stmt *update = NULL;
    CF_TRY(cf_sql_prepare(state->db, "UPDATE jobs SET warnings = warnings + ? WHERE id = ?", &update));
    cf_sql_bind_number(update, 1, count);
    cf_sql_bind_bytes(update, 2, cf_span_of(id->bytes, 16));
    return cf_sql_run(state->db, update);
}

cf_err *cf_jobs_add_warnings(cf_state *state, const cf_id16 *id, const cf_warning_row *warnings, size_t count) {
    if (count == 0) return NULL;
    CF_TRY(cf_state_begin(state));
    return cf_state_end(state, insert_warnings(state, id, warnings, count));
}

static cf_err *end_job(cf_state *state, const cf_id16 *id, const cf_job_end_values *end, const char *error) {
    CF_AUTO_STATEMENT sqlite3_stmt *statement = NULL;
    CF_TRY(cf_sql_prepare(
        state->db,
        "UPDATE jobs SET status = ?, finished = ?, point_id = ?, bytes = ?, bytes_sent = ?, error = ? WHERE id = ?",
        &statement));
    cf_sql_bind_text(statement, 1, end->status);
    (void)sqlite3_bind_int64(statement, 2, cf_clock_wall(&state->clock).seconds);
    if (end->point_id) cf_sql_bind_bytes(statement, 3, cf_span_of(end->point_id->bytes, 32));
    cf_sql_bind_number(statement, 4, end->bytes);
    cf_sql_bind_number(statement, 5, end->bytes_sent);
    cf_sql_bind_text(statement, 6, error);
    cf_sql_bind_bytes(statement, 7, cf_span_of(id->bytes, 16));
    return cf_sql_run(state->db, statement);
}

cf_err *cf_jobs_finish(cf_state *state, const cf_id16 *id, const cf_job_end_values *end) {
    CF_AUTO(json_t) object = end->error ? cf_error_to_json(end->error) : NULL;
    CF_AUTO_FREE char *error = object ? json_dumps(object, JSON_COMPACT) : NULL;
    if (end->error && !error) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a job's error");
    CF_TRY(cf_state_begin(state));
    return cf_state_end(state, end_job(state, id, end, error));
}

static cf_err *mark_reported(cf_state *state, const cf_id16 *id) {
    CF_AUTO_STATEMENT sqlite3_stmt *statement = NULL;
    CF_TRY(cf_sql_prepare(state->db, "UPDATE jobs SET reported = 1 WHERE id = ?", &statement));
    cf_sql_bind_bytes(statement, 1, cf_span_of(id->bytes, 16));
    return cf_sql_run(state->db, statement);
}

cf_err *cf_jobs_set_reported(cf_state *state, const cf_id16 *id) {
    CF_TRY(cf_state_begin(state));
    return cf_state_end(state, mark_reported(state, id));
}

static void read_process(sqlite3_stmt *statement, cf_job_process *process) {
    process->pid = (pid_t)sqlite3_column_int(statement, 10);
    process->started = cf_sql_column_number(statement, 11);
    cf_sql_copy_text(statement, 12, process->boot, sizeof process->boot);
}

/* When it ended, as well as that can be known. */
static int64_t end_of(cf_state *state, sqlite3_stmt *statement) {
    int64_t now = cf_clock_wall(&state->clock).seconds;
    int64_t started = sqlite3_column_int64(statement, 3), seen = sqlite3_column_int64(statement, 17);
    if (seen < started) seen = started; /* 0: never since it began */
    return now - seen < LATELY_S ? now : seen;
}

typedef struct gone_job {
    cf_id16 id;
    int64_t ended;
} gone_job;

static cf_err *mark_interrupted(cf_state *state, const gone_job *gone) {
    CF_AUTO_STATEMENT sqlite3_stmt *statement = NULL;
    CF_TRY(cf_sql_prepare(state->db, "UPDATE jobs SET status = 'interrupted', finished = ? WHERE id = ?", &statement));
    (void)sqlite3_bind_int64(statement, 1, gone->ended);
    cf_sql_bind_bytes(statement, 2, cf_span_of(gone->id.bytes, 16));
    return cf_sql_run(state->db, statement);
}

static cf_err *sweep(cf_state *state, unsigned *count) {
    CF_AUTO_STATEMENT sqlite3_stmt *statement = NULL;
    gone_job gone[64];
    size_t found = 0;
    bool row = true;
    CF_TRY(cf_sql_prepare(state->db, "SELECT " COLUMNS " FROM jobs WHERE status = 'running'", &statement));
    while (found < sizeof gone / sizeof gone[0]) { /* more than that wait for the next sweep */
        cf_job_process process;
        CF_TRY(cf_sql_step(state->db, statement, &row));
        if (!row) break;
        read_process(statement, &process);
        if (cf_job_process_alive(&process) || !cf_sql_copy_bytes(statement, 0, gone[found].id.bytes, 16)) continue;
        gone[found++].ended = end_of(state, statement);
    }
    for (size_t i = 0; i < found; i++) {
        CF_TRY(mark_interrupted(state, &gone[i]));
        cf_live_remove(state, &gone[i].id);
    }
    if (count) *count = (unsigned)found;
    return NULL;
}

cf_err *cf_jobs_sweep(cf_state *state, unsigned *count) {
    CF_TRY(cf_state_begin(state));
    return cf_state_end(state, sweep(state, count));
}

static cf_err *read_row(sqlite3_stmt *statement, cf_job_row *row) {
    memset(row, 0, sizeof *row);
    if (!cf_sql_copy_bytes(statement, 0, row->id.bytes, 16))
        return cf_fail(CF_ERR_STATE_DAMAGED, "the state folder's database coffer.db: a job's ID is malformed");
    cf_sql_copy_text(statement, 1, row->type, sizeof row->type);
    cf_sql_copy_text(statement, 2, row->status, sizeof row->status);
    row->started.seconds = sqlite3_column_int64(statement, 3);
    row->has_finished = sqlite3_column_type(statement, 4) != SQLITE_NULL;
    row->finished.seconds = sqlite3_column_int64(statement, 4);
    row->has_point = cf_sql_copy_bytes(statement, 5, row->point_id.bytes, 32);
    row->bytes = cf_sql_column_number(statement, 6);
    row->bytes_sent = cf_sql_column_number(statement, 7);
    row->warnings = cf_sql_column_number(statement, 8);
    row->error = cf_sql_column_text(statement, 9);
    row->pid = (pid_t)sqlite3_column_int(statement, 10);
    row->reported = sqlite3_column_int(statement, 13) != 0;
    row->plan.policy = sqlite3_column_int(statement, 14) != 0;
    row->plan.has_slot = sqlite3_column_type(statement, 15) != SQLITE_NULL;
    row->plan.slot.seconds = sqlite3_column_int64(statement, 15);
    row->has_merged = sqlite3_column_type(statement, 16) != SQLITE_NULL;
    row->merged_slot.seconds = sqlite3_column_int64(statement, 16);
    return NULL;
}

/* Every row of a statement that selects COLUMNS. */
static cf_err *read_rows(cf_state *state, sqlite3_stmt *statement, cf_job_row **out, size_t *count) {
    cf_job_row *rows = NULL;
    size_t used = 0, room = 0;
    cf_err *err = NULL;
    for (bool more = true; !err;) {
        err = cf_sql_step(state->db, statement, &more);
        if (err || !more) break;
        if (used == room) {
            room = room ? 2 * room : 16;
            cf_job_row *larger = realloc(rows, room * sizeof *rows);
            if (!larger) {
                err = cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for the list of jobs");
                break;
            }
            rows = larger;
        }
        err = read_row(statement, &rows[used]);
        if (!err) used++;
    }
    if (err) {
        cf_jobs_free_rows(rows, used);
        return err;
    }
    *out = rows;
    *count = used;
    return NULL;
}

static cf_err *list_where(cf_state *state, const char *where, size_t limit, cf_job_row **rows, size_t *count) {
    CF_AUTO_FREE char *sql = cf_text_format("SELECT " COLUMNS " FROM jobs WHERE %s ORDER BY number DESC LIMIT %zu",
                                            where, limit < LIST_MAX ? limit : (size_t)LIST_MAX);
    if (!sql) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for the list of jobs");
    CF_AUTO_STATEMENT sqlite3_stmt *statement = NULL;
    CF_TRY(sweep(state, NULL));
    CF_TRY(cf_sql_prepare(state->db, sql, &statement));
    return read_rows(state, statement, rows, count);
}

static cf_err *list(cf_state *state, const char *where, size_t limit, cf_job_row **out, size_t *count) {
    cf_job_row *rows = NULL;
    size_t found = 0;
    CF_TRY(cf_state_begin(state));
    cf_err *err = cf_state_end(state, list_where(state, where, limit, &rows, &found));
    if (err) {
        cf_jobs_free_rows(rows, found);
        return err;
    }
    *out = rows;
    *count = found;
    return NULL;
}

cf_err *cf_jobs_list(cf_state *state, size_t limit, cf_job_row **rows, size_t *count) {
    return list(state, "1", limit, rows, count);
}

cf_err *cf_jobs_list_unreported(cf_state *state, size_t limit, cf_job_row **rows, size_t *count) {
    return list(state, "reported = 0 AND status <> 'running'", limit, rows, count);
}

cf_err *cf_jobs_list_running(cf_state *state, cf_job_row **rows, size_t *count) {
    return list(state, "status = 'running'", LIST_MAX, rows, count);
}

static cf_err *merge(cf_state *state, const cf_id16 *id, cf_time slot) {
    CF_AUTO_STATEMENT sqlite3_stmt *statement = NULL;
    CF_TRY(cf_sql_prepare(state->db, "UPDATE jobs SET merged_slot = ? WHERE id = ?", &statement));
    (void)sqlite3_bind_int64(statement, 1, slot.seconds);
    cf_sql_bind_bytes(statement, 2, cf_span_of(id->bytes, 16));
    return cf_sql_run(state->db, statement);
}

cf_err *cf_jobs_merge(cf_state *state, const cf_id16 *id, cf_time slot) {
    CF_TRY(cf_state_begin(state));
    return cf_state_end(state, merge(state, id, slot));
}

/* Types and statuses are words of this program, but a caller's word must not become SQL. */
static bool is_word(const char *text) {
    return text[strspn(text, "abcdefghijklmnopqrstuvwxyz_")] == '\0';
}

cf_err *cf_jobs_last(cf_state *state, const char *type, const char *status, cf_job_row *row, bool *found) {
    if (!is_word(type) || !is_word(status)) return cf_fail(CF_ERR_INTERNAL, "not a type or status of jobs");
    CF_AUTO_FREE char *where =
        cf_text_format("('%s' = '' OR type = '%s') AND ('%s' = '' OR status = '%s')", type, type, status, status);
    if (!where) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for the list of jobs");
    cf_job_row *rows;
    size_t count;
    CF_TRY(list(state, where, 1, &rows, &count));
    *found = count > 0;
    if (count) *row = rows[0];
    free(rows);
    return NULL;
}

cf_err *cf_jobs_find(cf_state *state, const char *prefix, cf_job_row *row) {
    size_t length = strlen(prefix);
    if (length == 0 || length > 32 || prefix[strspn(prefix, "0123456789abcdefABCDEF")])
        return cf_fail(CF_ERR_JOB_NOT_FOUND, "'%s' is no job ID", prefix);
    CF_AUTO_FREE char *where = cf_text_format("hex(id) LIKE '%s%%'", prefix);
    if (!where) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for the list of jobs");
    cf_job_row *rows;
    size_t count;
    CF_TRY(list(state, where, 2, &rows, &count));
    if (count == 1) {
        *row = rows[0];
        free(rows);
        return NULL;
    }
    cf_jobs_free_rows(rows, count);
    if (count == 0) return cf_fail(CF_ERR_JOB_NOT_FOUND, "no job has an ID that begins with %s", prefix);
    return cf_fail_reason(CF_ERR_JOB_NOT_FOUND, "ambiguous", "several jobs have IDs that begin with %s", prefix);
}

static cf_err *read_warning(sqlite3_stmt *statement, cf_warning_row *warning) {
    const void *path = sqlite3_column_blob(statement, 1);
    warning->number = cf_sql_column_number(statement, 0);
    cf_buf_init(&warning->path, 1 << 24);
    cf_buf_put(&warning->path, path, path ? (size_t)sqlite3_column_bytes(statement, 1) : 0);
    warning->code = sqlite3_column_int(statement, 2);
    warning->err_no = sqlite3_column_int(statement, 3);
    warning->message = cf_sql_column_text(statement, 4);
    return warning->message ? cf_buf_check(&warning->path, "a warning's path")
                            : cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a job's warnings");
}

static cf_err *read_warnings(cf_state *state, const cf_id16 *id, size_t limit, cf_warning_row *warnings,
                             size_t *count) {
    CF_AUTO_STATEMENT sqlite3_stmt *statement = NULL;
    CF_TRY(cf_sql_prepare(
        state->db, "SELECT number, path, code, err_no, message FROM job_warnings WHERE job = ? ORDER BY number LIMIT ?",
        &statement));
    cf_sql_bind_bytes(statement, 1, cf_span_of(id->bytes, 16));
    cf_sql_bind_number(statement, 2, limit);
    for (bool row = true; *count < limit;) {
        CF_TRY(cf_sql_step(state->db, statement, &row));
        if (!row) break;
        CF_TRY(read_warning(statement, &warnings[(*count)++]));
    }
    return NULL;
}

cf_err *cf_jobs_list_warnings(cf_state *state, const cf_id16 *id, size_t limit, cf_warning_row **out, size_t *count) {
    if (limit > CF_JOB_WARNINGS_MAX) limit = CF_JOB_WARNINGS_MAX;
    cf_warning_row *warnings = calloc(limit + 1, sizeof *warnings);
    if (!warnings) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a job's warnings");
    size_t found = 0;
    cf_err *err = cf_state_begin(state);
    if (!err) err = cf_state_end(state, read_warnings(state, id, limit, warnings, &found));
    if (err) {
        cf_warning_rows_free(warnings, found);
        return err;
    }
    *out = warnings;
    *count = found;
    return NULL;
}

static cf_err *find_process(cf_state *state, const cf_id16 *id, cf_job_process *process, bool *running) {
    CF_AUTO_STATEMENT sqlite3_stmt *statement = NULL;
    CF_TRY(cf_sql_prepare(state->db, "SELECT " COLUMNS " FROM jobs WHERE id = ? AND status = 'running'", &statement));
    cf_sql_bind_bytes(statement, 1, cf_span_of(id->bytes, 16));
    CF_TRY(cf_sql_step(state->db, statement, running));
    if (*running) read_process(statement, process);
    return NULL;
}

cf_err *cf_jobs_cancel(cf_state *state, const cf_job_row *row) {
    char id[CF_HEX_SIZE(16)];
    cf_hex_encode(row->id.bytes, 16, id);
    cf_job_process process = {0};
    bool running = false, sent = false;
    CF_TRY(cf_state_begin(state));
    CF_TRY(cf_state_end(state, find_process(state, &row->id, &process, &running)));
    if (running) CF_TRY(cf_job_process_terminate(&process, &sent));
    return sent ? NULL : cf_fail(CF_ERR_JOB_NOT_RUNNING, "job %s is not running (%s)", id, row->status);
}
