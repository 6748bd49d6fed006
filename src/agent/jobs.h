/* The history of jobs in the state folder's database. A job whose process is gone without having finished is
 * shown, and marked, as interrupted.                                                                     */
#ifndef CF_AGENT_JOBS_H
#define CF_AGENT_JOBS_H

#include <sys/types.h>

#include "agent/state.h"
#include "base/buf.h"

enum { CF_JOB_WARNINGS_MAX = 100000 };

/* Why a job runs. */
typedef struct cf_job_plan {
    bool policy;   /* a backup of the policy's full selection                                      */
    bool has_slot; /* started by the schedule, for the run that was due at slot                      */
    cf_time slot;
} cf_job_plan;

typedef struct cf_job_row {
    cf_id16 id;
    char type[24];   /* backup, restore, verify, mount */
    char status[32]; /* running, completed, completed_with_warnings, failed, cancelled, interrupted */
    cf_time started, finished;
    bool has_finished, has_point;
    cf_id32 point_id;
    uint64_t bytes, bytes_sent;
    uint64_t warnings; /* all of them, also those beyond CF_JOB_WARNINGS_MAX, which are only counted */
    char *error;       /* a JSON object as text, or NULL */
    pid_t pid;
    bool reported; /* the vault knows its end */
    cf_job_plan plan;
    bool has_merged;     /* runs that became due while it was at work count as done by it: */
    cf_time merged_slot; /* the newest of them */
} cf_job_row;
void cf_job_row_wipe(cf_job_row *row);
void cf_jobs_free_rows(cf_job_row *rows, size_t count); /* and the array */

typedef struct cf_warning_row {
    uint64_t number;
    cf_buf path; /* bytes */
    int code, err_no;
    char *message;
} cf_warning_row;
void cf_warning_rows_free(cf_warning_row *warnings, size_t count);

/* cf_jobs_begin: a new running job of this process, and jobs that ended before the days of cf_state_keep_history go,
 * with their warnings and their list of failed files; id is drawn by the caller. plan NULL: started by hand, no policy. */
cf_err *cf_jobs_begin(cf_state *state, const char *type, const cf_id16 *id, const cf_job_plan *plan)
    __attribute__((warn_unused_result));
cf_err *cf_jobs_update(cf_state *state, const cf_id16 *id, uint64_t bytes, uint64_t bytes_sent)
    __attribute__((warn_unused_result));
/* cf_jobs_add_warnings: several in one transaction; beyond CF_JOB_WARNINGS_MAX of a job they are counted only. */
cf_err *cf_jobs_add_warnings(cf_state *state, const cf_id16 *id, const cf_warning_row *warnings, size_t count)
    __attribute__((warn_unused_result));
typedef struct cf_job_end_values {
    const char *status;
    const cf_id32 *point_id; /* may be NULL */
    uint64_t bytes, bytes_sent;
    const cf_err *error; /* borrowed; may be NULL */
} cf_job_end_values;
cf_err *cf_jobs_finish(cf_state *state, const cf_id16 *id, const cf_job_end_values *end)
    __attribute__((warn_unused_result));
cf_err *cf_jobs_set_reported(cf_state *state, const cf_id16 *id) __attribute__((warn_unused_result));
/* cf_jobs_sweep: mark the running jobs whose process is gone as interrupted; *count may be NULL. Their end is the
 * last moment at which they were seen (begin, cf_jobs_update), or now when that is less than a minute ago.    */
cf_err *cf_jobs_sweep(cf_state *state, unsigned *count) __attribute__((warn_unused_result));

/* cf_jobs_list_running: with their processes; sweeps before. */
cf_err *cf_jobs_list_running(cf_state *state, cf_job_row **rows, size_t *count) __attribute__((warn_unused_result));
/* cf_jobs_merge: the run that was due at slot is counted as done by this job, which is at work. */
cf_err *cf_jobs_merge(cf_state *state, const cf_id16 *id, cf_time slot) __attribute__((warn_unused_result));
/* cf_jobs_list: newest first, at most limit; sweeps before. cf_jobs_list_unreported: ended, vault not told.  */
cf_err *cf_jobs_list(cf_state *state, size_t limit, cf_job_row **rows, size_t *count)
    __attribute__((warn_unused_result));
cf_err *cf_jobs_list_unreported(cf_state *state, size_t limit, cf_job_row **rows, size_t *count)
    __attribute__((warn_unused_result));
/* cf_jobs_last: the newest job of a type and status ("" matches any); *found.                               */
cf_err *cf_jobs_last(cf_state *state, const char *type, const char *status, cf_job_row *row, bool *found)
    __attribute__((warn_unused_result));
/* cf_jobs_find: by the beginning of its ID. Fails: 900922 JOB_NOT_FOUND (reason ambiguous when several fit). */
cf_err *cf_jobs_find(cf_state *state, const char *id_prefix, cf_job_row *row) __attribute__((warn_unused_result));
cf_err *cf_jobs_list_warnings(cf_state *state, const cf_id16 *id, size_t limit, cf_warning_row **warnings,
                              size_t *count) __attribute__((warn_unused_result));

/* cf_jobs_cancel: ask the process of a running job to stop (SIGTERM), once it is certain that the process is
 * still the one that runs the job. Fails: 900923 JOB_NOT_RUNNING.                                          */
cf_err *cf_jobs_cancel(cf_state *state, const cf_job_row *row) __attribute__((warn_unused_result));

#endif
