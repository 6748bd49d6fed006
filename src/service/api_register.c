/* Registration of servers, with a credentials file. */
#include <stdlib.h>

#include "service/call.h"
#include "visible/names.h"
#include "visible/slot_header.h"

cf_err *cf_api_credentials_check(cf_call *call) {
    const cf_vault_row *vault = &call->vault->row;
    return cf_call_reply(call, 200,
                         json_pack("{ss,so,so,ss}", "purpose", call->credentials.purpose, "expires",
                                   cf_value_time(call->credentials.expires), "vault_id",
                                   cf_value_hex(vault->id.bytes, 16), "vault_name", vault->name));
}

cf_err *cf_api_servers_list(cf_call *call) {
    CF_AUTO_FREE cf_server_row *rows = NULL;
    size_t count = 0;
    CF_TRY(cf_records_list_servers(call->vault->records, &rows, &count));
    json_t *list = json_array();
    for (size_t i = 0; i < count && list; i++) {
        /* A recovery kit knows of its own server only. */
        if (call->credentials.has_server && !cf_id16_equal(&call->credentials.server, &rows[i].id)) continue;
        json_t *last = rows[i].has_newest ? cf_value_time(rows[i].last_point) : json_null();
        json_t *one = json_pack("{so,ss,so,so}", "server_id", cf_value_hex(rows[i].id.bytes, 16), "name", rows[i].name,
                                "registered", cf_value_time(rows[i].registered), "last_point", last);
        if (json_array_append_new(list, one) != 0) {
            json_decref(list);
            list = NULL;
        }
    }
    return cf_call_reply(call, 200, list ? json_pack("{so}", "servers", list) : NULL);
}

typedef struct registration {
    cf_server_row server;
    cf_token_row token;
    bool is_new;
    cf_buf slot;
} registration;

static cf_err *read_registration(cf_call *call, registration *what) {
    cf_json_reader reader = cf_call_read(call);
    cf_json_read_hex(&reader, "server_id", what->server.id.bytes, 16);
    snprintf(what->server.name, sizeof what->server.name, "%s",
             cf_json_read_text(&reader, "name", 1, CF_SERVER_NAME_MAX));
    cf_json_read_hex(&reader, "auth_key", what->server.auth_key, 32);
    cf_json_read_base64(&reader, "slot", CF_SLOT_BYTES, &what->slot);
    cf_json_read_hex(&reader, "instance", what->server.instance.bytes, 16);
    cf_json_read_hex(&reader, "token_sha256", what->token.sha256.bytes, 32);
    what->is_new = cf_json_read_optional_flag(&reader, "new");
    CF_TRY(cf_json_done(&reader));
    cf_slot_header slot;
    CF_TRY(cf_slot_header_decode(cf_buf_span(&what->slot), &slot));
    if (slot.kind != CF_SLOT_PASSPHRASE || slot.number != 1 || !cf_id16_equal(&slot.server, &what->server.id) ||
        memcmp(slot.public_key, what->server.auth_key, 32) != 0)
        return cf_fail_reason(CF_ERR_BAD_REQUEST, "slot", "the key slot is not number 1 of this server and key");
    what->server.registered = what->token.issued = call->now;
    what->server.next_number = 1;
    what->token.server = what->server.id;
    what->token.agent = true;
    return NULL;
}

/* Was exactly this registered before? *same is false when the ID is free; any difference is an error. */
static cf_err *compare_known(cf_call *call, const registration *what, bool *same, cf_server_row *known) {
    bool found = false, has_token = false, has_slot = false;
    cf_token_row token;
    CF_AUTO_BUF cf_buf slot;
    cf_buf_init(&slot, CF_SLOT_BYTES);
    cf_records *records = call->vault->records;
    CF_TRY(cf_records_find_server(records, &what->server.id, &found, known));
    CF_TRY(cf_records_find_token(records, &what->token.sha256, &has_token, &token));
    *same = found;
    if (!found && !has_token) return NULL;
    if (found) CF_TRY(cf_records_get_slot(records, &known->id, 1, &has_slot, &slot));
    if (found && has_token && has_slot && token.agent && !token.revoked && cf_id16_equal(&token.server, &known->id) &&
        memcmp(known->auth_key, what->server.auth_key, 32) == 0 &&
        cf_span_equal(cf_buf_span(&slot), cf_buf_span(&what->slot)))
        return NULL;
    return cf_fail_reason(CF_ERR_OBJECT_CONFLICT, found ? "server_id" : "token",
                          "this %s is registered already, with other keys", found ? "server's ID" : "token");
}

static cf_err *journal_registration(cf_vault *vault, const registration *what) {
    CF_TRY(cf_vault_journal(vault, CF_JOURNAL_SERVER_REGISTERED,
                            json_pack("{so,ss,so,so}", "server_id", cf_value_hex(what->server.id.bytes, 16), "name",
                                      what->server.name, "auth_key", cf_value_hex(what->server.auth_key, 32),
                                      "instance", cf_value_hex(what->server.instance.bytes, 16)),
                            NULL));
    CF_TRY(cf_vault_journal(vault, CF_JOURNAL_TOKEN_ISSUED,
                            json_pack("{so,so,ss,si}", "server_id", cf_value_hex(what->server.id.bytes, 16),
                                      "token_sha256", cf_value_hex(what->token.sha256.bytes, 32), "purpose", "agent",
                                      "expires", 0),
                            NULL));
    return cf_vault_journal(vault, CF_JOURNAL_SLOT_ADDED,
                            json_pack("{so,si,ss,sI}", "server_id", cf_value_hex(what->server.id.bytes, 16), "slot", 1,
                                      "reason", "registered", "added", (json_int_t)what->server.registered),
                            NULL);
}

/* Inside a transaction: slot object, journal, rows. */
static cf_err *add_server(cf_call *call, const registration *what) {
    bool same = false, taken = false;
    cf_server_row known;
    cf_vault *vault = call->vault;
    CF_TRY(compare_known(call, what, &same, &known));
    if (same)
        return cf_call_reply(call, 200,
                             json_pack("{so,ss}", "server_id", cf_value_hex(known.id.bytes, 16), "name", known.name));
    if (!what->is_new) CF_TRY(cf_records_find_server_named(vault->records, what->server.name, &taken, &known));
    if (taken)
        return cf_fail(CF_ERR_NAME_TAKEN, "a server named \"%s\" is registered with vault \"%s\"", what->server.name,
                       vault->row.name);
    char key[CF_NAME_MAX];
    cf_name_slot(&what->server.id, 1, key);
    CF_TRY(cf_object_put_same(vault, key, cf_buf_span(&what->slot), "key slot 1"));
    CF_TRY(journal_registration(vault, what));
    CF_TRY(cf_records_add_server(vault->records, &what->server));
    CF_TRY(cf_records_add_token(vault->records, &what->token));
    CF_TRY(cf_records_add_slot(vault->records, &what->server.id, &(cf_slot_row){1, what->server.registered},
                               cf_buf_span(&what->slot)));
    return cf_call_reply(
        call, 200,
        json_pack("{so,ss}", "server_id", cf_value_hex(what->server.id.bytes, 16), "name", what->server.name));
}

cf_err *cf_api_servers_add(cf_call *call) {
    registration what = {0};
    cf_buf_init(&what.slot, CF_SLOT_BYTES);
    cf_err *err = read_registration(call, &what);
    if (!err) err = cf_records_begin(call->vault->records);
    if (!err) err = cf_records_finish(call->vault->records, add_server(call, &what));
    cf_buf_wipe(&what.slot);
    return err;
}
