/* What a backup job covers: paths by hand, or the selection of the server's policy.                          */
#ifndef CF_AGENT_BACKUP_COVERAGE_H
#define CF_AGENT_BACKUP_COVERAGE_H

#include "agent/backup_job.h"
#include "agent/runner.h"

/* cf_backup_policy_load: the policy in force, after asking the vault for a newer one (remote NULL, or one that does not answer:
 * what is known here). The caller wipes it. Fails: NO_POLICY (there is none, or it was removed), IO, OUT_OF_MEMORY.
 */
cf_err *cf_backup_policy_load(cf_state *state, cf_remote *remote, cf_policy *policy)
    __attribute__((warn_unused_result));

/* cf_backup_full_turn: is it the turn of a run that reads every file (full_every of the policy)? cf_backup_count_run: a run of the
 * policy's selection has completed; full: it read every file.                                                */
cf_err *cf_backup_full_turn(cf_state *state, const cf_policy *policy, bool *turn) __attribute__((warn_unused_result));
cf_err *cf_backup_count_run(cf_state *state, bool full) __attribute__((warn_unused_result));

static inline cf_selection cf_job_selection(const cf_backup_job *job) {
    return job->policy ? CF_SELECTION_POLICY : CF_SELECTION_MANUAL;
}

/* cf_backup_coverage: the job's coverage: borrowed from the job, or made of its policy into *room (the caller wipes it).
 * Warnings of running (NULL: of the log): sources that are missing (SOURCE_MISSING) and, with the selection that the vault's side
 * cut down, SELECTION_CUT. Fails: SOURCE_MISSING when none is there.                                         */
cf_err *cf_backup_coverage(const cf_backup_job *job, cf_job *running, cf_coverage *room, const cf_coverage **coverage)
    __attribute__((warn_unused_result));

#endif
