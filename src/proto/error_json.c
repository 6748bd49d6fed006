#include "proto/error_json.h"

#include <string.h>

#include "base/text.h"

enum { MESSAGE_MAX = 8192, RETRY_AFTER_MAX_S = 86400 };

static json_t *text_value(const char *text) {
    CF_AUTO_FREE char *clean = cf_utf8_lossy(cf_span_text(text));
    return clean ? json_string(clean) : NULL;
}

static const char *name_of(cf_code code) {
    const cf_catalogue_row *row = cf_catalogue_find(code);
    return row ? row->name : "Unknown";
}

static json_t *sentences(const char *const *list) {
    json_t *array = json_array();
    for (; array && list && *list; list++)
        if (json_array_append_new(array, text_value(*list)) < 0) {
            json_decref(array);
            return NULL;
        }
    return array;
}

/* "130055 KeyUnreadable (missing): message", as the terminal prints it. */
static json_t *chain_sentences(const cf_err *cause) {
    json_t *array = json_array();
    for (; array && cause; cause = cf_err_cause(cause)) {
        const char *reason = cf_err_reason(cause);
        CF_AUTO_FREE char *line =
            cf_text_format("%d %s%s%s%s: %s", (int)cf_err_code(cause), name_of(cf_err_code(cause)), *reason ? " (" : "",
                           reason, *reason ? ")" : "", cf_err_message(cause));
        if (!line || json_array_append_new(array, text_value(line)) < 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

static json_t *chain_objects(const cf_err *cause) {
    json_t *array = json_array();
    for (int depth = 0; array && cause && depth < CF_ERROR_CHAIN_MAX; cause = cf_err_cause(cause), depth++) {
        json_t *item = json_pack("{s:i, s:s, s:o}", "code", (int)cf_err_code(cause), "reason", cf_err_reason(cause),
                                 "message", text_value(cf_err_message(cause)));
        if (json_array_append_new(array, item) < 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

json_t *cf_error_to_json(const cf_err *err) {
    const cf_catalogue_row *row = cf_catalogue_find(cf_err_code(err));
    const cf_err *cause = cf_err_cause(err);
    json_t *causes = cause ? chain_sentences(cause) : sentences(row ? row->causes : NULL);
    json_t *object =
        json_pack("{s:i, s:s, s:s, s:o, s:o, s:o}", "code", (int)cf_err_code(err), "name", name_of(cf_err_code(err)),
                  "reason", cf_err_reason(err), "message", text_value(cf_err_message(err)), "causes", causes, "actions",
                  sentences(row ? row->actions : NULL));
    if (!object) return NULL;
    unsigned retry_after = cf_err_retry_after(err);
    if ((cause && json_object_set_new(object, "chain", chain_objects(cause)) < 0) ||
        (retry_after && json_object_set_new(object, "retry_after", json_integer(retry_after)) < 0)) {
        json_decref(object);
        return NULL;
    }
    return object;
}

json_t *cf_error_document(const cf_err *err) {
    return json_pack("{s:o}", "error", cf_error_to_json(err));
}

/* A text from the other side: short enough, and nothing that could steer a terminal. */
static char *clean_text(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    size_t length = json_is_string(value) ? json_string_length(value) : 0;
    return cf_text_printable(cf_span_of(json_string_value(value), length < MESSAGE_MAX ? length : MESSAGE_MAX));
}

static long code_of(const json_t *object) {
    const json_t *value = json_object_get(object, "code");
    json_int_t code = json_is_integer(value) ? json_integer_value(value) : 0;
    return code > 0 && code < INT32_MAX ? (long)code : 0;
}

/* The code when this version knows it; anything else is "unknown", with the number kept in the message. */
static bool known(long code) {
    return code > 0 && cf_catalogue_find((cf_code)code) != NULL;
}

static cf_err *add_outer(cf_err *cause, const json_t *object) {
    CF_AUTO_FREE char *reason = clean_text(object, "reason");
    CF_AUTO_FREE char *message = clean_text(object, "message");
    long code = code_of(object);
    if (!cause) return cf_fail_parsed(code, reason, message);
    if (known(code)) return cf_wrap_reason(cause, (cf_code)code, reason ? reason : "", "%s", message ? message : "");
    return cf_wrap_reason(cause, CF_ERR_UNKNOWN_REMOTE, reason ? reason : "", "error %ld: %s", code,
                          message ? message : "");
}

cf_err *cf_error_from_json(const json_t *document) {
    const json_t *object = json_object_get(document, "error");
    if (!json_is_object(object) || code_of(object) == 0)
        return cf_fail_reason(CF_ERR_UNKNOWN_REMOTE, "malformed", "the reply carries no error that can be read");
    const json_t *chain = json_object_get(object, "chain");
    size_t depth = json_array_size(chain);
    if (depth > CF_ERROR_CHAIN_MAX) depth = CF_ERROR_CHAIN_MAX;
    cf_err *err = NULL;
    for (size_t i = depth; i-- > 0;)
        if (json_is_object(json_array_get(chain, i))) err = add_outer(err, json_array_get(chain, i));
    err = add_outer(err, object);
    const json_t *retry = json_object_get(object, "retry_after");
    json_int_t seconds = json_is_integer(retry) ? json_integer_value(retry) : 0;
    if (seconds > 0) cf_err_set_retry_after(err, (unsigned)(seconds < RETRY_AFTER_MAX_S ? seconds : RETRY_AFTER_MAX_S));
    return err;
}

json_t *cf_catalogue_to_json(const cf_catalogue_row *row) {
    return json_pack("{s:i, s:s, s:s, s:o, s:o}", "code", (int)row->code, "name", row->name, "meaning", row->meaning,
                     "causes", sentences(row->causes), "actions", sentences(row->actions));
}
