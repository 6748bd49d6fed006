/* coffer ls: what a recovery point holds. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/reading.h"
#include "repo/tree_walk.h"

struct ls_options {
    cf_server_options server;
    bool recursive;
};

static const cf_option options[] = {{"recursive", 'R', CF_OPTION_KIND_FLAG, offsetof(struct ls_options, recursive),
                                     NULL, "all that is below, too", 0, false},
                                    CF_OPTIONS_SERVER(struct ls_options, server),
                                    CF_OPTION_END};

struct listing {
    const cf_cli *cli;
    bool recursive, any;
};

static json_t *device_json(const cf_meta *meta) {
    if (meta->type != CF_TYPE_CHARACTER && meta->type != CF_TYPE_BLOCK) return json_null();
    return json_sprintf("%u:%u", meta->device_major, meta->device_minor);
}

static json_t *entry_json(cf_span path, const cf_entry *entry) {
    const cf_meta *meta = &entry->meta;
    char mode[8];
    snprintf(mode, sizeof mode, "%04o", meta->mode);
    json_t *object = json_pack("{s:s, s:I, s:o, s:s, s:I, s:I, s:I, s:o}", "type", cf_reading_type_word(meta->type),
                               "size", (json_int_t)meta->size, "mtime", cf_reading_time_json(meta->mtime), "mode", mode,
                               "uid", (json_int_t)meta->uid, "gid", (json_int_t)meta->gid, "nlink",
                               (json_int_t)(meta->nlink ? meta->nlink : 1), "rdev", device_json(meta));
    int failed = object ? cf_json_set_path(object, "path", path) : -1;
    if (!failed && meta->type == CF_TYPE_SYMLINK) failed = cf_json_set_path(object, "target", meta->target);
    if (!failed && meta->type != CF_TYPE_SYMLINK) failed = json_object_set_new(object, "target", json_null());
    if (!failed && entry->not_read) failed = json_object_set_new(object, "not_read", json_integer(entry->code));
    if (!failed) return object;
    json_decref(object);
    return NULL;
}

static void print_text(cf_span path, const cf_entry *entry) {
    static const char letters[] = "?-dlpcbs";
    const cf_meta *meta = &entry->meta;
    char mode[11] = "?rwxrwxrwx", size[24], time[40], owner[80];
    mode[0] = letters[meta->type];
    for (unsigned bit = 0; bit < 9; bit++)
        if (!(meta->mode >> (8 - bit) & 1)) mode[1 + bit] = '-';
    if (meta->mode & 04000) mode[3] = mode[3] == 'x' ? 's' : 'S';
    if (meta->mode & 02000) mode[6] = mode[6] == 'x' ? 's' : 'S';
    if (meta->mode & 01000) mode[9] = mode[9] == 'x' ? 't' : 'T';
    cf_text_size(meta->size, size);
    cf_time_local(meta->mtime, time);
    CF_AUTO_FREE char *user = cf_text_printable(meta->user), *group = cf_text_printable(meta->group);
    CF_AUTO_FREE char *name = cf_text_printable(path), *target = cf_text_printable(meta->target);
    char uid[12], gid[12];
    snprintf(uid, sizeof uid, "%u", meta->uid);
    snprintf(gid, sizeof gid, "%u", meta->gid);
    snprintf(owner, sizeof owner, "%.30s %.30s", user && *user ? user : uid, group && *group ? group : gid);
    printf("%s %-16s %10s  %s  %s%s%s%s\n", mode, owner, meta->type == CF_TYPE_FILE ? size : "", time,
           name ? name : "?", target && *target ? " -> " : "", target ? target : "",
           entry->not_read ? "  (not backed up)" : "");
}

static cf_err *show(struct listing *listing, cf_span path, const cf_entry *entry) {
    if (!listing->cli->json) {
        print_text(path, entry);
        return NULL;
    }
    json_t *object = entry_json(path, entry);
    if (!object) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for the listing");
    if (listing->any) fputs(",\n", stdout);
    listing->any = true;
    int failed = json_dumpf(object, stdout, JSON_COMPACT);
    json_decref(object);
    return failed ? cf_fail(CF_ERR_IO, "cannot write to standard output") : NULL;
}

static cf_err *on_entry(void *context, cf_span path, const cf_entry *entry, bool *enter) {
    struct listing *listing = context;
    *enter = listing->recursive;
    return show(listing, path, entry);
}

static void on_damaged(void *context, cf_span path, cf_err *err) {
    const struct listing *listing = context;
    CF_AUTO_FREE char *printable = cf_text_printable(path);
    CF_AUTO(cf_err) owned = cf_note(err, "%s", printable ? printable : "?");
    cf_output_warning(listing->cli, owned);
}

static cf_err *list(cf_reading *reading, const cf_point *point, const char *path, bool recursive) {
    CF_AUTO(cf_lane) lane = NULL;
    CF_TRY(cf_lane_new(reading->reader, &lane));
    cf_entry_copy copy = {0};
    bool found;
    cf_span text = cf_span_text(path);
    while (text.size > 1 && text.data[text.size - 1] == '/') text.size--;
    cf_err *err = cf_tree_lookup(lane, point->map, &point->root.tree, text, &copy, &found);
    if (!err && !found) err = cf_fail(CF_ERR_NOT_IN_POINT, "%s", path);
    struct listing listing = {.cli = reading->cli, .recursive = recursive};
    cf_tree_visitor visitor = {
        .entry = on_entry, .damaged = on_damaged, .context = &listing, .cancel = reading->cli->cancel};
    if (!err && reading->cli->json) putchar('[');
    if (!err && copy.entry.meta.type == CF_TYPE_DIRECTORY && !copy.entry.not_read)
        err = cf_tree_walk(lane, point->map, &copy.entry.node, text, &visitor);
    else if (!err)
        err = show(&listing, text, &copy.entry);
    if (!err && reading->cli->json) puts("]");
    cf_entry_copy_wipe(&copy);
    return err;
}

static cf_err *run(cf_cli *cli, const void *given, const cf_words *arguments) {
    const struct ls_options *opt = given;
    CF_AUTO_READING cf_reading reading = {0};
    CF_AUTO(cf_point) point = NULL;
    const char *path = arguments->count > 1 ? arguments->item[1] : "/";
    if (path[0] != '/') return cf_cli_usage(cli, "%s: PATH begins with '/', as in the recovery point", path);
    CF_TRY(cf_reading_open(cli, &opt->server, CF_RETRY_PERSON_MS, &reading));
    cf_reading_use_index(&reading);
    cf_reading_use_trees(&reading);
    CF_TRY(cf_reading_point(&reading, arguments->item[0], &point));
    return list(&reading, point, path, opt->recursive);
}

const cf_command cf_cmd_ls = {
    .name = "ls",
    .arguments = "POINT [PATH]",
    .summary = "list what a recovery point holds",
    .description = "POINT: as for restore. PATH: a folder or file, '/' when not given.\n",
    .examples = "coffer ls latest /etc\ncoffer ls 2026-11-20 / -R\ncoffer ls latest /etc --json\n",
    .options = options,
    .options_size = sizeof(struct ls_options),
    .min_arguments = 1,
    .max_arguments = 2,
    .run = run,
};
