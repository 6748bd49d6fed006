/* coffer diff: what is different between two recovery points. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/reading.h"
#include "repo/tree_diff.h"

struct diff_options {
    cf_server_options server;
};

static const cf_option options[] = {CF_OPTIONS_SERVER(struct diff_options, server), CF_OPTION_END};

struct output {
    const cf_cli *cli;
    bool any, damaged;
    uint64_t added, removed, changed;
};

static json_t *size_json(const cf_entry *entry) {
    return entry && entry->meta.type == CF_TYPE_FILE ? json_integer((json_int_t)entry->meta.size) : json_null();
}

static cf_err *print_json(struct output *out, cf_span path, const char *change, const cf_entry *before,
                          const cf_entry *after) {
    json_t *object = json_pack("{s:s, s:s, s:o, s:o}", "change", change, "type",
                               cf_reading_type_word((after ? after : before)->meta.type), "size_before",
                               size_json(before), "size_after", size_json(after));
    if (object && cf_json_set_path(object, "path", path) < 0) {
        json_decref(object);
        object = NULL;
    }
    if (!object) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for the differences");
    if (out->any) fputs(",\n", stdout);
    int failed = json_dumpf(object, stdout, JSON_COMPACT);
    json_decref(object);
    return failed ? cf_fail(CF_ERR_IO, "cannot write to standard output") : NULL;
}

static void print_text(cf_span path, const cf_entry *before, const cf_entry *after) {
    char old[24] = "", new[24] = "";
    if (before && before->meta.type == CF_TYPE_FILE) cf_text_size(before->meta.size, old);
    if (after && after->meta.type == CF_TYPE_FILE) cf_text_size(after->meta.size, new);
    bool folder = (after ? after : before)->meta.type == CF_TYPE_DIRECTORY;
    CF_AUTO_FREE char *name = cf_text_printable(path);
    printf("%c %10s %2s %10s  %s%s\n",
           !before  ? '+'
           : !after ? '-'
                    : 'M',
           old, *old && *new ? "->" : "", new, name ? name : "?", folder ? "/" : "");
}

static cf_err *on_change(void *context, cf_span path, const cf_entry *before, const cf_entry *after) {
    struct output *out = context;
    const char *change = !before ? "added" : !after ? "removed" : "changed";
    ++*(!before ? &out->added : !after ? &out->removed : &out->changed);
    cf_err *err = NULL;
    if (out->cli->json)
        err = print_json(out, path, change, before, after);
    else
        print_text(path, before, after);
    out->any = true;
    return err;
}

static void on_damaged(void *context, cf_span path, bool before, cf_err *err) {
    struct output *out = context;
    out->damaged = true;
    CF_AUTO_FREE char *printable = cf_text_printable(path);
    CF_AUTO(cf_err)
    owned = cf_note(err, "%s, in the %s point", printable ? printable : "?", before ? "first" : "second");
    cf_output_warning(out->cli, owned);
}

static cf_err *compare(cf_reading *reading, const cf_point *before, const cf_point *after) {
    CF_AUTO(cf_lane) lane = NULL;
    CF_TRY(cf_lane_new(reading->reader, &lane));
    struct output out = {.cli = reading->cli};
    cf_diff_visitor visitor = {
        .change = on_change, .damaged = on_damaged, .context = &out, .cancel = reading->cli->cancel};
    cf_tree_side sides[] = {{lane, before->map, &before->root.tree}, {lane, after->map, &after->root.tree}};
    if (reading->cli->json) putchar('[');
    CF_TRY(cf_tree_diff(&sides[0], &sides[1], &visitor));
    if (out.damaged) reading->cli->warnings = true;
    if (reading->cli->json)
        puts("]");
    else
        cf_output_note(reading->cli, "%llu added, %llu removed, %llu changed", (unsigned long long)out.added,
                       (unsigned long long)out.removed, (unsigned long long)out.changed);
    return NULL;
}

static cf_err *run(cf_cli *cli, const void *given, const cf_words *arguments) {
    const struct diff_options *opt = given;
    CF_AUTO_READING cf_reading reading = {0};
    CF_AUTO(cf_point) before = NULL;
    CF_AUTO(cf_point) after = NULL;
    CF_TRY(cf_reading_open(cli, &opt->server, CF_RETRY_PERSON_MS, &reading));
    cf_reading_use_trees(&reading);
    CF_TRY(cf_reading_point(&reading, arguments->item[0], &before));
    CF_TRY(cf_reading_point(&reading, arguments->item[1], &after));
    return compare(&reading, before, after);
}

const cf_command cf_cmd_diff = {
    .name = "diff",
    .arguments = "POINT POINT",
    .summary = "what was added, removed or changed between two recovery points",
    .description =
        "POINT: as for restore; the older one first. A folder is listed when its mode, owner or attributes changed,\n"
        "not for the time that each new name in it sets. Reads only what differs. Ends with 0 whatever it finds.\n",
    .examples = "coffer diff 2026-11-19 latest\ncoffer diff 3f2a 77b0 --json\n",
    .options = options,
    .options_size = sizeof(struct diff_options),
    .min_arguments = 2,
    .max_arguments = 2,
    .run = run,
};
