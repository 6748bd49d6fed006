/* A backup as a job: lock, session, index, scan, commit; and again where the vault says that something it had is gone.
 *
 * Whatever ends it early (kill, power, network), what the vault has committed stays, and the next run finds it in the
 * index instead of sending it again.
 * Threads: one.                                                                                              */
#ifndef CF_AGENT_BACKUP_JOB_H
#define CF_AGENT_BACKUP_JOB_H

#include "agent/access.h"
#include "agent/state.h"
#include "base/progress.h"
#include "policy/config.h"
#include "policy/policy.h"
#include "scan/coverage.h"
#include "visible/point.h"

typedef struct cf_backup_job {
    cf_state *state;
    cf_access *access; /* of this server */
    const cf_config *config;
    const char *scratch;         /* folder */
    const cf_coverage *coverage; /* paths by hand; NULL: the policy says */
    const cf_policy *policy;     /* its full selection; sources that are missing are warnings of the job */
    bool full_scan;              /* do not trust the tree cache: read every file */
    const char *scheduled;       /* the slot of the schedule's run, RFC 3339 in UTC; NULL: started on demand */
    const cf_strings *hooks;     /* names of those that go with it (config says what they are); NULL: none */
    const char *config_path;     /* of config; with hooks */
    const char *retain_until;    /* "2027-01-31"; NULL: as the vault decides */
    cf_cancel *cancel;
    cf_progress *progress;
    /* What people should see while it runs (waiting, rebuilding); may be NULL. */
    void (*note)(void *context, const char *text);
    void *context;
} cf_backup_job;

typedef struct cf_backup_outcome {
    cf_id16 job;
    cf_id32 point, base;
    bool has_base;
    const char *scan_reason; /* a literal: why a full scan was made */
    const char *status;      /* a literal */
    cf_summary summary;
    uint64_t seconds_ms;
} cf_backup_outcome;

/* cf_backup_run: *outcome is written as far as it came, also on failure (the job's ID).
 * Fails: JOB_RUNNING (exit 4), and what sources, session and scan fail with.                                  */
cf_err *cf_backup_run(const cf_backup_job *job, cf_backup_outcome *outcome);

/* cf_backup_dry_run: what a backup would do, as far as this machine knows: nothing is sent, nothing recorded.
 * outcome->summary.bytes_stored is what would be new, before compression. Needs no vault. Excludes a running backup.                                                                  */
cf_err *cf_backup_dry_run(const cf_backup_job *job, cf_backup_outcome *outcome);

#endif
