/* coffer points: the recovery points of a server. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/reading.h"
#include "repo/point_info.h"

enum { OPENED = 20 }; /* the newest ones are opened each time, older ones when nothing is remembered of them */

struct points_options {
    cf_server_options server;
};

static const cf_option options[] = {CF_OPTIONS_SERVER(struct points_options, server), CF_OPTION_END};

static json_t *tags_json(const char *tags) {
    json_t *list = json_array();
    for (const char *at = tags; list && *at;) {
        size_t size = strcspn(at, ",");
        if (size && json_array_append_new(list, json_stringn(at, size)) < 0) {
            json_decref(list);
            return NULL;
        }
        at += size + (at[size] == ',');
    }
    return list;
}

static json_t *sources_json(const cf_point_info *info) {
    json_t *list = json_array();
    for (size_t i = 0; list && i < info->source_count; i++)
        if (json_array_append_new(list, cf_json_text(info->sources[i])) < 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

/* Where a path is not UTF-8: all of them exactly, in base64; else null. */
static json_t *exact_sources_json(const cf_point_info *info) {
    bool exact = false;
    for (size_t i = 0; i < info->source_count; i++) exact |= !cf_utf8_valid(info->sources[i]);
    if (!exact) return json_null();
    json_t *list = json_array();
    for (size_t i = 0; list && i < info->source_count; i++) {
        CF_AUTO_FREE char *text = cf_base64_encode(info->sources[i]);
        if (!text || json_array_append_new(list, json_string(text)) < 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static const char *status_of(const cf_point_row *row) {
    if (row->status[0]) return row->status;
    return row->summary.with_warnings ? "completed_with_warnings" : "completed";
}

/* When it does not open, what only its sealed root tells is missing. */
static json_t *row_json(const cf_reading *reading, const cf_point_row *row, const cf_point_info *info) {
    const cf_summary *s = &row->summary;
    cf_time started = {(int64_t)s->started, 0};
    return json_pack("{s:o, s:s, s:o, s:o, s:o, s:o, s:s, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:s, s:I}", "id",
                     cf_json_hex(row->id.bytes, 32), "server", reading->access->server_name, "time",
                     cf_json_time(!info->damaged ? info->time : started), "received", cf_json_time(row->received),
                     "source", !info->damaged ? sources_json(info) : json_null(), "source_b64",
                     !info->damaged ? exact_sources_json(info) : json_null(), "selection",
                     s->selection == CF_SELECTION_POLICY ? "policy" : "manual", "files", (json_int_t)s->files,
                     "directories", (json_int_t)s->directories, "bytes", (json_int_t)s->bytes, "bytes_stored",
                     (json_int_t)s->bytes_stored, "warnings", (json_int_t)s->warnings, "tags", tags_json(row->tags),
                     "expires", row->has_expires ? cf_json_time(row->expires) : json_null(), "status",
                     !info->damaged ? status_of(row) : "damaged", "counter", (json_int_t)row->counter);
}

/* All sources on one line: "/etc, /home". */
static char *sources_text(const cf_point_info *info) {
    CF_AUTO_BUF cf_buf text;
    cf_buf_init(&text, 1 << 20);
    for (size_t i = 0; i < info->source_count; i++) {
        if (i) cf_buf_put(&text, ", ", 2);
        cf_buf_put_span(&text, info->sources[i]);
    }
    return cf_text_printable(cf_buf_span(&text));
}

static cf_err *add_row(cf_table *table, const cf_point_row *row, const cf_point_info *info) {
    char id[CF_HEX_SIZE(32)], time[40], files[24], bytes[24], stored[24], expires[40] = "never";
    cf_hex_encode(row->id.bytes, 32, id);
    id[12] = '\0';
    cf_time_local(!info->damaged ? info->time : (cf_time){(int64_t)row->summary.started, 0}, time);
    snprintf(files, sizeof files, "%llu", (unsigned long long)row->summary.files);
    cf_text_size(row->summary.bytes, bytes);
    cf_text_size(row->summary.bytes_stored, stored);
    if (row->has_expires) cf_time_local(row->expires, expires);
    CF_AUTO_FREE char *sources = sources_text(info);
    return cf_table_row(table,
                        (const char *const[]){id, time, files, bytes, stored, row->tags, expires,
                                              !info->damaged ? status_of(row) : "damaged", sources ? sources : "?"});
}

/* The newest point was opened and is in order: this server knows it from now on. */
static cf_err *keep_head(cf_reading *reading, const cf_point_row *row) {
    cf_head head;
    if (!reading->access->own || reading->cli->warnings) return NULL;
    CF_TRY(cf_state_get_head(reading->agent.state, &head));
    if (head.exists && head.counter >= row->counter) return NULL;
    return cf_state_set_head(reading->agent.state, &row->id, row->counter, false);
}

/* infos: of the points from first on. */
static cf_err *print(cf_reading *reading, size_t first, size_t end, cf_point_info *infos) {
    static const cf_column columns[] = {{"ID", 0},
                                        {"TIME", 0},
                                        {"FILES", CF_COLUMN_RIGHT},
                                        {"SIZE", CF_COLUMN_RIGHT},
                                        {"STORED", CF_COLUMN_RIGHT},
                                        {"TAGS", 0},
                                        {"EXPIRES", 0},
                                        {"STATUS", 0},
                                        {"SOURCE", CF_COLUMN_CUT},
                                        {NULL, 0}};
    CF_AUTO(cf_table) table = NULL;
    json_t *list = NULL;
    if (reading->cli->json)
        list = json_array();
    else
        CF_TRY(cf_table_new(columns, &table));
    cf_err *err = NULL;
    for (size_t i = first; i < end && !err; i++) {
        const cf_point_row *row = &reading->rows[i];
        const cf_point_info *info = &infos[i - first];
        if (info->damaged) {
            cf_output_warning(reading->cli, info->damaged);
            reading->cli->warnings = true;
        }
        if (!err && table) err = add_row(table, row, info);
        if (!err && !table && json_array_append_new(list, row_json(reading, row, info)) < 0)
            err = cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for the list of points");
        if (!err && !info->damaged && i + 1 == reading->row_count) err = keep_head(reading, row);
    }
    if (err) {
        json_decref(list);
        return err;
    }
    if (!table) return cf_output_json(list);
    if (first == end) printf("no recovery points yet\n");
    return first == end ? NULL : cf_table_print(table, stdout);
}

static cf_err *show(cf_reading *reading, size_t first, size_t end) {
    CF_AUTO_FREE cf_point_info *infos = calloc(end - first + 1, sizeof *infos);
    if (!infos) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for %zu recovery points", end - first);
    cf_reading_use_trees(reading);
    cf_err *err =
        cf_point_infos_get(reading->reader, reading->rows + first, end - first, OPENED, reading->cli->cancel, infos);
    if (!err) err = print(reading, first, end, infos);
    cf_point_infos_wipe(infos, end - first);
    return err;
}

static cf_err *run(cf_cli *cli, const void *given, const cf_words *arguments) {
    const struct points_options *opt = given;
    CF_AUTO_READING cf_reading reading = {0};
    CF_TRY(cf_reading_open(cli, &opt->server, CF_RETRY_PERSON_MS, &reading));
    size_t index = 0;
    if (arguments->count == 0) return show(&reading, 0, reading.row_count);
    CF_TRY(cf_reader_point_find(reading.rows, reading.row_count, arguments->item[0], &index));
    return show(&reading, index, index + 1);
}

const cf_command cf_cmd_points = {
    .name = "points",
    .arguments = "[POINT]",
    .summary = "the recovery points, newest last",
    .description = "POINT: only this one (an ID or its beginning, a date, or latest).\n",
    .examples =
        "coffer points\ncoffer points --json\ncoffer points --server web1 --credentials F --passphrase-file P\n",
    .options = options,
    .options_size = sizeof(struct points_options),
    .max_arguments = 1,
    .run = run,
};
