/* coffer find: where a name is, in one recovery point or through all of them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/text.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/reading.h"
#include "repo/tree_diff.h"
#include "repo/tree_walk.h"
#include "restore/select.h"

struct find_options {
    cf_server_options server;
    const char *point, *newer, *older;
    uint64_t larger, smaller;
};

static const cf_option options[] = {
    CF_OPTION_TEXT(struct find_options, point, "point", "POINT", "only in this recovery point"),
    CF_OPTION_SIZE(struct find_options, larger, "larger", "SIZE", 0, "files of more than this"),
    CF_OPTION_SIZE(struct find_options, smaller, "smaller", "SIZE", UINT64_MAX, "files of less than this"),
    CF_OPTION_TEXT(struct find_options, newer, "newer", "DATE",
                   "changed at or after DATE: 2026-11-20, 2026-11-20T21:00"),
    CF_OPTION_TEXT(struct find_options, older, "older", "DATE", "changed before DATE"),
    CF_OPTIONS_SERVER(struct find_options, server),
    CF_OPTION_END};

/* What is looked for, and where. */
struct search {
    const cf_cli *cli;
    const char *glob;
    char *glob_path; /* for patterns with a slash: the same for whole paths; else NULL */
    uint64_t larger, smaller;
    int64_t newer, older; /* INT64_MIN, INT64_MAX: not given */
    char point_hex[CF_HEX_SIZE(32)];
    cf_time point_time;
    bool any, damaged;
};

static bool parse_date(const char *text, int64_t *seconds) {
    static const char *const forms[] = {"%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S",
                                        "%Y-%m-%d %H:%M:%S"};
    cf_time time;
    if (cf_time_parse(text, &time)) {
        *seconds = time.seconds;
        return true;
    }
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        struct tm tm = {0};
        const char *rest = strptime(text, forms[i], &tm);
        tm.tm_isdst = -1; /* local time, as the calendar of that day has it */
        if (!rest || *rest) continue;
        *seconds = (int64_t)mktime(&tm);
        return true;
    }
    return false;
}

static bool name_matches(const struct search *search, cf_span path, cf_span name) {
    if (search->glob_path) return cf_select_glob(cf_span_text(search->glob_path), path);
    return cf_select_glob(cf_span_text(search->glob), name);
}

static bool matches(const struct search *search, cf_span path, const cf_entry *entry) {
    const cf_meta *meta = &entry->meta;
    bool by_size = search->larger > 0 || search->smaller < UINT64_MAX;
    if (by_size && (meta->type != CF_TYPE_FILE || meta->size >= search->smaller)) return false;
    if (search->larger && meta->size <= search->larger) return false;
    if (meta->mtime.seconds < search->newer || meta->mtime.seconds >= search->older) return false;
    return name_matches(search, path, entry->name);
}

static cf_err *print_json(struct search *search, cf_span path, const cf_entry *entry, const char *change) {
    json_t *object = json_pack("{s:s, s:s, s:I, s:o, s:s, s:o}", "point_id", search->point_hex, "type",
                               cf_reading_type_word(entry->meta.type), "size", (json_int_t)entry->meta.size, "mtime",
                               cf_reading_time_json(entry->meta.mtime), "change", change ? change : "", "point_time",
                               cf_json_time(search->point_time));
    int failed = object ? cf_json_set_path(object, "path", path) : -1;
    if (!failed && !change) failed = json_object_set_new(object, "change", json_null());
    if (!failed && search->any) fputs(",\n", stdout);
    bool built = !failed;
    if (built) failed = json_dumpf(object, stdout, JSON_COMPACT);
    json_decref(object);
    if (!failed) return NULL;
    return built ? cf_fail(CF_ERR_IO, "cannot write to standard output")
                 : cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for what was found");
}

static void print_text(const struct search *search, cf_span path, const cf_entry *entry, const char *change) {
    char size[24] = "", changed[40], point[40];
    const cf_meta *meta = &entry->meta;
    if (meta->type == CF_TYPE_FILE) cf_text_size(meta->size, size);
    cf_time_local(meta->mtime, changed);
    cf_time_local(search->point_time, point);
    CF_AUTO_FREE char *name = cf_text_printable(path);
    if (change)
        printf("%.12s %.16s  %-8s %10s  %.16s  %s%s\n", search->point_hex, point, change, size, changed,
               name ? name : "?", meta->type == CF_TYPE_DIRECTORY ? "/" : "");
    else
        printf("%10s  %.16s  %s%s\n", size, changed, name ? name : "?", meta->type == CF_TYPE_DIRECTORY ? "/" : "");
}

