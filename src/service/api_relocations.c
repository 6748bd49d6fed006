/* Relocation records: an agent that had chunks of damaged segments still has stored them again, and says where. */
#include <stdlib.h>

#include "digest/digest.h"
#include "service/call.h"
#include "service/liveness.h"
#include "service/relocate.h"
#include "service/scrub.h"
#include "visible/slot_header.h"

typedef struct filing {
    cf_id32 id;
    cf_id16 session;
    cf_relocation_frame frame;
    cf_map *healed;
} filing;

static cf_err *read_request(cf_call *call, filing *what) {
    uint8_t sum[32];
    const char *session = cf_http_header_of(call->exchange, "Coffer-Session");
    CF_TRY(cf_call_argument(call, what->id.bytes, 32));
    if (!session || strlen(session) != 32 || !cf_hex_decode(session, what->session.bytes, 16))
        return cf_fail(CF_ERR_BAD_REQUEST, "the header Coffer-Session is missing or malformed");
    CF_TRY(cf_sha256(cf_buf_span(&call->body), sum));
    if (memcmp(sum, what->id.bytes, 32) != 0)
        return cf_fail_reason(CF_ERR_UPLOAD_REFUSED, "sum", "the bytes that came do not have this ID");
    CF_TRY(cf_relocation_decode(cf_buf_span(&call->body), &what->frame));
    if (!cf_id16_equal(&what->frame.server, &call->token.server))
        return cf_fail_reason(CF_ERR_FORBIDDEN, "server", "the relocation record is of another server");
    if (!cf_id16_equal(&what->frame.session, &what->session))
        return cf_fail_reason(CF_ERR_BAD_REQUEST, "session", "the relocation record is of another session");
    return cf_relocation_map(what->frame.healed, &what->healed);
}

static cf_err *check_record(const cf_call *call, const filing *what) {
    CF_AUTO_BUF cf_buf record;
    bool found = false;
    cf_buf_init(&record, CF_KEY_RECORD_BYTES);
    CF_TRY(cf_records_get_record(call->vault->records, &call->token.server, &what->session, &found, &record));
    if (found && cf_span_equal(cf_buf_span(&record), what->frame.key_record)) return NULL;
    return cf_fail_reason(CF_ERR_BAD_REQUEST, "record", "the relocation record's key record is not the stored one");
}

static cf_err *check_points(const cf_call *call, const filing *what) {
    CF_AUTO_FREE cf_id32 *points = NULL;
    size_t count = 0;
    CF_TRY(cf_relocation_points_decode(what->frame.points, &points, &count));
    for (size_t i = 0; i < count; i++) {
        bool found = false;
        cf_point_row row;
        CF_TRY(cf_records_find_point(call->vault->records, &call->token.server, &points[i], &found, &row));
        if (!found)
            return cf_fail_reason(CF_ERR_BAD_REQUEST, "points",
                                  "it concerns a recovery point that is not of this server");
    }
    return NULL;
}

static cf_err *check_extra(cf_call *call, const filing *what) {
    CF_AUTO(cf_map) extra = NULL;
    CF_AUTO(cf_map) retired = NULL; /* the next pass of reclaiming brings them back: the mark holds them from here on */
    json_t *missing = NULL;
    CF_TRY(cf_relocation_map(what->frame.extra, &extra));
    CF_TRY(cf_liveness_missing(call->vault, &call->token.server, extra, NULL, 0, &missing, &retired));
    if (!missing) return NULL;
    call->details = missing;
    return cf_fail(CF_ERR_MISSING_SEGMENTS, "the vault lacks segments that the relocation record names");
}

/* Numbers ascend without gaps: another record of the same number was filed meanwhile, or this vault was put back. */
static cf_err *check_number(const cf_call *call, const filing *what) {
    CF_AUTO_FREE cf_relocation_row *rows = NULL;
    size_t count = 0;
    CF_TRY(cf_records_list_relocations(call->vault->records, &call->token.server, 0, &rows, &count));
    uint64_t next = count ? rows[count - 1].number + 1 : 1;
    if (what->frame.number == next) return NULL;
    return cf_fail_reason(CF_ERR_OBJECT_CONFLICT, "number", "relocation record %llu does not follow number %llu",
                          (unsigned long long)what->frame.number, (unsigned long long)(next - 1));
}

