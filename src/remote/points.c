#include "remote/points.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "digest/digest.h"
#include "remote/call.h"
#include "remote/segments.h"

enum { POINTS_MAX = 1000000, POINTS_REPLY_MAX = 512 << 20, MAP_REPLY_MAX = 1 << 30 };

void cf_remote_missing_wipe(cf_remote_missing *missing) {
    cf_remote_segments_free(missing->items, missing->count);
    *missing = (cf_remote_missing){0};
}

/* The list that comes with MISSING_SEGMENTS. */
static cf_err *read_missing(const json_t *details, const char *what, cf_remote_missing *missing) {
    const json_t *list = json_object_get(details, "missing");
    if (!json_is_array(list))
        return cf_fail_reason(CF_ERR_BAD_REPLY, "fields", "%s: segments are missing, but not named", what);
    CF_TRY(cf_segments_from_json(list, what, &missing->items, &missing->count));
    missing->more = json_is_true(json_object_get(details, "more"));
    return NULL;
}

cf_err *cf_remote_store_point(cf_remote *remote, const cf_id16 *session, const cf_id32 *id, const char *scheduled,
                              const char *retain_until, cf_span bytes, cf_remote_missing *missing) {
    char hex[CF_HEX_SIZE(32)], session_hex[CF_HEX_SIZE(16)];
    cf_hex_encode(id->bytes, 32, hex);
    cf_hex_encode(session->bytes, 16, session_hex);
    cf_call call;
    cf_call_init(&call, "PUT", "/v1/points/%s%s%s%s%s", hex, scheduled ? "?scheduled=" : "", scheduled ? scheduled : "",
                 !retain_until ? ""
                 : scheduled   ? "&retain_until="
                               : "?retain_until=",
                 retain_until ? retain_until : "");
    call.has_raw = true;
    call.to_the_end = true; /* or a point would stand in the vault that its job calls cancelled */
    call.raw = bytes;
    call.headers[call.header_count++] = (cf_http_header){"Coffer-Session", session_hex};
    CF_AUTO(json_t) details = NULL;
    if (missing) *missing = (cf_remote_missing){0};
    cf_err *err = cf_call_run(remote, &call, NULL, &details);
    if (cf_err_code(err) != CF_ERR_MISSING_SEGMENTS || !missing) return err;
    cf_err *malformed = read_missing(details, call.path, missing);
    if (!malformed) return err;
    cf_err_free(err);
    return malformed;
}

/* Times in a summary are seconds since 1970; a text would be RFC 3339. */
static uint64_t read_seconds(cf_json_reader *reader, const char *member) {
    if (!json_is_string(cf_json_read_optional_value(reader, member)))
        return cf_json_read_number(reader, member, 0, INT64_MAX);
    cf_time time = cf_json_read_time(reader, member);
    return time.seconds < 0 ? 0 : (uint64_t)time.seconds;
}

static cf_err *read_summary(const json_t *value, const char *what, cf_summary *summary) {
    static const char *const selections[] = {"policy", "manual"};
    cf_json_reader reader = cf_reply_reader(value, what);
    summary->selection = (cf_selection)cf_json_read_word(&reader, "selection", selections, 2);
    summary->tracked = cf_json_read_optional_flag(&reader, "tracked");
    summary->with_warnings = cf_json_read_optional_flag(&reader, "with_warnings");
    summary->started = read_seconds(&reader, "started");
    summary->finished = read_seconds(&reader, "finished");
    const struct {
        const char *name;
        uint64_t *to;
    } numbers[] = {{"files", &summary->files},
                   {"directories", &summary->directories},
                   {"others", &summary->others},
                   {"bytes", &summary->bytes},
                   {"files_new", &summary->files_new},
                   {"files_changed", &summary->files_changed},
                   {"files_unchanged", &summary->files_unchanged},
                   {"bytes_read", &summary->bytes_read},
                   {"bytes_stored", &summary->bytes_stored},
                   {"warnings", &summary->warnings}};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        *numbers[i].to = cf_json_read_number(&reader, numbers[i].name, 0, INT64_MAX);
    cf_json_read_hex(&reader, "selection_id", summary->selection_id.bytes, 16);
    return cf_reply_done(&reader);
}

