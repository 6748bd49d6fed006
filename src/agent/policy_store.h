/* This server's policy: the copy in the state folder, an edit that waits for the vault, and bringing both together.
 *
 *   <state>/policy.json             the newest version that the vault is known to have, and who changed it
 *   <state>/policy-pending.json     an edit made here that the vault has not got yet; in force meanwhile
 *   <state>/policy-selection.json   the selection that was last decided on this server: what a cut is held against
 *   <state>/policy-superseded.json  an edit made here that lost against a newer version, kept for reading
 *
 * All of them are written durably. The newest version wins; a difference is reconciled and logged, never fatal.
 * Threads and processes: any number; each call takes <state>/lock.policy.                                      */
#ifndef CF_AGENT_POLICY_STORE_H
#define CF_AGENT_POLICY_STORE_H

#include "agent/state.h"
#include "policy/policy.h"
#include "policy/retention.h"
#include "remote/remote.h"

/* cf_policy_store_load: the policy in force here (a waiting edit before the cached version), without the vault.
 * *policy is initialised in any case; the caller wipes it. A file that cannot be used counts as not there and is
 * logged: the next sync fetches it again. Fails: IO, OUT_OF_MEMORY.                                            */
cf_err *cf_policy_store_load(cf_state *state, cf_policy *policy, bool *found) __attribute__((warn_unused_result));

/* cf_policy_store_pending: does an edit wait for the vault? */
cf_err *cf_policy_store_pending(cf_state *state, bool *pending) __attribute__((warn_unused_result));

typedef struct cf_policy_sync {
    bool found;      /* there is a policy now, here and in the vault                          */
    uint64_t number; /* of the newest version                                                 */
    bool changed;    /* the version here was replaced by a newer one                          */
    bool sent;       /* a waiting edit reached the vault                                      */
    bool superseded; /* a waiting edit lost against a newer version: policy-superseded.json   */
} cf_policy_sync;
/* cf_policy_store_sync: send a waiting edit, fetch the newest version. What changed is logged line by line.
 * Fails as remote/remote.h; nothing here changed then, and the policy in force stays in force.                   */
cf_err *cf_policy_store_sync(cf_state *state, cf_remote *remote, cf_policy_sync *outcome)
    __attribute__((warn_unused_result));

/* cf_policy_store_save: policy, an edit of version policy->number, becomes the newest. remote NULL or not reachable: the edit
 * waits and *pending is true. On success policy->number is the new number (unchanged while pending).
 * Fails: 900926 POLICY_CHANGED (the vault has a newer version, which is here now: make the edit again on top of it);
 * what cf_policy_check says; what the vault says.                                                             */
cf_err *cf_policy_store_save(cf_state *state, cf_remote *remote, cf_policy *policy, bool *pending)
    __attribute__((warn_unused_result));

/* cf_policy_store_cut: was the selection in force cut down from the vault's side: sources or the system state removed,
 * exclusions added, since it was last decided on this server? One line for each such difference is appended to
 * lines (initialised by the caller); none: it was not. The job and its point then carry a warning, 900927
 * SELECTION_CUT. Deciding on the selection here (coffer policy set) ends it.                                     */
cf_err *cf_policy_store_cut(cf_state *state, cf_strings *lines) __attribute__((warn_unused_result));

/* cf_policy_store_minimum: what the vault keeps at least, as it said last; the defaults before. */
cf_err *cf_policy_store_minimum(cf_state *state, cf_retention_floor *minimum) __attribute__((warn_unused_result));

/* cf_policy_store_confirm: the selection in force is what this server wants, wherever it came from: no warning any more. */
cf_err *cf_policy_store_confirm(cf_state *state) __attribute__((warn_unused_result));

/* cf_policy_store_forget: remove all of it (unregister). */
cf_err *cf_policy_store_forget(cf_state *state) __attribute__((warn_unused_result));

#endif
