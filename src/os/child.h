/* Starting another program and noticing its end.
 * The child gets our working folder "/", default signals, no descriptors but 0-2, and a process group of its own.
 * Threads: any number; a cf_child belongs to one at a time.                                              */
#ifndef CF_OS_CHILD_H
#define CF_OS_CHILD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

typedef struct cf_child {
    pid_t pid; /* 0: none */
    int fd;    /* pidfd: readable when it has ended; -1: none */
} cf_child;

typedef struct cf_child_options {
    const char *const *argv; /* NULL-terminated; argv[0] is the absolute path */
    const char *const *env;  /* NULL-terminated; NULL: ours */
    int out, err;            /* for descriptors 1 and 2; -1: /dev/null */
} cf_child_options;

/* cf_child_start: fails 900103 NOT_FOUND, 900101 IO (not executable, no memory for a process). */
cf_err *cf_child_start(const cf_child_options *options, cf_child *child) __attribute__((warn_unused_result));
/* cf_child_poll: has it ended? Then *status is as waitpid gives it, and *child is empty. Does not wait.  */
bool cf_child_poll(cf_child *child, int *status);
/* cf_child_wait: until it ends, at most so long (UINT64_MAX: for ever); false when it still runs. A signal to this
 * process does not end the waiting. */
bool cf_child_wait(cf_child *child, uint64_t timeout_ms, int *status);
/* cf_child_signal: to the child alone, or to its whole process group. One that has ended is no error.     */
void cf_child_signal(const cf_child *child, int number, bool group);
/* cf_child_text: "exit status 3", "ended by signal 9 (Killed)". */
void cf_child_text(int status, char out[64]);

#endif
