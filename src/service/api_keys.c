/* Key slots and key records: opaque here but for whose they are. Written once. */
#include <stdlib.h>

#include "base/log.h"
#include "service/call.h"
#include "service/slots.h"
#include "visible/names.h"
#include "visible/slot_header.h"

enum { CF_KITS_MAX = 64, AUTHORITY_MAX = 65536 };
#define CF_KIT_EXPIRES INT64_C(253402300799) /* the last second of the year 9999 */

cf_err *cf_api_slots_list(cf_call *call) {
    CF_AUTO_FREE cf_slot_row *rows = NULL;
    size_t count = 0;
    CF_AUTO_BUF cf_buf slot;
    cf_buf_init(&slot, CF_SLOT_BYTES);
    CF_TRY(cf_records_list_slots(call->vault->records, &call->token.server, &rows, &count));
    json_t *list = json_array();
    cf_err *err = NULL;
    for (size_t i = 0; i < count && list && !err; i++) {
        bool found = false;
        cf_buf_reset(&slot);
        err = cf_records_get_slot(call->vault->records, &call->token.server, rows[i].number, &found, &slot);
        if (!err && found &&
            json_array_append_new(list, json_pack("{so,so,so}", "number", json_integer(rows[i].number), "slot",
                                                  cf_value_base64(cf_buf_span(&slot)), "added",
                                                  rows[i].added ? cf_value_time(rows[i].added) : json_null())) != 0)
            err = cf_fail(CF_ERR_OUT_OF_MEMORY, "a reply");
    }
    if (err) json_decref(list);
    CF_TRY(err);
    return cf_call_reply(call, 200, list ? json_pack("{so}", "slots", list) : NULL);
}

/* *same: this very slot is there already. */
static cf_err *check_slot(cf_call *call, const cf_slot_header *header, cf_span slot, bool *same) {
    CF_AUTO_BUF cf_buf old;
    CF_AUTO_FREE cf_slot_row *rows = NULL;
    bool found = false;
    size_t count = 0;
    cf_records *records = call->vault->records;
    cf_buf_init(&old, CF_SLOT_BYTES);
    CF_TRY(cf_records_get_slot(records, &call->token.server, header->number, &found, &old));
    *same = found && cf_span_equal(cf_buf_span(&old), slot);
    if (*same) return NULL;
    if (found) return cf_fail(CF_ERR_OBJECT_CONFLICT, "key slot %u exists with other content", header->number);
    CF_TRY(cf_records_list_slots(records, &call->token.server, &rows, &count));
    uint32_t newest = count ? rows[count - 1].number : 0;
    if (header->number < newest || header->number > newest + CF_SLOTS_MAX)
        return cf_fail_reason(CF_ERR_BAD_REQUEST, "number", "the next key slot has number %u", newest + 1);
    if (count >= CF_SLOTS_MAX)
        return cf_fail_reason(CF_ERR_FORBIDDEN, "slots", "a server has at most %d key slots", CF_SLOTS_MAX);
    return NULL;
}

/* Inside a transaction. Whoever has the server's token has its keys too, as long as there are no PINs: so the token is
 * enough, it is told loudly, and a passphrase that was replaced goes on opening the server for 14 days. */
static cf_err *add_slot(cf_call *call, const cf_slot_header *header, cf_span slot) {
    bool same = false;
    char key[CF_NAME_MAX];
    const char *reason = header->kind == CF_SLOT_RECOVERY ? "recovery_key" : "passphrase_changed";
    CF_TRY(check_slot(call, header, slot, &same));
    if (same) return NULL;
    cf_name_slot(&call->token.server, header->number, key);
    CF_TRY(cf_object_put_same(call->vault, key, slot, "the key slot"));
    CF_TRY(cf_vault_journal(call->vault, CF_JOURNAL_SLOT_ADDED,
                            json_pack("{so,si,ss,sI}", "server_id", cf_value_hex(call->token.server.bytes, 16), "slot",
                                      (int)header->number, "reason", reason, "added", (json_int_t)call->now),
                            NULL));
    char id[CF_HEX_SIZE(16)];
    cf_hex_encode(call->token.server.bytes, 16, id);
    cf_log(CF_LOG_WARNING, "server %s has a new key slot %u: %s", id, header->number, reason);
    return cf_records_add_slot(call->vault->records, &call->token.server, &(cf_slot_row){header->number, call->now},
                               slot);
}

cf_err *cf_api_slots_add(cf_call *call) {
    CF_AUTO_BUF cf_buf slot;
    cf_buf_init(&slot, CF_SLOT_BYTES);
    cf_json_reader reader = cf_call_read(call);
    uint32_t number = (uint32_t)cf_json_read_number(&reader, "number", 1, 99999999);
    cf_json_read_base64(&reader, "slot", CF_SLOT_BYTES, &slot);
    CF_TRY(cf_json_done(&reader));
    cf_slot_header header;
    CF_TRY(cf_slot_header_decode(cf_buf_span(&slot), &header));
    if (header.number != number || !cf_id16_equal(&header.server, &call->token.server))
        return cf_fail_reason(CF_ERR_BAD_REQUEST, "slot", "the key slot is of another server or number");
    CF_TRY(cf_records_begin(call->vault->records));
    CF_TRY(cf_records_finish(call->vault->records, add_slot(call, &header, cf_buf_span(&slot))));
    return cf_call_reply(call, 200, json_object());
}

