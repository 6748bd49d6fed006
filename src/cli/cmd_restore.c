/* coffer restore: get files back. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/reading.h"
#include "restore/extra.h"
#include "restore/preflight.h"
#include "restore/restore.h"

enum { DAMAGED_LISTED = 10000 };

struct restore_options {
    cf_server_options server;
    const char *to, *on_conflict;
    bool in_place, strip, delete_extra, yes, dry_run, no_acl, numeric_ids, best_effort, ignore_space;
};

static const cf_option options[] = {
    CF_OPTION_TEXT(struct restore_options, to, "to", "DIR", "restore below DIR, each file under its whole path"),
    CF_OPTION_FLAG(struct restore_options, in_place, "in-place", "restore to where the files were"),
    CF_OPTION_FLAG(struct restore_options, strip, "strip",
                   "with --to: leave the path of what was backed up (or of PATH) off"),
    CF_OPTION_CHOICE(struct restore_options, on_conflict, "on-conflict", "copy|overwrite|skip",
                     "what to do where something else stands (copy: beside it, as '... Copy of NAME')"),
    CF_OPTION_FLAG(struct restore_options, delete_extra, "delete-extra",
                   "afterwards remove what the restored folders have and the point has not"),
    CF_OPTION_FLAG(struct restore_options, yes, "yes", "with --delete-extra: do not ask"),
    CF_OPTION_FLAG(struct restore_options, dry_run, "dry-run", "say what would be done, and do nothing"),
    CF_OPTION_FLAG(struct restore_options, no_acl, "no-acl", "leave owners, permissions and ACLs out"),
    CF_OPTION_FLAG(struct restore_options, numeric_ids, "numeric-ids", "owners by number, not by name"),
    CF_OPTION_FLAG(struct restore_options, best_effort, "best-effort-damaged",
                   "write what can be read of a damaged file to NAME.damaged, with zeroes in place of the rest"),
    CF_OPTION_FLAG(struct restore_options, ignore_space, "ignore-space",
                   "begin even when the destination seems too small (it compresses, or grows)"),
    CF_OPTIONS_SERVER(struct restore_options, server),
    CF_OPTION_END};

struct shown {
    cf_reading *reading;
    cf_job *job;
    json_t *damaged; /* paths */
    uint64_t deleted;
};

static void on_warning(void *context, cf_span path, const cf_err *err) {
    struct shown *shown = context;
    cf_reading_event(shown->reading, shown->job, "warning", path, err);
}

static void on_damaged(void *context, cf_span path, const cf_err *err) {
    struct shown *shown = context;
    cf_reading_event(shown->reading, shown->job, "damaged", path, err);
    if (json_array_size(shown->damaged) < DAMAGED_LISTED)
        (void)json_array_append_new(shown->damaged, cf_json_text(path)); /* the event named it already */
}

static const char *action_word(cf_restore_action action) {
    switch (action) {
    case CF_RESTORE_CREATE:
        return "create";
    case CF_RESTORE_REPLACE:
        return "replace";
    case CF_RESTORE_COPY:
        return "copy";
    case CF_RESTORE_SKIP:
        return "skip";
    case CF_RESTORE_SAME:
        return "same";
    }
    return "";
}

static void on_planned(void *context, cf_span path, cf_restore_action action, uint64_t size) {
    struct shown *shown = context;
    if (!shown->reading->cli->json) {
        CF_AUTO_FREE char *printable = cf_text_printable(path);
        char text[24];
        cf_text_size(size, text);
        printf("%-8s %10s  %s\n", action_word(action), text, printable ? printable : "?");
        return;
    }
    json_t *object =
        json_pack("{s:s, s:s, s:I}", "type", "planned", "action", action_word(action), "size", (json_int_t)size);
    if (object && cf_json_set_path(object, "path", path) < 0) {
        json_decref(object);
        object = NULL;
    }
    cf_err *err = cf_output_json(object);
    cf_err_free(err); /* the end of the command checks stdout again */
}

/* ---- What is extra ---- */

static void on_deleted(void *context, cf_span path) {
    struct shown *shown = context;
    if (!shown->reading->cli->json) return; /* it was listed before */
    json_t *object = json_pack("{s:s}", "type", "deleted");
    if (object && cf_json_set_path(object, "path", path) < 0) {
        json_decref(object);
        object = NULL;
    }
    cf_err *err = cf_output_json(object);
    cf_err_free(err); /* the end of the command checks stdout again */
}

