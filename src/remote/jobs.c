#include "remote/jobs.h"

#include "base/text.h"
#include "remote/call.h"

static int set_time(json_t *object, const char *key, cf_time time) {
    char text[40];
    cf_time_format(time, text);
    return json_object_set_new(object, key, json_string(text));
}

static int set_error(json_t *object, const char *text) {
    json_t *value = text ? json_loads(text, 0, NULL) : NULL; /* our own text; should it not parse, none is sent */
    return json_object_set_new(object, "error", value ? value : json_null());
}

static json_t *job_body(const cf_remote_job *job) {
    json_t *body = json_pack("{s:s, s:s, s:I, s:I, s:I}", "type", job->type, "status", job->status, "bytes",
                             (json_int_t)job->bytes, "bytes_sent", (json_int_t)job->bytes_sent, "warnings",
                             (json_int_t)job->warnings);
    char point[CF_HEX_SIZE(32)];
    cf_hex_encode(job->point_id.bytes, 32, point);
    int failed = body ? set_time(body, "started", job->started) : -1;
    if (!failed && job->has_finished) failed = set_time(body, "finished", job->finished);
    if (!failed) failed = json_object_set_new(body, "point_id", job->has_point ? json_string(point) : json_null());
    if (!failed && job->host) failed = json_object_set_new(body, "host", json_string(job->host));
    if (!failed) failed = set_error(body, job->error);
    if (!failed) return body;
    json_decref(body);
    return NULL;
}

cf_err *cf_remote_report_job(cf_remote *remote, const cf_remote_job *job) {
    char id[CF_HEX_SIZE(16)];
    cf_hex_encode(job->id.bytes, 16, id);
    cf_call call;
    cf_call_init(&call, "PUT", "/v1/jobs/%s", id);
    cf_call_body(&call, job_body(job));
    call.once = true;
    call.farewell = job->has_finished;
    return cf_call_run(remote, &call, NULL, NULL);
}
