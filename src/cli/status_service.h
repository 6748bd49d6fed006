/* What `coffer status` says about cofferd: does the schedule run?                                            */
#ifndef CF_CLI_STATUS_SERVICE_H
#define CF_CLI_STATUS_SERVICE_H

#include "agent/identity.h"
#include "cli/agent.h"
#include "policy/policy.h"

/* cf_status_service_check: *problem is 900933 SERVICE_STOPPED when a run of the schedule came and went without cofferd;
 * else NULL. policy may be NULL (there is none). From the state folder alone.                              */
cf_err *cf_status_service_check(const cf_agent *agent, const cf_identity *identity, const cf_policy *policy,
                                cf_err **problem) __attribute__((warn_unused_result));

#endif
