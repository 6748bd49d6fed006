/* coffer drill: prove before the bad day that files come back: restore a random sample, compare it, delete it. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "cli/commands.h"
#include "cli/drill.h"
#include "cli/output.h"
#include "cli/reading.h"
#include "os/dir.h"
#include "os/file.h"
#include "restore/restore.h"
#include "restore/sample.h"

enum { FILES_DEFAULT = 200 };
#define FOLDER "drill-"
#define BYTES_DEFAULT ((uint64_t)256 << 20)

struct drill_options {
    uint64_t files, bytes;
};

static const cf_option options[] = {
    CF_OPTION_NUMBER(struct drill_options, files, "files", "N", FILES_DEFAULT, "at most so many files (200)"),
    CF_OPTION_SIZE(struct drill_options, bytes, "bytes", "SIZE", BYTES_DEFAULT, "at most so much data (256M)"),
    CF_OPTION_END};

struct shown {
    cf_reading *reading;
    cf_job *job;
};

static void on_trouble(void *context, cf_span path, const cf_err *err) {
    struct shown *shown = context;
    cf_reading_event(shown->reading, shown->job, "warning", path, err);
}

static void on_damaged(void *context, cf_span path, const cf_err *err) {
    struct shown *shown = context;
    cf_reading_event(shown->reading, shown->job, "damaged", path, err);
}

/* Restored, and then read again from the disk: the second look must find every file's content there, chunk by chunk. */
static cf_err *restore_and_compare(struct shown *shown, const cf_point *point, const cf_sample *sample,
                                   const char *folder, cf_progress *progress, cf_drill_result *result) {
    cf_restore_options what = {.patterns = sample->patterns,
                               .pattern_count = sample->count,
                               .to = folder,
                               .conflict = CF_CONFLICT_SKIP,
                               .no_acl = true,
                               .cancel = shown->reading->cli->cancel,
                               .progress = progress,
                               .warning = on_trouble,
                               .damaged = on_damaged,
                               .context = shown};
    cf_restore_result restored = {0}, compared = {0};
    CF_TRY(cf_restore(shown->reading->reader, point, &what, &restored));
    what.dry_run = true;
    what.progress = NULL;
    CF_TRY(cf_restore(shown->reading->reader, point, &what, &compared));
    result->files = compared.identical;
    result->bytes = restored.bytes;
    result->bytes_fetched = restored.bytes_fetched;
    result->failed = sample->count - (compared.identical < sample->count ? compared.identical : sample->count);
    return NULL;
}

static cf_err *drill(struct shown *shown, const cf_point *point, const struct drill_options *opt, cf_progress *progress,
                     cf_drill_result *result) {
    cf_reading *reading = shown->reading;
    CF_AUTO_SAMPLE cf_sample sample = {0};
    char id[CF_HEX_SIZE(16)];
    cf_hex_encode(cf_job_id(shown->job)->bytes, 16, id);
    CF_AUTO_FREE char *folder = cf_text_format("%s/" FOLDER "%s", reading->agent.home.scratch, id);
    if (!folder) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a path");
    CF_TRY(cf_sample_draw(reading->reader, point, (size_t)opt->files, opt->bytes, reading->cli->cancel, &sample));
    result->chosen = sample.count;
    result->files_total = sample.files_total;
    if (sample.count == 0) return NULL;
    CF_TRY(cf_dir_make(AT_FDCWD, folder, 0700));
    cf_err *err = restore_and_compare(shown, point, &sample, folder, progress, result);
    cf_err *removed = cf_dir_remove_tree(AT_FDCWD, folder);
    if (!err) return removed;
    cf_err_free(removed); /* the next drill removes what is left */
    return err;
}

/* Does a drill still run that uses the folder? */
static cf_err *in_use(cf_state *state, const char *job, bool *running) {
    cf_job_row row = {0};
    *running = false;
    cf_err *err = cf_jobs_find(state, job, &row);
    if (cf_err_code(err) == CF_ERR_JOB_NOT_FOUND) {
        cf_err_free(err);
        return NULL;
    }
    CF_TRY(err);
    *running = strcmp(row.status, "running") == 0;
    cf_job_row_wipe(&row);
    return NULL;
}

