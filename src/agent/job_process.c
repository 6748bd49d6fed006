#include "agent/job_process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "os/fail.h"
#include "os/file.h"

/* Files of /proc have size 0: read until the end. */
static bool read_small(const char *path, char *out, size_t size) {
    CF_AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    size_t used = 0;
    while (used + 1 < size) {
        ssize_t got = read(fd, out + used, size - 1 - used);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        used += (size_t)got;
    }
    out[used] = '\0';
    return used > 0;
}

/* Field 3 is the state, field 22 the start time; the name in field 2 may hold anything, so count from the
 * last ')'. */
static bool read_start(pid_t pid, uint64_t *started) {
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    if (!read_small(path, text, sizeof text)) return false;
    const char *field = strrchr(text, ')');
    if (!field || field[1] != ' ' || field[2] == 'Z' || field[2] == 'X') return false;
    field += 2;
    for (int i = 3; i < 22; i++) {
        field = strchr(field, ' ');
        if (!field) return false;
        field++;
    }
    *started = strtoull(field, NULL, 10);
    return true;
}

cf_err *cf_job_process_self(cf_job_process *process) {
    process->pid = getpid();
    if (!read_start(process->pid, &process->started)) return cf_fail(CF_ERR_IO, "cannot read /proc: is it mounted?");
    return cf_process_boot_id(process->boot);
}

bool cf_job_process_alive(const cf_job_process *process) {
    char boot[CF_BOOT_ID_SIZE];
    uint64_t started;
    cf_err *err = cf_process_boot_id(boot);
    bool same_boot = !err && strcmp(boot, process->boot) == 0;
    cf_err_free(err); /* without /proc nothing can be said to be alive */
    return process->pid > 0 && same_boot && read_start(process->pid, &started) && started == process->started;
}

/* A pidfd cannot come to mean another process between the check and the signal. */
cf_err *cf_job_process_terminate(const cf_job_process *process, bool *sent) {
    *sent = false;
    CF_AUTO_FD int fd = (int)syscall(SYS_pidfd_open, process->pid, 0);
    if (fd < 0 && errno == ESRCH) return NULL;
    bool has_pidfd = fd >= 0;
    if (!cf_job_process_alive(process)) return NULL;
    long result = has_pidfd ? syscall(SYS_pidfd_send_signal, fd, SIGTERM, NULL, 0) : kill(process->pid, SIGTERM);
    if (result < 0 && errno == ESRCH) return NULL;
    if (result < 0) return cf_fail_errno(CF_ERR_IO, errno, "process %d cannot be signalled", (int)process->pid);
    *sent = true;
    return NULL;
}
