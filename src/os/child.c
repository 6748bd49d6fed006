#include "os/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "os/fail.h"

extern char **environ;

static int add_output(posix_spawn_file_actions_t *actions, int fd, int target) {
    if (fd < 0) return posix_spawn_file_actions_addopen(actions, target, "/dev/null", O_WRONLY, 0);
    return posix_spawn_file_actions_adddup2(actions, fd, target);
}

static int set_actions(posix_spawn_file_actions_t *actions, const cf_child_options *options) {
    int result = posix_spawn_file_actions_addopen(actions, 0, "/dev/null", O_RDONLY, 0);
    if (!result) result = add_output(actions, options->out, 1);
    if (!result) result = add_output(actions, options->err, 2);
    if (!result) result = posix_spawn_file_actions_addchdir_np(actions, "/");
    /* Whatever was opened without O_CLOEXEC by a library stays here. */
    if (!result) result = posix_spawn_file_actions_addclosefrom_np(actions, 3);
    return result;
}

static int set_attributes(posix_spawnattr_t *attributes) {
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    int result = posix_spawnattr_setsigmask(attributes, &none);
    if (!result) result = posix_spawnattr_setsigdefault(attributes, &all);
    if (!result) result = posix_spawnattr_setpgroup(attributes, 0);
    if (!result)
        result = posix_spawnattr_setflags(attributes,
                                          POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    return result;
}

static int spawn(const cf_child_options *options, pid_t *pid) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int result = posix_spawn_file_actions_init(&actions);
    if (result) return result;
    result = posix_spawnattr_init(&attributes);
    if (!result) {
        result = set_actions(&actions, options);
        if (!result) result = set_attributes(&attributes);
        /* posix_spawn promises not to change the words. */
        char **env = options->env ? (char **)(uintptr_t)options->env : environ;
        if (!result)
            result = posix_spawn(pid, options->argv[0], &actions, &attributes, (char **)(uintptr_t)options->argv, env);
        posix_spawnattr_destroy(&attributes);
    }
    posix_spawn_file_actions_destroy(&actions);
    return result;
}

cf_err *cf_child_start(const cf_child_options *options, cf_child *child) {
    pid_t pid;
    int result = spawn(options, &pid);
    if (result) return cf_os_fail(result, "run", options->argv[0]);
    /* The number is ours until it is waited for, so this cannot be another process. Without a pidfd (no such system
     * call) waiting looks every so often. */
    *child = (cf_child){pid, (int)syscall(SYS_pidfd_open, pid, 0)};
    if (child->fd >= 0) (void)fcntl(child->fd, F_SETFD, FD_CLOEXEC);
    return NULL;
}

bool cf_child_poll(cf_child *child, int *status) {
    pid_t got;
    do got = waitpid(child->pid, status, WNOHANG);
    while (got < 0 && errno == EINTR);
    if (got == 0) return false;
    if (got < 0) *status = 0xFF00; /* somebody else waited for it: nothing is known but that it is gone */
    if (child->fd >= 0) close(child->fd);
    *child = (cf_child){0, -1};
    return true;
}

static uint64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

bool cf_child_wait(cf_child *child, uint64_t timeout_ms, int *status) {
    enum { LOOK_MS = 50, LONG_MS = 3600000 };
    uint64_t begun = now_ms();
    while (!cf_child_poll(child, status)) {
        uint64_t spent = now_ms() - begun;
        if (spent >= timeout_ms) return false;
        uint64_t left = timeout_ms - spent;
        if (left > LONG_MS) left = LONG_MS;
        if (child->fd < 0 && left > LOOK_MS) left = LOOK_MS;
        struct pollfd end = {child->fd, POLLIN, 0}; /* a descriptor of -1 is passed over */
        (void)poll(&end, 1, (int)left + 1);
    }
    return true;
}

void cf_child_signal(const cf_child *child, int number, bool group) {
    if (child->pid > 0) (void)kill(group ? -child->pid : child->pid, number);
}

void cf_child_text(int status, char out[64]) {
    if (WIFSIGNALED(status))
        snprintf(out, 64, "ended by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        snprintf(out, 64, "exit status %d", WEXITSTATUS(status));
}
