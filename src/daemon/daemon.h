/* The engine daemon: starts what the policy's schedule asks for, each as a process of its own, notices how it ends
 * whatever the cause, and sees to it that history and vault know.
 *
 * It talks to nobody but its children, so that neither the network nor a job can stop it: what needs the vault runs as
 * `coffer`. Threads: one.                                                                                  */
#ifndef CF_DAEMON_DAEMON_H
#define CF_DAEMON_DAEMON_H

#include "agent/state.h"
#include "base/cancel.h"

typedef struct cf_daemon_options {
    cf_state *state;    /* borrowed, as the rest */
    const char *coffer; /* absolute path of the program that does the jobs */
    const char *home;   /* given to it as --home; NULL: not */
    cf_cancel *cancel;  /* set by SIGTERM and SIGINT, which are blocked but while waiting */
} cf_daemon_options;

/* cf_daemon_run: until cancelled. Jobs that run then are asked to end (what they sent stays) and are waited for.
 * Fails: 900928 DAEMON_RUNNING (another one serves this state folder), IO, STATE_DAMAGED.                   */
cf_err *cf_daemon_run(const cf_daemon_options *options) __attribute__((warn_unused_result));

/* cf_daemon_lock: the lock file in the state folder that a running daemon holds. */
#define CF_DAEMON_LOCK "lock.daemon"

#endif
