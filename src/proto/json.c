#include "proto/json.h"

#include <string.h>

#include "base/text.h"

enum { DEPTH_MAX = 64 };

/* Counts brackets outside of strings before jansson sees the text. */
static bool too_deep(cf_span text) {
    int depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < text.size; i++) {
        uint8_t c = text.data[i];
        if (quoted && c == '\\')
            i++;
        else if (c == '"')
            quoted = !quoted;
        else if (!quoted && (c == '{' || c == '[') && ++depth > DEPTH_MAX)
            return true;
        else if (!quoted && (c == '}' || c == ']') && --depth < 0)
            return false; /* malformed: jansson says where */
    }
    return false;
}

cf_err *cf_json_parse(cf_span text, size_t max, cf_code code, const char *what, json_t **value) {
    if (text.size > max) return cf_fail(CF_ERR_TOO_LARGE, "%s has more than %zu bytes", what, max);
    if (too_deep(text)) return cf_fail_reason(code, "json", "%s is nested more than %d levels deep", what, DEPTH_MAX);
    json_error_t error;
    json_t *parsed = json_loadb((const char *)text.data, text.size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (!parsed)
        return cf_fail_reason(code, "json", "%s is not JSON: line %d, column %d: %s", what, error.line, error.column,
                              error.text);
    *value = parsed;
    return NULL;
}

static int append(const char *data, size_t size, void *context) {
    cf_buf *out = context;
    cf_buf_put(out, data, size);
    return out->failed ? -1 : 0;
}

cf_err *cf_json_format(const json_t *value, cf_buf *out) {
    if (!value || json_dump_callback(value, append, out, JSON_COMPACT | JSON_ENCODE_ANY) != 0) {
        CF_TRY(cf_buf_check(out, "a JSON text"));
        return cf_fail(CF_ERR_OUT_OF_MEMORY, "a JSON text");
    }
    return NULL;
}

cf_json_reader cf_json_reader_of(const json_t *value, cf_code code, const char *what) {
    cf_json_reader reader = {value, code, what, NULL};
    if (!json_is_object(value)) reader.err = cf_fail_reason(code, "json", "%s is no JSON object", what);
    return reader;
}

cf_err *cf_json_done(cf_json_reader *reader) {
    return cf_take(reader->err);
}

void cf_json_refuse(cf_json_reader *reader, const char *member, const char *why) {
    if (!reader->err) reader->err = cf_fail_reason(reader->code, "member", "%s: \"%s\" %s", reader->what, member, why);
}

/* NULL when there is none (or an error before). */
static const json_t *find(cf_json_reader *reader, const char *member) {
    if (reader->err) return NULL;
    const json_t *value = json_object_get(reader->object, member);
    return json_is_null(value) ? NULL : value;
}

static const json_t *need(cf_json_reader *reader, const char *member) {
    const json_t *value = find(reader, member);
    if (!value) cf_json_refuse(reader, member, "is missing");
    return value;
}

static const char *text_of(cf_json_reader *reader, const char *member, const json_t *value, size_t min, size_t max) {
    if (!json_is_string(value)) {
        cf_json_refuse(reader, member, "is no text");
        return "";
    }
    size_t size = json_string_length(value);
    if (size < min || size > max) {
        CF_AUTO_FREE char *why = cf_text_format("has %zu bytes, allowed are %zu to %zu", size, min, max);
        cf_json_refuse(reader, member, why ? why : "has a wrong length");
        return "";
    }
    const char *text = json_string_value(value);
    if (!cf_utf8_valid(cf_span_of(text, size))) {
        cf_json_refuse(reader, member, "has control characters");
        return "";
    }
    return text;
}

const char *cf_json_read_text(cf_json_reader *reader, const char *member, size_t min, size_t max) {
    const json_t *value = need(reader, member);
    return value ? text_of(reader, member, value, min, max) : "";
}

const char *cf_json_read_optional_text(cf_json_reader *reader, const char *member, size_t max) {
    const json_t *value = find(reader, member);
    return value ? text_of(reader, member, value, 0, max) : NULL;
}

size_t cf_json_read_word(cf_json_reader *reader, const char *member, const char *const *words, size_t count) {
    const char *text = cf_json_read_text(reader, member, 1, 64);
    for (size_t i = 0; i < count; i++)
        if (strcmp(text, words[i]) == 0) return i;
    cf_json_refuse(reader, member, "is none of the allowed words");
    return 0;
}

static uint64_t number_of(cf_json_reader *reader, const char *member, const json_t *value, uint64_t min, uint64_t max) {
    json_int_t number = json_integer_value(value);
    if (json_is_integer(value) && number >= 0 && (uint64_t)number >= min && (uint64_t)number <= max)
        return (uint64_t)number;
    CF_AUTO_FREE char *why =
        cf_text_format("is no whole number from %llu to %llu", (unsigned long long)min, (unsigned long long)max);
    cf_json_refuse(reader, member, why ? why : "is out of range");
    return 0;
}

uint64_t cf_json_read_number(cf_json_reader *reader, const char *member, uint64_t min, uint64_t max) {
    const json_t *value = need(reader, member);
    return value ? number_of(reader, member, value, min, max) : 0;
}

uint64_t cf_json_read_optional_number(cf_json_reader *reader, const char *member, uint64_t max, uint64_t otherwise) {
    const json_t *value = find(reader, member);
    return value ? number_of(reader, member, value, 0, max) : otherwise;
}

bool cf_json_read_optional_flag(cf_json_reader *reader, const char *member) {
    const json_t *value = find(reader, member);
    if (value && !json_is_boolean(value)) cf_json_refuse(reader, member, "is neither true nor false");
    return json_is_true(value);
}

static bool hex_of(cf_json_reader *reader, const char *member, const json_t *value, void *out, size_t size) {
    memset(out, 0, size);
    if (!value) return false;
    if (json_is_string(value) && json_string_length(value) == 2 * size &&
        cf_hex_decode(json_string_value(value), out, size))
        return true;
    memset(out, 0, size);
    CF_AUTO_FREE char *why = cf_text_format("is not %zu hexadecimal digits", 2 * size);
    cf_json_refuse(reader, member, why ? why : "is not hexadecimal");
    return false;
}

void cf_json_read_hex(cf_json_reader *reader, const char *member, void *out, size_t size) {
    (void)hex_of(reader, member, need(reader, member), out, size); /* the reader keeps the error */
}

bool cf_json_read_optional_hex(cf_json_reader *reader, const char *member, void *out, size_t size) {
    return hex_of(reader, member, find(reader, member), out, size);
}

void cf_json_read_base64(cf_json_reader *reader, const char *member, size_t max, cf_buf *out) {
    const json_t *value = need(reader, member);
    if (!value) return;
    size_t before = out->size;
    if (!json_is_string(value) || json_string_length(value) > 4 * (max / 3 + 1) ||
        !cf_base64_decode(json_string_value(value), json_string_length(value), out) || out->size - before > max)
        cf_json_refuse(reader, member, "is not base64 of the right size");
}

static bool time_of(cf_json_reader *reader, const char *member, const json_t *value, cf_time *out) {
    if (!value) return false;
    if (json_is_string(value) && cf_time_parse(json_string_value(value), out)) return true;
    cf_json_refuse(reader, member, "is no RFC 3339 time");
    return false;
}

cf_time cf_json_read_time(cf_json_reader *reader, const char *member) {
    cf_time time = {0, 0};
    (void)time_of(reader, member, need(reader, member), &time); /* the reader keeps the error */
    return time;
}

bool cf_json_read_optional_time(cf_json_reader *reader, const char *member, cf_time *out) {
    return time_of(reader, member, find(reader, member), out);
}

const json_t *cf_json_read_array(cf_json_reader *reader, const char *member, size_t max) {
    const json_t *value = need(reader, member);
    if (value && !json_is_array(value)) cf_json_refuse(reader, member, "is no array");
    if (value && json_array_size(value) > max) cf_json_refuse(reader, member, "has too many values");
    return reader->err ? NULL : value;
}

const json_t *cf_json_read_optional_value(cf_json_reader *reader, const char *member) {
    return find(reader, member);
}
