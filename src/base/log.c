#include "base/log.h"

#include <stdarg.h>

#include "base/text.h"

/* Set once by main before threads start; stdio locks the stream itself. */
static FILE *out_stream;
static cf_log_level most_level = CF_LOG_WARNING;

static const char *const level_names[] = {"error", "warning", "info", "debug"};

void cf_log_setup(FILE *out, cf_log_level most) {
    out_stream = out;
    most_level = most;
}

void cf_log(cf_log_level level, const char *format, ...) {
    if (level > most_level) return;
    va_list args;
    va_start(args, format);
    CF_AUTO_FREE char *line = cf_text_vformat(format, args);
    va_end(args);
    CF_AUTO_FREE char *clean = line ? cf_text_printable(cf_span_text(line)) : NULL;
    fprintf(out_stream ? out_stream : stderr, "%s: %s\n", level_names[level], clean ? clean : "(no memory)");
}

void cf_log_error(cf_log_level level, const cf_err *err) {
    for (const char *lead = ""; err; err = cf_err_cause(err), lead = "  cause: ") {
        const cf_catalogue_row *row = cf_catalogue_find(cf_err_code(err));
        const char *reason = cf_err_reason(err);
        cf_log(level, "%s%d %s%s%s%s: %s", lead, (int)cf_err_code(err), row ? row->name : "Unknown",
               reason[0] ? " (" : "", reason, reason[0] ? ")" : "", cf_err_message(err));
    }
}
