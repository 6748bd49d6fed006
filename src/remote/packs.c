#include "remote/packs.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "proto/error_json.h"
#include "remote/call.h"
#include "remote/segments.h"
#include "visible/pack.h"

enum {
    UPLOAD_TRIES = 4, /* whole rounds of announce, send, commit                                             */
    TAIL_MAX = CF_EXTENT_SIZE * (CF_SEGMENTS_MAX + 1) + CF_PACK_TRAILER_SIZE + 64,
    DOWNLOAD_REPLY_MAX = 512 << 20,
    LIST_MAX = 10000,
};

/* Where a pack's bytes are served. */
struct cf_remote_access {
    char *url;
    json_t *headers; /* or NULL */
    unsigned users;  /* under the remote's access lock: readers at work, and the pack itself */
};

static void access_drop(struct cf_remote_access *access) {
    if (!access || --access->users) return;
    free(access->url);
    json_decref(access->headers);
    free(access);
}

static json_t *announcement(const cf_id16 *session, cf_span bytes, const uint8_t xxh3[16]) {
    char id[CF_HEX_SIZE(16)], sum[CF_HEX_SIZE(16)];
    cf_hex_encode(session->bytes, 16, id);
    cf_hex_encode(xxh3, 16, sum);
    return json_pack("{s:s, s:I, s:s}", "session", id, "size", (json_int_t)bytes.size, "xxh3", sum);
}

static cf_err *send_bytes(cf_remote *remote, const json_t *reply, const char *what, cf_span bytes, bool *rejected) {
    cf_json_reader reader = cf_reply_reader(reply, what);
    const char *method = cf_json_read_text(&reader, "method", 3, 8);
    const char *url = cf_json_read_text(&reader, "url", 1, 8192);
    const json_t *headers = cf_json_read_optional_value(&reader, "headers");
    if (!reader.err && strcmp(method, "PUT") != 0) cf_json_refuse(&reader, "method", "is not PUT");
    CF_TRY(cf_reply_done(&reader));
    cf_transfer transfer = {.method = "PUT", .url = url, .headers = headers, .body = bytes};
    int status;
    CF_TRY(cf_transfer_run(remote, &transfer, &status));
    *rejected = status >= 300; /* expired, or there already: announcing anew tells */
    return NULL;
}

typedef struct upload {
    const cf_id16 *session;
    uint64_t number, sent;
    cf_span bytes, tail;
    const uint8_t *xxh3;
} upload;

/* One announcement, and the bytes unless they are there. *done: committed already. */
static cf_err *announce_and_send(cf_remote *remote, upload *up, bool *done, bool *rejected) {
    cf_call call;
    CF_AUTO(json_t) reply = NULL;
    cf_call_init(&call, "POST", "/v1/packs/%llu:upload", (unsigned long long)up->number);
    cf_call_body(&call, announcement(up->session, up->bytes, up->xxh3));
    CF_TRY(cf_call_run(remote, &call, &reply, NULL));
    *done = json_is_true(json_object_get(reply, "committed"));
    if (*done) return NULL;
    CF_TRY(send_bytes(remote, reply, call.path, up->bytes, rejected));
    up->sent += up->bytes.size;
    return NULL;
}

static cf_err *commit(cf_remote *remote, const upload *up) {
    CF_AUTO_FREE char *tail = cf_base64_encode(up->tail);
    json_t *body = announcement(up->session, up->bytes, up->xxh3);
    if (!tail || !body || json_object_set_new(body, "tail", json_string(tail)) < 0) {
        json_decref(body);
        return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a pack's commit");
    }
    cf_call call;
    cf_call_init(&call, "POST", "/v1/packs/%llu:commit", (unsigned long long)up->number);
    cf_call_body(&call, body);
    return cf_call_run(remote, &call, NULL, NULL);
}

/* The object vanished or was damaged between sending and commit: the same bytes are simply sent again. */
static bool worth_resending(const cf_err *err) {
    cf_code code = cf_err_code(err);
    return code == CF_ERR_UPLOAD_REFUSED || code == CF_ERR_UPLOAD_DAMAGED || code == CF_ERR_OBJECT_MISSING;
}

cf_err *cf_remote_store_pack(cf_remote *remote, const cf_id16 *session, uint64_t number, cf_span bytes,
                             const uint8_t xxh3[16], cf_span tail, uint64_t *sent) {
    upload up = {.session = session, .number = number, .bytes = bytes, .tail = tail, .xxh3 = xxh3};
    cf_err *err = NULL;
    bool done = false;
    for (int i = 0; i < UPLOAD_TRIES && !done; i++) {
        bool rejected = false;
        cf_err_free(err);
        err = announce_and_send(remote, &up, &done, &rejected);
        if (err || done) break;
        if (rejected) continue;
        err = commit(remote, &up);
        done = !err;
        if (err && !worth_resending(err)) break;
    }
    if (!err && !done)
        err =
            cf_fail_reason(CF_ERR_UPLOAD_REFUSED, "address",
                           "pack %llu: the vault's upload address does not take the bytes", (unsigned long long)number);
    if (sent) *sent = up.sent;
    return err;
}