static cf_err *list_extras(const cf_cli *cli, const cf_extras *extras) {
    CF_AUTO_BUF cf_buf path;
    cf_buf_init(&path, 16u << 20);
    if (cli->quiet && !cli->json) return NULL;
    for (size_t i = 0; i < cf_extras_count(extras); i++) {
        cf_file_type type;
        CF_TRY(cf_extras_path(extras, i, &path, &type));
        const char *end = type == CF_TYPE_DIRECTORY ? "/" : "";
        if (!cli->json) {
            CF_AUTO_FREE char *printable = cf_text_printable(cf_buf_span(&path));
            printf("%-8s %10s  %s%s\n", "delete", "", printable ? printable : "?", end);
            continue;
        }
        json_t *object = json_pack("{s:s, s:s}", "type", "planned", "action", "delete");
        if (object && cf_json_set_path(object, "path", cf_buf_span(&path)) < 0) {
            json_decref(object);
            object = NULL;
        }
        CF_TRY(cf_output_json(object));
    }
    return cli->json ? NULL : cf_output_finish();
}

/* A script that may remove things says --yes; only somebody at a terminal is asked. */
static bool may_ask(const cf_cli *cli) {
    return !cli->json && !cli->quiet && isatty(STDIN_FILENO);
}

static cf_err *confirm(const cf_cli *cli, size_t count) {
    char answer[16] = "";
    if (count == 0 || !may_ask(cli)) return NULL;
    fprintf(stderr,
            "The restore will be followed by removing what is listed above (%zu, folders with all below\n"
            "them). Continue? [y/N] ",
            count);
    if (!fgets(answer, sizeof answer, stdin) || (strcmp(answer, "y\n") != 0 && strcmp(answer, "yes\n") != 0))
        return cf_fail(CF_ERR_CANCELLED, "nothing was restored and nothing removed");
    return NULL;
}

static cf_err *find_extras(cf_reading *reading, const cf_point *point, const cf_restore_options *what, bool ask,
                           cf_extras **extras) {
    const cf_home *home = &reading->agent.home;
    const char *const own[] = {home->etc, home->state, home->scratch};
    CF_TRY(cf_extras_find(reading->reader, point, what, own, sizeof own / sizeof *own, extras));
    CF_TRY(list_extras(reading->cli, *extras));
    return ask ? confirm(reading->cli, cf_extras_count(*extras)) : NULL;
}

/* ---- The command ---- */

static cf_err *summary(cf_reading *reading, const cf_id16 *job, const cf_point *point, const cf_restore_result *result,
                       const char *status, const struct shown *shown, double seconds) {
    if (reading->cli->json)
        return cf_output_json(json_pack(
            "{s:s, s:o, s:o, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:O, s:I, s:I, s:I, s:f}", "type", "summary",
            "job_id", job ? cf_json_hex(job->bytes, 16) : json_null(), "point_id", cf_json_hex(point->id.bytes, 32),
            "status", status, "files", (json_int_t)result->files, "directories", (json_int_t)result->directories,
            "others", (json_int_t)result->others, "bytes", (json_int_t)result->bytes, "bytes_fetched",
            (json_int_t)result->bytes_fetched, "skipped", (json_int_t)result->skipped, "identical",
            (json_int_t)result->identical, "deleted", (json_int_t)shown->deleted, "damaged", shown->damaged,
            "damaged_count", (json_int_t)result->damaged, "partial", (json_int_t)result->partial, "warnings",
            (json_int_t)(result->warnings + result->damaged), "seconds", seconds));
    if (reading->cli->quiet) return NULL;
    char bytes[24], fetched[24];
    cf_text_size(result->bytes, bytes);
    cf_text_size(result->bytes_fetched, fetched);
    printf("%s %llu files (%s), %llu folders, %llu others; %s fetched in %.1f s\n", job ? "restored" : "would restore",
           (unsigned long long)result->files, bytes, (unsigned long long)result->directories,
           (unsigned long long)result->others, fetched, seconds);
    if (result->identical) printf("  %llu files were there already\n", (unsigned long long)result->identical);
    if (result->skipped) printf("  %llu left out\n", (unsigned long long)result->skipped);
    if (shown->deleted)
        printf("  %llu extra %s\n", (unsigned long long)shown->deleted, job ? "removed" : "would be removed");
    if (result->damaged) printf("  %llu could not be read back: see above\n", (unsigned long long)result->damaged);
    if (result->partial)
        printf("  %llu of those: what could be read is in NAME.damaged\n", (unsigned long long)result->partial);
    return NULL;
}

