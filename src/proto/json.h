/* Reading JSON strictly and within bounds, on top of jansson: the members of an object, one call each.
 *
 * A cf_json_reader has a sticky error: after the first member that is missing or malformed every read yields
 * an empty value, and cf_json_done returns that error. Members that nobody asks for are ignored, so either
 * side may add some. null counts as "not there" for the optional forms.
 * Threads: one at a time.                                                                              */
#ifndef CF_PROTO_JSON_H
#define CF_PROTO_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"

typedef struct cf_json_reader {
    const json_t *object;
    cf_code code;     /* of the error                    */
    const char *what; /* "the request", for the messages */
    cf_err *err;
} cf_json_reader;

static inline void cf_json_free(json_t *json) {
    json_decref(json);
}
CF_DEFINE_AUTO(json_t, cf_json_free)

/* cf_json_parse: text to a value: UTF-8, no member twice in an object, at most max bytes and 64 levels deep
 * (jansson allows 2048, and code that walks a value recursively must not trust that).
 * Fails: code, reason "json"; TOO_LARGE.                                                               */
cf_err *cf_json_parse(cf_span text, size_t max, cf_code code, const char *what, json_t **value)
    __attribute__((warn_unused_result));
/* cf_json_format: compact text appended to out.                                                        */
cf_err *cf_json_format(const json_t *value, cf_buf *out) __attribute__((warn_unused_result));

/* cf_json_reader_of: begin; value is borrowed until cf_json_done. A value that is no object is an error too.  */
cf_json_reader cf_json_reader_of(const json_t *value, cf_code code, const char *what);
/* cf_json_done: the error, if there was one; NULL otherwise. Must be called.                            */
cf_err *cf_json_done(cf_json_reader *reader) __attribute__((warn_unused_result));
/* cf_json_refuse: make the error (unless there is one already): a member's value does not do.           */
void cf_json_refuse(cf_json_reader *reader, const char *member, const char *why);

/* Texts are borrowed from the value; UTF-8 without control characters, min .. max bytes; "" after an error. */
const char *cf_json_read_text(cf_json_reader *reader, const char *member, size_t min, size_t max);
const char *cf_json_read_optional_text(cf_json_reader *reader, const char *member, size_t max); /* NULL: not there */
/* One of count words; the index of it. */
size_t cf_json_read_word(cf_json_reader *reader, const char *member, const char *const *words, size_t count);
uint64_t cf_json_read_number(cf_json_reader *reader, const char *member, uint64_t min, uint64_t max);
uint64_t cf_json_read_optional_number(cf_json_reader *reader, const char *member, uint64_t max, uint64_t otherwise);
bool cf_json_read_optional_flag(cf_json_reader *reader, const char *member); /* false when not there */
/* Exactly size bytes, in hexadecimal. */
void cf_json_read_hex(cf_json_reader *reader, const char *member, void *out, size_t size);
bool cf_json_read_optional_hex(cf_json_reader *reader, const char *member, void *out, size_t size);
/* Base64, at most max bytes, appended to out. */
void cf_json_read_base64(cf_json_reader *reader, const char *member, size_t max, cf_buf *out);
/* RFC 3339. */
cf_time cf_json_read_time(cf_json_reader *reader, const char *member);
bool cf_json_read_optional_time(cf_json_reader *reader, const char *member, cf_time *out);
/* An array of at most max values; borrowed, NULL after an error. */
const json_t *cf_json_read_array(cf_json_reader *reader, const char *member, size_t max);
/* Any value; NULL when not there. */
const json_t *cf_json_read_optional_value(cf_json_reader *reader, const char *member);

#endif