static void read_bytes(cf_json_reader *reader, const char *member, size_t max, uint8_t **out, size_t *size) {
    cf_buf bytes;
    cf_buf_init(&bytes, max);
    cf_json_read_base64(reader, member, max, &bytes);
    *out = bytes.data; /* the buffer's memory is plain malloc: moved, not copied */
    *size = bytes.size;
}

static cf_err *read_access(cf_json_reader *reader, struct cf_remote_access **out) {
    const char *url = cf_json_read_text(reader, "url", 1, 8192);
    const json_t *headers = cf_json_read_optional_value(reader, "headers");
    struct cf_remote_access *access = calloc(1, sizeof *access);
    if (access) access->url = strdup(url);
    if (!access || !access->url) {
        free(access);
        return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a pack");
    }
    access->headers = json_is_object(headers) ? json_incref((json_t *)headers) : NULL;
    access->users = 1;
    *out = access;
    return NULL;
}

static cf_err *read_pack(const json_t *item, uint64_t number, cf_remote_pack *pack) {
    *pack = (cf_remote_pack){.number = number};
    if (json_object_get(item, "error")) {
        pack->error = cf_error_from_json(item);
        return NULL;
    }
    cf_json_reader reader = cf_reply_reader(item, "/v1/packs:download");
    (void)cf_json_read_number(&reader, "number", number, number); /* any other number is refused by the reader */
    cf_json_read_hex(&reader, "session", pack->session.bytes, 16);
    pack->size = cf_json_read_number(&reader, "size", 1, CF_PACK_MAX);
    read_bytes(&reader, "header", CF_PACK_HEADER_SIZE, &pack->header, &pack->header_size);
    read_bytes(&reader, "tail", TAIL_MAX, &pack->tail, &pack->tail_size);
    cf_err *err = read_access(&reader, &pack->access);
    cf_err *malformed = cf_reply_done(&reader);
    if (!err) return malformed;
    cf_err_free(malformed);
    return err;
}

static json_t *number_list(const uint64_t *numbers, size_t count) {
    json_t *list = json_array();
    for (size_t i = 0; list && i < count; i++) {
        if (json_array_append_new(list, json_integer((json_int_t)numbers[i])) == 0) continue;
        json_decref(list);
        return NULL;
    }
    return list;
}

cf_err *cf_remote_fetch_packs(cf_remote *remote, const uint64_t *numbers, size_t count, cf_remote_pack *packs) {
    if (count > CF_REMOTE_PACKS_PER_CALL) return cf_fail(CF_ERR_INTERNAL, "%zu packs in one request", count);
    cf_call call;
    CF_AUTO(json_t) reply = NULL;
    cf_call_init(&call, "POST", "/v1/packs:download");
    call.reply_max = DOWNLOAD_REPLY_MAX;
    cf_call_body(&call, json_pack("{s:o}", "packs", number_list(numbers, count)));
    CF_TRY(cf_call_run(remote, &call, &reply, NULL));
    cf_json_reader reader = cf_reply_reader(reply, call.path);
    const json_t *list = cf_json_read_array(&reader, "packs", CF_REMOTE_PACKS_PER_CALL);
    if (!reader.err && json_array_size(list) != count)
        cf_json_refuse(&reader, "packs", "has another length than was asked for");
    CF_TRY(cf_reply_done(&reader));
    for (size_t i = 0; i < count; i++) {
        cf_err *err = read_pack(json_array_get(list, i), numbers[i], &packs[i]);
        if (!err) continue;
        for (size_t j = 0; j <= i; j++) cf_remote_pack_wipe(&packs[j]);
        return err;
    }
    return NULL;
}

void cf_remote_pack_wipe(cf_remote_pack *pack) {
    free(pack->header);
    free(pack->tail);
    cf_err_free(pack->error);
    access_drop(pack->access);
    *pack = (cf_remote_pack){0};
}

static struct cf_remote_access *borrow_access(cf_remote *remote, cf_remote_pack *pack) {
    pthread_mutex_lock(cf_remote_access_lock(remote));
    struct cf_remote_access *access = pack->access;
    if (access) access->users++;
    pthread_mutex_unlock(cf_remote_access_lock(remote));
    return access;
}

static void return_access(cf_remote *remote, struct cf_remote_access *access) {
    pthread_mutex_lock(cf_remote_access_lock(remote));
    access_drop(access);
    pthread_mutex_unlock(cf_remote_access_lock(remote));
}

