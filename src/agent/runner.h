/* A running job: lock, history, warnings, heartbeats to the vault.
 *
 *   cf_job *job; cf_job_start(state, &options, &job);
 *   ... cf_job_warning(job, path, err) from any thread ...
 *   cf_job_end(job, err, point, &ended); cf_job_free(job);
 *
 * Threads: any number may add warnings; start, end and free belong to one.                                */
#ifndef CF_AGENT_RUNNER_H
#define CF_AGENT_RUNNER_H

#include "agent/jobs.h"
#include "agent/state.h"
#include "base/cancel.h"
#include "base/progress.h"
#include "remote/remote.h"

enum { CF_JOB_HEARTBEAT_S = 30 };

typedef struct cf_job_options {
    const char *type; /* "backup", "restore", "verify", "mount", "drill"                          */
    cf_state_lock_kind lock;
    cf_remote *remote;     /* told of the job; borrowed; NULL: nobody is                               */
    cf_progress *progress; /* borrowed: its numbers are what is reported                               */
    cf_cancel *cancel;     /* borrowed: when it was set, the job ends as "cancelled"                   */
    bool failed_files;     /* write <state>/logs/LastBackupFailedFiles<job>.txt                        */
    cf_job_plan plan;
} cf_job_options;

typedef struct cf_job cf_job;
/* cf_job_start: takes the lock, records the job, tells the vault (and of earlier jobs that it does not know
 * of; an unreachable vault is not an error), starts the heartbeat. Fails: 100092 JOB_RUNNING, IO, STATE_DAMAGED. */
cf_err *cf_job_start(cf_state *state, const cf_job_options *options, cf_job **job) __attribute__((warn_unused_result));
const cf_id16 *cf_job_id(const cf_job *job);
/* cf_job_warning: one object could not be dealt with; err is borrowed. path: bytes.                        */
void cf_job_warning(cf_job *job, cf_span path, const cf_err *err);
uint64_t cf_job_warning_count(cf_job *job);
/* cf_job_set_session: the heartbeat renews this session too (NULL: no more). cf_job_session_lost: did the vault
 * say that it is gone?                                                                                   */
void cf_job_set_session(cf_job *job, const cf_id16 *session);
bool cf_job_session_lost(cf_job *job);
/* cf_job_set_lease: the same for a read lease.                                                             */
void cf_job_set_lease(cf_job *job, const cf_id16 *lease);
/* cf_job_end: record how it ended, tell the vault, release the lock. err (borrowed, may be NULL) decides:
 * failed or cancelled; otherwise completed, with warnings when there were any. *status (may be NULL) is a literal. */
cf_err *cf_job_end(cf_job *job, const cf_err *err, const cf_id32 *point_id, const char **status)
    __attribute__((warn_unused_result));
void cf_job_free(cf_job *job); /* NULL-safe; a job that was not ended is recorded as failed */
CF_DEFINE_AUTO(cf_job, cf_job_free)

#endif