static cf_err *mark_healed(cf_call *call, const filing *what) {
    CF_AUTO_FREE cf_damage_row *rows = NULL;
    size_t count = 0;
    CF_TRY(cf_records_list_damage(call->vault->records, &call->token.server, 0, "open", &rows, &count));
    for (size_t i = 0; i < count; i++) {
        if (rows[i].pack == 0 || rows[i].segment < 0 || rows[i].segment == CF_SEGMENT_DIRECTORY ||
            !cf_map_has(what->healed, rows[i].pack, (uint16_t)rows[i].segment))
            continue;
        snprintf(rows[i].state, sizeof rows[i].state, "healed");
        CF_TRY(cf_scrub_put_mark(call->vault, &rows[i]));
    }
    return NULL;
}

/* Inside a transaction, after the object is durable. */
static cf_err *add_row(cf_call *call, const filing *what) {
    cf_session_row session;
    cf_relocation_row row = {call->token.server, what->frame.number, call->body.size, what->id};
    CF_TRY(cf_call_session(call, &what->session, &session));
    CF_TRY(check_number(call, what));
    CF_TRY(cf_vault_journal(call->vault, CF_JOURNAL_RELOCATION,
                            json_pack("{so,so,so}", "server_id", cf_value_hex(row.server.bytes, 16), "number",
                                      cf_value_number(row.number), "id", cf_value_hex(row.id.bytes, 32)),
                            NULL));
    CF_TRY(cf_records_add_relocation(call->vault->records, &row));
    return mark_healed(call, what);
}

/* With the server's lock held. */
static cf_err *file(cf_call *call, const filing *what) {
    bool found = false;
    cf_relocation_row known;
    cf_session_row session;
    char key[CF_NAME_MAX];
    CF_TRY(cf_records_find_relocation(call->vault->records, &call->token.server, &what->id, &found, &known));
    if (found) return NULL;
    CF_TRY(cf_call_session(call, &what->session, &session));
    CF_TRY(check_number(call, what));
    CF_TRY(check_record(call, what));
    CF_TRY(check_points(call, what));
    CF_TRY(check_extra(call, what));
    cf_name_relocation(&call->token.server, what->frame.number, &what->id, key);
    CF_TRY(cf_object_put_same(call->vault, key, cf_buf_span(&call->body), "the relocation record"));
    CF_TRY(cf_records_begin(call->vault->records));
    return cf_records_finish(call->vault->records, add_row(call, what));
}

cf_err *cf_api_relocations_put(cf_call *call) {
    filing what = {0};
    cf_err *err = read_request(call, &what);
    if (!err) {
        cf_service_lock(call->service, &call->token.server);
        err = file(call, &what);
        cf_service_unlock(call->service, &call->token.server);
    }
    cf_map_free(what.healed);
    return err;
}

cf_err *cf_api_relocations_list(cf_call *call) {
    CF_AUTO_FREE cf_relocation_row *rows = NULL;
    size_t count = 0;
    CF_TRY(cf_records_list_relocations(call->vault->records, &call->token.server, 0, &rows, &count));
    json_t *list = json_array();
    for (size_t i = 0; i < count && list; i++) {
        json_t *one = json_pack("{so,so,so}", "number", cf_value_number(rows[i].number), "id",
                                cf_value_hex(rows[i].id.bytes, 32), "size", cf_value_number(rows[i].size));
        if (json_array_append_new(list, one) == 0) continue;
        json_decref(list);
        list = NULL;
    }
    return cf_call_reply(call, 200, list ? json_pack("{so}", "relocations", list) : NULL);
}

cf_err *cf_api_relocations_get(cf_call *call) {
    cf_id32 id;
    bool found = false;
    cf_relocation_row row;
    char key[CF_NAME_MAX];
    CF_TRY(cf_call_argument(call, id.bytes, 32));
    CF_TRY(cf_records_find_relocation(call->vault->records, &call->token.server, &id, &found, &row));
    if (!found) return cf_fail(CF_ERR_UNKNOWN_OBJECT, "this server has no relocation record %s", call->argument);
    cf_name_relocation(&row.server, row.number, &row.id, key);
    cf_buf_init(&call->reply_bytes, CF_RELOCATION_MAX);
    CF_TRY(cf_objects_get_all(call->vault->objects, key, CF_RELOCATION_MAX, &call->reply_bytes));
    call->raw = true;
    return NULL;
}
