/* Telling a process from a later one with the same number: its start time and the system's boot ID.
 * Threads: no state.                                                                                     */
#ifndef CF_AGENT_JOB_PROCESS_H
#define CF_AGENT_JOB_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "os/process.h"

typedef struct cf_job_process {
    pid_t pid;
    uint64_t started; /* clock ticks after boot, from /proc/PID/stat */
    char boot[CF_BOOT_ID_SIZE];
} cf_job_process;

/* cf_job_process_self: fails IO when /proc is not there.                                                      */
cf_err *cf_job_process_self(cf_job_process *process) __attribute__((warn_unused_result));
/* cf_job_process_alive: is exactly this process still running (a zombie is not)?                               */
bool cf_job_process_alive(const cf_job_process *process);
/* cf_job_process_terminate: SIGTERM, if it is still this very process; *sent tells. Fails IO (not permitted).    */
cf_err *cf_job_process_terminate(const cf_job_process *process, bool *sent) __attribute__((warn_unused_result));

#endif
