#include "cli/reading.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/text.h"
#include "cli/output.h"
#include "digest/digest.h"
#include "proto/error_json.h"
#include "remote/sessions.h"
#include "repo/source_remote.h"
#include "repo/vault_head.h"

/* The head as this server, or the recovery kit, remembers it against the vault's list. */
static cf_err *check_head(cf_reading *reading) {
    cf_head stored = {.exists = reading->access->has_newest,
                      .id = reading->access->newest,
                      .counter = reading->access->newest_counter};
    if (reading->access->own) CF_TRY(cf_state_get_head(reading->agent.state, &stored));
    cf_vault_head known = {stored.exists, stored.id, stored.counter}, newest;
    cf_vault_head_state state;
    CF_AUTO(cf_err) err = cf_vault_head_check(&known, reading->rows, reading->row_count, &state, &newest);
    if (!err) return NULL;
    if (cf_err_code(err) != CF_ERR_HEAD_MISMATCH) return cf_take(err);
    cf_output_warning(reading->cli, err);
    reading->cli->warnings = true;
    return NULL;
}

cf_err *cf_reading_open(cf_cli *cli, const cf_server_options *options, uint64_t retry_total_ms, cf_reading *reading) {
    *reading = (cf_reading){.cli = cli};
    CF_TRY(cf_agent_open(cli, &reading->agent));
    CF_TRY(cf_agent_access(&reading->agent, cli, options, retry_total_ms, &reading->access));
    CF_TRY(cf_source_remote_open(reading->access->remote, &reading->source));
    CF_TRY(cf_reader_open(reading->source, reading->access->keys, &reading->access->server_id, CF_READER_CACHE_DEFAULT,
                          &reading->reader));
    CF_TRY(cf_reader_points(reading->reader, &reading->rows, &reading->row_count));
    return check_head(reading);
}

void cf_reading_use_trees(cf_reading *reading) {
    if (!reading->access->own) return;
    cf_err *err = cf_tree_cache_open(reading->agent.home.scratch, &reading->access->server_id, CF_TREE_CACHE_LIMIT,
                                     &reading->trees);
    if (err) cf_log_error(CF_LOG_INFO, err); /* it only takes longer */
    cf_err_free(err);
    cf_reader_use_trees(reading->reader, reading->trees);
}

void cf_reading_use_index(cf_reading *reading) {
    if (!reading->access->own || reading->finder) return;
    cf_err *err = cf_index_finder_new(reading->agent.state, reading->agent.home.scratch, &reading->access->server_id,
                                      &reading->finder);
    if (!err) cf_index_finder_use(reading->finder, reading->reader);
    if (err) cf_log_error(CF_LOG_INFO, err); /* it is only for damage */
    cf_err_free(err);
}

void cf_reading_close(cf_reading *reading) {
    cf_reader_close(reading->reader);
    cf_index_finder_free(reading->finder);
    cf_tree_cache_close(reading->trees);
    cf_source_close(reading->source);
    cf_access_free(reading->access);
    free(reading->rows);
    cf_agent_wipe(&reading->agent);
    *reading = (cf_reading){0};
}

cf_err *cf_reading_point(cf_reading *reading, const char *name, cf_point **point) {
    size_t index = 0;
    CF_TRY(cf_reader_point_find(reading->rows, reading->row_count, name, &index));
    return cf_reader_point_listed(reading->reader, &reading->rows[index], point);
}

/* ---- The lease ---- */

static void *renew_lease(void *context) {
    cf_reading_job *job = context;
    pthread_mutex_lock(&job->lock);
    while (!job->stop) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += job->lease_seconds > 15 ? job->lease_seconds / 3 : 5;
        int result = 0;
        while (!job->stop && result != ETIMEDOUT) result = pthread_cond_timedwait(&job->wake, &job->lock, &until);
        if (job->stop) break;
        pthread_mutex_unlock(&job->lock);
        uint32_t seconds = 0;
        cf_err *err = cf_remote_renew_lease(job->reading->access->remote, &job->lease, &seconds);
        if (err) { /* the data will most likely still be there */
            cf_log(CF_LOG_INFO, "the read lease could not be renewed: %s", cf_err_message(err));
            cf_err_free(err);
        }
        pthread_mutex_lock(&job->lock);
        if (seconds) job->lease_seconds = seconds;
    }
    pthread_mutex_unlock(&job->lock);
    return NULL;
}

