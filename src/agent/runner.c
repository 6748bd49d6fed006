#include "agent/runner.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "agent/live.h"
#include "agent/report.h"
#include "base/log.h"
#include "base/text.h"
#include "digest/digest.h"
#include "os/process.h"
#include "remote/jobs.h"
#include "remote/sessions.h"

enum { BATCH = 256, RETRY_S = 5, LIVE_S = 1, PATH_KEPT_MAX = 1 << 20 };

struct cf_job {
    cf_state *state;
    cf_job_options options;
    cf_id16 id;
    char hex[CF_HEX_SIZE(16)], host[CF_HOSTNAME_SIZE];
    cf_time started;
    cf_state_lock *lock;
    bool recorded, ended;
    pthread_t thread;
    bool has_thread;
    pthread_mutex_t mutex; /* all below */
    pthread_cond_t wake;
    bool stop, session_lost, has_session, has_lease;
    cf_id16 session, lease;
    cf_warning_row batch[BATCH];
    size_t batch_count;
    uint64_t warnings;
    FILE *failed_files;
    cf_live *live; /* of the heartbeat */
};

const cf_id16 *cf_job_id(const cf_job *job) {
    return &job->id;
}

/* Trouble with history or reports must not end a job that does its work: it is logged. */
static void only_log(cf_err *err, const char *what) {
    if (!err) return;
    cf_log(CF_LOG_INFO, "%s: %s", what, cf_err_message(err));
    cf_err_free(err);
}

/* ---- warnings ------------------------------------------------------------------------------------ */

static void write_failed_file(cf_job *job, cf_span path, const cf_err *err) {
    if (!job->options.failed_files) return;
    if (!job->failed_files) {
        CF_AUTO_FREE char *name =
            cf_text_format("%s/logs/LastBackupFailedFiles%s.txt", cf_state_folder(job->state), job->hex);
        job->failed_files = name ? fopen(name, "we") : NULL;
        if (!job->failed_files) return; /* the history has the warning as well */
    }
    CF_AUTO_FREE char *clean = cf_text_printable(path);
    CF_AUTO_FREE char *words = cf_text_printable(cf_span_text(cf_err_message(err)));
    const cf_catalogue_row *row = cf_catalogue_find(cf_err_code(err));
    fprintf(job->failed_files, "%s\t%d %s\t%s\n", clean ? clean : "?", (int)cf_err_code(err), row ? row->name : "",
            words ? words : "");
}

/* Called with the mutex held. */
static void flush_batch(cf_job *job) {
    if (job->batch_count == 0) return;
    only_log(cf_jobs_add_warnings(job->state, &job->id, job->batch, job->batch_count),
             "the warnings of this job cannot be recorded");
    for (size_t i = 0; i < job->batch_count; i++) {
        cf_buf_wipe(&job->batch[i].path);
        free(job->batch[i].message);
        job->batch[i] = (cf_warning_row){0};
    }
    job->batch_count = 0;
    if (job->failed_files) fflush(job->failed_files);
}

void cf_job_warning(cf_job *job, cf_span path, const cf_err *err) {
    pthread_mutex_lock(&job->mutex);
    cf_warning_row *warning = &job->batch[job->batch_count++];
    cf_buf_init(&warning->path, PATH_KEPT_MAX);
    cf_buf_put_span(&warning->path, path.size <= PATH_KEPT_MAX ? path : cf_span_of(path.data, PATH_KEPT_MAX));
    warning->code = (int)cf_err_code(err);
    warning->err_no = cf_err_errno(err);
    warning->message = strdup(cf_err_message(err)); /* NULL without memory: recorded without words */
    job->warnings++;
    write_failed_file(job, path, err);
    if (job->batch_count == BATCH) flush_batch(job);
    pthread_mutex_unlock(&job->mutex);
    cf_progress_warning(job->options.progress);
}

uint64_t cf_job_warning_count(cf_job *job) {
    pthread_mutex_lock(&job->mutex);
    uint64_t count = job->warnings;
    pthread_mutex_unlock(&job->mutex);
    return count;
}

/* ---- reports ------------------------------------------------------------------------------------- */

