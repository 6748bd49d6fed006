/* Reading, or taking over, a server's data: the credentials file and a proof that the passphrase is known. */
#include <stdlib.h>

#include "digest/digest.h"
#include "digest/signature.h"
#include "service/call.h"
#include "service/slots.h"

/* The server of the path, and the key slots that open it. */
static cf_err *find_server(cf_call *call, cf_server_row *server, cf_slot_view **slots, size_t *count) {
    cf_id16 id;
    bool found = false;
    CF_TRY(cf_call_argument(call, id.bytes, 16));
    bool foreign = call->credentials.has_server && !cf_id16_equal(&call->credentials.server, &id);
    if (!foreign) CF_TRY(cf_records_find_server(call->vault->records, &id, &found, server));
    if (!found) return cf_fail(CF_ERR_UNKNOWN_OBJECT, "the vault has no server %s", call->argument);
    return cf_note(cf_slots_usable(call->vault, &id, call->now, slots, count), "server %s", call->argument);
}

static json_t *kdf_value(const cf_slot_header *header) {
    return json_pack("{so,si,si}", "salt", cf_value_base64(cf_span_of(header->salt, sizeof header->salt)), "memory_kib",
                     (int)header->memory_kib, "passes", (int)header->passes);
}

/* Of a passphrase's slot only what turns the passphrase into a key: the rest would let a stolen credentials file test
 * guesses. A recovery slot cannot be guessed at. */
static json_t *slot_value(const cf_slot_view *slot) {
    if (slot->header.kind == CF_SLOT_PASSPHRASE)
        return json_pack("{si,ss,so}", "number", (int)slot->header.number, "kind", "passphrase", "kdf",
                         kdf_value(&slot->header));
    return json_pack("{si,ss,so}", "number", (int)slot->header.number, "kind", "recovery", "slot",
                     cf_value_base64(cf_span_of(slot->bytes, CF_SLOT_BYTES)));
}

static json_t *slot_list(const cf_slot_view *slots, size_t count) {
    json_t *list = json_array();
    for (size_t i = 0; i < count && list; i++)
        if (json_array_append_new(list, slot_value(&slots[i])) != 0) {
            json_decref(list);
            list = NULL;
        }
    return list;
}

cf_err *cf_api_challenge(cf_call *call) {
    cf_server_row server;
    CF_AUTO_FREE cf_slot_view *slots = NULL;
    size_t count = 0;
    CF_TRY(find_server(call, &server, &slots, &count));
    CF_TRY(cf_rate_take(call->service->rate, &server.id, cf_clock_ms(&call->vault->clock)));
    cf_challenge_row challenge = {.server = server.id, .expires = call->now + CF_CHALLENGE_SECONDS};
    CF_TRY(cf_random(challenge.challenge.bytes, 32));
    CF_TRY(cf_records_add_challenge(call->vault->records, &challenge));
    return cf_call_reply(call, 200,
                         json_pack("{so,so,so,so}", "challenge", cf_value_hex(challenge.challenge.bytes, 32), "expires",
                                   cf_value_time(challenge.expires), "kdf", kdf_value(&slots[0].header), "slots",
                                   slot_list(slots, count)));
}

typedef struct unlock {
    cf_id32 challenge, token_sha256;
    uint8_t signature[64];
    uint32_t slot; /* 0: the newest passphrase's */
    bool agent;
    char name[CF_SERVER_NAME_MAX + 1]; /* "": keep */
    bool has_instance;
    cf_id16 instance;
} unlock;

static cf_err *read_unlock(cf_call *call, unlock *what) {
    static const char *const purposes[] = {"read", "agent"};
    cf_json_reader reader = cf_call_read(call);
    cf_json_read_hex(&reader, "challenge", what->challenge.bytes, 32);
    cf_json_read_hex(&reader, "token_sha256", what->token_sha256.bytes, 32);
    CF_AUTO_BUF cf_buf signature;
    cf_buf_init(&signature, sizeof what->signature);
    const json_t *value = cf_json_read_optional_value(&reader, "signature");
    if (json_is_string(value) && json_string_length(value) == 2 * sizeof what->signature) {
        cf_json_read_hex(&reader, "signature", what->signature, sizeof what->signature);
    } else {
        cf_json_read_base64(&reader, "signature", sizeof what->signature, &signature);
        if (signature.size == sizeof what->signature)
            memcpy(what->signature, signature.data, sizeof what->signature);
        else
            cf_json_refuse(&reader, "signature", "has not 64 bytes");
    }
    what->slot = (uint32_t)cf_json_read_optional_number(&reader, "slot", 99999999, 0);
    what->agent = cf_json_read_word(&reader, "purpose", purposes, 2) == 1;
    const char *name = cf_json_read_optional_text(&reader, "name", CF_SERVER_NAME_MAX);
    snprintf(what->name, sizeof what->name, "%s", name ? name : "");
    what->has_instance = cf_json_read_optional_hex(&reader, "instance", what->instance.bytes, 16);
    if (what->agent && !what->has_instance) cf_json_refuse(&reader, "instance", "is missing");
    return cf_json_done(&reader);
}

