#include "cli/output.h"

#include <errno.h>
#include <libsmartcols.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/text.h"
#include "proto/error_json.h"

cf_err *cf_output_json(json_t *document) {
    if (!document) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for the JSON output");
    int failed = json_dumpf(document, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
    json_decref(document);
    if (failed || putchar('\n') == EOF) return cf_fail_errno(CF_ERR_IO, errno, "cannot write to standard output");
    return cf_output_finish();
}

cf_err *cf_output_finish(void) {
    if (fflush(stdout) == 0 && !ferror(stdout)) return NULL;
    return cf_fail_errno(CF_ERR_IO, errno, "cannot write to standard output");
}

void cf_output_error(const cf_cli *cli, const cf_err *err) {
    if (!err) return;
    cf_err_print(stderr, err);
    if (!cli->json) return;
    cf_err *lost = cf_output_json(cf_error_document(err));
    if (lost) cf_err_print(stderr, lost); /* the exit status already says that this failed */
    cf_err_free(lost);
}

void cf_output_warning(const cf_cli *cli, const cf_err *err) {
    if (!err || cli->quiet) return;
    const cf_catalogue_row *row = cf_catalogue_find(cf_err_code(err));
    const char *reason = cf_err_reason(err);
    fprintf(stderr, "warning %d %s%s%s%s: %s\n", (int)cf_err_code(err), row ? row->name : "Unknown",
            *reason ? " (" : "", reason, *reason ? ")" : "", cf_err_message(err));
}

void cf_output_note(const cf_cli *cli, const char *format, ...) {
    if (cli->quiet || cli->json) return;
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

json_t *cf_json_text(cf_span bytes) {
    CF_AUTO_FREE char *clean = cf_utf8_lossy(bytes);
    return clean ? json_string(clean) : NULL;
}

json_t *cf_json_time(cf_time time) {
    char text[40];
    cf_time_format(time, text);
    return json_string(text);
}

json_t *cf_json_hex(const void *id, size_t size) {
    CF_AUTO_FREE char *hex = malloc(CF_HEX_SIZE(size));
    if (!hex) return NULL;
    cf_hex_encode(id, size, hex);
    return json_string(hex);
}

int cf_json_set_path(json_t *object, const char *key, cf_span bytes) {
    CF_AUTO_FREE char *clean = cf_utf8_lossy(bytes);
    if (!clean || json_object_set_new(object, key, json_string(clean)) < 0) return -1;
    if (cf_span_equal(cf_span_text(clean), bytes)) return 0;
    CF_AUTO_FREE char *exact = cf_base64_encode(bytes);
    CF_AUTO_FREE char *exact_key = cf_text_format("%s_b64", key);
    if (!exact || !exact_key) return -1;
    return json_object_set_new(object, exact_key, json_string(exact));
}

void cf_time_local(cf_time time, char out[40]) {
    time_t seconds = (time_t)time.seconds;
    struct tm parts;
    if (!localtime_r(&seconds, &parts) || strftime(out, 40, "%Y-%m-%d %H:%M:%S", &parts) == 0)
        cf_time_format(time, out); /* a year beyond what struct tm holds */
}

void cf_duration_text(uint64_t seconds, char out[32]) {
    unsigned long long s = seconds;
    if (s < 60)
        snprintf(out, 32, "%llu s", s);
    else if (s < 3600)
        snprintf(out, 32, "%llu min %02llu s", s / 60, s % 60);
    else if (s < 48 * 3600)
        snprintf(out, 32, "%llu h %02llu min", s / 3600, s / 60 % 60);
    else
        snprintf(out, 32, "%llu d %llu h", s / 86400, s / 3600 % 24);
}

/* libsmartcols knows widths, wide characters and the terminal. */
struct cf_table {
    struct libscols_table *lines;
    size_t columns;
};

static cf_err *no_memory(void) {
    return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a table");
}

cf_err *cf_table_new(const cf_column *columns, cf_table **out) {
    CF_AUTO(cf_table) table = calloc(1, sizeof *table);
    if (!table || !(table->lines = scols_new_table())) return no_memory();
    for (; columns->name; columns++, table->columns++) {
        int flags = (columns->flags & CF_COLUMN_RIGHT ? SCOLS_FL_RIGHT : 0) |
                    (columns->flags & CF_COLUMN_CUT ? SCOLS_FL_TRUNC : 0);
        if (!scols_table_new_column(table->lines, columns->name, 0, flags)) return no_memory();
    }
    *out = cf_take(table);
    return NULL;
}

cf_err *cf_table_row(cf_table *table, const char *const *cells) {
    struct libscols_line *line = scols_table_new_line(table->lines, NULL);
    if (!line) return no_memory();
    for (size_t i = 0; i < table->columns; i++) {
        /* The library itself writes control characters and bad UTF-8 as \xNN. */
        if (scols_line_set_data(line, i, cells[i] ? cells[i] : "") < 0) return no_memory();
    }
    return NULL;
}

cf_err *cf_table_print(cf_table *table, FILE *out) {
    if (scols_table_set_stream(table->lines, out) < 0 || scols_print_table(table->lines) < 0)
        return cf_fail_errno(CF_ERR_IO, errno, "cannot print a table");
    return NULL;
}

void cf_table_free(cf_table *table) {
    if (!table) return;
    scols_unref_table(table->lines);
    free(table);
}
