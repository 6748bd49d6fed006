#include "remote/identity.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "digest/digest.h"
#include "remote/call.h"

enum {
    SERVERS_MAX = 100000,
    SLOTS_MAX = 10000,
    PROTOCOL_LIMIT = 65535,
    LIST_REPLY_MAX = 64 << 20,
    CF_KIT_URL_MAX = 2048
};

cf_err *cf_remote_get_version(cf_remote *remote, cf_remote_version *out) {
    cf_call call;
    CF_AUTO(json_t) reply = NULL;
    cf_call_init(&call, "GET", "/v1/version");
    CF_TRY(cf_call_run(remote, &call, &reply, NULL));
    cf_remote_version version = {0};
    cf_json_reader reader = cf_reply_reader(reply, call.path);
    cf_json_read_hex(&reader, "vault_id", version.vault_id.bytes, 16);
    cf_reply_copy(&reader, "vault_name", version.vault_name, sizeof version.vault_name);
    cf_reply_copy_optional(&reader, "region", version.region, sizeof version.region);
    cf_reply_copy(&reader, "version", version.version, sizeof version.version);
    cf_reply_copy_optional(&reader, "agent_oldest", version.agent_oldest, sizeof version.agent_oldest);
    version.time = cf_json_read_time(&reader, "time");
    cf_json_reader protocol = cf_reply_reader(cf_json_read_optional_value(&reader, "protocol"), call.path);
    version.protocol_min = (uint32_t)cf_json_read_number(&protocol, "min", 1, PROTOCOL_LIMIT);
    version.protocol_max = (uint32_t)cf_json_read_number(&protocol, "max", 1, PROTOCOL_LIMIT);
    cf_err *err = cf_reply_done(&protocol), *outer = cf_reply_done(&reader);
    if (err || outer) {
        if (err && outer) cf_err_free(outer);
        return err ? err : outer;
    }
    *out = version;
    return NULL;
}

cf_err *cf_remote_check_credentials(cf_remote *remote, cf_remote_credentials *out) {
    cf_call call;
    CF_AUTO(json_t) reply = NULL;
    cf_call_init(&call, "POST", "/v1/credentials:check");
    cf_call_body(&call, json_object());
    CF_TRY(cf_call_run(remote, &call, &reply, NULL));
    cf_remote_credentials credentials = {0};
    cf_json_reader reader = cf_reply_reader(reply, call.path);
    cf_reply_copy(&reader, "purpose", credentials.purpose, sizeof credentials.purpose);
    credentials.expires = cf_json_read_time(&reader, "expires");
    cf_json_read_hex(&reader, "vault_id", credentials.vault_id.bytes, 16);
    cf_reply_copy(&reader, "vault_name", credentials.vault_name, sizeof credentials.vault_name);
    CF_TRY(cf_reply_done(&reader));
    *out = credentials;
    return NULL;
}

static cf_err *read_server(const json_t *item, cf_remote_server *server) {
    cf_json_reader reader = cf_reply_reader(item, "/v1/servers");
    cf_json_read_hex(&reader, "server_id", server->id.bytes, 16);
    cf_reply_copy(&reader, "name", server->name, sizeof server->name);
    server->registered = cf_json_read_time(&reader, "registered");
    server->has_last_point = cf_json_read_optional_time(&reader, "last_point", &server->last_point);
    return cf_reply_done(&reader);
}

cf_err *cf_remote_list_servers(cf_remote *remote, cf_remote_server **out, size_t *count) {
    cf_call call;
    CF_AUTO(json_t) reply = NULL;
    cf_call_init(&call, "GET", "/v1/servers");
    call.reply_max = LIST_REPLY_MAX;
    CF_TRY(cf_call_run(remote, &call, &reply, NULL));
    cf_json_reader reader = cf_reply_reader(reply, call.path);
    const json_t *list = cf_json_read_array(&reader, "servers", SERVERS_MAX);
    CF_TRY(cf_reply_done(&reader));
    size_t length = json_array_size(list);
    CF_AUTO_FREE cf_remote_server *servers = calloc(length + 1, sizeof *servers);
    if (!servers) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for the list of servers");
    for (size_t i = 0; i < length; i++) CF_TRY(read_server(json_array_get(list, i), &servers[i]));
    *count = length;
    *out = cf_take(servers);
    return NULL;
}

