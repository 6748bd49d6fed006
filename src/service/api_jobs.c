/* Jobs, as the agents report them. */
#include <stdlib.h>

#include "service/call.h"
#include "service/values.h"

enum { JOBS_MAX = 1000, JOBS_DEFAULT = 100, ERROR_MAX = 65536 };

static const char *const job_types[] = {"backup", "restore", "verify", "mount", "drill", "other"};
static const char *const job_states[] = {"running", "completed", "completed_with_warnings",
                                         "failed",  "cancelled", "interrupted"};

json_t *cf_job_value(const cf_job_row *row) {
    json_t *error = row->error ? json_loads(row->error, JSON_DECODE_ANY, NULL) : NULL;
    return json_pack("{so,ss,ss,ss,so,so,so,so,so,so,so}", "id", cf_value_hex(row->id.bytes, 16), "type", row->type,
                     "status", row->status, "host", row->host, "started", cf_value_time(row->started), "finished",
                     row->finished ? cf_value_time(row->finished) : json_null(), "bytes", cf_value_number(row->bytes),
                     "bytes_sent", cf_value_number(row->bytes_sent), "point_id",
                     row->has_point ? cf_value_hex(row->point.bytes, 32) : json_null(), "warnings",
                     cf_value_number(row->warnings), "error", error ? error : json_null());
}

static cf_err *read_job(cf_call *call, cf_job_row *row) {
    cf_json_reader reader = cf_call_read(call);
    cf_time finished = {0, 0};
    size_t type = cf_json_read_word(&reader, "type", job_types, sizeof job_types / sizeof *job_types);
    size_t state = cf_json_read_word(&reader, "status", job_states, sizeof job_states / sizeof *job_states);
    row->started = cf_json_read_time(&reader, "started").seconds;
    if (cf_json_read_optional_time(&reader, "finished", &finished)) row->finished = finished.seconds;
    row->bytes = cf_json_read_optional_number(&reader, "bytes", INT64_MAX, 0);
    row->bytes_sent = cf_json_read_optional_number(&reader, "bytes_sent", INT64_MAX, 0);
    row->warnings = cf_json_read_optional_number(&reader, "warnings", INT64_MAX, 0);
    row->has_point = cf_json_read_optional_hex(&reader, "point_id", row->point.bytes, 32);
    const char *host = cf_json_read_optional_text(&reader, "host", CF_SERVER_NAME_MAX);
    snprintf(row->host, sizeof row->host, "%s", host ? host : "");
    const json_t *error = cf_json_read_optional_value(&reader, "error");
    if (error) row->error = json_dumps(error, JSON_COMPACT | JSON_ENCODE_ANY);
    if (row->error && strlen(row->error) > ERROR_MAX) cf_json_refuse(&reader, "error", "is too large");
    CF_TRY(cf_json_done(&reader));
    if (error && !row->error) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a job");
    snprintf(row->type, sizeof row->type, "%s", job_types[type]);
    snprintf(row->status, sizeof row->status, "%s", job_states[state]);
    return NULL;
}

cf_err *cf_api_jobs_put(cf_call *call) {
    cf_job_row row = {.server = call->token.server, .updated = call->now};
    CF_TRY(cf_call_argument(call, row.id.bytes, 16));
    cf_err *err = read_job(call, &row);
    if (!err) err = cf_records_put_job(call->vault->records, &row);
    free(row.error);
    return err;
}

cf_err *cf_api_jobs_list(cf_call *call) {
    uint64_t limit = 0;
    size_t count = 0;
    int interrupted = 0;
    cf_job_row *rows = NULL;
    CF_TRY(cf_call_query_number(call, "limit", 1, JOBS_MAX, JOBS_DEFAULT, &limit));
    CF_TRY(cf_records_interrupt_jobs(call->vault->records, call->now - CF_JOB_SILENCE_SECONDS, &interrupted));
    CF_TRY(cf_records_list_jobs(call->vault->records, &call->token.server, (size_t)limit, &rows, &count));
    json_t *list = json_array();
    for (size_t i = 0; i < count && list; i++) {
        if (json_array_append_new(list, cf_job_value(&rows[i])) != 0) {
            json_decref(list);
            list = NULL;
        }
    }
    cf_job_rows_free(rows, count);
    return cf_call_reply(call, 200, list ? json_pack("{so}", "jobs", list) : NULL);
}
