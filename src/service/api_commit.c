/* Committing a recovery point: everything that it needs must be here, and it must follow the newest one. */
#include <stdlib.h>

#include "digest/digest.h"
#include "service/call.h"
#include "service/liveness.h"
#include "visible/names.h"
#include "visible/slot_header.h"

typedef struct commit {
    cf_id32 id;
    cf_id16 session;
    cf_point_frame frame;
    cf_map_header map_header;
    bool has_retain_until;
    int64_t retain_until;
} commit;

/* "2027-01-31" or a full RFC 3339 time. */
static cf_err *read_retain_until(const cf_call *call, commit *what) {
    const char *text = cf_http_query_of(call->exchange, "retain_until");
    if (!text) return NULL;
    char full[64];
    cf_time time;
    snprintf(full, sizeof full, strlen(text) == 10 ? "%sT00:00:00Z" : "%s", text);
    if (strlen(text) >= sizeof full || !cf_time_parse(full, &time))
        return cf_fail(CF_ERR_BAD_REQUEST, "retain_until is no date");
    what->has_retain_until = true;
    what->retain_until = time.seconds;
    return NULL;
}

static cf_err *read_request(cf_call *call, commit *what) {
    uint8_t sum[32];
    const char *session = cf_http_header_of(call->exchange, "Coffer-Session");
    CF_TRY(cf_call_argument(call, what->id.bytes, 32));
    if (!session || strlen(session) != 32 || !cf_hex_decode(session, what->session.bytes, 16))
        return cf_fail(CF_ERR_BAD_REQUEST, "the header Coffer-Session is missing or malformed");
    CF_TRY(read_retain_until(call, what));
    CF_TRY(cf_sha256(cf_buf_span(&call->body), sum));
    if (memcmp(sum, what->id.bytes, 32) != 0)
        return cf_fail_reason(CF_ERR_UPLOAD_REFUSED, "sum", "the bytes that came do not have this ID");
    CF_TRY(cf_point_decode(cf_buf_span(&call->body), &what->frame));
    if (!cf_id16_equal(&what->frame.server, &call->token.server))
        return cf_fail_reason(CF_ERR_FORBIDDEN, "server", "the recovery point is of another server");
    if (!cf_id16_equal(&what->frame.session, &what->session))
        return cf_fail_reason(CF_ERR_BAD_REQUEST, "session", "the recovery point is of another session");
    return NULL;
}

static cf_err *check_follows(const cf_call *call, const commit *what) {
    cf_server_row server;
    static const cf_id32 nothing;
    CF_TRY(cf_call_server((cf_call *)call, &server));
    uint64_t counter = server.has_newest ? server.newest_counter + 1 : 1;
    const cf_id32 *previous = server.has_newest ? &server.newest : &nothing;
    if (what->frame.counter == counter && cf_id32_equal(&what->frame.previous, previous)) return NULL;
    return cf_fail(CF_ERR_POINT_CONFLICT, "recovery point %llu does not follow the newest one, %llu",
                   (unsigned long long)what->frame.counter, (unsigned long long)(counter - 1));
}

static cf_err *check_record(const cf_call *call, const commit *what) {
    CF_AUTO_BUF cf_buf record;
    cf_buf_init(&record, CF_KEY_RECORD_BYTES);
    bool found = false;
    CF_TRY(cf_records_get_record(call->vault->records, &call->token.server, &what->session, &found, &record));
    if (found && cf_span_equal(cf_buf_span(&record), what->frame.key_record)) return NULL;
    return cf_fail_reason(CF_ERR_BAD_REQUEST, "record", "the recovery point's key record is not the stored one");
}