cf_err *cf_remote_register(cf_remote *remote, const cf_remote_registration *registration) {
    char id[CF_HEX_SIZE(16)], instance[CF_HEX_SIZE(16)], token[CF_HEX_SIZE(32)], key[CF_HEX_SIZE(32)];
    cf_hex_encode(registration->server_id.bytes, 16, id);
    cf_hex_encode(registration->instance.bytes, 16, instance);
    cf_hex_encode(registration->token_sha256, 32, token);
    cf_hex_encode(registration->auth_key, 32, key);
    CF_AUTO_FREE char *slot = cf_base64_encode(registration->slot);
    if (!slot) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a key slot");
    cf_call call;
    CF_AUTO(json_t) reply = NULL;
    cf_call_init(&call, "POST", "/v1/servers");
    cf_call_body(&call, json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:b}", "server_id", id, "name", registration->name,
                                  "auth_key", key, "slot", slot, "instance", instance, "token_sha256", token, "new",
                                  registration->is_new));
    CF_TRY(cf_call_run(remote, &call, &reply, NULL));
    cf_id16 answered;
    cf_json_reader reader = cf_reply_reader(reply, call.path);
    cf_json_read_hex(&reader, "server_id", answered.bytes, 16);
    if (!cf_id16_equal(&answered, &registration->server_id))
        cf_json_refuse(&reader, "server_id", "is another server's");
    return cf_reply_done(&reader);
}

static void read_slot_member(cf_json_reader *reader, uint8_t slot[CF_REMOTE_SLOT_SIZE]) {
    CF_AUTO_BUF cf_buf bytes;
    cf_buf_init(&bytes, CF_REMOTE_SLOT_SIZE);
    cf_json_read_base64(reader, "slot", CF_REMOTE_SLOT_SIZE, &bytes);
    if (bytes.size == CF_REMOTE_SLOT_SIZE)
        memcpy(slot, bytes.data, CF_REMOTE_SLOT_SIZE);
    else
        cf_json_refuse(reader, "slot", "has a wrong length");
}

static void read_kdf(cf_json_reader *reader, cf_remote_opener *opener) {
    cf_json_reader kdf = cf_reply_reader(cf_json_read_optional_value(reader, "kdf"), reader->what);
    CF_AUTO_BUF cf_buf salt;
    cf_buf_init(&salt, sizeof opener->salt);
    cf_json_read_base64(&kdf, "salt", sizeof opener->salt, &salt);
    if (salt.size == sizeof opener->salt)
        memcpy(opener->salt, salt.data, sizeof opener->salt);
    else
        cf_json_refuse(&kdf, "salt", "has a wrong length");
    opener->memory_kib = (uint32_t)cf_json_read_number(&kdf, "memory_kib", 1, UINT32_MAX);
    opener->passes = (uint32_t)cf_json_read_number(&kdf, "passes", 1, UINT32_MAX);
    cf_err *err = cf_reply_done(&kdf);
    if (err) cf_json_refuse(reader, "kdf", cf_err_message(err));
    cf_err_free(err);
}

static cf_err *read_opener(const json_t *value, const char *path, cf_remote_opener *opener) {
    static const char *const kinds[] = {"passphrase", "recovery"};
    cf_json_reader reader = cf_reply_reader(value, path);
    opener->number = (uint32_t)cf_json_read_number(&reader, "number", 1, UINT32_MAX);
    opener->recovery = cf_json_read_word(&reader, "kind", kinds, 2) == 1;
    if (opener->recovery)
        read_slot_member(&reader, opener->slot);
    else
        read_kdf(&reader, opener);
    return cf_reply_done(&reader);
}

