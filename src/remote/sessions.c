#include "remote/sessions.h"

#include <stdlib.h>

#include "base/text.h"
#include "remote/call.h"
#include "remote/segments.h"

enum { FEED_MAX = 100000, FEED_REPLY_MAX = 64 << 20, LEASE_SECONDS_MAX = 86400, NUMBERS_MAX = 1 << 20 };

void cf_remote_segments_free(cf_remote_segments *list, size_t count) {
    for (size_t i = 0; list && i < count; i++) free(list[i].segments);
    free(list);
}

static cf_err *read_numbers(cf_remote_segments *item, const json_t *list, const char *what) {
    size_t length = json_array_size(list);
    item->segments = calloc(length + 1, sizeof *item->segments);
    if (!item->segments) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a list of segments");
    for (size_t i = 0; i < length; i++) {
        const json_t *value = json_array_get(list, i);
        json_int_t number = json_is_integer(value) ? json_integer_value(value) : -1;
        if (number < 0 || number > CF_SEGMENT_DIRECTORY)
            return cf_fail_reason(CF_ERR_BAD_REPLY, "fields", "%s: a segment number is malformed", what);
        item->segments[i] = (uint16_t)number;
    }
    item->count = length;
    return NULL;
}

static cf_err *read_item(const json_t *value, const char *what, cf_remote_segments *item) {
    cf_json_reader reader = cf_reply_reader(value, what);
    item->pack = cf_json_read_number(&reader, "pack", 0, CF_PACK_NUMBER_MAX);
    const json_t *segments = cf_json_read_optional_value(&reader, "segments");
    item->all = json_is_string(segments) && strcmp(json_string_value(segments), "all") == 0;
    if (!item->all && (!json_is_array(segments) || json_array_size(segments) > CF_SEGMENTS_MAX + 1))
        cf_json_refuse(&reader, "segments", "is malformed");
    CF_TRY(cf_reply_done(&reader));
    return item->all ? NULL : read_numbers(item, segments, what);
}

cf_err *cf_segments_from_json(const json_t *list, const char *what, cf_remote_segments **out, size_t *count) {
    size_t length = json_array_size(list);
    cf_remote_segments *items = calloc(length + 1, sizeof *items);
    if (!items) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a list of segments");
    for (size_t i = 0; i < length; i++) {
        cf_err *err = read_item(json_array_get(list, i), what, &items[i]);
        if (err) {
            cf_remote_segments_free(items, length);
            return err;
        }
    }
    *out = items;
    *count = length;
    return NULL;
}

static json_t *session_body(const cf_remote_session_request *request) {
    char session[CF_HEX_SIZE(16)], instance[CF_HEX_SIZE(16)], job[CF_HEX_SIZE(16)], base[CF_HEX_SIZE(32)];
    cf_hex_encode(request->base.bytes, 32, base);
    cf_hex_encode(request->session.bytes, 16, session);
    cf_hex_encode(request->instance.bytes, 16, instance);
    cf_hex_encode(request->job.bytes, 16, job);
    const char *epoch = request->epoch && *request->epoch ? request->epoch : NULL;
    return json_pack("{s:s, s:s?, s:I, s:s, s:s, s:I, s:s?}", "session", session, "epoch", epoch, "generation",
                     (json_int_t)request->generation, "instance", instance, "job", job, "numbers_after",
                     (json_int_t)request->numbers_after, "base", request->has_base ? base : NULL);
}

static void read_block(cf_json_reader *reader, const json_t *value, cf_remote_numbers *numbers) {
    cf_json_reader inner = cf_reply_reader(value, reader->what);
    numbers->first = cf_json_read_number(&inner, "first", 0, CF_PACK_NUMBER_MAX);
    numbers->count = (uint32_t)cf_json_read_number(&inner, "count", 1, NUMBERS_MAX);
    cf_err *err = cf_reply_done(&inner);
    if (err) cf_json_refuse(reader, "numbers", "is malformed");
    cf_err_free(err);
}

static cf_err *read_session(const json_t *reply, const char *what, cf_remote_session *session) {
    cf_json_reader reader = cf_reply_reader(reply, what);
    cf_json_read_hex(&reader, "session", session->session.bytes, 16);
    cf_reply_copy(&reader, "epoch", session->epoch, sizeof session->epoch);
    session->generation = cf_json_read_number(&reader, "generation", 0, INT64_MAX);
    session->lease_seconds = (uint32_t)cf_json_read_number(&reader, "lease_seconds", 1, LEASE_SECONDS_MAX);
    read_block(&reader, cf_json_read_optional_value(&reader, "numbers"), &session->numbers);
    cf_reply_newest(&reader, &session->newest);
    const json_t *feed = cf_json_read_array(&reader, "feed", FEED_MAX);
    session->feed_more = cf_json_read_optional_flag(&reader, "feed_more");
    session->resync = cf_json_read_optional_flag(&reader, "resync");
    CF_TRY(cf_reply_done(&reader));
    return cf_segments_from_json(feed, what, &session->feed, &session->feed_count);
}

