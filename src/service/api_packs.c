/* Packs: where to send the bytes, what is true about them afterwards, where to fetch them. */
#include <stdlib.h>

#include "service/call.h"
#include "service/feed.h"
#include "service/packcheck.h"
#include "service/place.h"
#include "service/url.h"
#include "visible/names.h"

enum { DOWNLOADS_MAX = 256, LIST_MAX = 1000, TAIL_BASE64_MAX = 3 << 20 };

typedef struct announced {
    cf_id16 session;
    uint64_t number, size;
    uint8_t xxh3[16];
} announced;

static cf_err *read_announced(const cf_call *call, cf_json_reader *reader, announced *what) {
    CF_TRY(cf_call_argument_number(call, CF_PACK_NUMBER_MAX, &what->number));
    cf_json_read_hex(reader, "session", what->session.bytes, 16);
    what->size = cf_json_read_number(reader, "size", CF_PACK_HEADER_SIZE + CF_PACK_TRAILER_SIZE, CF_PACK_MAX);
    cf_json_read_hex(reader, "xxh3", what->xxh3, 16);
    return NULL;
}

/* A committed pack is for ever what it was: *committed, or OBJECT_CONFLICT. Otherwise the number must have been
 * handed to that session. */
static cf_err *check_number(cf_call *call, const announced *what, bool *committed) {
    bool found = false;
    cf_pack_row row;
    cf_block_row block;
    CF_TRY(cf_records_find_pack(call->vault->records, &call->token.server, what->number, &found, &row));
    *committed = found;
    if (found) {
        if (cf_id16_equal(&row.session, &what->session) && row.size == what->size &&
            memcmp(row.xxh3, what->xxh3, 16) == 0)
            return NULL;
        return cf_fail_reason(CF_ERR_OBJECT_CONFLICT, "committed", "pack %llu was committed with other bytes",
                              (unsigned long long)what->number);
    }
    CF_TRY(cf_records_find_block_of(call->vault->records, &call->token.server, &what->session, what->number, &found,
                                    &block));
    /* Only while its session is open: whatever is stored without a row afterwards never gets one. */
    cf_session_row session;
    if (found) return cf_call_session(call, &what->session, &session);
    return cf_fail_reason(CF_ERR_FORBIDDEN, "number", "pack number %llu was not handed to this session",
                          (unsigned long long)what->number);
}

