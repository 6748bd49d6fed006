/* The server's policy in the vault. */
#ifndef CF_REMOTE_POLICY_H
#define CF_REMOTE_POLICY_H

#include "policy/policy.h"
#include "policy/retention.h"
#include "remote/remote.h"

typedef struct cf_remote_policy {
    bool exists;
    uint64_t number; /* 0: there is none */
    cf_time changed;
    bool by_vault;              /* its last change came from the vault's side, not from the server's */
    cf_retention_floor minimum; /* what the vault keeps at least; the defaults when it does not say */
    cf_policy policy;           /* initialised in any case */
} cf_remote_policy;
void cf_remote_policy_wipe(cf_remote_policy *newest);

/* cf_remote_get_policy: the newest version. *newest is to be wiped also on failure. A document that this version does
 * not understand is BAD_REPLY (the vault was updated before this server). */
cf_err *cf_remote_get_policy(cf_remote *remote, cf_remote_policy *newest) __attribute__((warn_unused_result));

/* cf_remote_put_policy: an edit of version base becomes the newest.
 *   number    the number it has there now; written when it was taken.
 *   conflict  base is not the newest: nothing was changed, and *newest is what is (may be NULL; to be wiped).
 * Fails: what the vault finds wrong with it, each fault listed. */
cf_err *cf_remote_put_policy(cf_remote *remote, const cf_policy *policy, uint64_t base, bool *conflict,
                             uint64_t *number, cf_remote_policy *newest) __attribute__((warn_unused_result));

#endif
