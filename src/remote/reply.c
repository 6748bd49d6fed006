/* Describing a request, and reading its reply: the part of calls that needs no network. */
#include <stdarg.h>
#include <stdio.h>

#include "remote/call.h"

void cf_call_init(cf_call *call, const char *method, const char *path, ...) {
    *call = (cf_call){.method = method};
    va_list args;
    va_start(args, path);
    vsnprintf(call->path, sizeof call->path, path, args); /* paths are made of IDs and numbers: they fit */
    va_end(args);
}

/* A JSON null stands for a body that could not be built: no request has such a body. */
void cf_call_body(cf_call *call, json_t *body) {
    call->body = body ? body : json_null();
}

cf_json_reader cf_reply_reader(const json_t *reply, const char *what) {
    return cf_json_reader_of(reply, CF_ERR_BAD_REPLY, what);
}

cf_err *cf_reply_done(cf_json_reader *reader) {
    cf_err *err = cf_json_done(reader);
    cf_err_set_reason(err, "fields");
    return err;
}

void cf_reply_copy(cf_json_reader *reader, const char *member, char *out, size_t size) {
    snprintf(out, size, "%s", cf_json_read_text(reader, member, 0, size - 1));
}

void cf_reply_copy_optional(cf_json_reader *reader, const char *member, char *out, size_t size) {
    const char *text = cf_json_read_optional_text(reader, member, size - 1);
    snprintf(out, size, "%s", text ? text : "");
}