cf_err *cf_remote_get_challenge(cf_remote *remote, const cf_id16 *server, cf_remote_challenge *out) {
    char id[CF_HEX_SIZE(16)];
    cf_hex_encode(server->bytes, 16, id);
    cf_call call;
    CF_AUTO(json_t) reply = NULL;
    cf_call_init(&call, "POST", "/v1/servers/%s:challenge", id);
    cf_call_body(&call, json_object());
    CF_TRY(cf_call_run(remote, &call, &reply, NULL));
    cf_json_reader reader = cf_reply_reader(reply, call.path);
    *out = (cf_remote_challenge){0};
    cf_json_read_hex(&reader, "challenge", out->challenge, sizeof out->challenge);
    const json_t *list = cf_json_read_array(&reader, "slots", CF_REMOTE_OPENERS_MAX);
    CF_TRY(cf_reply_done(&reader));
    out->count = json_array_size(list);
    for (size_t i = 0; i < out->count; i++) CF_TRY(read_opener(json_array_get(list, i), call.path, &out->openers[i]));
    return NULL;
}

void cf_remote_unlock_message(const cf_id16 *server, const uint8_t challenge[32], const uint8_t token_sha256[32],
                              uint8_t out[CF_REMOTE_UNLOCK_MESSAGE_SIZE]) {
    memcpy(out, "coffer unlock", 13);
    memcpy(out + 13, server->bytes, 16);
    memcpy(out + 29, challenge, 32);
    memcpy(out + 61, token_sha256, 32);
}

static json_t *unlock_body(const cf_remote_unlock *unlock) {
    char challenge[CF_HEX_SIZE(32)], token[CF_HEX_SIZE(32)], instance[CF_HEX_SIZE(16)];
    cf_hex_encode(unlock->challenge, 32, challenge);
    cf_hex_encode(unlock->token_sha256, 32, token);
    cf_hex_encode(unlock->instance.bytes, 16, instance);
    CF_AUTO_FREE char *signature = cf_base64_encode(cf_span_of(unlock->signature, sizeof unlock->signature));
    json_t *body = signature ? json_pack("{s:I, s:s, s:s, s:s, s:s}", "slot", (json_int_t)unlock->slot, "challenge",
                                         challenge, "signature", signature, "token_sha256", token, "purpose",
                                         unlock->takeover ? "agent" : "read")
                             : NULL;
    bool failed = body && unlock->takeover && json_object_set_new(body, "instance", json_string(instance)) < 0;
    failed = failed || (body && unlock->takeover && unlock->name &&
                        json_object_set_new(body, "name", json_string(unlock->name)) < 0);
    if (!failed) return body;
    json_decref(body);
    return NULL;
}

cf_err *cf_remote_unlock_server(cf_remote *remote, const cf_remote_unlock *unlock, cf_remote_unlocked *out) {
    char id[CF_HEX_SIZE(16)];
    cf_hex_encode(unlock->server.bytes, 16, id);
    cf_call call;
    CF_AUTO(json_t) reply = NULL;
    cf_call_init(&call, "POST", "/v1/servers/%s:unlock", id);
    cf_call_body(&call, unlock_body(unlock));
    call.once = true;
    CF_TRY(cf_call_run(remote, &call, &reply, NULL));
    cf_remote_unlocked unlocked = {0};
    cf_json_reader reader = cf_reply_reader(reply, call.path);
    cf_reply_copy(&reader, "name", unlocked.name, sizeof unlocked.name);
    read_slot_member(&reader, unlocked.slot);
    unlocked.token_expires = cf_json_read_optional_time(&reader, "token_expires", &unlocked.expires);
    CF_TRY(cf_reply_done(&reader));
    *out = unlocked;
    return NULL;
}

