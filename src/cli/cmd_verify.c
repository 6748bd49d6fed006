/* coffer verify: read everything of a point back and check it. */
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/reading.h"
#include "digest/digest.h"
#include "restore/verify.h"

enum { DAMAGED_LISTED = 10000 };

struct verify_options {
    cf_server_options server;
    const char *sample;
};

static const cf_option options[] = {CF_OPTION_TEXT(struct verify_options, sample, "sample", "PERCENT",
                                                   "only a random share of the data (the folders' records all)"),
                                    CF_OPTIONS_SERVER(struct verify_options, server), CF_OPTION_END};

struct shown {
    cf_reading *reading;
    cf_job *job;
    json_t *damaged;
};

static void on_damaged(void *context, cf_span path, const cf_err *err) {
    struct shown *shown = context;
    cf_reading_event(shown->reading, shown->job, "damaged", path, err);
    if (json_array_size(shown->damaged) < DAMAGED_LISTED)
        (void)json_array_append_new(shown->damaged, cf_json_text(path)); /* the event named it already */
}

static void on_warning(void *context, cf_span path, const cf_err *err) {
    struct shown *shown = context;
    cf_reading_event(shown->reading, shown->job, "warning", path, err);
}

static cf_err *parse_sample(const cf_cli *cli, const char *text, double *percent) {
    *percent = 0;
    if (!text) return NULL;
    char *end;
    *percent = strtod(text, &end);
    if (*end == '%') end++;
    if (*end || end == text || !(*percent > 0 && *percent <= 100))
        return cf_cli_usage(cli, "--sample %s: a share from above 0 to 100 percent is expected", text);
    return NULL;
}

static cf_err *summary(const cf_reading *reading, const cf_id16 *job, const cf_point *point,
                       const cf_verify_result *result, const char *status, json_t *damaged, double seconds) {
    if (reading->cli->json)
        return cf_output_json(
            json_pack("{s:s, s:o, s:o, s:s, s:I, s:I, s:I, s:I, s:O, s:I, s:I, s:f}", "type", "summary", "job_id",
                      cf_json_hex(job->bytes, 16), "point_id", cf_json_hex(point->id.bytes, 32), "status", status,
                      "chunks", (json_int_t)result->chunks, "bytes", (json_int_t)result->bytes, "segments",
                      (json_int_t)result->segments, "bytes_fetched", (json_int_t)result->bytes_fetched, "damaged",
                      damaged, "damaged_count", (json_int_t)result->damaged, "warnings",
                      (json_int_t)(result->warnings + result->damaged), "seconds", seconds));
    if (reading->cli->quiet) return NULL;
    char bytes[24], id[CF_HEX_SIZE(32)];
    cf_text_size(result->bytes, bytes);
    cf_hex_encode(point->id.bytes, 32, id);
    printf("recovery point %.12s: %llu chunks (%s) checked in %.1f s, ", id, (unsigned long long)result->chunks, bytes,
           seconds);
    if (result->damaged)
        printf("%llu files or folders are damaged: see above\n", (unsigned long long)result->damaged);
    else
        printf("all good\n");
    return NULL;
}

static cf_err *verify_point(cf_reading *reading, const cf_point *point, double percent) {
    struct shown shown = {.reading = reading, .damaged = json_array()};
    if (!shown.damaged) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for the list of damaged files");
    cf_reading_job job = {0};
    cf_verify_result result = {0};
    cf_verify_options what = {.sample = percent,
                              .cancel = reading->cli->cancel,
                              .damaged = on_damaged,
                              .warning = on_warning,
                              .context = &shown};
    cf_err *err = cf_random(&what.seed, sizeof what.seed);
    if (!err) err = cf_reading_job_start(reading, "verify", point, &job);
    if (err) {
        json_decref(shown.damaged);
        return err;
    }
    cf_id16 id = *cf_job_id(job.job);
    shown.job = job.job;
    what.progress = &job.progress;
    err = cf_verify(reading->reader, point, &what, &result);
    const char *status;
    double seconds;
    err = cf_reading_job_end(&job, err, &status, &seconds);
    if (result.warnings || result.damaged) reading->cli->warnings = true;
    if (!err) err = summary(reading, &id, point, &result, status, shown.damaged, seconds);
    json_decref(shown.damaged);
    return err;
}

static cf_err *run(cf_cli *cli, const void *given, const cf_words *arguments) {
    const struct verify_options *opt = given;
    double percent;
    CF_TRY(parse_sample(cli, opt->sample, &percent));
    CF_AUTO_READING cf_reading reading = {0};
    CF_AUTO(cf_point) point = NULL;
    CF_TRY(cf_reading_open(cli, &opt->server, CF_RETRY_JOB_MS, &reading));
    CF_TRY(cf_reading_point(&reading, arguments->count ? arguments->item[0] : "latest", &point));
    return verify_point(&reading, point, percent);
}

const cf_command cf_cmd_verify = {
    .name = "verify",
    .arguments = "[POINT]",
    .summary = "read back, decrypt and check what a recovery point holds",
    .description =
        "Restores nothing. POINT: as for restore; the latest when not given. Damage is listed file by file, and the\n"
        "exit status is 3 then.\n",
    .examples = "coffer verify\ncoffer verify 3f2a91 --json\ncoffer verify latest --sample 5\n",
    .options = options,
    .options_size = sizeof(struct verify_options),
    .max_arguments = 1,
    .run = run,
};
