/* coffer policy: what is backed up, when, and how long it is kept. */
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/output.h"
#include "cli/policy_edit.h"

static cf_err *run_show(cf_cli *cli, const void *given, const cf_words *arguments) {
    (void)given;
    (void)arguments;
    CF_AUTO_AGENT cf_agent agent = {0};
    cf_policy policy;
    bool found = false, pending = false;
    CF_TRY(cf_agent_open(cli, &agent));
    cf_err *err = cf_policy_load_current(&agent, cli, &policy, &found);
    if (!err && !found) err = cf_no_policy();
    if (!err) err = cf_policy_store_pending(agent.state, &pending);
    if (!err) err = cf_policy_show(cli, &agent, &policy, pending);
    cf_policy_wipe(&policy);
    return err;
}

static cf_err *set_protection(const cf_cli *cli, void *context, cf_policy *policy, bool exists) {
    const cf_protection *protection = context;
    (void)cli;
    if (!exists) return cf_no_policy();
    policy->protection = *protection;
    return NULL;
}

static cf_err *run_pause(cf_cli *cli, const void *given, const cf_words *arguments) {
    (void)given;
    (void)arguments;
    cf_protection protection = CF_PROTECTION_PAUSED;
    return cf_policy_edit(cli, set_protection, &protection, false);
}

static cf_err *run_resume(cf_cli *cli, const void *given, const cf_words *arguments) {
    (void)given;
    (void)arguments;
    cf_protection protection = CF_PROTECTION_ON;
    return cf_policy_edit(cli, set_protection, &protection, false);
}

struct remove_options {
    const char *keep;
};
static const cf_option remove_options[] = {
    CF_OPTION_CHOICE(struct remove_options, keep, "keep", "until-expiry|for-ever",
                     "what becomes of the recovery points (until-expiry when not given)"),
    CF_OPTION_END};

static cf_err *run_remove(cf_cli *cli, const void *given, const cf_words *arguments) {
    const struct remove_options *opt = given;
    (void)arguments;
    bool for_ever = opt->keep && strcmp(opt->keep, "for-ever") == 0;
    cf_protection protection = for_ever ? CF_PROTECTION_STOPPED_KEEP : CF_PROTECTION_STOPPED_EXPIRE;
    return cf_policy_edit(cli, set_protection, &protection, false);
}

static const cf_command cmd_show = {
    .name = "show",
    .summary = "the policy, its next runs, and how many points it keeps",
    .description = "Works without the vault too: then it shows what is known here.\n",
    .examples = "coffer policy show\ncoffer policy show --json\n",
    .run = run_show,
};
static const cf_command cmd_pause = {
    .name = "pause",
    .summary = "no runs until resumed; every recovery point is kept meanwhile",
    .examples = "coffer policy pause\n",
    .run = run_pause,
};
static const cf_command cmd_resume = {
    .name = "resume",
    .summary = "protect this server again, also after it was removed",
    .examples = "coffer policy resume\n",
    .run = run_resume,
};
static const cf_command cmd_remove = {
    .name = "remove",
    .summary = "stop protecting this server; its points age out, or stay",
    .description = "A running job goes on to its end. coffer policy resume takes it back.\n",
    .examples = "coffer policy remove\ncoffer policy remove --keep for-ever\n",
    .options = remove_options,
    .options_size = sizeof(struct remove_options),
    .run = run_remove,
};

static const cf_command *const subcommands[] = {
    &cmd_show,  &cf_cmd_policy_set, &cf_cmd_policy_test, &cf_cmd_policy_exclude,
    &cmd_pause, &cmd_resume,        &cmd_remove,         NULL};

const cf_command cf_cmd_policy = {
    .name = "policy",
    .summary = "what is backed up, when, and how long it is kept",
    .description = "One document for each server, kept by the vault, with a copy here. A change during a job takes\n"
                   "effect after it.\n",
    .examples = "coffer policy set --source /etc --source /home --schedule 'daily 21:00' --keep-daily 30\n"
                "coffer policy show\n"
                "coffer policy test /home/anna/.cache\n",
    .subcommands = subcommands,
};