void cf_reply_newest(cf_json_reader *reader, cf_remote_newest *newest) {
    *newest = (cf_remote_newest){0};
    const json_t *value = cf_json_read_optional_value(reader, "newest");
    if (!value) return;
    cf_json_reader inner = cf_reply_reader(value, reader->what);
    cf_json_read_hex(&inner, "id", newest->id.bytes, 32);
    newest->counter = cf_json_read_number(&inner, "counter", 1, INT64_MAX);
    newest->exists = true;
    cf_err *err = cf_reply_done(&inner);
    if (err) cf_json_refuse(reader, "newest", "is malformed");
    cf_err_free(err);
}

cf_err *cf_remote_get_self(cf_remote *remote, cf_remote_self *out) {
    cf_call call;
    CF_AUTO(json_t) reply = NULL;
    cf_call_init(&call, "GET", "/v1/self");
    CF_TRY(cf_call_run(remote, &call, &reply, NULL));
    cf_remote_self self = {0};
    cf_json_reader reader = cf_reply_reader(reply, call.path);
    cf_json_read_hex(&reader, "server_id", self.server_id.bytes, 16);
    cf_json_read_hex(&reader, "vault_id", self.vault_id.bytes, 16);
    cf_reply_copy(&reader, "name", self.name, sizeof self.name);
    cf_reply_copy(&reader, "purpose", self.purpose, sizeof self.purpose);
    cf_reply_copy(&reader, "epoch", self.epoch, sizeof self.epoch);
    self.generation = cf_json_read_number(&reader, "generation", 0, INT64_MAX);
    cf_reply_newest(&reader, &self.newest);
    self.time = cf_json_read_time(&reader, "time");
    CF_TRY(cf_reply_done(&reader));
    *out = self;
    return NULL;
}

cf_err *cf_remote_rename_self(cf_remote *remote, const char *name) {
    cf_call call;
    cf_call_init(&call, "PATCH", "/v1/self");
    cf_call_body(&call, json_pack("{s:s}", "name", name));
    return cf_call_run(remote, &call, NULL, NULL);
}

cf_err *cf_remote_revoke_token(cf_remote *remote) {
    cf_call call;
    cf_call_init(&call, "DELETE", "/v1/self/token");
    call.farewell = true;
    cf_err *err = cf_call_run(remote, &call, NULL, NULL);
    if (cf_err_code(err) != CF_ERR_UNAUTHORIZED && cf_err_code(err) != CF_ERR_NOT_AUTHORIZED) return err;
    cf_err_free(err); /* it was gone already */
    return NULL;
}

cf_err *cf_remote_list_slots(cf_remote *remote, cf_remote_slot **out, size_t *count) {
    cf_call call;
    CF_AUTO(json_t) reply = NULL;
    cf_call_init(&call, "GET", "/v1/slots");
    CF_TRY(cf_call_run(remote, &call, &reply, NULL));
    cf_json_reader reader = cf_reply_reader(reply, call.path);
    const json_t *list = cf_json_read_array(&reader, "slots", SLOTS_MAX);
    CF_TRY(cf_reply_done(&reader));
    size_t length = json_array_size(list);
    CF_AUTO_FREE cf_remote_slot *slots = calloc(length + 1, sizeof *slots);
    if (!slots) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for the list of key slots");
    for (size_t i = 0; i < length; i++) {
        cf_json_reader item = cf_reply_reader(json_array_get(list, i), call.path);
        slots[i].number = (uint32_t)cf_json_read_number(&item, "number", 1, UINT32_MAX);
        read_slot_member(&item, slots[i].slot);
        CF_TRY(cf_reply_done(&item));
    }
    *count = length;
    *out = cf_take(slots);
    return NULL;
}