static void read_tags(cf_json_reader *reader, cf_remote_point *point) {
    const json_t *tags = cf_json_read_array(reader, "tags", CF_REMOTE_TAGS_MAX);
    for (size_t i = 0; i < json_array_size(tags); i++) {
        const char *tag = json_string_value(json_array_get(tags, i));
        if (!tag || strlen(tag) >= CF_REMOTE_TAG_MAX) {
            cf_json_refuse(reader, "tags", "is malformed");
            return;
        }
        memcpy(point->tags[point->tag_count++], tag, strlen(tag) + 1);
    }
}

static cf_err *read_point(const json_t *item, const char *what, cf_remote_point *point) {
    cf_json_reader reader = cf_reply_reader(item, what);
    cf_json_read_hex(&reader, "id", point->id.bytes, 32);
    (void)cf_json_read_optional_hex(&reader, "previous", point->previous.bytes, 32); /* the first has none: zero */
    point->counter = cf_json_read_number(&reader, "counter", 1, INT64_MAX);
    point->received = cf_json_read_time(&reader, "received");
    point->size = cf_json_read_number(&reader, "size", 0, CF_POINT_MAX);
    point->has_retain_until = cf_json_read_optional_time(&reader, "retain_until", &point->retain_until);
    point->has_expires = cf_json_read_optional_time(&reader, "expires", &point->expires);
    cf_reply_copy_optional(&reader, "status", point->status, sizeof point->status);
    read_tags(&reader, point);
    const json_t *summary = cf_json_read_optional_value(&reader, "summary");
    CF_TRY(cf_reply_done(&reader));
    return read_summary(summary, what, &point->summary);
}

cf_err *cf_remote_list_points(cf_remote *remote, cf_remote_point **out, size_t *count) {
    cf_call call;
    CF_AUTO(json_t) reply = NULL;
    cf_call_init(&call, "GET", "/v1/points");
    call.reply_max = POINTS_REPLY_MAX;
    CF_TRY(cf_call_run(remote, &call, &reply, NULL));
    cf_json_reader reader = cf_reply_reader(reply, call.path);
    const json_t *list = cf_json_read_array(&reader, "points", POINTS_MAX);
    CF_TRY(cf_reply_done(&reader));
    size_t length = json_array_size(list);
    CF_AUTO_FREE cf_remote_point *points = calloc(length + 1, sizeof *points);
    if (!points) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for the list of recovery points");
    for (size_t i = 0; i < length; i++) CF_TRY(read_point(json_array_get(list, i), call.path, &points[i]));
    *count = length;
    *out = cf_take(points);
    return NULL;
}

cf_err *cf_remote_get_point(cf_remote *remote, const cf_id32 *id, cf_buf *out) {
    char hex[CF_HEX_SIZE(32)];
    cf_hex_encode(id->bytes, 32, hex);
    cf_call call;
    cf_call_init(&call, "GET", "/v1/points/%s", hex);
    call.reply_max = CF_POINT_MAX;
    size_t before = out->size;
    CF_TRY(cf_call_run_raw(remote, &call, out));
    uint8_t digest[32];
    CF_TRY(cf_sha256(cf_span_of(out->data + before, out->size - before), digest));
    if (memcmp(digest, id->bytes, 32) != 0)
        return cf_fail_reason(CF_ERR_BAD_REPLY, "digest",
                              "recovery point %s: the vault sent other bytes than its ID stands for", hex);
    return NULL;
}

cf_err *cf_remote_get_map(cf_remote *remote, const cf_id32 *id, cf_buf *out) {
    char hex[CF_HEX_SIZE(32)];
    cf_hex_encode(id->bytes, 32, hex);
    cf_call call;
    cf_call_init(&call, "GET", "/v1/points/%s/map", hex);
    call.reply_max = MAP_REPLY_MAX;
    return cf_call_run_raw(remote, &call, out);
}
