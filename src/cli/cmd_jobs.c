/* coffer jobs: the history of jobs on this server. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "agent/jobs.h"
#include "agent/live.h"
#include "base/text.h"
#include "cli/agent.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "proto/json.h"

enum { LIMIT = 50, SHOWN_WARNINGS = 20, WATCH_MS = 1000, WATCH_WIDTH = 100 };

struct jobs_options {
    uint64_t limit;
    bool watch;
};

static const cf_option options[] = {
    CF_OPTION_NUMBER(struct jobs_options, limit, "limit", "N", LIMIT, "show the newest N jobs"),
    CF_OPTION_FLAG(struct jobs_options, watch, "watch", "show running jobs until they end"), CF_OPTION_END};

static json_t *error_of(const cf_job_row *row) {
    json_t *error = row->error ? json_loads(row->error, 0, NULL) : NULL;
    return error ? error : json_null();
}

static int set_time(json_t *object, const char *name, bool known, cf_time time) {
    return json_object_set_new(object, name, known ? cf_json_time(time) : json_null());
}

static int set_progress(json_t *object, cf_state *state, const cf_job_row *row) {
    cf_live_now now;
    if (strcmp(row->status, "running") != 0 || !cf_live_read(state, &row->id, &now)) return 0;
    return json_object_set_new(
        object, "progress",
        json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:s}", "phase", now.phase, "bytes_done", (json_int_t)now.bytes_done,
                  "bytes_total", (json_int_t)now.bytes_total, "files_done", (json_int_t)now.files_done, "files_total",
                  (json_int_t)now.files_total, "bytes_sent", (json_int_t)now.bytes_moved, "item", now.item));
}

static json_t *plain_json(const cf_job_row *row) {
    return json_pack("{s:o, s:s, s:s, s:o, s:o, s:o, s:I, s:I, s:o, s:I}", "id", cf_json_hex(row->id.bytes, 16), "type",
                     row->type, "status", row->status, "started", cf_json_time(row->started), "finished",
                     row->has_finished ? cf_json_time(row->finished) : json_null(), "point_id",
                     row->has_point ? cf_json_hex(row->point_id.bytes, 32) : json_null(), "bytes",
                     (json_int_t)row->bytes, "bytes_sent", (json_int_t)row->bytes_sent, "error", error_of(row),
                     "warnings", (json_int_t)row->warnings);
}

static json_t *row_json(cf_state *state, const cf_job_row *row) {
    json_t *object = plain_json(row);
    if (object && set_time(object, "scheduled", row->plan.has_slot, row->plan.slot) == 0 &&
        set_time(object, "merged_run", row->has_merged, row->merged_slot) == 0 && set_progress(object, state, row) == 0)
        return object;
    json_decref(object);
    return NULL;
}

static json_t *rows_json(cf_state *state, const cf_job_row *rows, size_t count) {
    json_t *list = json_array();
    for (size_t i = 0; list && i < count; i++) {
        if (json_array_append_new(list, row_json(state, &rows[i])) == 0) continue;
        json_decref(list);
        return NULL;
    }
    return list;
}

static void duration_of(const cf_job_row *row, cf_time now, char out[32]) {
    int64_t seconds = (row->has_finished ? row->finished.seconds : now.seconds) - row->started.seconds;
    cf_duration_text(seconds > 0 ? (uint64_t)seconds : 0, out);
}

static cf_err *print_rows(cf_state *state, const cf_job_row *rows, size_t count) {
    static const cf_column columns[] = {{"ID", 0},
                                        {"TYPE", 0},
                                        {"STATUS", 0},
                                        {"STARTED", 0},
                                        {"TOOK", CF_COLUMN_RIGHT},
                                        {"BYTES", CF_COLUMN_RIGHT},
                                        {"SENT", CF_COLUMN_RIGHT},
                                        {"WARNINGS", CF_COLUMN_RIGHT},
                                        {NULL, 0}};
    CF_AUTO(cf_table) table = NULL;
    CF_TRY(cf_table_new(columns, &table));
    for (size_t i = 0; i < count; i++) {
        char id[CF_HEX_SIZE(16)], started[40], took[32], bytes[24], sent[24], warnings[24];
        cf_hex_encode(rows[i].id.bytes, 16, id);
        id[12] = '\0';
        cf_time_local(rows[i].started, started);
        duration_of(&rows[i], cf_clock_wall(cf_state_clock(state)), took);
        cf_text_size(rows[i].bytes, bytes);
        cf_text_size(rows[i].bytes_sent, sent);
        snprintf(warnings, sizeof warnings, "%llu", (unsigned long long)rows[i].warnings);
        CF_TRY(cf_table_row(
            table, (const char *const[]){id, rows[i].type, rows[i].status, started, took, bytes, sent, warnings}));
    }
    return cf_table_print(table, stdout);
}

static json_t *warnings_json(const cf_warning_row *warnings, size_t count) {
    json_t *list = json_array();
    for (size_t i = 0; list && i < count; i++) {
        json_t *item = json_pack("{s:i, s:i, s:o}", "code", warnings[i].code, "errno", warnings[i].err_no, "message",
                                 cf_json_text(cf_span_text(warnings[i].message)));
        if (item && cf_json_set_path(item, "path", cf_buf_span(&warnings[i].path)) == 0 &&
            json_array_append(list, item) == 0) {
            json_decref(item);
            continue;
        }
        json_decref(item);
        json_decref(list);
        return NULL;
    }
    return list;
}

static cf_err *one_json(cf_state *state, const cf_job_row *row, const cf_warning_row *warnings, size_t count) {
    json_t *document = row_json(state, row);
    int failed =
        document ? json_object_set_new(document, "warning_count", json_integer((json_int_t)row->warnings)) : -1;
    if (!failed) failed = json_object_set_new(document, "warnings", warnings_json(warnings, count));
    if (!failed) return cf_output_json(document);
    json_decref(document);
    return cf_output_json(NULL);
}

static cf_err *one_text(cf_state *state, const cf_job_row *row, const cf_warning_row *warnings, size_t count) {
    char point[CF_HEX_SIZE(32)], id[CF_HEX_SIZE(16)];
    CF_TRY(print_rows(state, row, 1));
    cf_hex_encode(row->id.bytes, 16, id);
    cf_hex_encode(row->point_id.bytes, 32, point);
    if (row->plan.has_slot) {
        char due[40];
        cf_time_local(row->plan.slot, due);
        printf("scheduled run of %s\n", due);
    }
    if (row->has_merged) {
        char due[40];
        cf_time_local(row->merged_slot, due);
        printf("counts for the runs up to %s, which came due while it was at work\n", due);
    }
    if (row->has_point) printf("recovery point %s\n", point);
    CF_AUTO(json_t) error = error_of(row);
    const char *message = json_string_value(json_object_get(error, "message"));
    const json_t *code = json_object_get(error, "code");
    if (message) {
        CF_AUTO_FREE char *clean = cf_text_printable(cf_span_text(message));
        printf("error %lld: %s\n", (long long)json_integer_value(code), clean ? clean : "");
    }
    for (size_t i = 0; i < count && i < SHOWN_WARNINGS; i++) {
        CF_AUTO_FREE char *path = cf_text_printable(cf_buf_span(&warnings[i].path));
        CF_AUTO_FREE char *words = cf_text_printable(cf_span_text(warnings[i].message));
        printf("warning %d: %s: %s\n", warnings[i].code, path ? path : "?", words ? words : "");
    }
    if (row->warnings > SHOWN_WARNINGS)
        printf("... %llu warnings in all: coffer jobs %.12s --json\n", (unsigned long long)row->warnings, id);
    return NULL;
}

static cf_err *show_one(const cf_cli *cli, cf_state *state, const char *prefix) {
    cf_job_row row = {0};
    cf_warning_row *warnings = NULL;
    size_t count = 0;
    CF_TRY(cf_jobs_find(state, prefix, &row));
    cf_err *err = cf_jobs_list_warnings(state, &row.id, CF_JOB_WARNINGS_MAX, &warnings, &count);
    if (!err) err = cli->json ? one_json(state, &row, warnings, count) : one_text(state, &row, warnings, count);
    cf_warning_rows_free(warnings, count);
    cf_job_row_wipe(&row);
    return err;
}

static cf_err *show_list(const cf_cli *cli, cf_state *state, size_t limit, bool *running) {
    cf_job_row *rows = NULL;
    size_t count = 0;
    CF_TRY(cf_jobs_list(state, limit, &rows, &count));
    *running = false;
    for (size_t i = 0; i < count; i++) *running = *running || strcmp(rows[i].status, "running") == 0;
    cf_err *err = NULL;
    if (cli->json)
        err = cf_output_json(rows_json(state, rows, count));
    else if (count)
        err = print_rows(state, rows, count);
    else if (!cli->quiet)
        printf("no jobs yet\n");
    cf_jobs_free_rows(rows, count);
    return err;
}

/* One line for each job that runs; *count of them. */
static cf_err *print_running(cf_state *state, size_t *count, bool terminal) {
    cf_job_row *rows = NULL;
    CF_TRY(cf_jobs_list_running(state, &rows, count));
    for (size_t i = 0; i < *count; i++) {
        CF_AUTO_BUF cf_buf line;
        cf_live_now now = {0};
        char id[CF_HEX_SIZE(16)];
        cf_hex_encode(rows[i].id.bytes, 16, id);
        cf_buf_init(&line, 4096);
        if (!cf_live_read(state, &rows[i].id, &now)) now.bytes_done = rows[i].bytes;
        cf_progress_moment moment = {.bytes_total = now.bytes_total,
                                     .bytes_done = now.bytes_done,
                                     .files_total = now.files_total,
                                     .files_done = now.files_done,
                                     .phase = *now.phase ? now.phase : NULL,
                                     .item = cf_span_text(now.item)};
        cf_progress_line(&moment, WATCH_WIDTH, false, &line);
        printf("%s%.12s %-8s %.*s\n", terminal ? "\033[K" : "", id, rows[i].type, (int)line.size,
               (const char *)line.data);
    }
    if (terminal) printf("\033[J"); /* lines of jobs that have ended */
    cf_jobs_free_rows(rows, *count);
    return fflush(stdout) == 0 ? NULL : cf_fail(CF_ERR_IO, "cannot write to standard output");
}

