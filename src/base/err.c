#include "base/err.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

enum { REASON_MAX = 48 };

struct cf_err {
    cf_code code;
    int err_no;
    unsigned retry_after_s;
    char reason[REASON_MAX];
    char *message; /* NULL: no memory for it */
    cf_err *cause;
};

/* Returned when there is no memory to describe a failure; never freed, never written to. */
static cf_err no_memory = {.code = CF_ERR_OUT_OF_MEMORY, .message = NULL};

/* The likeliest cause of a row; of a row with reasons, the one that is written "reason: cause", if there is one. */
static const char *likely_cause(const cf_err *err, const cf_catalogue_row *row) {
    if (!err->reason[0]) return row->causes[0];
    size_t length = strlen(err->reason);
    for (size_t i = 0; row->causes[i]; i++)
        if (strncmp(row->causes[i], err->reason, length) == 0 && row->causes[i][length] == ':')
            return row->causes[i] + length + 2;
    return NULL;
}

static cf_err *make(cf_err *cause, cf_code code, int err_no, const char *reason, const char *format, va_list args)
    __attribute__((format(printf, 5, 0)));

static cf_err *make(cf_err *cause, cf_code code, int err_no, const char *reason, const char *format, va_list args) {
    cf_err *err = calloc(1, sizeof *err);
    if (!err) {
        cf_err_free(cause);
        return &no_memory;
    }
    err->code = code;
    err->err_no = err_no;
    err->cause = cause;
    if (reason) snprintf(err->reason, sizeof err->reason, "%s", reason);
    err->message = cf_text_vformat(format, args);
    if (err_no && err->message) {
        char *longer = cf_text_format("%s: %s", err->message, strerror(err_no));
        if (longer) {
            free(err->message);
            err->message = longer;
        }
    }
    return err;
}

cf_err *cf_fail(cf_code code, const char *format, ...) {
    va_list args;
    va_start(args, format);
    cf_err *err = make(NULL, code, 0, NULL, format, args);
    va_end(args);
    return err;
}

cf_err *cf_fail_reason(cf_code code, const char *reason, const char *format, ...) {
    va_list args;
    va_start(args, format);
    cf_err *err = make(NULL, code, 0, reason, format, args);
    va_end(args);
    return err;
}

cf_err *cf_fail_errno(cf_code code, int err_no, const char *format, ...) {
    va_list args;
    va_start(args, format);
    cf_err *err = make(NULL, code, err_no, NULL, format, args);
    va_end(args);
    return err;
}

cf_err *cf_wrap(cf_err *cause, cf_code code, const char *format, ...) {
    va_list args;
    va_start(args, format);
    cf_err *err = make(cause, code, 0, NULL, format, args);
    va_end(args);
    return err;
}

cf_err *cf_wrap_reason(cf_err *cause, cf_code code, const char *reason, const char *format, ...) {
    va_list args;
    va_start(args, format);
    cf_err *err = make(cause, code, 0, reason, format, args);
    va_end(args);
    return err;
}

cf_err *cf_fail_parsed(long code, const char *reason, const char *message) {
    if (code > 0 && code <= INT32_MAX && cf_catalogue_find((cf_code)code))
        return cf_fail_reason((cf_code)code, reason ? reason : "", "%s", message ? message : "");
    return cf_fail_reason(CF_ERR_UNKNOWN_REMOTE, reason ? reason : "", "error %ld: %s", code, message ? message : "");
}

cf_err *cf_note(cf_err *err, const char *format, ...) {
    if (!err || err == &no_memory) return err;
    va_list args;
    va_start(args, format);
    char *prefix = cf_text_vformat(format, args);
    va_end(args);
    char *longer = prefix ? cf_text_format("%s: %s", prefix, err->message ? err->message : "") : NULL;
    free(prefix);
    if (longer) {
        free(err->message);
        err->message = longer;
    }
    return err;
}

void cf_err_set_reason(cf_err *err, const char *reason) {
    if (err && err != &no_memory) snprintf(err->reason, sizeof err->reason, "%s", reason);
}

void cf_err_set_retry_after(cf_err *err, unsigned seconds) {
    if (err && err != &no_memory) err->retry_after_s = seconds;
}

cf_code cf_err_code(const cf_err *err) {
    return err ? err->code : CF_OK;
}

const char *cf_err_reason(const cf_err *err) {
    return err ? err->reason : "";
}

const char *cf_err_message(const cf_err *err) {
    if (!err) return "";
    return err->message ? err->message : "out of memory";
}

int cf_err_errno(const cf_err *err) {
    for (; err; err = err->cause)
        if (err->err_no) return err->err_no;
    return 0;
}

unsigned cf_err_retry_after(const cf_err *err) {
    for (; err; err = err->cause)
        if (err->retry_after_s) return err->retry_after_s;
    return 0;
}

const cf_err *cf_err_cause(const cf_err *err) {
    return err ? err->cause : NULL;
}

bool cf_err_has(const cf_err *err, unsigned flag) {
    const cf_catalogue_row *row = err ? cf_catalogue_find(err->code) : NULL;
    return row && (row->flags & flag) != 0;
}

bool cf_err_is(const cf_err *err, cf_code code) {
    for (; err; err = err->cause)
        if (err->code == code) return true;
    return false;
}

void cf_err_print(FILE *out, const cf_err *err) {
    if (!err) return;
    const cf_catalogue_row *row = cf_catalogue_find(err->code);
    fprintf(out, "error %d %s", (int)err->code, row ? row->name : "Unknown");
    if (err->reason[0]) fprintf(out, " (%s)", err->reason);
    fprintf(out, ": %s\n", cf_err_message(err));
    for (const cf_err *cause = err->cause; cause; cause = cause->cause) {
        const cf_catalogue_row *below = cf_catalogue_find(cause->code);
        fprintf(out, "  cause: %d %s%s%s%s: %s\n", (int)cause->code, below ? below->name : "Unknown",
                cause->reason[0] ? " (" : "", cause->reason, cause->reason[0] ? ")" : "", cf_err_message(cause));
    }
    const char *likely = !err->cause && row ? likely_cause(err, row) : NULL;
    if (likely) fprintf(out, "  cause: usually %s\n", likely);
    for (size_t i = 0; row && row->actions[i]; i++) fprintf(out, "  do: %s\n", row->actions[i]);
}

void cf_err_free(cf_err *err) {
    while (err && err != &no_memory) {
        cf_err *cause = err->cause;
        free(err->message);
        free(err);
        err = cause;
    }
}
