#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "cli/catalogue_page.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "proto/error_json.h"

struct explain_options {
    bool all, markdown, man;
};

static const cf_option options[] = {
    CF_OPTION_FLAG(struct explain_options, all, "all", "every code that this version knows"),
    {"markdown", 0, CF_OPTION_KIND_FLAG, offsetof(struct explain_options, markdown), NULL, "docs/errors.md", 0, true},
    {"man", 0, CF_OPTION_KIND_FLAG, offsetof(struct explain_options, man), NULL, "man/coffer-errors.7", 0, true},
    CF_OPTION_END};

/* Names near to what was typed, and numbers that begin like it. */
static cf_err *unknown(const char *text) {
    size_t count;
    const cf_catalogue_row *const *rows = cf_catalogue_rows(&count);
    CF_AUTO_FREE const char **names = calloc(count + 1, sizeof *names);
    if (!names) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for the list of errors");
    for (size_t i = 0; i < count; i++) names[i] = rows[i]->name;
    const char *nearest = cf_text_nearest(text, names, count);
    if (nearest) return cf_fail(CF_ERR_BAD_USAGE, "no error '%s' is known (did you mean %s?)", text, nearest);
    const cf_catalogue_row *close = cf_catalogue_nearest(text);
    if (close)
        return cf_fail(CF_ERR_BAD_USAGE, "no error '%s' is known; the nearest is %d %s", text, (int)close->code,
                       close->name);
    return cf_fail(CF_ERR_BAD_USAGE, "no error '%s' is known; coffer explain --all lists them", text);
}

static cf_err *all_json(void) {
    size_t count;
    const cf_catalogue_row *const *rows = cf_catalogue_rows(&count);
    json_t *list = json_array();
    for (size_t i = 0; list && i < count; i++)
        if (json_array_append_new(list, cf_catalogue_to_json(rows[i])) < 0) {
            json_decref(list);
            list = NULL;
        }
    return cf_output_json(list);
}

static cf_err *all_text(void) {
    static const cf_column columns[] = {{"CODE", CF_COLUMN_RIGHT}, {"NAME", 0}, {"MEANING", CF_COLUMN_CUT}, {NULL, 0}};
    size_t count;
    const cf_catalogue_row *const *rows = cf_catalogue_rows(&count);
    CF_AUTO(cf_table) table = NULL;
    CF_TRY(cf_table_new(columns, &table));
    for (size_t i = 0; i < count; i++) {
        char number[16];
        snprintf(number, sizeof number, "%d", (int)rows[i]->code);
        CF_TRY(cf_table_row(table, (const char *const[]){number, rows[i]->name, rows[i]->meaning}));
    }
    return cf_table_print(table, stdout);
}

static cf_err *run(cf_cli *cli, const void *given, const cf_words *arguments) {
    const struct explain_options *opt = given;
    if (opt->markdown) return cf_catalogue_write_markdown(stdout);
    if (opt->man) return cf_catalogue_write_man(stdout);
    if (opt->all) return cli->json ? all_json() : all_text();
    if (arguments->count == 0) return cf_cli_usage(cli, "explain needs a CODE, or --all");
    const cf_catalogue_row *row = cf_catalogue_lookup(arguments->item[0]);
    if (!row) return unknown(arguments->item[0]);
    if (cli->json) return cf_output_json(cf_catalogue_to_json(row));
    printf("%d %s\n%s\n", (int)row->code, row->name, row->meaning);
    for (size_t i = 0; row->causes[i]; i++) printf("  cause: %s\n", row->causes[i]);
    for (size_t i = 0; row->actions[i]; i++) printf("  do: %s\n", row->actions[i]);
    return NULL;
}

const cf_command cf_cmd_explain = {
    .name = "explain",
    .arguments = "CODE",
    .summary = "what an error code means, and what to do",
    .description =
        "CODE is a number (34513), its hexadecimal form (0x1FC07, 0x80070005) or a name\n(SalLowDiskSpace).\n",
    .examples = "coffer explain 34513\ncoffer explain 0x80070005\ncoffer explain --all\n",
    .options = options,
    .options_size = sizeof(struct explain_options),
    .max_arguments = 1,
    .run = run,
};