/* Restore, and remove what is extra once everything stands there. */
static cf_err *restore_all(struct shown *shown, const cf_point *point, const cf_restore_options *what,
                           cf_extras *extras, cf_restore_result *result) {
    if (extras) cf_extras_report(extras, what);
    cf_err *err = cf_restore(shown->reading->reader, point, what, result);
    if (extras && what->dry_run) shown->deleted = cf_extras_count(extras);
    if (extras && !what->dry_run && !err) err = cf_extras_remove(extras, what, on_deleted, &shown->deleted);
    if (extras) result->warnings += cf_extras_warnings(extras);
    return err;
}

/* What is missing, and how to go on: whoever reads the job later knows it too. Takes err. */
static cf_err *say_missing(cf_err *err, const cf_point *point, const cf_restore_options *what,
                           const cf_restore_result *result) {
    if (!err || what->dry_run) return err;
    char bytes[24];
    cf_text_size(result->bytes, bytes);
    if (what->pattern_count) /* how many were meant is not known before the whole tree was gone through */
        return cf_note(err,
                       "%llu files (%s) were restored and are whole; the rest is missing: run the same restore again",
                       (unsigned long long)result->files, bytes);
    uint64_t all = point->root.totals.files, done = result->files + result->skipped;
    return cf_note(err,
                   "%llu of %llu files (%s) were restored and are whole, %llu are missing: run the same restore again",
                   (unsigned long long)result->files, (unsigned long long)all, bytes,
                   (unsigned long long)(all > done ? all - done : 0));
}

static cf_err *run_job(struct shown *shown, const cf_point *point, cf_restore_options *what, cf_extras *extras) {
    cf_reading *reading = shown->reading;
    cf_reading_job job = {0};
    cf_restore_result result = {0};
    if (!what->dry_run) {
        CF_TRY(cf_reading_job_start(reading, "restore", point, &job));
        shown->job = job.job;
        what->progress = &job.progress;
    }
    cf_id16 id = {{0}};
    if (job.job) id = *cf_job_id(job.job);
    cf_err *err = say_missing(restore_all(shown, point, what, extras, &result), point, what, &result);
    const char *status = "planned";
    double seconds = 0;
    if (!what->dry_run) err = cf_reading_job_end(&job, err, &status, &seconds);
    if (result.warnings || result.damaged) reading->cli->warnings = true;
    return err ? err : summary(reading, what->dry_run ? NULL : &id, point, &result, status, shown, seconds);
}

/* ---- The destination, before the first byte ---- */

static cf_err *preflight(cf_reading *reading, const cf_point *point, const cf_restore_options *what,
                         bool ignore_space) {
    cf_preflight found;
    cf_err *err = cf_restore_preflight(reading->reader, point, what, &found);
    if (cf_err_code(err) == CF_ERR_RESTORE_NO_SPACE && (ignore_space || what->dry_run)) {
        cf_output_warning(reading->cli, err);
        reading->cli->warnings = true;
        cf_err_free(err);
        err = NULL;
    }
    if (err) return err;
    const struct {
        bool missing;
        const char *what;
    } lacks[] = {{found.no_xattrs, "extended attributes"},
                 {found.no_acls && !what->no_acl, "ACLs"},
                 {found.no_holes, "holes in sparse files"},
                 {found.no_owners && !what->no_acl, "owners"}};
    for (size_t i = 0; i < sizeof lacks / sizeof *lacks; i++)
        if (lacks[i].missing)
            cf_output_note(reading->cli, "the file system of %s does not keep %s", what->to, lacks[i].what);
    return NULL;
}

static cf_err *restore_point(cf_reading *reading, const cf_point *point, cf_restore_options *what,
                             const struct restore_options *opt) {
    struct shown shown = {.reading = reading, .damaged = json_array()};
    CF_AUTO(cf_extras) extras = NULL;
    if (!shown.damaged) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for the list of damaged files");
    what->context = &shown;
    cf_err *err = preflight(reading, point, what, opt->ignore_space);
    if (!err && opt->delete_extra) err = find_extras(reading, point, what, !opt->yes && !opt->dry_run, &extras);
    if (!err) err = run_job(&shown, point, what, extras);
    json_decref(shown.damaged);
    return err;
}

