/* What a token can learn and change about its own server. */
#include <stdlib.h>

#include "service/call.h"

static json_t *newest_of(const cf_server_row *server) {
    if (!server->has_newest) return json_null();
    return json_pack("{so,so}", "id", cf_value_hex(server->newest.bytes, 32), "counter",
                     cf_value_number(server->newest_counter));
}

cf_err *cf_api_self(cf_call *call) {
    cf_server_row server;
    CF_AUTO_FREE cf_slot_row *numbers = NULL;
    size_t count = 0;
    CF_TRY(cf_call_server(call, &server));
    CF_TRY(cf_records_list_slots(call->vault->records, &server.id, &numbers, &count));
    json_t *slots = json_array();
    for (size_t i = 0; i < count && slots; i++) (void)json_array_append_new(slots, json_integer(numbers[i].number));
    if (json_array_size(slots) != count) { /* without memory */
        json_decref(slots);
        slots = NULL;
    }
    return cf_call_reply(call, 200,
                         json_pack("{so,ss,so,so,so,so,so,ss,so}", "server_id", cf_value_hex(server.id.bytes, 16),
                                   "name", server.name, "vault_id", cf_value_hex(call->vault->row.id.bytes, 16),
                                   "epoch", cf_value_hex(call->vault->row.epoch.bytes, 16), "generation",
                                   cf_value_number(server.generation), "newest", newest_of(&server), "slots", slots,
                                   "purpose", call->token.agent ? "agent" : "read", "time", cf_value_time(call->now)));
}

static cf_err *rename_server(cf_call *call, const char *name) {
    cf_server_row server;
    CF_TRY(cf_call_server(call, &server));
    if (strcmp(server.name, name) == 0) return NULL;
    CF_TRY(cf_vault_journal(call->vault, CF_JOURNAL_SERVER_RENAMED,
                            json_pack("{so,ss}", "server_id", cf_value_hex(server.id.bytes, 16), "name", name), NULL));
    return cf_records_rename_server(call->vault->records, &server.id, name);
}

cf_err *cf_api_self_rename(cf_call *call) {
    cf_json_reader reader = cf_call_read(call);
    const char *name = cf_json_read_text(&reader, "name", 1, CF_SERVER_NAME_MAX);
    CF_TRY(cf_json_done(&reader));
    CF_TRY(cf_records_begin(call->vault->records));
    CF_TRY(cf_records_finish(call->vault->records, rename_server(call, name)));
    return cf_call_reply(call, 200, json_pack("{ss}", "name", name));
}

static cf_err *revoke_token(cf_call *call) {
    CF_TRY(cf_vault_journal(call->vault, CF_JOURNAL_TOKEN_REVOKED,
                            json_pack("{so,so}", "server_id", cf_value_hex(call->token.server.bytes, 16),
                                      "token_sha256", cf_value_hex(call->token.sha256.bytes, 32)),
                            NULL));
    return cf_records_revoke_token(call->vault->records, &call->token.sha256, call->now);
}

cf_err *cf_api_token_revoke(cf_call *call) {
    CF_TRY(cf_records_begin(call->vault->records));
    return cf_records_finish(call->vault->records, revoke_token(call));
}