static cf_err *found(struct search *search, cf_span path, const cf_entry *entry, const char *change) {
    cf_err *err = NULL;
    if (search->cli->json)
        err = print_json(search, path, entry, change);
    else
        print_text(search, path, entry, change);
    search->any = true;
    return err;
}

static cf_err *on_change(void *context, cf_span path, const cf_entry *before, const cf_entry *after) {
    struct search *search = context;
    const cf_entry *entry = after ? after : before;
    if (!matches(search, path, entry)) return NULL;
    return found(search, path, entry, !before ? "appeared" : after ? "changed" : "gone");
}

static cf_err *on_entry(void *context, cf_span path, const cf_entry *entry, bool *enter) {
    (void)enter;
    struct search *search = context;
    return matches(search, path, entry) ? found(search, path, entry, NULL) : NULL;
}

static void warn(struct search *search, cf_span path, cf_err *err) {
    CF_AUTO_FREE char *printable = cf_text_printable(path);
    CF_AUTO(cf_err) owned = cf_note(err, "%s, in point %.12s", printable ? printable : "?", search->point_hex);
    search->damaged = true;
    cf_output_warning(search->cli, owned);
}

static void on_damaged(void *context, cf_span path, cf_err *err) {
    warn(context, path, err);
}

/* The older side's damage was told when it was the newer one. */
static void on_damaged_side(void *context, cf_span path, bool before, cf_err *err) {
    if (before)
        cf_err_free(err);
    else
        warn(context, path, err);
}

static void name_point(struct search *search, const cf_point *point) {
    cf_hex_encode(point->id.bytes, 32, search->point_hex);
    search->point_time = point->root.time;
}

/* ---- One point ---- */

static cf_err *find_in(cf_reading *reading, struct search *search, const char *name) {
    CF_AUTO(cf_point) point = NULL;
    CF_AUTO(cf_lane) lane = NULL;
    CF_TRY(cf_reading_point(reading, name, &point));
    CF_TRY(cf_lane_new(reading->reader, &lane));
    name_point(search, point);
    cf_tree_visitor visitor = {
        .entry = on_entry, .damaged = on_damaged, .context = search, .cancel = reading->cli->cancel};
    return cf_tree_walk(lane, point->map, &point->root.tree, cf_span_text("/"), &visitor);
}

/* ---- All points ---- */

/* Points are compared within their selection: another one's point does not say that a file is gone. */
typedef struct row_group {
    bool usable, done;
    bool policy;
    cf_id16 selection; /* not of the policy's, whose selection may change */
} row_group;

static bool same_group(const row_group *a, const row_group *b) {
    return a->usable && b->usable && a->policy == b->policy &&
           (a->policy || cf_id16_equal(&a->selection, &b->selection));
}

/* A damaged point is told, and left out: *point is NULL then. */
static cf_err *open_point(cf_reading *reading, struct search *search, size_t index, bool listed, cf_point **point) {
    const cf_point_row *row = &reading->rows[index];
    cf_err *err = listed ? cf_reader_point_listed(reading->reader, row, point)
                         : cf_reader_point_open(reading->reader, &row->id, point);
    if (!err || !cf_err_has(err, CF_F_DAMAGE)) return err;
    cf_output_warning(reading->cli, err);
    cf_err_free(err);
    search->damaged = true;
    *point = NULL;
    return NULL;
}

static cf_err *sort_out(cf_reading *reading, struct search *search, row_group *groups) {
    for (size_t i = 0; i < reading->row_count; i++) {
        CF_AUTO(cf_point) point = NULL;
        CF_TRY(cf_cancel_check(reading->cli->cancel));
        groups[i].policy = reading->rows[i].summary.selection == CF_SELECTION_POLICY;
        groups[i].usable = groups[i].policy;
        if (groups[i].policy) continue;
        CF_TRY(open_point(reading, search, i, false, &point));
        groups[i].usable = point != NULL;
        if (point) groups[i].selection = point->root.selection_id;
    }
    return NULL;
}