static void read_progress(const cf_job *job, uint64_t *bytes, uint64_t *moved) {
    *bytes = job->options.progress ? atomic_load(&job->options.progress->bytes_done) : 0;
    *moved = job->options.progress ? atomic_load(&job->options.progress->bytes_moved) : 0;
}

static void report_running(cf_job *job) {
    if (!job->options.remote) return;
    cf_remote_job report = {.id = job->id, .status = "running", .started = job->started, .host = job->host};
    snprintf(report.type, sizeof report.type, "%s", job->options.type);
    read_progress(job, &report.bytes, &report.bytes_sent);
    report.warnings = cf_job_warning_count(job);
    only_log(cf_remote_report_job(job->options.remote, &report), "the vault could not be told of this job");
}

/* Jobs that ended without the vault's knowledge: this one, and those of times when it was not reachable. */
static bool report_ended(cf_job *job) {
    if (!job->options.remote) return false;
    cf_err *err = cf_report_ended(job->state, job->options.remote);
    bool told = !err;
    only_log(err, "the vault could not be told of ended jobs (the next job, or cofferd, tries again)");
    return told;
}

/* ---- heartbeat ----------------------------------------------------------------------------------- */

/* *soon: something did not get through, so do not wait a whole interval. */
static void renew(cf_job *job, bool *soon) {
    uint32_t seconds;
    pthread_mutex_lock(&job->mutex);
    bool has_session = job->has_session && !job->session_lost, has_lease = job->has_lease;
    cf_id16 session = job->session, lease = job->lease;
    pthread_mutex_unlock(&job->mutex);
    cf_err *err = has_session ? cf_remote_renew_session(job->options.remote, &session, &seconds) : NULL;
    if (cf_err_code(err) == CF_ERR_SESSION_LOST) {
        pthread_mutex_lock(&job->mutex);
        if (job->has_session && cf_id16_equal(&job->session, &session)) job->session_lost = true;
        pthread_mutex_unlock(&job->mutex);
    } else if (err) {
        *soon = true;
    }
    only_log(err, "the backup session could not be renewed");
    err = has_lease ? cf_remote_renew_lease(job->options.remote, &lease, &seconds) : NULL;
    if (err) *soon = true;
    only_log(err, "the read lease could not be renewed");
}

static void beat(cf_job *job, bool *soon) {
    uint64_t bytes, moved;
    pthread_mutex_lock(&job->mutex);
    flush_batch(job);
    pthread_mutex_unlock(&job->mutex);
    read_progress(job, &bytes, &moved);
    only_log(cf_jobs_update(job->state, &job->id, bytes, moved), "the progress of this job cannot be recorded");
    if (!job->options.remote) return;
    renew(job, soon);
    report_running(job);
}

/* Shows progress every second, and beats when it is time. */
static void *heartbeat(void *context) {
    cf_job *job = context;
    unsigned waited = 0, wait_s = CF_JOB_HEARTBEAT_S;
    pthread_mutex_lock(&job->mutex);
    while (!job->stop) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += LIVE_S;
        int result = 0;
        while (!job->stop && result != ETIMEDOUT) result = pthread_cond_timedwait(&job->wake, &job->mutex, &until);
        if (job->stop) break;
        pthread_mutex_unlock(&job->mutex);
        cf_live_write(job->live, job->options.progress);
        waited += LIVE_S;
        if (waited >= wait_s) {
            bool soon = false;
            beat(job, &soon);
            waited = 0;
            wait_s = soon ? RETRY_S : CF_JOB_HEARTBEAT_S;
        }
        pthread_mutex_lock(&job->mutex);
    }
    pthread_mutex_unlock(&job->mutex);
    return NULL;
}

static cf_err *start_heartbeat(cf_job *job) {
    job->live = cf_live_open(job->state, &job->id);
    cf_live_write(job->live, job->options.progress);
    int result = pthread_create(&job->thread, NULL, heartbeat, job);
    if (result) return cf_fail_errno(CF_ERR_OUT_OF_MEMORY, result, "no thread for the heartbeat");
    job->has_thread = true;
    return NULL;
}

static void stop_heartbeat(cf_job *job) {
    if (!job->has_thread) return;
    pthread_mutex_lock(&job->mutex);
    job->stop = true;
    pthread_cond_signal(&job->wake);
    pthread_mutex_unlock(&job->mutex);
    pthread_join(job->thread, NULL);
    cf_live_close(cf_take(job->live));
    job->has_thread = false;
}