/* Is the signature over "coffer unlock", server, challenge and token the passphrase's? */
static cf_err *check_signature(const cf_server_row *server, const cf_slot_header *slot, const unlock *what) {
    uint8_t message[13 + 16 + 32 + 32];
    memcpy(message, "coffer unlock", 13);
    memcpy(message + 13, server->id.bytes, 16);
    memcpy(message + 29, what->challenge.bytes, 32);
    memcpy(message + 61, what->token_sha256.bytes, 32);
    bool valid = false;
    CF_TRY(cf_ed25519_verify(slot->public_key, cf_span_of(message, sizeof message), what->signature, &valid));
    if (valid) return NULL;
    return cf_fail_reason(CF_ERR_PASSPHRASE_DIFFERS, "signature", "the passphrase is not the one of server \"%s\"",
                          server->name);
}

/* *repeated: this very request was answered before, and its answer may have been lost. */
static cf_err *check_challenge(cf_call *call, const cf_server_row *server, const unlock *what, bool *repeated) {
    bool found = false, has_token = false;
    cf_challenge_row challenge;
    cf_token_row token;
    CF_TRY(cf_records_find_challenge(call->vault->records, &what->challenge, &found, &challenge));
    if (!found || !cf_id16_equal(&challenge.server, &server->id) || challenge.expires <= call->now)
        return cf_fail_reason(CF_ERR_FORBIDDEN, "challenge", "the challenge is unknown or over: ask for a new one");
    CF_TRY(cf_records_find_token(call->vault->records, &what->token_sha256, &has_token, &token));
    *repeated = challenge.used && cf_id32_equal(&challenge.used_for, &what->token_sha256) && has_token &&
                cf_id16_equal(&token.server, &server->id) && token.agent == what->agent && !token.revoked;
    if (challenge.used && !*repeated)
        return cf_fail_reason(CF_ERR_FORBIDDEN, "challenge", "the challenge was used: ask for a new one");
    if (has_token && !*repeated) return cf_fail_reason(CF_ERR_OBJECT_CONFLICT, "token", "this token is in use already");
    return NULL;
}

static cf_err *revoke_others(cf_call *call, const cf_id16 *server) {
    CF_AUTO_FREE cf_token_row *tokens = NULL;
    size_t count = 0;
    CF_TRY(cf_records_list_tokens(call->vault->records, server, &tokens, &count));
    for (size_t i = 0; i < count; i++) {
        if (!tokens[i].agent) continue;
        CF_TRY(cf_vault_journal(call->vault, CF_JOURNAL_TOKEN_REVOKED,
                                json_pack("{so,so}", "server_id", cf_value_hex(server->bytes, 16), "token_sha256",
                                          cf_value_hex(tokens[i].sha256.bytes, 32)),
                                NULL));
        CF_TRY(cf_records_revoke_token(call->vault->records, &tokens[i].sha256, call->now));
    }
    return NULL;
}

static cf_err *issue_token(cf_call *call, const cf_server_row *server, const unlock *what, int64_t expires) {
    cf_token_row token = {.sha256 = what->token_sha256,
                          .server = server->id,
                          .agent = what->agent,
                          .issued = call->now,
                          .expires = expires};
    json_t *body = json_pack("{so,so,ss,so}", "server_id", cf_value_hex(server->id.bytes, 16), "token_sha256",
                             cf_value_hex(token.sha256.bytes, 32), "purpose", what->agent ? "agent" : "read", "expires",
                             json_integer((json_int_t)expires));
    if (body && what->agent && json_object_set_new(body, "instance", cf_value_hex(what->instance.bytes, 16)) != 0) {
        json_decref(body);
        body = NULL;
    }
    CF_TRY(cf_vault_journal(call->vault, CF_JOURNAL_TOKEN_ISSUED, body, NULL));
    return cf_records_add_token(call->vault->records, &token);
}

