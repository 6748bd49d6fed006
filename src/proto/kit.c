#include "proto/kit.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "proto/json.h"

#define FORMAT_NAME "coffer-recovery-kit"
enum { VERSION = 1 };

void cf_kit_free(cf_kit *kit) {
    if (!kit) return;
    cf_credentials_free(kit->credentials);
    free(kit);
}

/* What a person reads, years later, in a hurry. */
static char *instructions(const cf_kit *kit) {
    char created[40], newest[40] = "none yet";
    cf_time_format(kit->created, created);
    if (kit->has_newest) cf_time_format(kit->newest_time, newest);
    return cf_text_format(
        "# Recovery kit of the server \"%s\", made on %s.\n"
        "# Vault: \"%s\" at %s. Newest recovery point when this was made: %s.\n"
        "#\n"
        "# With this file and the passphrase (or the recovery key) everything can be restored, on any\n"
        "# machine that has Coffer and reaches the vault:\n"
        "#\n"
        "#   coffer points --kit THIS-FILE --passphrase-file FILE\n"
        "#   coffer ls latest / --kit THIS-FILE --passphrase-file FILE\n"
        "#   coffer restore latest --to /mnt/restored --kit THIS-FILE --passphrase-file FILE\n"
        "#\n"
        "# Without root add --home DIR (any folder of your own). This file alone opens nothing, but it\n"
        "# lets whoever has it ask the vault: keep it apart from the passphrase.\n",
        kit->server_name, created, kit->credentials->vault_name, kit->credentials->url, newest);
}

static json_t *newest_value(const cf_kit *kit) {
    if (!kit->has_newest) return json_null();
    char id[CF_HEX_SIZE(32)], when[40];
    cf_hex_encode(kit->newest.bytes, 32, id);
    cf_time_format(kit->newest_time, when);
    return json_pack("{s:s, s:I, s:s}", "id", id, "counter", (json_int_t)kit->newest_counter, "time", when);
}

static json_t *kit_value(const cf_kit *kit, json_t *credentials) {
    char id[CF_HEX_SIZE(16)], created[40];
    cf_hex_encode(kit->server_id.bytes, 16, id);
    cf_time_format(kit->created, created);
    return json_pack("{s:s, s:i, s:s, s:s, s:s, s:o, s:O}", "format", FORMAT_NAME, "version", VERSION, "server_id", id,
                     "server_name", kit->server_name, "created", created, "newest", newest_value(kit), "credentials",
                     credentials);
}

static cf_err *join(const char *head, json_t *value, cf_secret **out) {
    char *body = value ? json_dumps(value, JSON_INDENT(2)) : NULL;
    if (!body) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a recovery kit");
    size_t head_size = strlen(head), size = strlen(body);
    CF_AUTO(cf_secret) text = NULL;
    cf_err *err = cf_secret_new(head_size + size + 1, &text);
    if (!err) {
        uint8_t *at = cf_secret_data(text);
        memcpy(at, head, head_size);
        memcpy(at + head_size, body, size);
        at[head_size + size] = '\n';
        *out = cf_take(text);
    }
    cf_wipe(body, size);
    free(body);
    return err;
}

cf_err *cf_kit_format(const cf_kit *kit, cf_secret **out) {
    CF_AUTO(cf_secret) credentials = NULL;
    CF_AUTO(json_t) parsed = NULL;
    CF_AUTO_FREE char *head = instructions(kit);
    if (!head) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a recovery kit");
    CF_TRY(cf_credentials_format(kit->credentials, &credentials));
    CF_TRY(cf_json_parse(cf_span_of(cf_secret_bytes(credentials), cf_secret_size(credentials)), CF_CREDENTIALS_MAX,
                         CF_ERR_INTERNAL, "credentials", &parsed));
    CF_AUTO(json_t) value = kit_value(kit, parsed);
    return join(head, value, out);
}

static cf_err *refuse(const char *reason, const char *name, const char *why) {
    return cf_fail_reason(CF_ERR_CREDENTIALS, reason, "%s %s", name, why);
}

/* Behind the lines for people. */
static cf_span skip_comments(cf_span text) {
    while (text.size && (text.data[0] == '#' || text.data[0] == '\n' || text.data[0] == '\r')) {
        const uint8_t *end = memchr(text.data, '\n', text.size);
        if (!end) return cf_span_of(NULL, 0);
        size_t line = (size_t)(end - text.data) + 1;
        text.data += line;
        text.size -= line;
    }
    return text;
}

static void read_newest(cf_json_reader *reader, cf_kit *kit) {
    const json_t *value = cf_json_read_optional_value(reader, "newest");
    if (!value) return;
    cf_json_reader inner = cf_json_reader_of(value, CF_ERR_CREDENTIALS, "newest");
    cf_json_read_hex(&inner, "id", kit->newest.bytes, 32);
    kit->newest_counter = cf_json_read_number(&inner, "counter", 1, INT64_MAX);
    kit->newest_time = cf_json_read_time(&inner, "time");
    kit->has_newest = true;
    cf_err *err = cf_json_done(&inner);
    if (err) cf_json_refuse(reader, "newest", "is malformed");
    cf_err_free(err);
}

static cf_err *read_credentials(cf_json_reader *reader, const char *name, cf_credentials **credentials) {
    const json_t *value = cf_json_read_optional_value(reader, "credentials");
    char *text = value ? json_dumps(value, JSON_COMPACT) : NULL;
    if (!text) {
        cf_json_refuse(reader, "credentials", "is missing");
        return NULL;
    }
    cf_err *err = cf_credentials_parse(cf_span_text(text), name, credentials);
    cf_wipe(text, strlen(text));
    free(text);
    if (!err && (*credentials)->purpose != CF_PURPOSE_KIT) cf_json_refuse(reader, "credentials", "are of another kind");
    return err;
}

static cf_err *check_frame(const json_t *value, const char *name) {
    const char *format = json_string_value(json_object_get(value, "format"));
    if (!format || strcmp(format, FORMAT_NAME) != 0) return refuse("not_json", name, "is no recovery kit");
    if (json_integer_value(json_object_get(value, "version")) > VERSION)
        return refuse("too_new", name, "was written by a newer version of Coffer");
    return NULL;
}

cf_err *cf_kit_parse(cf_span text, const char *name, cf_kit **out) {
    CF_AUTO(json_t) value = NULL;
    text = skip_comments(text);
    if (text.size == 0) return refuse("empty", name, "is empty");
    cf_err *err = cf_json_parse(text, CF_KIT_MAX, CF_ERR_CREDENTIALS, name, &value);
    if (err) {
        cf_err_set_reason(err, "tampered");
        return err;
    }
    CF_TRY(check_frame(value, name));
    CF_AUTO(cf_kit) kit = calloc(1, sizeof *kit);
    if (!kit) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a recovery kit");
    cf_json_reader reader = cf_json_reader_of(value, CF_ERR_CREDENTIALS, name);
    cf_json_read_hex(&reader, "server_id", kit->server_id.bytes, 16);
    snprintf(kit->server_name, sizeof kit->server_name, "%s",
             cf_json_read_text(&reader, "server_name", 1, CF_KIT_NAME_MAX));
    kit->created = cf_json_read_time(&reader, "created");
    read_newest(&reader, kit);
    CF_AUTO(cf_err) inner = read_credentials(&reader, name, &kit->credentials);
    err = cf_json_done(&reader);
    if (inner) {
        cf_err_free(err);
        return cf_take(inner);
    }
    if (err) {
        cf_err_set_reason(err, "tampered");
        return err;
    }
    *out = cf_take(kit);
    return NULL;
}
