/* Committing a recovery point: everything that it needs must be here, and it must follow the newest one. */
#include <stdlib.h>

#include "base/log.h"
#include "digest/digest.h"
#include "service/call.h"
#include "service/commit.h"
#include "visible/names.h"

enum { SLOT_AHEAD_SECONDS = 86400 };

/* "2027-01-31" or a full RFC 3339 time. */
static cf_err *read_retain_until(const cf_call *call, cf_commit *what) {
    const char *text = cf_http_query_of(call->exchange, "retain_until");
    if (!text) return NULL;
    char full[64];
    cf_time time;
    snprintf(full, sizeof full, strlen(text) == 10 ? "%sT00:00:00Z" : "%s", text);
    if (strlen(text) >= sizeof full || !cf_time_parse(full, &time))
        return cf_fail(CF_ERR_BAD_REQUEST, "retain_until is no date");
    what->as.has_retain_until = true;
    what->as.retain_until = time.seconds;
    return NULL;
}

/* The slot that a scheduled run was for. Not in the future: clocks of agent and vault may differ by a little. */
static cf_err *read_scheduled(const cf_call *call, cf_commit *what) {
    const char *text = cf_http_query_of(call->exchange, "scheduled");
    cf_time time;
    if (!text) return NULL;
    if (!cf_time_parse(text, &time) || time.seconds > call->now + SLOT_AHEAD_SECONDS)
        return cf_fail(CF_ERR_BAD_REQUEST, "scheduled is no time at which a run was due");
    what->as.scheduled = true;
    what->as.slot = time.seconds;
    return NULL;
}

static cf_err *read_request(cf_call *call, cf_commit *what) {
    uint8_t sum[32];
    const char *session = cf_http_header_of(call->exchange, "Coffer-Session");
    CF_TRY(cf_call_argument(call, what->as.point.bytes, 32));
    if (!session || strlen(session) != 32 || !cf_hex_decode(session, what->as.session.bytes, 16))
        return cf_fail(CF_ERR_BAD_REQUEST, "the header Coffer-Session is missing or malformed");
    CF_TRY(read_retain_until(call, what));
    CF_TRY(read_scheduled(call, what));
    CF_TRY(cf_sha256(cf_buf_span(&call->body), sum));
    if (memcmp(sum, what->as.point.bytes, 32) != 0)
        return cf_fail_reason(CF_ERR_UPLOAD_REFUSED, "sum", "the bytes that came do not have this ID");
    what->object = cf_buf_span(&call->body);
    CF_TRY(cf_point_decode(what->object, &what->frame));
    what->as.counter = what->frame.counter;
    if (!cf_id16_equal(&what->frame.server, &call->token.server))
        return cf_fail_reason(CF_ERR_FORBIDDEN, "server", "the recovery point is of another server");
    if (!cf_id16_equal(&what->frame.session, &what->as.session))
        return cf_fail_reason(CF_ERR_BAD_REQUEST, "session", "the recovery point is of another session");
    return NULL;
}

/* Inside a transaction, after the object is durable. */
static cf_err *add_row(cf_call *call, cf_commit *what) {
    cf_session_row session;
    CF_TRY(cf_call_session(call, &what->as.session, &session)); /* again: it may have been taken over meanwhile */
    return cf_commit_row(what);
}

static cf_err *reply_point(cf_call *call, const cf_id32 *id, uint64_t counter, int64_t received) {
    return cf_call_reply(call, 200,
                         json_pack("{so,so,so}", "id", cf_value_hex(id->bytes, 32), "counter", cf_value_number(counter),
                                   "received", cf_value_time(received)));
}

/* The point was refused after its object was stored, and is answered so: it is not to look like one that the database
 * has forgotten. When this fails, the intent stays, which says the same. */
static void take_back(cf_call *call, const cf_commit *what, const char *key) {
    bool found = false, frozen = true;
    cf_point_row row;
    cf_err *err = cf_records_find_point(call->vault->records, &what->as.server, &what->as.point, &found, &row);
    if (!err) err = cf_records_get_frozen(call->vault->records, &frozen, NULL);
    if (!err && !found && !frozen) {
        err = cf_objects_remove(call->vault->objects, key, NULL);
        if (!err) err = cf_records_drop_intent(call->vault->records, &what->as.server, &what->as.point);
    }
    if (err) cf_log_error(CF_LOG_WARNING, err);
    cf_err_free(err);
}

static cf_err *store_point(cf_call *call, cf_commit *what) {
    char key[CF_NAME_MAX];
    cf_records *records = call->vault->records;
    cf_name_point(&call->token.server, what->frame.counter, &what->as.point, key);
    CF_TRY(cf_records_begin(records));
    CF_TRY(cf_records_finish(records, cf_records_put_intent(records, &what->as)));
    CF_TRY(cf_object_put_same(call->vault, key, what->object, "the recovery point"));
    CF_TRY(cf_records_begin(records));
    cf_err *err = cf_records_finish(records, add_row(call, what));
    if (err) take_back(call, what, key);
    return err;
}

/* With the server's lock held. */
static cf_err *commit_point(cf_call *call, cf_commit *what) {
    bool found = false;
    cf_point_row known;
    cf_session_row session;
    CF_TRY(cf_records_find_point(call->vault->records, &call->token.server, &what->as.point, &found, &known));
    if (found) return reply_point(call, &known.id, known.counter, known.received);
    CF_TRY(cf_call_session(call, &what->as.session, &session));
    cf_err *err = cf_commit_check(what);
    if (err) {
        call->details = cf_take(what->missing);
        return err;
    }
    CF_TRY(store_point(call, what));
    return reply_point(call, &what->as.point, what->frame.counter, call->now);
}

cf_err *cf_api_points_put(cf_call *call) {
    CF_AUTO_COMMIT cf_commit what = {.vault = call->vault, .as = {.server = call->token.server, .received = call->now}};
    CF_TRY(read_request(call, &what));
    cf_service_lock(call->service, &call->token.server);
    cf_err *err = commit_point(call, &what);
    cf_service_unlock(call->service, &call->token.server);
    return err;
}
