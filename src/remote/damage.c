#include "remote/damage.h"

#include <stdlib.h>

#include "base/text.h"
#include "digest/digest.h"
#include "remote/call.h"
#include "remote/segments.h"
#include "visible/relocation.h"

enum { REPLY_MAX = 64 << 20, PACKS_MAX = 1000000, RELOCATIONS_MAX = 1000000 };

void cf_remote_damage_wipe(cf_remote_damage *damage) {
    cf_remote_segments_free(damage->open, damage->open_count);
    cf_remote_segments_free(damage->healed, damage->healed_count);
    *damage = (cf_remote_damage){0};
}

cf_err *cf_remote_get_damage(cf_remote *remote, cf_remote_damage *out) {
    cf_call call;
    CF_AUTO(json_t) reply = NULL;
    cf_remote_damage damage = {0};
    cf_call_init(&call, "GET", "/v1/damage");
    call.reply_max = REPLY_MAX;
    CF_TRY(cf_call_run(remote, &call, &reply, NULL));
    cf_json_reader reader = cf_reply_reader(reply, call.path);
    const json_t *open = cf_json_read_array(&reader, "open", PACKS_MAX);
    const json_t *healed = cf_json_read_array(&reader, "healed", PACKS_MAX);
    damage.objects = json_array_size(cf_json_read_array(&reader, "objects", PACKS_MAX));
    damage.more = cf_json_read_optional_flag(&reader, "more");
    CF_TRY(cf_reply_done(&reader));
    cf_err *err = cf_segments_from_json(open, call.path, &damage.open, &damage.open_count);
    if (!err) err = cf_segments_from_json(healed, call.path, &damage.healed, &damage.healed_count);
    if (err)
        cf_remote_damage_wipe(&damage);
    else
        *out = damage;
    return err;
}

static cf_err *read_row(const json_t *item, const char *what, cf_remote_relocation *row) {
    cf_json_reader reader = cf_reply_reader(item, what);
    row->number = cf_json_read_number(&reader, "number", 1, INT64_MAX);
    cf_json_read_hex(&reader, "id", row->id.bytes, 32);
    row->size = cf_json_read_number(&reader, "size", 0, CF_RELOCATION_MAX);
    return cf_reply_done(&reader);
}

cf_err *cf_remote_list_relocations(cf_remote *remote, cf_remote_relocation **out, size_t *count) {
    cf_call call;
    CF_AUTO(json_t) reply = NULL;
    cf_call_init(&call, "GET", "/v1/relocations");
    call.reply_max = REPLY_MAX;
    CF_TRY(cf_call_run(remote, &call, &reply, NULL));
    cf_json_reader reader = cf_reply_reader(reply, call.path);
    const json_t *list = cf_json_read_array(&reader, "relocations", RELOCATIONS_MAX);
    CF_TRY(cf_reply_done(&reader));
    size_t length = json_array_size(list);
    CF_AUTO_FREE cf_remote_relocation *rows = calloc(length + 1, sizeof *rows);
    if (!rows) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for the list of relocation records");
    for (size_t i = 0; i < length; i++) CF_TRY(read_row(json_array_get(list, i), call.path, &rows[i]));
    *out = cf_take(rows);
    *count = length;
    return NULL;
}

cf_err *cf_remote_get_relocation(cf_remote *remote, const cf_id32 *id, cf_buf *out) {
    char hex[CF_HEX_SIZE(32)];
    uint8_t digest[32];
    cf_call call;
    cf_hex_encode(id->bytes, 32, hex);
    cf_call_init(&call, "GET", "/v1/relocations/%s", hex);
    call.reply_max = CF_RELOCATION_MAX;
    size_t before = out->size;
    CF_TRY(cf_call_run_raw(remote, &call, out));
    CF_TRY(cf_sha256(cf_span_of(out->data + before, out->size - before), digest));
    if (memcmp(digest, id->bytes, 32) == 0) return NULL;
    return cf_fail_reason(CF_ERR_BAD_REPLY, "digest",
                          "relocation record %s: the vault sent other bytes than its ID stands for", hex);
}

cf_err *cf_remote_store_relocation(cf_remote *remote, const cf_id16 *session, const cf_id32 *id, cf_span bytes) {
    char hex[CF_HEX_SIZE(32)], session_hex[CF_HEX_SIZE(16)];
    cf_call call;
    cf_hex_encode(id->bytes, 32, hex);
    cf_hex_encode(session->bytes, 16, session_hex);
    cf_call_init(&call, "PUT", "/v1/relocations/%s", hex);
    call.has_raw = true;
    call.raw = bytes;
    call.headers[call.header_count++] = (cf_http_header){"Coffer-Session", session_hex};
    return cf_call_run(remote, &call, NULL, NULL);
}
