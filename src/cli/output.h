/* What commands print. With --json: documents on stdout, one line each. Otherwise text on stdout. Messages
 * and progress always go to stderr. stdout is checked when the program ends.
 * Threads: one.                                                                                        */
#ifndef CF_CLI_OUTPUT_H
#define CF_CLI_OUTPUT_H

#include <jansson.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/clock.h"
#include "cli/cli.h"

/* cf_output_json: print a document (taken, also on failure) as one line on stdout and flush it.
 * document == NULL means that building it ran out of memory. Fails: OUT_OF_MEMORY, IO.                 */
cf_err *cf_output_json(json_t *document) __attribute__((warn_unused_result));
/* cf_output_error: the error for the caller: text on stderr, with --json also the object on stdout.   */
void cf_output_error(const cf_cli *cli, const cf_err *err);
/* cf_output_warning: "warning N Name: message" on stderr; nothing with --quiet.                       */
void cf_output_warning(const cf_cli *cli, const cf_err *err);
/* cf_output_note: a line for people on stderr; nothing with --quiet or --json.                        */
void cf_output_note(const cf_cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* cf_output_finish: flush stdout. Fails: IO when something that was printed did not get out.          */
cf_err *cf_output_finish(void) __attribute__((warn_unused_result));

/* JSON values. All return a new reference, NULL only without memory (json_pack and
 * json_object_set_new then fail in turn, and cf_output_json reports it).                              */
json_t *cf_json_text(cf_span bytes); /* lossy where it is not UTF-8                        */
json_t *cf_json_time(cf_time time);  /* RFC 3339 UTC                                       */
json_t *cf_json_hex(const void *id, size_t size);
/* cf_json_set_path: object[key] = bytes, lossy; and exactly in object[key_b64] when that loses something
 * (key "path" gives "path_b64"). 0 or -1 as jansson does.                                             */
int cf_json_set_path(json_t *object, const char *key, cf_span bytes);

/* cf_time_local: "2026-11-20 22:34:21" in local time, for people.                                     */
void cf_time_local(cf_time time, char out[40]);
/* cf_duration_text: "3 h 12 min", "4 min 05 s", "7 s".                                                */
void cf_duration_text(uint64_t seconds, char out[32]);

/* A table for people: columns as wide as needed, cut to the terminal only where it is one.            */
typedef struct cf_table cf_table;
enum { CF_COLUMN_RIGHT = 1, CF_COLUMN_CUT = 2 /* may be shortened */ };
typedef struct cf_column {
    const char *name;
    unsigned flags;
} cf_column;
/* cf_table_new: columns end with {NULL, 0}.                                                           */
cf_err *cf_table_new(const cf_column *columns, cf_table **table) __attribute__((warn_unused_result));
/* cf_table_row: one text per column (copied); control characters are made visible.                    */
cf_err *cf_table_row(cf_table *table, const char *const *cells) __attribute__((warn_unused_result));
cf_err *cf_table_print(cf_table *table, FILE *out) __attribute__((warn_unused_result));
void cf_table_free(cf_table *table);
CF_DEFINE_AUTO(cf_table, cf_table_free)

#endif
