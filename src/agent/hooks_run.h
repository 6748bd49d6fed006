/* Commands that go with a backup: what agent.conf defines and the policy names, before and after it, by hand and by
 * schedule alike. Their meaning and environment: coffer.conf(5).
 * Threads: one.                                                                                          */
#ifndef CF_AGENT_HOOKS_RUN_H
#define CF_AGENT_HOOKS_RUN_H

#include "agent/runner.h"
#include "policy/config.h"
#include "policy/policy.h"

typedef struct cf_hooks_run {
    const cf_config *config;
    const char *config_path; /* the file that defines them: nobody else may be able to write it */
    const cf_strings *names; /* in the order in which they run; NULL: none */
    cf_job *job;             /* warnings go there */
    const char *server;      /* name, for the environment, as the next */
    const char *scheduled;   /* RFC 3339, or NULL */
    cf_cancel *cancel;       /* ends a command that runs before; NULL: nobody cancels */
    size_t begun;            /* hooks whose turn before the backup came: theirs is what runs after it */
} cf_hooks_run;

/* How the job stands when the commands after it run. */
typedef struct cf_hooks_end {
    const cf_err *error;     /* NULL: it has a recovery point */
    const cf_id32 *point_id; /* may be NULL */
    const char *status;      /* completed, completed_with_warnings, failed, cancelled */
} cf_hooks_end;

/* cf_hooks_before: one after the other, until one fails whose failure fails the job.
 * Fails: 900930 HOOK_FAILED (reasons exit, timeout, start), 900931 HOOK_REFUSED, CANCELLED.                */
cf_err *cf_hooks_before(cf_hooks_run *run) __attribute__((warn_unused_result));
/* cf_hooks_after: in the opposite order, those whose turn came before, all of them. Cancelling does not end them, their
 * time limit does. Fails with the first whose failure fails the job.                                       */
cf_err *cf_hooks_after(cf_hooks_run *run, const cf_hooks_end *end) __attribute__((warn_unused_result));

/* cf_hooks_check_file: may only root, or we, change what this path leads to: the file, and every folder above it?
 * Fails: 900931 HOOK_REFUSED (writable, missing, relative).                                               */
cf_err *cf_hooks_check_file(const char *path) __attribute__((warn_unused_result));

#endif
