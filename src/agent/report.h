/* Telling the vault how jobs ended: the job itself does it, and cofferd later when the vault was not reachable or the
 * job could not (killed, power lost).
 * Threads: any number.                                                                                   */
#ifndef CF_AGENT_REPORT_H
#define CF_AGENT_REPORT_H

#include "agent/jobs.h"
#include "remote/remote.h"

/* cf_report_ended: jobs that ended without the vault's knowledge, newest first, with their true times.
 * Fails as the vault does, at the first that it does not take; those before are told.                     */
cf_err *cf_report_ended(cf_state *state, cf_remote *remote) __attribute__((warn_unused_result));

#endif