static cf_err *check_liveness(cf_call *call, commit *what) {
    CF_AUTO(cf_map) map = NULL;
    CF_AUTO_FREE cf_pack_name *packs = NULL;
    size_t count = 0;
    json_t *missing = NULL;
    CF_TRY(cf_pack_list_decode(what->frame.pack_list, &packs, &count));
    CF_TRY(cf_liveness_decode(call->vault, &call->token.server, what->frame.map, &what->map_header, &map));
    CF_TRY(cf_liveness_missing(call->vault, &call->token.server, map, packs, count, &missing));
    if (!missing) return NULL;
    call->details = missing;
    return cf_fail(CF_ERR_MISSING_SEGMENTS, "the vault lacks segments of %zu%s packs",
                   json_array_size(json_object_get(missing, "missing")),
                   json_is_true(json_object_get(missing, "more")) ? " and more" : "");
}

/* Inside a transaction, after the object is durable. */
static cf_err *add_row(cf_call *call, const commit *what) {
    cf_session_row session;
    CF_TRY(cf_call_session(call, &what->session, &session)); /* again: it may have been taken over meanwhile */
    CF_TRY(check_follows(call, what));
    cf_point_row row = {.id = what->id,
                        .previous = what->frame.previous,
                        .server = call->token.server,
                        .session = what->session,
                        .counter = what->frame.counter,
                        .size = call->body.size,
                        .received = call->now,
                        .has_retain_until = what->has_retain_until,
                        .retain_until = what->retain_until,
                        .delta = what->map_header.delta,
                        .base = what->map_header.base,
                        .chain = what->map_header.delta ? what->map_header.chain : 0,
                        .summary_size = what->frame.summary.size};
    memcpy(row.summary, what->frame.summary.data, what->frame.summary.size);
    if (what->has_retain_until)
        CF_TRY(cf_vault_journal(call->vault, CF_JOURNAL_POINT_RETAINED,
                                json_pack("{so,so,so}", "server_id", cf_value_hex(call->token.server.bytes, 16),
                                          "point", cf_value_hex(what->id.bytes, 32), "until",
                                          json_integer((json_int_t)what->retain_until)),
                                NULL));
    return cf_records_add_point(call->vault->records, &row);
}

static cf_err *reply_point(cf_call *call, const cf_id32 *id, uint64_t counter, int64_t received) {
    return cf_call_reply(call, 200,
                         json_pack("{so,so,so}", "id", cf_value_hex(id->bytes, 32), "counter", cf_value_number(counter),
                                   "received", cf_value_time(received)));
}

/* With the server's lock held. */
static cf_err *commit_point(cf_call *call, commit *what) {
    bool found = false;
    cf_point_row known;
    cf_session_row session;
    cf_summary summary;
    CF_TRY(cf_records_find_point(call->vault->records, &call->token.server, &what->id, &found, &known));
    if (found) return reply_point(call, &known.id, known.counter, known.received);
    CF_TRY(cf_call_session(call, &what->session, &session));
    CF_TRY(check_follows(call, what));
    CF_TRY(cf_summary_decode(what->frame.summary, &summary));
    if (what->frame.summary.size > sizeof known.summary)
        return cf_fail(CF_ERR_TOO_LARGE, "the summary has %zu bytes", what->frame.summary.size);
    CF_TRY(check_record(call, what));
    CF_TRY(check_liveness(call, what));
    char key[CF_NAME_MAX];
    cf_name_point(&call->token.server, what->frame.counter, &what->id, key);
    CF_TRY(cf_object_put_same(call->vault, key, cf_buf_span(&call->body), "the recovery point"));
    CF_TRY(cf_records_begin(call->vault->records));
    CF_TRY(cf_records_finish(call->vault->records, add_row(call, what)));
    return reply_point(call, &what->id, what->frame.counter, call->now);
}

cf_err *cf_api_points_put(cf_call *call) {
    commit what = {0};
    CF_TRY(read_request(call, &what));
    cf_service_lock(call->service, &call->token.server);
    cf_err *err = commit_point(call, &what);
    cf_service_unlock(call->service, &call->token.server);
    return err;
}
