#include "proto/credentials.h"

#include <jansson.h>
#include <string.h>

#include "base/text.h"
#include "digest/digest.h"
#include "proto/json.h"

#define FORMAT_NAME "coffer-credentials"
enum { VERSION = 1, NAME_MAX_SIZE = 255, URL_MAX = 2048, CLOCK_SLACK_S = 24 * 3600 };

static const char *const purpose_names[] = {"register", "restore", "secondary", "kit"};
enum { PURPOSES = 4 };

const char *cf_purpose_name(cf_purpose purpose) {
    return purpose_names[purpose];
}

bool cf_purpose_parse(const char *text, cf_purpose *purpose) {
    for (size_t i = 0; i < PURPOSES; i++)
        if (strcmp(text, purpose_names[i]) == 0) {
            *purpose = (cf_purpose)i;
            return true;
        }
    return false;
}

void cf_credentials_free(cf_credentials *credentials) {
    if (!credentials) return;
    free(credentials->vault_name);
    free(credentials->region);
    free(credentials->url);
    free(credentials->ca_pem);
    cf_secret_free(credentials->secret);
    free(credentials);
}

/* SHA-256 of the compact dump with sorted keys of everything but the checksum itself. */
static cf_err *checksum_of(json_t *object, char hex[CF_HEX_SIZE(32)]) {
    json_t *bare = json_copy(object);
    if (!bare) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a credentials file");
    (void)json_object_del(bare, "checksum"); /* fails when there is none, which is as good */
    char *text = json_dumps(bare, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(bare);
    if (!text) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a credentials file");
    uint8_t digest[32];
    cf_err *err = cf_sha256(cf_span_text(text), digest);
    cf_wipe(text, strlen(text));
    free(text);
    if (!err) cf_hex_encode(digest, sizeof digest, hex);
    return err;
}

static json_t *to_json(const cf_credentials *credentials) {
    char issued[40], expires[40], vault_id[CF_HEX_SIZE(16)], secret[CF_HEX_SIZE(CF_CREDENTIALS_SECRET_SIZE)];
    cf_time_format(credentials->issued, issued);
    cf_time_format(credentials->expires, expires);
    cf_hex_encode(credentials->vault_id.bytes, 16, vault_id);
    cf_hex_encode(cf_secret_bytes(credentials->secret), CF_CREDENTIALS_SECRET_SIZE, secret);
    json_t *object =
        json_pack("{s:s, s:i, s:s, s:s, s:s, s:s, s:s, s:s?, s:s, s:s, s:s}", "format", FORMAT_NAME, "version", VERSION,
                  "purpose", cf_purpose_name(credentials->purpose), "vault_id", vault_id, "vault_name",
                  credentials->vault_name, "region", credentials->region ? credentials->region : "", "url",
                  credentials->url, "ca", credentials->ca_pem, "issued", issued, "expires", expires, "secret", secret);
    cf_wipe(secret, sizeof secret);
    return object;
}

cf_err *cf_credentials_format(const cf_credentials *credentials, cf_secret **out) {
    if (!credentials->secret || cf_secret_size(credentials->secret) != CF_CREDENTIALS_SECRET_SIZE)
        return cf_fail(CF_ERR_INTERNAL, "a credentials secret has %d bytes", CF_CREDENTIALS_SECRET_SIZE);
    CF_AUTO(json_t) object = to_json(credentials);
    if (!object) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a credentials file");
    char checksum[CF_HEX_SIZE(32)];
    CF_TRY(checksum_of(object, checksum));
    char *text =
        json_object_set_new(object, "checksum", json_string(checksum)) < 0 ? NULL : json_dumps(object, JSON_INDENT(2));
    if (!text) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a credentials file");
    size_t size = strlen(text);
    text[size] = '\n'; /* in place of the NUL: the size is known */
    cf_err *err = cf_secret_from(text, size + 1, out);
    cf_wipe(text, size);
    free(text);
    return err;
}

static cf_err *refuse(const char *reason, const char *name, const char *why) {
    return cf_fail_reason(CF_ERR_CREDENTIALS, reason, "%s %s", name, why);
}

static bool is_space(uint8_t c) {
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static cf_span trim(cf_span text) {
    while (text.size && is_space(text.data[text.size - 1])) text.size--;
    while (text.size && is_space(text.data[0])) {
        text.data++;
        text.size--;
    }
    return text;
}

/* Cut, something else altogether, or changed by hand: each its own reason. */
static cf_err *load(cf_span text, const char *name, json_t **object) {
    text = trim(text);
    if (text.size == 0) return refuse("empty", name, "is empty");
    if (text.size > CF_CREDENTIALS_MAX) return refuse("not_json", name, "is far too large for a credentials file");
    if (text.data[0] != '{') return refuse("not_json", name, "is no credentials file");
    json_t *value = NULL;
    cf_err *err = cf_json_parse(text, CF_CREDENTIALS_MAX, CF_ERR_CREDENTIALS, name, &value);
    if (err && cf_err_code(err) == CF_ERR_CREDENTIALS && text.data[text.size - 1] != '}')
        cf_err_set_reason(err, "truncated");
    else if (err && cf_err_code(err) == CF_ERR_CREDENTIALS)
        cf_err_set_reason(err, "tampered");
    if (err) return err;
    if (!json_is_object(value)) {
        json_decref(value);
        return refuse("not_json", name, "is no credentials file");
    }
    *object = value;
    return NULL;
}

/* Format and version come before the checksum: a newer version may sum another way. */
static cf_err *check_frame(json_t *object, const char *name) {
    const char *format = json_string_value(json_object_get(object, "format"));
    if (!format || strcmp(format, FORMAT_NAME) != 0)
        return refuse("not_json", name, "is JSON, but no credentials file");
    const json_t *version = json_object_get(object, "version");
    if (!json_is_integer(version) || json_integer_value(version) < 1)
        return refuse("tampered", name, "has no valid version");
    if (json_integer_value(version) > VERSION)
        return cf_fail_reason(CF_ERR_CREDENTIALS, "too_new", "%s has version %lld, this program (%s) knows %d", name,
                              (long long)json_integer_value(version), CF_VERSION, VERSION);
    const char *claimed = json_string_value(json_object_get(object, "checksum"));
    char actual[CF_HEX_SIZE(32)];
    CF_TRY(checksum_of(object, actual));
    if (!claimed || strcmp(claimed, actual) != 0)
        return refuse("tampered", name, "was changed: its checksum does not fit");
    return NULL;
}

static cf_err *read_ca(cf_json_reader *reader, char **ca_pem) {
    const json_t *value = cf_json_read_optional_value(reader, "ca");
    if (!value) return NULL;
    if (!json_is_string(value) || json_string_length(value) == 0 ||
        !strstr(json_string_value(value), "-----BEGIN CERTIFICATE-----")) {
        cf_json_refuse(reader, "ca", "is no PEM certificate");
        return NULL;
    }
    *ca_pem = strdup(json_string_value(value));
    return *ca_pem ? NULL : cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a credentials file");
}

static cf_err *read_texts(cf_json_reader *reader, cf_credentials *credentials) {
    credentials->vault_name = strdup(cf_json_read_text(reader, "vault_name", 1, NAME_MAX_SIZE));
    const char *region = cf_json_read_optional_text(reader, "region", NAME_MAX_SIZE);
    credentials->region = strdup(region ? region : "");
    const char *url = cf_json_read_text(reader, "url", 1, URL_MAX);
    if (!cf_text_starts(url, "https://")) cf_json_refuse(reader, "url", "is not https");
    credentials->url = strdup(url);
    if (!credentials->vault_name || !credentials->region || !credentials->url)
        return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a credentials file");
    return read_ca(reader, &credentials->ca_pem);
}

static cf_err *read_members(json_t *object, const char *name, cf_credentials *credentials) {
    cf_json_reader reader = cf_json_reader_of(object, CF_ERR_CREDENTIALS, name);
    uint8_t secret[CF_CREDENTIALS_SECRET_SIZE];
    credentials->purpose = (cf_purpose)cf_json_read_word(&reader, "purpose", purpose_names, PURPOSES);
    cf_json_read_hex(&reader, "vault_id", credentials->vault_id.bytes, 16);
    credentials->issued = cf_json_read_time(&reader, "issued");
    credentials->expires = cf_json_read_time(&reader, "expires");
    cf_json_read_hex(&reader, "secret", secret, sizeof secret);
    cf_err *failed = read_texts(&reader, credentials);
    if (!failed) failed = cf_secret_from(secret, sizeof secret, &credentials->secret);
    cf_wipe(secret, sizeof secret);
    cf_err *malformed = cf_json_done(&reader);
    if (failed) {
        cf_err_free(malformed);
        return failed;
    }
    cf_err_set_reason(malformed, "tampered");
    return malformed;
}

cf_err *cf_credentials_parse(cf_span text, const char *name, cf_credentials **out) {
    CF_AUTO(json_t) object = NULL;
    CF_TRY(load(text, name, &object));
    CF_TRY(check_frame(object, name));
    CF_AUTO(cf_credentials) credentials = calloc(1, sizeof *credentials);
    if (!credentials) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a credentials file");
    CF_TRY(read_members(object, name, credentials));
    *out = cf_take(credentials);
    return NULL;
}

cf_err *cf_credentials_check(const cf_credentials *credentials, cf_purpose purpose, cf_time now, const char *name) {
    bool fits = credentials->purpose == purpose ||
                (purpose == CF_PURPOSE_RESTORE &&
                 (credentials->purpose == CF_PURPOSE_REGISTER || credentials->purpose == CF_PURPOSE_KIT));
    if (!fits)
        return cf_fail_reason(CF_ERR_CREDENTIALS, "wrong_purpose", "%s is for \"%s\", not for \"%s\"", name,
                              cf_purpose_name(credentials->purpose), cf_purpose_name(purpose));
    char when[40];
    if (cf_time_compare(credentials->expires, now) <= 0) {
        cf_time_format(credentials->expires, when);
        return cf_fail_reason(CF_ERR_CREDENTIALS, "expired", "%s expired on %s", name, when);
    }
    if (credentials->issued.seconds > now.seconds + CLOCK_SLACK_S) {
        cf_time_format(credentials->issued, when);
        return cf_fail_reason(CF_ERR_CREDENTIALS, "clock",
                              "%s was issued on %s, which is in the future: a clock is wrong", name, when);
    }
    return NULL;
}