cf_err *cf_remote_open_session(cf_remote *remote, const cf_remote_session_request *request, cf_remote_session *out) {
    cf_call call;
    CF_AUTO(json_t) reply = NULL;
    cf_call_init(&call, "POST", "/v1/sessions");
    call.reply_max = FEED_REPLY_MAX;
    cf_call_body(&call, session_body(request));
    CF_TRY(cf_call_run(remote, &call, &reply, NULL));
    cf_remote_session session = {0};
    CF_TRY(read_session(reply, call.path, &session));
    *out = session;
    return NULL;
}

void cf_remote_session_wipe(cf_remote_session *session) {
    cf_remote_segments_free(session->feed, session->feed_count);
    *session = (cf_remote_session){0};
}

static cf_err *read_lease(cf_remote *remote, cf_call *call, uint32_t *lease_seconds) {
    CF_AUTO(json_t) reply = NULL;
    CF_TRY(cf_call_run(remote, call, &reply, NULL));
    cf_json_reader reader = cf_reply_reader(reply, call->path);
    uint32_t seconds = (uint32_t)cf_json_read_number(&reader, "lease_seconds", 1, LEASE_SECONDS_MAX);
    CF_TRY(cf_reply_done(&reader));
    *lease_seconds = seconds;
    return NULL;
}

static void session_call(cf_call *call, const cf_id16 *session, const char *verb) {
    char id[CF_HEX_SIZE(16)];
    cf_hex_encode(session->bytes, 16, id);
    cf_call_init(call, "POST", "/v1/sessions/%s:%s", id, verb);
}

cf_err *cf_remote_renew_session(cf_remote *remote, const cf_id16 *session, uint32_t *lease_seconds) {
    cf_call call;
    session_call(&call, session, "heartbeat");
    cf_call_body(&call, json_object());
    call.once = true;
    return read_lease(remote, &call, lease_seconds);
}

cf_err *cf_remote_more_numbers(cf_remote *remote, const cf_id16 *session, uint64_t last, cf_remote_numbers *out) {
    cf_call call;
    CF_AUTO(json_t) reply = NULL;
    session_call(&call, session, "numbers");
    cf_call_body(&call, json_pack("{s:I}", "after", (json_int_t)last));
    CF_TRY(cf_call_run(remote, &call, &reply, NULL));
    cf_json_reader reader = cf_reply_reader(reply, call.path);
    cf_remote_numbers numbers = {0};
    read_block(&reader, reply, &numbers);
    if (numbers.first <= last) cf_json_refuse(&reader, "first", "is not above the last number");
    CF_TRY(cf_reply_done(&reader));
    *out = numbers;
    return NULL;
}

cf_err *cf_remote_close_session(cf_remote *remote, const cf_id16 *session) {
    cf_call call;
    session_call(&call, session, "close");
    call.farewell = true;
    cf_call_body(&call, json_object());
    cf_err *err = cf_call_run(remote, &call, NULL, NULL);
    cf_code code = cf_err_code(err);
    if (code != CF_ERR_SESSION_LOST && code != CF_ERR_UNKNOWN_OBJECT) return err;
    cf_err_free(err); /* closed is what was asked for */
    return NULL;
}

cf_err *cf_remote_take_lease(cf_remote *remote, const cf_id16 *lease, const char *kind, const cf_id32 *points,
                             size_t count, uint32_t *lease_seconds) {
    char id[CF_HEX_SIZE(16)], point[CF_HEX_SIZE(32)];
    cf_hex_encode(lease->bytes, 16, id);
    json_t *list = json_array();
    for (size_t i = 0; list && i < count; i++) {
        cf_hex_encode(points[i].bytes, 32, point);
        if (json_array_append_new(list, json_string(point)) == 0) continue;
        json_decref(list);
        list = NULL;
    }
    cf_call call;
    cf_call_init(&call, "POST", "/v1/leases");
    cf_call_body(&call, json_pack("{s:s, s:s, s:o}", "lease", id, "kind", kind, "points", list));
    return read_lease(remote, &call, lease_seconds);
}

cf_err *cf_remote_renew_lease(cf_remote *remote, const cf_id16 *lease, uint32_t *lease_seconds) {
    char id[CF_HEX_SIZE(16)];
    cf_hex_encode(lease->bytes, 16, id);
    cf_call call;
    cf_call_init(&call, "POST", "/v1/leases/%s:renew", id);
    cf_call_body(&call, json_object());
    call.once = true;
    return read_lease(remote, &call, lease_seconds);
}

cf_err *cf_remote_end_lease(cf_remote *remote, const cf_id16 *lease) {
    char id[CF_HEX_SIZE(16)];
    cf_hex_encode(lease->bytes, 16, id);
    cf_call call;
    cf_call_init(&call, "DELETE", "/v1/leases/%s", id);
    call.farewell = true;
    cf_err *err = cf_call_run(remote, &call, NULL, NULL);
    if (cf_err_code(err) != CF_ERR_UNKNOWN_OBJECT) return err;
    cf_err_free(err); /* it ran out: ended is what was asked for */
    return NULL;
}