static cf_err *compare(cf_reading *reading, struct search *search, const cf_point *before, const cf_point *after) {
    CF_AUTO(cf_lane) lane = NULL;
    CF_TRY(cf_lane_new(reading->reader, &lane));
    cf_tree_side sides[] = {{lane, before ? before->map : NULL, before ? &before->root.tree : NULL},
                            {lane, after->map, &after->root.tree}};
    cf_diff_visitor visitor = {
        .change = on_change, .damaged = on_damaged_side, .context = search, .cancel = reading->cli->cancel};
    name_point(search, after);
    return cf_tree_diff(&sides[0], &sides[1], &visitor);
}

static cf_err *follow_group(cf_reading *reading, struct search *search, row_group *groups, size_t first) {
    CF_AUTO(cf_point) before = NULL;
    for (size_t i = first; i < reading->row_count; i++) {
        CF_AUTO(cf_point) point = NULL;
        if (groups[i].done || !same_group(&groups[first], &groups[i])) continue;
        CF_TRY(cf_cancel_check(reading->cli->cancel));
        CF_TRY(open_point(reading, search, i, true, &point));
        groups[i].done = true;
        if (!point) continue;
        CF_TRY(compare(reading, search, before, point));
        cf_point_close(before);
        before = cf_take(point);
    }
    return NULL;
}

static cf_err *find_through(cf_reading *reading, struct search *search) {
    CF_AUTO_FREE row_group *groups = calloc(reading->row_count + 1, sizeof *groups);
    if (!groups) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for %zu recovery points", reading->row_count);
    CF_TRY(sort_out(reading, search, groups));
    for (size_t i = 0; i < reading->row_count; i++)
        if (groups[i].usable && !groups[i].done) CF_TRY(follow_group(reading, search, groups, i));
    return NULL;
}

/* ---- The command ---- */

static cf_err *prepare(const cf_cli *cli, const struct find_options *opt, const char *glob, struct search *search) {
    *search = (struct search){.cli = cli,
                              .glob = glob,
                              .larger = opt->larger,
                              .smaller = opt->smaller,
                              .newer = INT64_MIN,
                              .older = INT64_MAX};
    if (!*glob) return cf_cli_usage(cli, "GLOB is empty");
    if (opt->newer && !parse_date(opt->newer, &search->newer))
        return cf_cli_usage(cli, "--newer '%s': write a date, 2026-11-20 or 2026-11-20T21:00", opt->newer);
    if (opt->older && !parse_date(opt->older, &search->older))
        return cf_cli_usage(cli, "--older '%s': write a date, 2026-11-20 or 2026-11-20T21:00", opt->older);
    if (!strchr(glob, '/')) return NULL;
    search->glob_path = cf_text_format("%s%s", *glob == '/' ? "" : "**/", glob);
    return search->glob_path ? NULL : cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a pattern");
}

static cf_err *run(cf_cli *cli, const void *given, const cf_words *arguments) {
    const struct find_options *opt = given;
    CF_AUTO_READING cf_reading reading = {0};
    struct search search;
    cf_err *err = prepare(cli, opt, arguments->item[0], &search);
    if (!err) err = cf_reading_open(cli, &opt->server, CF_RETRY_PERSON_MS, &reading);
    if (!err) {
        cf_reading_use_trees(&reading);
        if (cli->json) putchar('[');
        err = opt->point ? find_in(&reading, &search, opt->point) : find_through(&reading, &search);
        if (!err && cli->json) puts("]");
    }
    if (search.damaged) cli->warnings = true;
    free(search.glob_path);
    return err;
}

const cf_command cf_cmd_find = {
    .name = "find",
    .arguments = "GLOB",
    .summary = "find names through all recovery points: when they appeared, changed and went",
    .description =
        "GLOB: a name with *, ? and [...]; with a slash, the end of a path, or all of it when it begins with one (** goes\n"
        "across folders). Points are compared with the one before of the same selection, and only what differs is\n"
        "read. With --point everything that matches in it is listed.\n",
    .examples = "coffer find 'report*.odt'\ncoffer find '/etc/**/*.conf' --point latest\n"
                "coffer find '*' --larger 1GiB --newer 2026-11-01\n",
    .options = options,
    .options_size = sizeof(struct find_options),
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run,
};