/* On a terminal the lines stand still and change; elsewhere there is a new set every second. */
static cf_err *watch_lines(const cf_cli *cli, cf_state *state, size_t limit) {
    bool terminal = isatty(STDOUT_FILENO), running;
    for (;;) {
        size_t count = 0;
        CF_TRY(print_running(state, &count, terminal));
        if (count == 0) return show_list(cli, state, limit, &running);
        nanosleep(&(struct timespec){.tv_sec = WATCH_MS / 1000, .tv_nsec = WATCH_MS % 1000 * 1000000}, NULL);
        if (cf_cancel_requested(cli->cancel)) return NULL; /* looking on ends, no job does */
        if (terminal) printf("\033[%zuA", count);
    }
}

static cf_err *watch(const cf_cli *cli, cf_state *state, size_t limit) {
    if (!cli->json) return watch_lines(cli, state, limit);
    for (bool running = true;;) {
        CF_TRY(show_list(cli, state, limit, &running));
        if (!running) return NULL;
        nanosleep(&(struct timespec){.tv_sec = WATCH_MS / 1000, .tv_nsec = WATCH_MS % 1000 * 1000000}, NULL);
        if (cf_cancel_requested(cli->cancel)) return NULL;
    }
}

static cf_err *run(cf_cli *cli, const void *given, const cf_words *arguments) {
    const struct jobs_options *opt = given;
    CF_AUTO_AGENT cf_agent agent = {0};
    bool running;
    CF_TRY(cf_agent_open(cli, &agent));
    if (arguments->count) return show_one(cli, agent.state, arguments->item[0]);
    size_t limit = opt->limit < 100000 ? (size_t)opt->limit : 100000;
    return opt->watch ? watch(cli, agent.state, limit) : show_list(cli, agent.state, limit, &running);
}

const cf_command cf_cmd_jobs = {
    .name = "jobs",
    .arguments = "[ID]",
    .summary = "the jobs of this server, newest first",
    .description = "With ID (or its beginning): one job in full, its warnings too.\n",
    .examples = "coffer jobs\ncoffer jobs 3f2a\ncoffer jobs --watch\n",
    .options = options,
    .options_size = sizeof(struct jobs_options),
    .max_arguments = 1,
    .run = run,
};
