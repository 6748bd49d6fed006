/* Key slots and key records: opaque here but for whose they are. Written once. */
#include <stdlib.h>

#include "service/call.h"
#include "visible/names.h"
#include "visible/slot_header.h"

cf_err *cf_api_slots_list(cf_call *call) {
    CF_AUTO_FREE uint32_t *numbers = NULL;
    size_t count = 0;
    CF_AUTO_BUF cf_buf slot;
    cf_buf_init(&slot, CF_SLOT_BYTES);
    CF_TRY(cf_records_list_slots(call->vault->records, &call->token.server, &numbers, &count));
    json_t *list = json_array();
    cf_err *err = NULL;
    for (size_t i = 0; i < count && list && !err; i++) {
        bool found = false;
        cf_buf_reset(&slot);
        err = cf_records_get_slot(call->vault->records, &call->token.server, numbers[i], &found, &slot);
        if (!err && found &&
            json_array_append_new(list, json_pack("{so,so}", "number", json_integer(numbers[i]), "slot",
                                                  cf_value_base64(cf_buf_span(&slot)))) != 0)
            err = cf_fail(CF_ERR_OUT_OF_MEMORY, "a reply");
    }
    if (err) json_decref(list);
    CF_TRY(err);
    return cf_call_reply(call, 200, list ? json_pack("{so}", "slots", list) : NULL);
}

/* The slot of the registration, sent again, is fine. */
static cf_err *check_slot(cf_call *call, uint32_t number, cf_span slot) {
    CF_AUTO_BUF cf_buf old;
    cf_buf_init(&old, CF_SLOT_BYTES);
    bool found = false;
    CF_TRY(cf_records_get_slot(call->vault->records, &call->token.server, number, &found, &old));
    if (found && cf_span_equal(cf_buf_span(&old), slot)) return NULL;
    if (found) return cf_fail(CF_ERR_OBJECT_CONFLICT, "key slot %u exists with other content", number);
    /* Whoever has the server's token must not be able to put a slot in front of the owner's: the newest one is what
     * a passphrase is held against. Slots are added once changing a passphrase proves that the old one is known. */
    return cf_fail_reason(CF_ERR_FORBIDDEN, "slots", "a token does not add key slots; slot %u is not there", number);
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
    CF_TRY(check_slot(call, number, cf_buf_span(&slot)));
    return cf_call_reply(call, 200, json_object());
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