static cf_err *check_delete(cf_cli *cli, const struct restore_options *opt) {
    if (opt->yes && !opt->delete_extra) return cf_cli_usage(cli, "--yes goes with --delete-extra");
    if (!opt->delete_extra) return NULL;
    if (!opt->on_conflict || strcmp(opt->on_conflict, "overwrite") != 0)
        return cf_cli_usage(cli, "--delete-extra makes a folder what it was, so it needs --on-conflict overwrite");
    if (!opt->yes && !opt->dry_run && !may_ask(cli))
        return cf_cli_usage(cli, "--delete-extra removes files and there is nobody to ask: look at the list with "
                                 "--dry-run, then add --yes");
    return NULL;
}

static cf_err *check(cf_cli *cli, const struct restore_options *opt) {
    if (!opt->to == !opt->in_place) return cf_cli_usage(cli, "restore needs a place: --to DIR, or --in-place");
    if (opt->strip && !opt->to) return cf_cli_usage(cli, "--strip goes with --to DIR");
    return check_delete(cli, opt);
}

static cf_conflict conflict_of(const char *word) {
    if (word && strcmp(word, "overwrite") == 0) return CF_CONFLICT_OVERWRITE;
    if (word && strcmp(word, "skip") == 0) return CF_CONFLICT_SKIP;
    return CF_CONFLICT_COPY;
}

static cf_err *run(cf_cli *cli, const void *given, const cf_words *arguments) {
    const struct restore_options *opt = given;
    CF_TRY(check(cli, opt));
    CF_AUTO_READING cf_reading reading = {0};
    CF_AUTO(cf_point) point = NULL;
    CF_AUTO_FREE cf_span *patterns = calloc(arguments->count, sizeof *patterns);
    if (!patterns) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for the patterns");
    for (size_t i = 1; i < arguments->count; i++) patterns[i - 1] = cf_span_text(arguments->item[i]);
    CF_TRY(cf_reading_open(cli, &opt->server, CF_RETRY_JOB_MS, &reading));
    cf_reading_use_index(&reading);
    CF_TRY(cf_reading_point(&reading, arguments->item[0], &point));
    cf_restore_options what = {.patterns = patterns,
                               .pattern_count = arguments->count - 1,
                               .to = opt->to,
                               .strip = opt->strip,
                               .conflict = conflict_of(opt->on_conflict),
                               .dry_run = opt->dry_run,
                               .no_acl = opt->no_acl,
                               .numeric_ids = opt->numeric_ids,
                               .best_effort = opt->best_effort,
                               .cancel = cli->cancel,
                               .warning = on_warning,
                               .damaged = on_damaged,
                               .planned = on_planned};
    return restore_point(&reading, point, &what, opt);
}

const cf_command cf_cmd_restore = {
    .name = "restore",
    .arguments = "POINT [PATTERN...]",
    .summary = "get files back",
    .description =
        "POINT is an ID or its beginning, a date (2026-11-20, 2026-11-20T21:00: the newest not after it), or latest.\n"
        "PATTERN is a path (/etc/nginx), a pattern of a path (/etc/*.conf; ** also matches '/'), or of a name\n"
        "at any depth (*.conf). None: everything.\n"
        "Files that are there already with the same content are not fetched again: to go on after an\n"
        "interruption, run the same command again.\n"
        "--delete-extra rolls whole folders back: what they have and the point has not is listed first, and removed\n"
        "when everything is restored. Beside single files, above what was backed up, in folders whose record\n"
        "is damaged and on other file systems nothing is removed. It needs --on-conflict overwrite.\n",
    .examples = "coffer restore latest --to /tmp/back\n"
                "coffer restore latest /etc/nginx --in-place --on-conflict overwrite\n"
                "coffer restore 2026-11-20 /srv/www --in-place --on-conflict overwrite --delete-extra --dry-run\n"
                "coffer restore 2026-11-20 '*.conf' --to /tmp/back\n"
                "coffer restore latest --to /srv/new --strip --server web1 --credentials F --passphrase-file P\n",
    .options = options,
    .options_size = sizeof(struct restore_options),
    .min_arguments = 1,
    .max_arguments = CF_ANY_COUNT,
    .run = run,
};