static cf_err *take_lease(cf_reading_job *job, const char *type) {
    CF_TRY(cf_random(job->lease.bytes, sizeof job->lease.bytes));
    CF_TRY(cf_remote_take_lease(job->reading->access->remote, &job->lease, type, job->point, 1, &job->lease_seconds));
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&job->lock, NULL);
    pthread_cond_init(&job->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    int result = pthread_create(&job->thread, NULL, renew_lease, job);
    if (result) return cf_fail_errno(CF_ERR_OUT_OF_MEMORY, result, "no thread for the read lease");
    job->has_thread = true;
    return NULL;
}

static void end_lease(cf_reading_job *job) {
    if (!job->has_thread) return;
    pthread_mutex_lock(&job->lock);
    job->stop = true;
    pthread_cond_signal(&job->wake);
    pthread_mutex_unlock(&job->lock);
    pthread_join(job->thread, NULL);
    pthread_cond_destroy(&job->wake);
    pthread_mutex_destroy(&job->lock);
    job->has_thread = false;
    cf_err *err = cf_remote_end_lease(job->reading->access->remote, &job->lease);
    if (err) cf_log(CF_LOG_INFO, "the read lease could not be ended, it runs out by itself: %s", cf_err_message(err));
    cf_err_free(err);
}

/* ---- The job ---- */

static cf_err *begin(cf_reading_job *job, const char *type) {
    cf_reading *reading = job->reading;
    cf_job_options options = {.type = type,
                              .lock = CF_STATE_LOCK_SHARED,
                              .remote = reading->access->own ? reading->access->remote : NULL,
                              .progress = &job->progress,
                              .cancel = reading->cli->cancel};
    CF_TRY(cf_job_start(reading->agent.state, &options, &job->job));
    CF_TRY(take_lease(job, type));
    return cf_progress_show(reading->cli, &job->progress, &job->view);
}

cf_err *cf_reading_job_start(cf_reading *reading, const char *type, const cf_point *point, cf_reading_job *job) {
    *job = (cf_reading_job){.reading = reading, .point = &point->id};
    cf_clock clock = cf_clock_system();
    job->started_ms = cf_clock_ms(&clock);
    cf_progress_init(&job->progress);
    CF_AUTO(cf_err) err = begin(job, type);
    if (!err) return NULL;
    const char *status;
    double seconds;
    return cf_reading_job_end(job, cf_take(err), &status, &seconds);
}

cf_err *cf_reading_job_end(cf_reading_job *job, cf_err *err, const char **status, double *seconds) {
    cf_clock clock = cf_clock_system();
    *seconds = (double)(cf_clock_ms(&clock) - job->started_ms) / 1000.0;
    *status = err ? "failed" : "completed";
    cf_progress_view_free(job->view);
    end_lease(job);
    cf_err *second = job->job ? cf_job_end(job->job, err, job->point, status) : NULL;
    cf_job_free(job->job);
    cf_progress_wipe(&job->progress);
    if (err && second) cf_log_error(CF_LOG_WARNING, second);
    if (!err) return second;
    cf_err_free(second);
    return err;
}

static cf_err *event_json(const char *type, cf_span path, const cf_err *err) {
    json_t *object = json_pack("{s:s, s:o}", "type", type, "error", cf_error_to_json(err));
    if (object && path.size && cf_json_set_path(object, "path", path) < 0) {
        json_decref(object);
        object = NULL;
    }
    return cf_output_json(object);
}

void cf_reading_event(cf_reading *reading, cf_job *job, const char *type, cf_span path, const cf_err *err) {
    if (job) cf_job_warning(job, path, err);
    if (!reading->cli->json) {
        cf_output_warning(reading->cli, err);
        return;
    }
    cf_err *failed = event_json(type, path, err);
    if (failed) cf_log_error(CF_LOG_WARNING, failed); /* the end of the command checks stdout again */
    cf_err_free(failed);
}

/* ---- Entries ---- */

const char *cf_reading_type_word(cf_file_type type) {
    static const char *const words[] = {"", "file", "directory", "symlink", "fifo", "character", "block", "socket"};
    return words[type];
}

json_t *cf_reading_time_json(cf_time time) {
    char text[40], full[64];
    if (time.nanoseconds == 0) return cf_json_time(time);
    cf_time_format(time, text);
    text[strlen(text) - 1] = '\0'; /* the Z goes behind the fraction */
    snprintf(full, sizeof full, "%s.%09uZ", text, time.nanoseconds);
    return json_string(full);
}