/* The machine that had the name before loses its token and its session. */
static cf_err *take_over(cf_call *call, cf_server_row *server, const unlock *what) {
    cf_records *records = call->vault->records;
    CF_TRY(revoke_others(call, &server->id));
    CF_TRY(cf_records_set_instance(records, &server->id, &what->instance));
    bool open = false;
    cf_session_row session;
    CF_TRY(cf_records_find_open_session(records, &server->id, &open, &session));
    if (open) CF_TRY(cf_records_end_session(records, &server->id, &session.id, "superseded"));
    if (what->name[0] == '\0' || strcmp(what->name, server->name) == 0) return NULL;
    CF_TRY(cf_vault_journal(call->vault, CF_JOURNAL_SERVER_RENAMED,
                            json_pack("{so,ss}", "server_id", cf_value_hex(server->id.bytes, 16), "name", what->name),
                            NULL));
    snprintf(server->name, sizeof server->name, "%s", what->name);
    return cf_records_rename_server(records, &server->id, server->name);
}

static cf_err *unlock_server(cf_call *call, cf_server_row *server, const cf_slot_header *header, const unlock *what,
                             int64_t expires) {
    bool repeated = false;
    CF_TRY(check_challenge(call, server, what, &repeated));
    CF_TRY(check_signature(server, header, what));
    if (repeated) return NULL;
    CF_TRY(cf_records_use_challenge(call->vault->records, &what->challenge, &what->token_sha256));
    if (what->agent) CF_TRY(take_over(call, server, what));
    return issue_token(call, server, what, expires);
}

static cf_err *choose_slot(const cf_slot_view *slots, size_t count, uint32_t number, const cf_slot_view **slot) {
    for (size_t i = 0; i < count; i++)
        if (number == 0 || slots[i].header.number == number) {
            *slot = &slots[i];
            return NULL;
        }
    return cf_fail_reason(CF_ERR_FORBIDDEN, "slots", "key slot %u does not open this server (any more)", number);
}

cf_err *cf_api_unlock(cf_call *call) {
    cf_server_row server;
    CF_AUTO_FREE cf_slot_view *slots = NULL;
    const cf_slot_view *slot = NULL;
    size_t count = 0;
    unlock what = {0};
    CF_TRY(find_server(call, &server, &slots, &count));
    CF_TRY(read_unlock(call, &what));
    CF_TRY(choose_slot(slots, count, what.slot, &slot));
    if (what.agent && strcmp(call->credentials.purpose, "register") != 0)
        return cf_fail_reason(CF_ERR_CREDENTIALS, "wrong_purpose",
                              "taking a server over needs credentials for registering");
    CF_TRY(cf_rate_take(call->service->rate, &server.id, cf_clock_ms(&call->vault->clock)));
    int64_t expires = what.agent ? 0 : call->now + CF_READ_TOKEN_SECONDS;
    CF_TRY(cf_records_begin(call->vault->records));
    cf_err *err = unlock_server(call, &server, &slot->header, &what, expires);
    if (err && cf_err_code(err) == CF_ERR_PASSPHRASE_DIFFERS) {
        /* A wrong guess uses the challenge up. */
        cf_id32 nobody = {{0}};
        cf_err *mark = cf_records_use_challenge(call->vault->records, &what.challenge, &nobody);
        mark = cf_records_finish(call->vault->records, mark);
        if (!mark) return err;
        cf_err_free(err);
        return mark;
    }
    CF_TRY(cf_records_finish(call->vault->records, err));
    cf_rate_give_back(call->service->rate, &server.id, 2); /* only guesses count: the challenge and this */
    return cf_call_reply(call, 200,
                         json_pack("{so,ss,so,si,so}", "server_id", cf_value_hex(server.id.bytes, 16), "name",
                                   server.name, "slot", cf_value_base64(cf_span_of(slot->bytes, CF_SLOT_BYTES)),
                                   "number", (int)slot->header.number, "token_expires",
                                   expires ? cf_value_time(expires) : json_null()));
}