/* ---- life ---------------------------------------------------------------------------------------- */

static cf_job *make_job(cf_state *state, const cf_job_options *options) {
    cf_job *job = calloc(1, sizeof *job);
    if (!job) return NULL;
    job->state = state;
    job->options = *options;
    job->started = cf_clock_wall(cf_state_clock(state));
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&job->mutex, NULL);
    pthread_cond_init(&job->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    cf_process_hostname(job->host);
    return job;
}

static cf_err *start(cf_job *job) {
    char note[128];
    CF_TRY(cf_random(job->id.bytes, sizeof job->id.bytes));
    cf_hex_encode(job->id.bytes, 16, job->hex);
    snprintf(note, sizeof note, "%s job %s", job->options.type, job->hex);
    CF_TRY(cf_state_lock_take(job->state, job->options.lock, note, &job->lock));
    CF_TRY(cf_jobs_sweep(job->state, NULL));
    CF_TRY(cf_jobs_begin(job->state, job->options.type, &job->id, &job->options.plan));
    job->recorded = true;
    if (report_ended(job)) report_running(job); /* a vault that is away is not asked twice */
    return start_heartbeat(job);
}

cf_err *cf_job_start(cf_state *state, const cf_job_options *options, cf_job **out) {
    CF_AUTO(cf_job) job = make_job(state, options);
    if (!job) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a job");
    CF_TRY(start(job));
    *out = cf_take(job);
    return NULL;
}

void cf_job_set_session(cf_job *job, const cf_id16 *session) {
    pthread_mutex_lock(&job->mutex);
    job->has_session = session != NULL;
    job->session_lost = false;
    if (session) job->session = *session;
    pthread_mutex_unlock(&job->mutex);
}

bool cf_job_session_lost(cf_job *job) {
    pthread_mutex_lock(&job->mutex);
    bool lost = job->session_lost;
    pthread_mutex_unlock(&job->mutex);
    return lost;
}

void cf_job_set_lease(cf_job *job, const cf_id16 *lease) {
    pthread_mutex_lock(&job->mutex);
    job->has_lease = lease != NULL;
    if (lease) job->lease = *lease;
    pthread_mutex_unlock(&job->mutex);
}

static const char *status_of(const cf_job *job, const cf_err *err) {
    if (err)
        return cf_err_is(err, CF_ERR_CANCELLED) || cf_cancel_requested(job->options.cancel) ? "cancelled" : "failed";
    return job->warnings ? "completed_with_warnings" : "completed";
}

static cf_err *record_end(cf_job *job, const cf_err *failure, const cf_id32 *point_id, const char **status) {
    pthread_mutex_lock(&job->mutex);
    flush_batch(job);
    *status = status_of(job, failure);
    pthread_mutex_unlock(&job->mutex);
    cf_job_end_values end = {.status = *status, .point_id = point_id, .error = failure};
    read_progress(job, &end.bytes, &end.bytes_sent);
    return cf_jobs_finish(job->state, &job->id, &end);
}

cf_err *cf_job_end(cf_job *job, const cf_err *failure, const cf_id32 *point_id, const char **status) {
    const char *word;
    stop_heartbeat(job);
    job->ended = true;
    cf_err *err = record_end(job, failure, point_id, &word);
    (void)report_ended(job); /* if not, the next job does it */
    cf_state_lock_free(cf_take(job->lock));
    if (status) *status = word;
    return err;
}

void cf_job_free(cf_job *job) {
    if (!job) return;
    stop_heartbeat(job);
    cf_live_close(cf_take(job->live));
    if (job->recorded && !job->ended) {
        cf_err *unended = cf_fail(CF_ERR_INTERNAL, "the job was given up without an end");
        only_log(cf_job_end(job, unended, NULL, NULL), "the end of this job cannot be recorded");
        cf_err_free(unended);
    }
    cf_state_lock_free(job->lock);
    if (job->failed_files) fclose(job->failed_files);
    pthread_cond_destroy(&job->wake);
    pthread_mutex_destroy(&job->mutex);
    free(job);
}
