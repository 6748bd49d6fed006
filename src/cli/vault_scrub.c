/* coffer-vault scrub: read everything that is stored, now; or show what is known to be damaged. */
#include <inttypes.h>
#include <stdio.h>

#include "base/text.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "service/scrub.h"

struct scrub_options {
    bool list;
};

static const cf_option scrub_options[] = {
    CF_OPTION_FLAG(struct scrub_options, list, "list", "read nothing: list the damage that is known"), CF_OPTION_END};

typedef struct view {
    cf_cli *cli;
    json_t *list; /* with --json */
    cf_progress progress;
    uint64_t done;
} view;

static const char *where(const cf_damage_row *row, char out[24]) {
    if (row->segment == CF_SEGMENT_DIRECTORY) return "directory";
    snprintf(out, 24, row->segment == CF_DAMAGE_WHOLE ? "-" : "%d", row->segment);
    return out;
}

static json_t *row_value(const cf_damage_row *row) {
    return json_pack("{ss,so,so,sI,ss,ss,so,so}", "object", row->object, "server",
                     row->has_server ? cf_json_hex(row->server.bytes, 16) : json_null(), "segment",
                     row->segment == CF_DAMAGE_WHOLE ? json_null() : json_integer(row->segment), "pack",
                     (json_int_t)row->pack, "reason", row->reason, "state", row->state, "found",
                     cf_json_time((cf_time){row->found, 0}), "changed", cf_json_time((cf_time){row->changed, 0}));
}

static void on_damage(void *context, const cf_damage_row *row) {
    view *shown = context;
    char segment[24];
    shown->cli->warnings = true;
    if (shown->list)
        (void)json_array_append_new(shown->list, row_value(row)); /* the counts are right in any case */
    else if (row->segment == CF_DAMAGE_WHOLE)
        cf_output_note(shown->cli, "damaged (%s): %s", row->reason, row->object);
    else
        cf_output_note(shown->cli, "damaged (%s): segment %s of %s", row->reason, where(row, segment), row->object);
}

static void on_step(void *context, const cf_scrub_report *report, uint64_t total) {
    view *shown = context;
    cf_progress_total(&shown->progress, 0, total);
    cf_progress_add(&shown->progress, 0, report->bytes - shown->done);
    shown->done = report->bytes;
}

static cf_err *print_report(const cf_cli *cli, const cf_scrub_report *report, json_t *list) {
    if (cli->json)
        return cf_output_json(json_pack("{sI,sI,sI,sI,sI,sI,sO}", "objects", (json_int_t)report->objects, "bytes",
                                        (json_int_t)report->bytes, "found", (json_int_t)report->found, "known",
                                        (json_int_t)report->known, "healed", (json_int_t)report->healed, "mended",
                                        (json_int_t)report->mended, "damage", list));
    char size[24];
    cf_text_size(report->bytes, size);
    printf("read %" PRIu64 " objects, %s: ", report->objects, size);
    if (report->found + report->known + report->healed + report->mended == 0)
        printf("everything is as it was stored\n");
    else
        printf("%" PRIu64 " newly damaged, %" PRIu64 " known to be, %" PRIu64 " stored again elsewhere, %" PRIu64
               " right again\n",
               report->found, report->known, report->healed, report->mended);
    return NULL;
}

static cf_err *scrub(cf_cli *cli, cf_vault *vault, view *shown) {
    CF_AUTO(cf_progress_view) line = NULL;
    CF_TRY(cf_progress_show(cli, &shown->progress, &line));
    cf_scrub options = {.vault = vault, .cancel = cli->cancel, .pace = on_step, .damage = on_damage, .context = shown};
    cf_scrub_report report;
    cf_progress_phase(&shown->progress, "scrubbing");
    CF_TRY(cf_scrub_cycle(&options, &report));
    cf_progress_view_free(cf_take(line));
    return print_report(cli, &report, shown->list);
}

static cf_err *list_known(cf_cli *cli, cf_vault *vault, view *shown) {
    static const cf_column columns[] = {
        {"OBJECT", CF_COLUMN_CUT}, {"SEGMENT", CF_COLUMN_RIGHT}, {"REASON", 0}, {"STATE", 0}, {"FOUND", 0}, {NULL, 0}};
    CF_AUTO_FREE cf_damage_row *rows = NULL;
    CF_AUTO(cf_table) table = NULL;
    size_t count = 0;
    CF_TRY(cf_records_list_damage(vault->records, NULL, 0, NULL, &rows, &count));
    CF_TRY(cf_table_new(columns, &table));
    for (size_t i = 0; i < count; i++) {
        char segment[24], found[40];
        if (strcmp(rows[i].state, "open") == 0) cli->warnings = true;
        cf_time_local((cf_time){rows[i].found, 0}, found);
        if (shown->list && json_array_append_new(shown->list, row_value(&rows[i])) != 0)
            return cf_fail(CF_ERR_OUT_OF_MEMORY, "a list");
        if (!shown->list)
            CF_TRY(cf_table_row(table, (const char *const[]){rows[i].object, where(&rows[i], segment), rows[i].reason,
                                                             rows[i].state, found}));
    }
    return cli->json ? cf_output_json(json_incref(shown->list)) : cf_table_print(table, stdout);
}

static cf_err *run(cf_cli *cli, const void *given, const cf_words *arguments) {
    const struct scrub_options *options = given;
    CF_AUTO(cf_vault) vault = NULL;
    view shown = {.cli = cli, .list = cli->json ? json_array() : NULL};
    CF_TRY(cf_vault_open(arguments->item[0], CF_VAULT_LIST, cf_clock_system(), &vault));
    cf_progress_init(&shown.progress);
    cf_err *err = options->list ? list_known(cli, vault, &shown) : scrub(cli, vault, &shown);
    cf_progress_wipe(&shown.progress);
    json_decref(shown.list);
    return err;
}

const cf_command cf_cmd_vault_scrub = {
    .name = "scrub",
    .arguments = "DIR",
    .min_arguments = 1,
    .max_arguments = 1,
    .summary = "read everything that is stored and mark what is damaged",
    .description =
        "The service does so by itself, spread over the setting scrub_days (30). This reads all of it now,\n"
        "beside the service or without it. Damage is marked for good; the next backup of the server that it\n"
        "belongs to stores again what it still has. Exit status 3 when something is damaged.\n",
    .examples = "coffer-vault scrub /srv/coffer\n"
                "coffer-vault scrub /srv/coffer --list\n",
    .options = scrub_options,
    .options_size = sizeof(struct scrub_options),
    .run = run,
};