/* Of drills that were killed. */
static cf_err *remove_leftovers(const cf_agent *agent) {
    CF_AUTO(cf_dir) dir = NULL;
    CF_AUTO_FD int fd = open(agent->home.scratch, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return NULL; /* the drill itself says why it cannot be used */
    CF_TRY(cf_jobs_sweep(agent->state, NULL));
    CF_TRY(cf_dir_new(&dir));
    CF_TRY(cf_dir_start(dir, fd, agent->home.scratch));
    for (bool more = true;;) {
        cf_dir_entry entry;
        bool running = false;
        CF_TRY(cf_dir_next(dir, &entry, &more));
        if (!more) return NULL;
        if (!cf_text_starts(entry.name, FOLDER)) continue;
        CF_TRY(in_use(agent->state, entry.name + sizeof FOLDER - 1, &running));
        if (!running) CF_TRY(cf_dir_remove_tree(fd, entry.name));
    }
}

static cf_err *show(cf_reading *reading, const cf_id16 *job, const cf_point *point, const cf_drill_result *result,
                    const char *status, double seconds) {
    if (reading->cli->json)
        return cf_output_json(
            json_pack("{s:s, s:o, s:o, s:s, s:I, s:I, s:I, s:I, s:I, s:f}", "type", "summary", "job_id",
                      cf_json_hex(job->bytes, 16), "point_id", cf_json_hex(point->id.bytes, 32), "status", status,
                      "files", (json_int_t)result->files, "files_total", (json_int_t)result->files_total, "bytes",
                      (json_int_t)result->bytes, "bytes_fetched", (json_int_t)result->bytes_fetched, "failed",
                      (json_int_t)result->failed, "seconds", seconds));
    if (reading->cli->quiet) return NULL;
    char bytes[24];
    cf_text_size(result->bytes, bytes);
    printf("%llu of %llu files (%s) were restored, compared and removed again in %.1f s",
           (unsigned long long)result->files, (unsigned long long)result->files_total, bytes, seconds);
    if (result->failed)
        printf("; %llu did not come back: see above\n", (unsigned long long)result->failed);
    else
        printf(": all good\n");
    return NULL;
}

static cf_err *run_job(cf_reading *reading, const cf_point *point, const struct drill_options *opt) {
    struct shown shown = {.reading = reading};
    cf_reading_job job = {0};
    cf_drill_result result = {.point = point->id};
    CF_TRY(remove_leftovers(&reading->agent));
    CF_TRY(cf_reading_job_start(reading, "drill", point, &job));
    shown.job = job.job;
    cf_id16 id = *cf_job_id(job.job);
    cf_err *err = drill(&shown, point, opt, &job.progress, &result);
    const char *status;
    double seconds;
    err = cf_reading_job_end(&job, err, &status, &seconds);
    if (!err) err = cf_drill_remember(reading->agent.state, &result);
    if (result.failed) reading->cli->warnings = true;
    return err ? err : show(reading, &id, point, &result, status, seconds);
}

static cf_err *run(cf_cli *cli, const void *given, const cf_words *arguments) {
    const struct drill_options *opt = given;
    if (opt->files < 1 || opt->files > CF_SAMPLE_FILES_MAX)
        return cf_cli_usage(cli, "--files: from 1 to %d", CF_SAMPLE_FILES_MAX);
    if (opt->bytes < 1) return cf_cli_usage(cli, "--bytes: more than nothing is expected");
    CF_AUTO_READING cf_reading reading = {0};
    CF_AUTO(cf_point) point = NULL;
    cf_server_options own = {0};
    CF_TRY(cf_reading_open(cli, &own, CF_RETRY_JOB_MS, &reading));
    CF_TRY(cf_reading_point(&reading, arguments->count ? arguments->item[0] : "latest", &point));
    return run_job(&reading, point, opt);
}

const cf_command cf_cmd_drill = {
    .name = "drill",
    .arguments = "[POINT]",
    .summary = "restore a random sample, compare it, delete it: proof that files come back",
    .description =
        "The sample is restored into the scratch folder, read again from there and compared piece by piece. coffer status\n"
        "says when this last succeeded and with how much. By schedule: coffer policy set --drill weekly.\n",
    .examples = "coffer drill\ncoffer drill latest --files 1000 --bytes 2G\n",
    .options = options,
    .options_size = sizeof(struct drill_options),
    .max_arguments = 1,
    .run = run,
};
