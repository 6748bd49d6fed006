/* What the commands of `coffer policy` share: bringing the policy up to date, changing it, showing it.        */
#ifndef CF_CLI_POLICY_EDIT_H
#define CF_CLI_POLICY_EDIT_H

#include "agent/policy_store.h"
#include "cli/agent.h"
#include "policy/policy.h"

/* cf_policy_refresh: sync with the vault, briefly; *remote stays open for what follows (NULL: it does not answer, which is
 * noted). Fails: NOT_REGISTERED; what is wrong beyond the vault being away.                                     */
cf_err *cf_policy_refresh(const cf_agent *agent, const cf_cli *cli, cf_remote **remote)
    __attribute__((warn_unused_result));
/* cf_policy_load_current: refresh, then load. *policy is initialised in any case; the caller wipes it. */
cf_err *cf_policy_load_current(const cf_agent *agent, const cf_cli *cli, cf_policy *policy, bool *found)
    __attribute__((warn_unused_result));

/* Changes *policy, which has the defaults when it does not exist yet. Called again when somebody else was faster. */
typedef cf_err *cf_policy_change(const cf_cli *cli, void *context, cf_policy *policy, bool exists);
/* cf_policy_edit: current version, change, save; then shows it. confirm: the selection counts as decided here. */
cf_err *cf_policy_edit(cf_cli *cli, cf_policy_change *change, void *context, bool confirm)
    __attribute__((warn_unused_result));

/* cf_policy_show: what `coffer policy show` prints. */
cf_err *cf_policy_show(const cf_cli *cli, const cf_agent *agent, const cf_policy *policy, bool pending)
    __attribute__((warn_unused_result));

/* cf_absolute_path: made absolute by the working directory, without ".", "..", repeated or trailing slashes; symbolic
 * links are left alone. Fresh; NULL only without memory (or without a working directory). */
char *cf_absolute_path(const char *path);

cf_err *cf_no_policy(void) __attribute__((warn_unused_result));

extern const cf_command cf_cmd_policy_set, cf_cmd_policy_test, cf_cmd_policy_exclude;

#endif
