/* The one error type of Coffer.
 *
 * A fallible function returns cf_err *: NULL means done. Results are out parameters, last in the list and
 * written only on success. An expected answer ("no such chunk") is a value, not an error.
 *
 * cf_fail makes an error, cf_wrap translates one at a module's edge (the old one becomes its cause),
 * cf_note adds context on the way up. Making an error cannot fail: without memory a static
 * CF_ERR_OUT_OF_MEMORY is returned instead. An error is printed once, by the program.
 *
 * Ownership: the caller owns a returned error and ends it with cf_err_free (or CF_AUTO(cf_err)).
 * Threads: an error belongs to one thread at a time.                                                  */
#ifndef CF_BASE_ERR_H
#define CF_BASE_ERR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/auto.h"

/* One number for each kind of failure; numbers below 900000 keep the meaning that they have in the
 * system Coffer replaces. The rows stand in catalogue/ *.def.                                         */
typedef enum cf_code {
    CF_OK = 0,
#define CF_ERROR(number, symbol, name, flags, meaning, causes, actions) CF_ERR_##symbol = (number),
#include "base/catalogue/all.def"
#undef CF_ERROR
} cf_code;

/* What the catalogue knows about a code (flags of a row). */
enum {
    CF_F_NONE = 0,
    CF_F_RETRY = 1,   /* passing trouble: the same call may succeed later                              */
    CF_F_WARNING = 2, /* about one object of many: the job goes on and ends "with warnings"            */
    CF_F_USAGE = 4,   /* the caller's words are wrong: exit status 2                                   */
    CF_F_BUSY = 8,    /* refused because a job is running: exit status 4                               */
    CF_F_DAMAGE = 16, /* stored data is damaged or missing                                             */
};

/* A row of the catalogue. causes and actions are NULL-terminated, most likely first. */
typedef struct cf_catalogue_row {
    cf_code code;
    unsigned flags;
    const char *symbol;  /* SESSION_LOST                    */
    const char *name;    /* SessionLost: what people read   */
    const char *meaning; /* one sentence                    */
    const char *const *causes;
    const char *const *actions;
} cf_catalogue_row;

/* cf_catalogue_find: the row of a code; NULL when there is none.                                      */
const cf_catalogue_row *cf_catalogue_find(cf_code code);
/* cf_catalogue_rows: all rows in ascending order of code; *count is set.                              */
const cf_catalogue_row *const *cf_catalogue_rows(size_t *count);
/* cf_catalogue_lookup: by number ("34513"), hexadecimal form ("0x1FC07") or name, in any case.
 * NULL when nothing matches.                                                                          */
const cf_catalogue_row *cf_catalogue_lookup(const char *text);

typedef struct cf_err cf_err;

/* cf_fail: a new error. The message names the object ("pack 17 of server x: ...").                    */
cf_err *cf_fail(cf_code code, const char *format, ...) __attribute__((format(printf, 2, 3), warn_unused_result));
/* cf_fail_reason: the same with a reason: a short, stable, lower-case word that scripts can test
 * ("expired"); copied, at most 47 characters of it.                                                   */
cf_err *cf_fail_reason(cf_code code, const char *reason, const char *format, ...)
    __attribute__((format(printf, 3, 4), warn_unused_result));
/* cf_fail_errno: the same, with the system's own word for err_no added to the message.                */
cf_err *cf_fail_errno(cf_code code, int err_no, const char *format, ...)
    __attribute__((format(printf, 3, 4), warn_unused_result));
/* cf_wrap: a new error whose cause is err (taken). err may be NULL: then it is cf_fail.               */
cf_err *cf_wrap(cf_err *err, cf_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4), warn_unused_result));
/* cf_wrap_reason: the same with a reason.                                                             */
cf_err *cf_wrap_reason(cf_err *err, cf_code code, const char *reason, const char *format, ...)
    __attribute__((format(printf, 4, 5), warn_unused_result));
/* cf_fail_parsed: an error that came in a message from the other side: reason is copied.
 * An unknown code becomes CF_ERR_UNKNOWN_REMOTE with the number in its message.                       */
cf_err *cf_fail_parsed(long code, const char *reason, const char *message) __attribute__((warn_unused_result));
/* cf_note: put "what: " in front of err's message; returns err. NULL stays NULL.                      */
cf_err *cf_note(cf_err *err, const char *format, ...) __attribute__((format(printf, 2, 3), warn_unused_result));
/* cf_err_set_reason, cf_err_set_retry_after: add what was learned later. No-ops on NULL.              */
void cf_err_set_reason(cf_err *err, const char *reason);
void cf_err_set_retry_after(cf_err *err, unsigned seconds);

cf_code cf_err_code(const cf_err *err);       /* CF_OK for NULL                                   */
const char *cf_err_reason(const cf_err *err); /* "" when it has none                              */
const char *cf_err_message(const cf_err *err);
int cf_err_errno(const cf_err *err);               /* the system's number, 0 when there is none; looks
                                                      through the causes                               */
unsigned cf_err_retry_after(const cf_err *err);    /* seconds the other side asked for; 0: none        */
const cf_err *cf_err_cause(const cf_err *err);     /* borrowed; NULL at the end of the chain           */
bool cf_err_has(const cf_err *err, unsigned flag); /* does the row of its code carry this flag?        */
/* cf_err_is: does err, or an error that caused it, have this code?                                    */
bool cf_err_is(const cf_err *err, cf_code code);
/* cf_err_print: "error N Name (reason): message", "  cause: ..." lines, "  do: ..." lines.            */
void cf_err_print(FILE *out, const cf_err *err);
void cf_err_free(cf_err *err); /* NULL-safe */
CF_DEFINE_AUTO(cf_err, cf_err_free)

/* CF_TRY(call): return the call's error to our caller at once. */
#define CF_TRY(call)                         \
    do {                                     \
        cf_err *cf_try_err_ = (call);        \
        if (cf_try_err_) return cf_try_err_; \
    } while (0)

#endif
