/* What `coffer status` says about the policy: is this server protected, and when does it run next?             */
#ifndef CF_CLI_STATUS_POLICY_H
#define CF_CLI_STATUS_POLICY_H

#include "agent/identity.h"
#include "cli/agent.h"
#include "policy/policy.h"

enum { CF_STALE_DAYS = 7 }; /* without a successful point of the policy; a rarer schedule: two runs */

typedef struct cf_status_policy {
    cf_policy policy;
    bool exists;
    bool has_next;
    int64_t next_run; /* with the random delay */
    cf_err *problem;  /* 100101 NO_POLICY (reason stale: there is one, but no point), or NULL */
    cf_err *zone;     /* 900925 ZONE_UNKNOWN: the next run cannot be told; or NULL */
} cf_status_policy;

/* cf_status_policy_read: from the state folder alone. *status is to be wiped also on failure. */
cf_err *cf_status_policy_read(const cf_agent *agent, const cf_identity *identity, cf_status_policy *status)
    __attribute__((warn_unused_result));
void cf_status_policy_wipe(cf_status_policy *status);
/* One or two lines. */
void cf_status_policy_print(const cf_status_policy *status);

#endif