cf_err *cf_remote_store_slot(cf_remote *remote, uint32_t number, cf_span slot) {
    CF_AUTO_FREE char *text = cf_base64_encode(slot);
    if (!text) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a key slot");
    cf_call call;
    cf_call_init(&call, "POST", "/v1/slots");
    cf_call_body(&call, json_pack("{s:I, s:s}", "number", (json_int_t)number, "slot", text));
    return cf_call_run(remote, &call, NULL, NULL);
}

static cf_err *read_kit(cf_json_reader *reader, cf_credentials *kit) {
    char name[CF_REMOTE_NAME_MAX + 1];
    cf_reply_copy(reader, "vault_name", name, sizeof name);
    cf_json_read_hex(reader, "vault_id", kit->vault_id.bytes, 16);
    kit->expires = cf_json_read_time(reader, "expires");
    kit->vault_name = strdup(name);
    kit->region = strdup("");
    kit->url = strdup(cf_json_read_text(reader, "url", 1, CF_KIT_URL_MAX));
    const json_t *ca = cf_json_read_optional_value(reader, "ca"); /* more than one line: no plain text */
    if (ca && !json_is_string(ca)) cf_json_refuse(reader, "ca", "is no text");
    kit->ca_pem = json_is_string(ca) ? strdup(json_string_value(ca)) : NULL;
    CF_TRY(cf_reply_done(reader));
    if (kit->vault_name && kit->region && kit->url && (kit->ca_pem || !ca)) return NULL;
    return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a recovery kit");
}

cf_err *cf_remote_add_kit(cf_remote *remote, const cf_secret *secret, cf_credentials **out) {
    uint8_t digest[32];
    char hex[CF_HEX_SIZE(32)];
    CF_TRY(cf_sha256(cf_span_of(cf_secret_bytes(secret), cf_secret_size(secret)), digest));
    cf_hex_encode(digest, sizeof digest, hex);
    cf_call call;
    CF_AUTO(json_t) reply = NULL;
    cf_call_init(&call, "POST", "/v1/kits");
    cf_call_body(&call, json_pack("{s:s}", "secret_sha256", hex));
    CF_TRY(cf_call_run(remote, &call, &reply, NULL));
    CF_AUTO(cf_credentials) kit = calloc(1, sizeof *kit);
    if (!kit) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a recovery kit");
    cf_json_reader reader = cf_reply_reader(reply, call.path);
    kit->purpose = CF_PURPOSE_KIT;
    kit->issued = cf_remote_now(remote);
    CF_TRY(read_kit(&reader, kit));
    CF_TRY(cf_secret_from(cf_secret_bytes(secret), cf_secret_size(secret), &kit->secret));
    *out = cf_take(kit);
    return NULL;
}

cf_err *cf_remote_store_record(cf_remote *remote, const cf_id16 *session, cf_span record) {
    char id[CF_HEX_SIZE(16)];
    cf_hex_encode(session->bytes, 16, id);
    cf_call call;
    cf_call_init(&call, "PUT", "/v1/records/%s", id);
    call.has_raw = true;
    call.raw = record;
    return cf_call_run(remote, &call, NULL, NULL);
}

cf_err *cf_remote_get_record(cf_remote *remote, const cf_id16 *session, uint8_t record[CF_REMOTE_RECORD_SIZE]) {
    char id[CF_HEX_SIZE(16)];
    cf_hex_encode(session->bytes, 16, id);
    cf_call call;
    cf_call_init(&call, "GET", "/v1/records/%s", id);
    CF_AUTO_BUF cf_buf bytes;
    cf_buf_init(&bytes, CF_REMOTE_RECORD_SIZE);
    CF_TRY(cf_call_run_raw(remote, &call, &bytes));
    if (bytes.size != CF_REMOTE_RECORD_SIZE)
        return cf_fail_reason(CF_ERR_BAD_REPLY, "fields", "%s: a key record of %zu bytes", call.path, bytes.size);
    memcpy(record, bytes.data, CF_REMOTE_RECORD_SIZE);
    return NULL;
}
