/* Read leases: what a restore, a verification or a mount needs stays while it runs. */
#include "service/call.h"

enum { POINTS_MAX = 64 };

static const char *const kinds[] = {"restore", "verify", "mount", "drill"};

static cf_err *read_points(cf_call *call, cf_json_reader *reader, cf_buf *points) {
    const json_t *list = cf_json_read_array(reader, "points", POINTS_MAX);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *value = json_array_get(list, i);
        cf_id32 id;
        bool found = false;
        cf_point_row row;
        if (json_string_length(value) != 64 || !cf_hex_decode(json_string_value(value), id.bytes, 32)) {
            cf_json_refuse(reader, "points", "has no IDs of recovery points");
            return NULL;
        }
        CF_TRY(cf_records_find_point(call->vault->records, &call->token.server, &id, &found, &row));
        if (!found || row.expired)
            return cf_fail(CF_ERR_UNKNOWN_OBJECT, "this server has no recovery point %s", json_string_value(value));
        cf_buf_put(points, id.bytes, 32);
    }
    return NULL;
}

/* Inside a transaction, so that the count holds. */
static cf_err *add_lease(cf_call *call, const cf_lease_row *lease, cf_span points) {
    size_t count = 0;
    bool known = false;
    CF_TRY(cf_records_drop_expired_leases(call->vault->records, call->now));
    CF_TRY(cf_records_has_lease(call->vault->records, &lease->server, &lease->id, &known));
    CF_TRY(cf_records_count_leases(call->vault->records, &lease->server, &count));
    if (!known && count >= CF_READ_LEASES_MAX)
        return cf_fail(CF_ERR_TOO_MANY_LEASES, "this server holds %zu read leases", count);
    return cf_records_put_lease(call->vault->records, lease, points);
}

static cf_err *reply_lease(cf_call *call) {
    return cf_call_reply(call, 200, json_pack("{si}", "lease_seconds", CF_READ_LEASE_SECONDS));
}

cf_err *cf_api_leases_add(cf_call *call) {
    CF_AUTO_BUF cf_buf points;
    cf_buf_init(&points, (size_t)32 * POINTS_MAX);
    cf_lease_row lease = {.server = call->token.server, .expires = call->now + CF_READ_LEASE_SECONDS};
    cf_json_reader reader = cf_call_read(call);
    cf_json_read_hex(&reader, "lease", lease.id.bytes, 16);
    size_t kind = cf_json_read_word(&reader, "kind", kinds, sizeof kinds / sizeof *kinds);
    snprintf(lease.kind, sizeof lease.kind, "%s", kinds[kind]);
    cf_err *err = read_points(call, &reader, &points);
    cf_err *malformed = cf_json_done(&reader);
    if (malformed) cf_err_free(err);
    CF_TRY(malformed ? malformed : err);
    cf_span bytes = points.size ? cf_buf_span(&points) : cf_span_text("");
    CF_TRY(cf_records_begin(call->vault->records));
    CF_TRY(cf_records_finish(call->vault->records, add_lease(call, &lease, bytes)));
    return reply_lease(call);
}

/* A mount by another machine may be in use for days: its token lasts as long as it renews its lease, within a bound. */
static cf_err *keep_token(cf_call *call) {
    const cf_token_row *token = &call->token;
    int64_t until = call->now + CF_READ_TOKEN_SECONDS, most = token->issued + CF_READ_TOKEN_MOST_SECONDS;
    if (token->agent || token->expires == 0 || token->expires - call->now > CF_READ_TOKEN_SECONDS / 2) return NULL;
    return cf_records_extend_token(call->vault->records, &token->sha256, until < most ? until : most);
}

cf_err *cf_api_leases_renew(cf_call *call) {
    cf_id16 id;
    bool found = false;
    CF_TRY(cf_call_argument(call, id.bytes, 16));
    CF_TRY(cf_records_drop_expired_leases(call->vault->records, call->now));
    CF_TRY(cf_records_renew_lease(call->vault->records, &call->token.server, &id, call->now + CF_READ_LEASE_SECONDS,
                                  &found));
    if (!found) return cf_fail(CF_ERR_UNKNOWN_OBJECT, "this server has no read lease %s", call->argument);
    CF_TRY(keep_token(call));
    return reply_lease(call);
}

cf_err *cf_api_leases_end(cf_call *call) {
    cf_id16 id;
    CF_TRY(cf_call_argument(call, id.bytes, 16));
    return cf_records_drop_lease(call->vault->records, &call->token.server, &id);
}