/* A fresh address for pack, unless another thread has just renewed old. */
static cf_err *renew_access(cf_remote *remote, cf_remote_pack *pack, const struct cf_remote_access *old) {
    struct cf_remote_access *now = borrow_access(remote, pack);
    bool renewed = now != old;
    if (now) return_access(remote, now);
    if (renewed) return NULL;
    cf_remote_pack fresh = {0};
    CF_TRY(cf_remote_fetch_packs(remote, &pack->number, 1, &fresh));
    cf_err *err = cf_take(fresh.error);
    bool same = !err && fresh.size == pack->size && fresh.tail_size == pack->tail_size &&
                memcmp(fresh.tail, pack->tail, pack->tail_size) == 0;
    if (!err && !same) /* what is asked for stands at another offset now */
        err = cf_fail_reason(CF_ERR_OBJECT_MISSING, "moved", "pack %llu was written anew in the vault",
                             (unsigned long long)pack->number);
    if (!err) {
        pthread_mutex_lock(cf_remote_access_lock(remote));
        struct cf_remote_access *before = pack->access;
        pack->access = cf_take(fresh.access);
        access_drop(before);
        pthread_mutex_unlock(cf_remote_access_lock(remote));
    }
    cf_remote_pack_wipe(&fresh);
    return err;
}

cf_err *cf_remote_read_range(cf_remote *remote, cf_remote_pack *pack, uint64_t offset, size_t size, uint8_t *out) {
    if (size == 0) return NULL;
    int status = 0;
    for (int round = 0; round < 2; round++) {
        struct cf_remote_access *access = borrow_access(remote, pack);
        if (!access) break;
        cf_transfer transfer = {.method = "GET",
                                .url = access->url,
                                .headers = access->headers,
                                .into = out,
                                .offset = offset,
                                .size = size};
        cf_err *err = cf_transfer_run(remote, &transfer, &status);
        if (!err && status >= 300 && round == 0) err = renew_access(remote, pack, access);
        return_access(remote, access);
        if (err) return err;
        if (status < 300) return NULL;
    }
    return cf_fail_reason(CF_ERR_OBJECT_MISSING, status == 416 ? "range" : "",
                          "pack %llu: bytes %llu to %llu are not in the vault (HTTP %d)",
                          (unsigned long long)pack->number, (unsigned long long)offset,
                          (unsigned long long)(offset + size - 1), status);
}

static cf_err *read_info(const json_t *item, const char *what, cf_remote_pack_info *info) {
    static const char *const kinds[] = {"data", "tree"};
    cf_json_reader reader = cf_reply_reader(item, what);
    info->number = cf_json_read_number(&reader, "number", 0, CF_PACK_NUMBER_MAX);
    cf_json_read_hex(&reader, "session", info->session.bytes, 16);
    const json_t *kind = cf_json_read_optional_value(&reader, "kind");
    if (json_is_integer(kind))
        info->kind = cf_json_read_number(&reader, "kind", 0, 1) ? CF_KIND_TREE : CF_KIND_DATA;
    else
        info->kind = (cf_kind)cf_json_read_word(&reader, "kind", kinds, 2);
    info->size = cf_json_read_number(&reader, "size", 1, CF_PACK_MAX);
    info->segments = (uint32_t)cf_json_read_number(&reader, "segments", 0, CF_SEGMENTS_MAX + 1);
    const json_t *retired =
        cf_json_read_optional_value(&reader, "retired"); /* vaults that never reclaim leave it out */
    info->retired_segments = (uint32_t)json_array_size(retired);
    return cf_reply_done(&reader);
}

/* The packs of the list that have retired segments. */
static cf_err *read_retired(const json_t *list, const cf_remote_pack_info *packs, const char *what,
                            cf_remote_segments **out, size_t *count) {
    CF_AUTO(json_t) dead = json_array();
    for (size_t i = 0; i < json_array_size(list); i++) {
        if (packs[i].retired_segments == 0) continue;
        json_t *one = json_pack("{s:I, s:O}", "pack", (json_int_t)packs[i].number, "segments",
                                json_object_get(json_array_get(list, i), "retired"));
        if (json_array_append_new(dead, one) != 0)
            return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for the list of packs");
    }
    if (!dead) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for the list of packs");
    return cf_segments_from_json(dead, what, out, count);
}

cf_err *cf_remote_list_packs(cf_remote *remote, uint64_t after, uint32_t limit, cf_remote_pack_info **out,
                             size_t *count, bool *more, cf_remote_segments **retired, size_t *retired_count) {
    cf_call call;
    CF_AUTO(json_t) reply = NULL;
    cf_call_init(&call, "GET", "/v1/packs?after=%llu&limit=%u", (unsigned long long)after, limit);
    CF_TRY(cf_call_run(remote, &call, &reply, NULL));
    cf_json_reader reader = cf_reply_reader(reply, call.path);
    const json_t *list = cf_json_read_array(&reader, "packs", LIST_MAX);
    bool again = cf_json_read_optional_flag(&reader, "more");
    CF_TRY(cf_reply_done(&reader));
    size_t length = json_array_size(list);
    CF_AUTO_FREE cf_remote_pack_info *packs = calloc(length + 1, sizeof *packs);
    if (!packs) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for the list of packs");
    for (size_t i = 0; i < length; i++) CF_TRY(read_info(json_array_get(list, i), call.path, &packs[i]));
    if (retired) CF_TRY(read_retired(list, packs, call.path, retired, retired_count));
    *count = length;
    *more = again;
    *out = cf_take(packs);
    return NULL;
}
