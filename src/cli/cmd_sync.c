/* coffer sync: tell the vault what it does not know yet, and ask it for the policy. cofferd starts it. */
#include "agent/policy_store.h"
#include "agent/report.h"
#include "base/log.h"
#include "cli/agent.h"
#include "cli/commands.h"
#include "remote/retry.h"

static cf_err *run(cf_cli *cli, const void *given, const cf_words *arguments) {
    (void)given;
    (void)arguments;
    CF_AUTO_AGENT cf_agent agent = {0};
    CF_AUTO(cf_remote) remote = NULL;
    cf_policy_sync outcome;
    CF_TRY(cf_agent_open(cli, &agent));
    cf_network network = cf_agent_network(&agent, cli, NULL, CF_RETRY_PERSON_MS);
    CF_TRY(cf_access_connect(agent.state, &network, &remote));
    CF_TRY(cf_jobs_sweep(agent.state, NULL));
    /* Each by itself: a report that the vault refuses must not keep the policy away. */
    cf_err *err = cf_report_ended(agent.state, remote);
    cf_err *policy = cf_policy_store_sync(agent.state, remote, &outcome);
    if (err && policy) cf_log_error(CF_LOG_WARNING, policy);
    if (!err) return policy;
    cf_err_free(policy);
    return err;
}

const cf_command cf_cmd_sync = {
    .name = "sync",
    .summary = "tell the vault of ended jobs, fetch the policy",
    .description = "cofferd does this by itself every 15 minutes, and when a job has ended.\n",
    .examples = "coffer sync\n",
    .hidden = true,
    .run = run,
};