/* Inside a transaction: what a recovery kit is let in by. It stays good until the server is gone: it lies in a safe for
 * years. Alone it opens nothing, the challenge needs the passphrase. */
static cf_err *add_kit(cf_call *call, const cf_id32 *secret_sha256) {
    bool found = false, newest = false;
    size_t count = 0;
    cf_credentials_row row = {.secret_sha256 = *secret_sha256,
                              .purpose = "kit",
                              .issued = call->now,
                              .expires = CF_KIT_EXPIRES,
                              .has_server = true,
                              .server = call->token.server},
                       known;
    CF_TRY(cf_records_find_credentials(call->vault->records, secret_sha256, &found, &known, &newest));
    if (found && known.has_server && cf_id16_equal(&known.server, &row.server)) return NULL;
    if (found) return cf_fail(CF_ERR_OBJECT_CONFLICT, "this secret is in use already");
    CF_TRY(cf_records_count_kits(call->vault->records, &row.server, &count));
    if (count >= CF_KITS_MAX)
        return cf_fail_reason(CF_ERR_FORBIDDEN, "kits", "a server has at most %d recovery kits", CF_KITS_MAX);
    CF_TRY(cf_vault_journal(call->vault, CF_JOURNAL_CREDENTIALS_ISSUED,
                            json_pack("{so,ss,sI,sI,so}", "secret_sha256", cf_value_hex(secret_sha256->bytes, 32),
                                      "purpose", row.purpose, "issued", (json_int_t)row.issued, "expires",
                                      (json_int_t)row.expires, "server_id", cf_value_hex(row.server.bytes, 16)),
                            &row.sequence));
    return cf_records_add_credentials(call->vault->records, &row);
}

cf_err *cf_api_kits_add(cf_call *call) {
    cf_id32 sha256;
    CF_AUTO_BUF cf_buf ca;
    cf_buf_init(&ca, AUTHORITY_MAX);
    cf_json_reader reader = cf_call_read(call);
    cf_json_read_hex(&reader, "secret_sha256", sha256.bytes, 32);
    CF_TRY(cf_json_done(&reader));
    CF_TRY(cf_records_begin(call->vault->records));
    CF_TRY(cf_records_finish(call->vault->records, add_kit(call, &sha256)));
    CF_TRY(cf_vault_authority(call->vault, &ca));
    return cf_call_reply(call, 200,
                         json_pack("{ss,so,so,ss,ss,ss%}", "purpose", "kit", "expires", cf_value_time(CF_KIT_EXPIRES),
                                   "vault_id", cf_value_hex(call->vault->row.id.bytes, 16), "vault_name",
                                   call->vault->row.name, "url", call->vault->row.url, "ca", (const char *)ca.data,
                                   ca.size));
}

static cf_err *put_record(cf_call *call, const cf_id16 *session, cf_span record) {
    CF_AUTO_BUF cf_buf old;
    cf_buf_init(&old, CF_KEY_RECORD_BYTES);
    bool found = false;
    char key[CF_NAME_MAX];
    CF_TRY(cf_records_get_record(call->vault->records, &call->token.server, session, &found, &old));
    if (found && cf_span_equal(cf_buf_span(&old), record)) return NULL;
    if (found) return cf_fail(CF_ERR_OBJECT_CONFLICT, "this session's key record exists with other content");
    cf_name_record(&call->token.server, session, key);
    CF_TRY(cf_object_put_same(call->vault, key, record, "the key record"));
    return cf_records_add_record(call->vault->records, &call->token.server, session, record);
}

cf_err *cf_api_record_put(cf_call *call) {
    cf_id16 session, of, in;
    CF_TRY(cf_call_argument(call, session.bytes, 16));
    CF_TRY(cf_key_record_header_decode(cf_buf_span(&call->body), &of, &in));
    if (!cf_id16_equal(&of, &call->token.server) || !cf_id16_equal(&in, &session))
        return cf_fail_reason(CF_ERR_BAD_REQUEST, "record", "the key record is of another server or session");
    cf_service_lock(call->service, &call->token.server);
    cf_err *err = put_record(call, &session, cf_buf_span(&call->body));
    cf_service_unlock(call->service, &call->token.server);
    return err;
}

cf_err *cf_api_record_get(cf_call *call) {
    cf_id16 session;
    bool found = false;
    CF_TRY(cf_call_argument(call, session.bytes, 16));
    cf_buf_init(&call->reply_bytes, CF_KEY_RECORD_BYTES);
    CF_TRY(cf_records_get_record(call->vault->records, &call->token.server, &session, &found, &call->reply_bytes));
    if (!found) return cf_fail(CF_ERR_UNKNOWN_OBJECT, "there is no key record of session %s", call->argument);
    call->raw = true;
    return NULL;
}
