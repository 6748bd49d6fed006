/* One try of a backup: everything that belongs to one session at the vault (of agent only).                   */
#ifndef CF_AGENT_BACKUP_ATTEMPT_H
#define CF_AGENT_BACKUP_ATTEMPT_H

#include "agent/backup_job.h"
#include "agent/runner.h"

/* cf_backup_attempt: session, index, scan, commit.
 *   distrusted  the attempt before was told of more losses than a list holds: compare everything.
 *   again       the session was lost, or another point came between; a new session begins where this one ended.
 *   resync      that one is to be distrusted.
 * outcome is written as far as it came.                                                                      */
cf_err *cf_backup_attempt(const cf_backup_job *job, const cf_coverage *coverage, cf_job *running,
                          cf_backup_outcome *outcome, bool distrusted, bool *again, bool *resync);

#endif