/* Under the name by which the asker reached us: it may be another than the vault's own address. */
static char *base_url(const cf_call *call) {
    const char *host = cf_http_header_of(call->exchange, "Host");
    bool plain = host && host[0] && strlen(host) < 300 &&
                 strspn(host, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-_:[]") == strlen(host);
    return plain ? cf_text_format("https://%s", host) : cf_text_format("%s", call->vault->row.url);
}

static cf_err *make_url(const cf_call *call, const cf_blob *blob, char **url) {
    CF_AUTO_FREE char *base = base_url(call);
    if (!base) return cf_fail(CF_ERR_OUT_OF_MEMORY, "an address");
    char key[CF_NAME_MAX];
    cf_pack_row row = {.server = blob->server,
                       .session = blob->session,
                       .number = blob->number,
                       .generation = blob->generation,
                       .is_merged = blob->is_merged,
                       .merged = blob->merged};
    cf_pack_place(&row, key);
    cf_object_presign request = {blob->upload, key, blob->size, blob->xxh3, blob->expires};
    CF_TRY(cf_objects_presign(call->vault->objects, &request, url));
    return *url ? NULL : cf_blob_url(call->vault->row.url_key, base, blob, url);
}

cf_err *cf_api_packs_upload(cf_call *call) {
    announced what;
    bool committed = false;
    cf_json_reader reader = cf_call_read(call);
    cf_err *err = read_announced(call, &reader, &what);
    cf_err *malformed = cf_json_done(&reader);
    if (err) cf_err_free(malformed);
    CF_TRY(err ? err : malformed);
    CF_TRY(check_number(call, &what, &committed));
    if (committed) return cf_call_reply(call, 200, json_pack("{sb}", "committed", 1));
    cf_blob blob = {.upload = true,
                    .server = call->token.server,
                    .session = what.session,
                    .number = what.number,
                    .size = what.size,
                    .expires = call->now + CF_URL_SECONDS};
    memcpy(blob.xxh3, what.xxh3, 16);
    CF_AUTO_FREE char *url = NULL;
    CF_TRY(make_url(call, &blob, &url));
    return cf_call_reply(
        call, 200,
        json_pack("{ss,ss,s{},so}", "method", "PUT", "url", url, "headers", "expires", cf_value_time(blob.expires)));
}

static cf_err *check_frame(const cf_call *call, const announced *what, const cf_pack_frame *frame, cf_span tail) {
    if (frame->size != what->size || !cf_span_equal(cf_buf_span(&frame->tail), tail))
        return cf_fail_reason(CF_ERR_UPLOAD_REFUSED, "tail", "the stored pack does not end as announced");
    if (!cf_id16_equal(&frame->header.server, &call->token.server) ||
        !cf_id16_equal(&frame->header.session, &what->session) || frame->header.number != what->number)
        return cf_fail_reason(CF_ERR_UPLOAD_REFUSED, "header",
                              "the pack's header names another server, session or number");
    return NULL;
}

/* The row, once; two commits of one pack may run at the same time. */
static cf_err *add_row(cf_call *call, const announced *what, const cf_pack_frame *frame, const cf_pack_row *row) {
    bool committed = false;
    CF_TRY(check_number(call, what, &committed));
    if (committed) return NULL;
    return cf_records_add_pack(call->vault->records, row, cf_span_of(frame->header_bytes, sizeof frame->header_bytes),
                               cf_buf_span(&frame->tail));
}

static cf_err *commit_pack(cf_call *call, const announced *what, cf_span tail) {
    CF_AUTO(cf_object_reader) reader = NULL;
    CF_AUTO_PACK_FRAME cf_pack_frame frame = {0};
    char key[CF_NAME_MAX];
    cf_name_pack(&call->token.server, what->number, &what->session, 0, key);
    cf_err *err = cf_objects_open(call->vault->objects, key, &reader);
    if (err && cf_err_code(err) == CF_ERR_OBJECT_MISSING)
        return cf_wrap_reason(err, CF_ERR_UNKNOWN_OBJECT, "not_uploaded", "pack %llu was not uploaded",
                              (unsigned long long)what->number);
    CF_TRY(err);
    uint8_t xxh3[16];
    CF_TRY(cf_pack_frame_read(reader, &frame));
    CF_TRY(check_frame(call, what, &frame, tail));
    CF_TRY(cf_pack_frame_verify(reader, &frame, xxh3));
    if (memcmp(xxh3, what->xxh3, 16) != 0)
        return cf_fail_reason(CF_ERR_UPLOAD_REFUSED, "sum", "the stored pack does not have the announced sum");
    cf_pack_row row = cf_pack_frame_row(&frame, xxh3);
    CF_TRY(cf_records_begin(call->vault->records));
    return cf_records_finish(call->vault->records, add_row(call, what, &frame, &row));
}

cf_err *cf_api_packs_commit(cf_call *call) {
    announced what;
    bool committed = false;
    CF_AUTO_BUF cf_buf tail;
    cf_buf_init(&tail, TAIL_BASE64_MAX);
    cf_json_reader reader = cf_call_read(call);
    cf_err *err = read_announced(call, &reader, &what);
    if (!err) cf_json_read_base64(&reader, "tail", TAIL_BASE64_MAX, &tail);
    cf_err *malformed = cf_json_done(&reader);
    if (err) cf_err_free(malformed);
    CF_TRY(err ? err : malformed);
    CF_TRY(check_number(call, &what, &committed));
    return committed ? NULL : commit_pack(call, &what, cf_buf_span(&tail));
}

static json_t *describe_error(uint64_t number) {
    const cf_catalogue_row *row = cf_catalogue_find(CF_ERR_UNKNOWN_OBJECT);
    CF_AUTO_FREE char *message = cf_text_format("this server has no pack %llu", (unsigned long long)number);
    return json_pack("{so,s{si,ss,ss}}", "number", cf_value_number(number), "error", "code", (int)CF_ERR_UNKNOWN_OBJECT,
                     "name", row ? row->name : "", "message", message ? message : "");
}

static cf_err *describe_pack(cf_call *call, uint64_t number, json_t **out) {
    bool found = false;
    cf_pack_row row;
    CF_AUTO_BUF cf_buf header;
    CF_AUTO_BUF cf_buf tail;
    CF_AUTO_FREE char *url = NULL;
    cf_buf_init(&header, CF_PACK_HEADER_SIZE);
    cf_buf_init(&tail, TAIL_BASE64_MAX);
    CF_TRY(cf_records_find_pack(call->vault->records, &call->token.server, number, &found, &row));
    if (!found) {
        *out = describe_error(number);
        return NULL;
    }
    CF_TRY(cf_records_get_tail(call->vault->records, &row.server, number, &header, &tail));
    cf_blob blob = {.server = row.server,
                    .session = row.session,
                    .number = number,
                    .size = row.size,
                    .expires = call->now + CF_URL_SECONDS,
                    .generation = row.generation,
                    .is_merged = row.is_merged,
                    .merged = row.merged,
                    .base = row.base};
    memcpy(blob.xxh3, row.xxh3, 16);
    CF_TRY(make_url(call, &blob, &url));
    *out = json_pack("{so,so,so,so,so,ss,s{},so}", "number", cf_value_number(number), "session",
                     cf_value_hex(row.session.bytes, 16), "size", cf_value_number(row.size), "header",
                     cf_value_base64(cf_buf_span(&header)), "tail", cf_value_base64(cf_buf_span(&tail)), "url", url,
                     "headers", "expires", cf_value_time(blob.expires));
    return NULL;
}

cf_err *cf_api_packs_download(cf_call *call) {
    cf_json_reader reader = cf_call_read(call);
    const json_t *numbers = cf_json_read_array(&reader, "packs", DOWNLOADS_MAX);
    for (size_t i = 0; i < json_array_size(numbers); i++) {
        json_int_t number = json_integer_value(json_array_get(numbers, i));
        if (number < 1 || (uint64_t)number > CF_PACK_NUMBER_MAX)
            cf_json_refuse(&reader, "packs", "has no pack numbers");
    }
    CF_TRY(cf_json_done(&reader));
    json_t *list = json_array();
    cf_err *err = list ? NULL : cf_fail(CF_ERR_OUT_OF_MEMORY, "a reply");
    for (size_t i = 0; i < json_array_size(numbers) && !err; i++) {
        json_t *one = NULL;
        err = describe_pack(call, (uint64_t)json_integer_value(json_array_get(numbers, i)), &one);
        if (!err && json_array_append_new(list, one) != 0) err = cf_fail(CF_ERR_OUT_OF_MEMORY, "a reply");
    }
    if (err) json_decref(list);
    CF_TRY(err);
    return cf_call_reply(call, 200, json_pack("{so}", "packs", list));
}

cf_err *cf_api_packs_list(cf_call *call) {
    uint64_t after = 0, limit = LIST_MAX;
    CF_AUTO_FREE cf_pack_row *rows = NULL;
    size_t count = 0;
    CF_TRY(cf_call_query_number(call, "after", 0, CF_PACK_NUMBER_MAX, 0, &after));
    CF_TRY(cf_call_query_number(call, "limit", 1, LIST_MAX, LIST_MAX, &limit));
    CF_TRY(cf_records_list_packs(call->vault->records, &call->token.server, after, (size_t)limit + 1, &rows, &count));
    bool more = count > limit;
    if (more) count = (size_t)limit;
    CF_AUTO_RETIRED cf_retired_list retired;
    cf_retired_list_init(&retired);
    if (count)
        CF_TRY(cf_records_list_retired(call->vault->records, &call->token.server, rows[0].number,
                                       rows[count - 1].number, &retired));
    json_t *list = json_array();
    size_t at = 0;
    for (size_t i = 0; i < count && list; i++) {
        json_t *one = NULL;
        cf_err *err = cf_pack_value(&rows[i], &retired, &at, &one);
        if (err) json_decref(list);
        CF_TRY(err);
        if (json_array_append_new(list, one) != 0) {
            json_decref(list);
            list = NULL;
        }
    }
    return cf_call_reply(call, 200, list ? json_pack("{so,sb}", "packs", list, "more", (int)more) : NULL);
}
