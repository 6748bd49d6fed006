#include "daemon/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "agent/identity.h"
#include "base/log.h"
#include "daemon/internal.h"
#include "daemon/notify.h"
#include "os/fail.h"
#include "os/file.h"
#include "os/lock.h"

enum {
    TICK_MS = 30 * 1000, /* jobs whose process died are noticed within that */
    POLL_MS = 50,        /* a clock that a test moves tells nobody when it does */
    NO_PIDFD_MS = 1000,  /* systems without pidfd */
    STOP_MS = 60 * 1000, /* jobs may so long end in good order */
    STOP_STEP_MS = 1000,
};
#define SLOTS_SETTING "schedule"

static const cf_work_kind *const kinds[CF_WORK_KINDS] = {&cf_work_backup, &cf_work_sync, &cf_work_drill};

int64_t cf_daemon_now(const cf_daemon *daemon) {
    return cf_clock_wall(cf_state_clock(daemon->state)).seconds;
}

uint64_t cf_daemon_ms(const cf_daemon *daemon) {
    return cf_clock_ms(cf_state_clock(daemon->state));
}

static void log_failure(cf_err *err) {
    if (err) cf_log_error(CF_LOG_ERROR, err);
    cf_err_free(err);
}

cf_err *cf_daemon_keep_slots(cf_daemon *daemon) {
    char text[CF_SLOTS_TEXT_MAX + 64];
    cf_slots_format(&daemon->slots, text);
    return cf_state_set_setting(daemon->state, SLOTS_SETTING, text);
}

/* ---- what is in force ------------------------------------------------------------------------------ */

static cf_err *load_identity(cf_daemon *daemon) {
    CF_AUTO(cf_identity) identity = NULL;
    cf_err *err = cf_registration_load_identity(cf_state_fd(daemon->state), &identity);
    daemon->registered = !err;
    if (cf_err_code(err) == CF_ERR_NOT_REGISTERED) {
        cf_err_free(err);
        return NULL;
    }
    CF_TRY(err);
    daemon->server = identity->server_id;
    return NULL;
}

/* The policy may change at any time, also during a job, which keeps the one that it began with. */
static cf_err *load_policy(cf_daemon *daemon) {
    cf_policy fresh;
    bool found = false;
    CF_TRY(load_identity(daemon));
    cf_err *err = cf_policy_store_load(daemon->state, &fresh, &found);
    if (err) {
        cf_policy_wipe(&fresh);
        return err;
    }
    cf_policy_wipe(&daemon->policy);
    daemon->policy = fresh;
    daemon->has_policy = found && daemon->registered;
    if (!cf_slots_adopt(&daemon->slots, daemon->has_policy ? &daemon->policy : NULL, cf_daemon_now(daemon)))
        return NULL;
    cf_log(CF_LOG_INFO, "schedule: %s", *daemon->slots.schedule ? daemon->slots.schedule : "no runs are planned");
    return cf_daemon_keep_slots(daemon);
}

static cf_err *load_slots(cf_daemon *daemon) {
    char *text = NULL;
    CF_TRY(cf_state_get_setting(daemon->state, SLOTS_SETTING, &text));
    (void)cf_slots_parse(text, &daemon->slots); /* none yet: it begins now */
    free(text);
    return NULL;
}

/* ---- processes --------------------------------------------------------------------------------------- */

cf_err *cf_worker_start(cf_daemon *daemon, cf_worker *worker, const char *const *words) {
    const char *argv[CF_WORK_WORDS_MAX + 4] = {daemon->options.coffer};
    size_t count = 1;
    if (daemon->options.home) {
        argv[count++] = "--home";
        argv[count++] = daemon->options.home;
    }
    for (; *words && count < CF_WORK_WORDS_MAX + 3; words++) argv[count++] = *words;
    return cf_child_start(&(cf_child_options){.argv = argv, .out = -1, .err = STDERR_FILENO}, &worker->child);
}

/* A kind that fails (no process, a full disk) is tried again at the next look. */
static void look_at_worker(cf_daemon *daemon, cf_worker *worker, cf_wake *wake) {
    int status;
    if (worker->child.pid && cf_child_poll(&worker->child, &status))
        log_failure(worker->kind->ended(daemon, worker, status));
    log_failure(worker->kind->look(daemon, worker, wake));
}

/* Jobs that somebody started by hand have no parent that looks after them. */
static void tick(cf_daemon *daemon) {
    unsigned gone = 0;
    cf_job_row *rows = NULL;
    size_t count = 0;
    daemon->tick_ms = cf_daemon_ms(daemon) + TICK_MS;
    log_failure(cf_jobs_sweep(daemon->state, &gone));
    if (!gone) return;
    log_failure(cf_jobs_list_unreported(daemon->state, 1, &rows, &count));
    cf_jobs_free_rows(rows, count);
    cf_log(CF_LOG_WARNING, "%u jobs ended without a word: interrupted", gone);
    if (count) cf_daemon_sync_soon(daemon);
}

static void tell_status(cf_daemon *daemon, const cf_wake *wake) {
    char text[sizeof daemon->status], next[40] = "";
    if (wake->wall != INT64_MAX) cf_time_format((cf_time){wake->wall, 0}, next);
    if (!daemon->registered)
        snprintf(text, sizeof text, "This server is not registered with a vault");
    else if (daemon->workers[CF_WORK_BACKUP].child.pid)
        snprintf(text, sizeof text, "A backup is running: process %d", (int)daemon->workers[CF_WORK_BACKUP].child.pid);
    else if (*next)
        snprintf(text, sizeof text, "Next backup %s", next);
    else
        snprintf(text, sizeof text, "No backups are planned");
    if (strcmp(text, daemon->status) == 0) return;
    memcpy(daemon->status, text, sizeof text);
    cf_notify_status("%s", text);
}

/* ---- waiting ----------------------------------------------------------------------------------------- */

/* The timer goes off when the wall clock says so, also after the machine slept or somebody set the clock. */
static void set_timer(cf_daemon *daemon, int64_t wall) {
    struct itimerspec at = {0};
    if (wall != INT64_MAX) at.it_value.tv_sec = wall > 0 ? (time_t)wall : 1;
    (void)timerfd_settime(daemon->timer_fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &at, NULL);
}

static int timeout_ms(const cf_daemon *daemon, const cf_wake *wake) {
    uint64_t now = cf_daemon_ms(daemon), until = wake->monotonic_ms;
    if (cf_state_clock(daemon->state)->artificial) return POLL_MS;
    uint64_t left = until > now ? until - now : 0;
    if (daemon->watchdog_ms && left > daemon->watchdog_ms) left = daemon->watchdog_ms;
    for (size_t i = 0; i < CF_WORK_KINDS; i++)
        if (daemon->workers[i].child.pid && daemon->workers[i].child.fd < 0 && left > NO_PIDFD_MS) left = NO_PIDFD_MS;
    return (int)left + 1;
}

static void drain(cf_daemon *daemon, const struct pollfd *ready) {
    union {
        struct inotify_event event;
        char bytes[4096];
    } buffer;
    uint64_t expirations;
    /* What it says does not matter, only that something happened; a failure means that the clock was set. */
    if (ready[0].revents && read(daemon->timer_fd, &expirations, sizeof expirations) < 0) daemon->reload = true;
    if (!ready[1].revents) return;
    ssize_t got = read(daemon->watch_fd, &buffer, sizeof buffer);
    for (ssize_t at = 0; got > 0 && at + (ssize_t)sizeof(struct inotify_event) <= got;) {
        struct inotify_event event;
        memcpy(&event, buffer.bytes + at, sizeof event);
        const char *name = event.len ? buffer.bytes + at + sizeof event : "";
        daemon->reload = true;
        if (strcmp(name, "policy-pending.json") == 0 && (event.mask & IN_MOVED_TO)) cf_daemon_sync_soon(daemon);
        at += (ssize_t)(sizeof event + event.len);
    }
}

/* Signals come only in here, so none is missed between looking at the flag and waiting. */
static void wait_for_something(cf_daemon *daemon, const cf_wake *wake, const sigset_t *open) {
    struct pollfd fds[2 + CF_WORK_KINDS] = {{daemon->timer_fd, POLLIN, 0}, {daemon->watch_fd, POLLIN, 0}};
    nfds_t count = 2;
    for (size_t i = 0; i < CF_WORK_KINDS; i++)
        if (daemon->workers[i].child.pid) fds[count++] = (struct pollfd){daemon->workers[i].child.fd, POLLIN, 0};
    if (!cf_state_clock(daemon->state)->artificial) set_timer(daemon, wake->wall);
    int ms = timeout_ms(daemon, wake);
    struct timespec timeout = {ms / 1000, ms % 1000 * 1000000L};
    if (ppoll(fds, count, &timeout, open) > 0) {
        drain(daemon, fds);
        /* It does not let a signal in when a descriptor is ready at once. */
        sigset_t closed;
        (void)sigprocmask(SIG_SETMASK, open, &closed);
        (void)sigprocmask(SIG_SETMASK, &closed, NULL);
    }
}

/* ---- life -------------------------------------------------------------------------------------------- */

static void run(cf_daemon *daemon, const sigset_t *open) {
    while (!cf_cancel_requested(daemon->options.cancel)) {
        if (daemon->reload) {
            daemon->reload = false;
            log_failure(load_policy(daemon));
        }
        if (cf_daemon_ms(daemon) >= daemon->tick_ms) tick(daemon);
        cf_wake wake = {INT64_MAX, daemon->tick_ms};
        for (size_t i = 0; i < CF_WORK_KINDS; i++) look_at_worker(daemon, &daemon->workers[i], &wake);
        tell_status(daemon, &wake);
        if (daemon->watchdog_ms) cf_notify_watchdog();
        if (!daemon->reload) wait_for_something(daemon, &wake, open);
    }
}

static bool any_at_work(const cf_daemon *daemon) {
    for (size_t i = 0; i < CF_WORK_KINDS; i++)
        if (daemon->workers[i].child.pid) return true;
    return false;
}

static void end_workers(cf_daemon *daemon) {
    for (size_t i = 0; i < CF_WORK_KINDS; i++) cf_child_signal(&daemon->workers[i].child, SIGTERM, false);
    for (uint64_t waited = 0; any_at_work(daemon) && waited <= STOP_MS; waited += STOP_STEP_MS) {
        cf_notify_extend(2 * STOP_STEP_MS + 5000);
        if (daemon->watchdog_ms) cf_notify_watchdog();
        if (waited + STOP_STEP_MS > STOP_MS)
            for (size_t i = 0; i < CF_WORK_KINDS; i++) cf_child_signal(&daemon->workers[i].child, SIGKILL, true);
        for (size_t i = 0; i < CF_WORK_KINDS; i++) {
            cf_worker *worker = &daemon->workers[i];
            int status;
            if (worker->child.pid && cf_child_wait(&worker->child, STOP_STEP_MS, &status))
                log_failure(worker->kind->ended(daemon, worker, status));
        }
    }
}

static cf_err *open_sources(cf_daemon *daemon) {
    daemon->timer_fd = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    if (daemon->timer_fd < 0) return cf_fail_errno(CF_ERR_IO, errno, "no timer");
    daemon->watch_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (daemon->watch_fd < 0) return cf_fail_errno(CF_ERR_IO, errno, "no watch on the state folder");
    /* Files are replaced by renaming: registrations and policies come and go that way. */
    if (inotify_add_watch(daemon->watch_fd, cf_state_folder(daemon->state), IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE) <
        0)
        return cf_os_fail(errno, "watch", cf_state_folder(daemon->state));
    return NULL;
}

static cf_err *serve(cf_daemon *daemon, const sigset_t *open) {
    CF_TRY(open_sources(daemon));
    CF_TRY(load_slots(daemon));
    log_failure(load_policy(daemon)); /* a damaged policy must not keep the daemon from fetching another */
    cf_log(CF_LOG_INFO, "cofferd %s serves %s", CF_VERSION, cf_state_folder(daemon->state));
    cf_notify_ready();
    run(daemon, open);
    cf_log(CF_LOG_INFO, "stopping");
    cf_notify_stopping();
    end_workers(daemon);
    return NULL;
}

static cf_err *take_lock(cf_daemon *daemon, cf_lock **lock) {
    cf_lock_holder holder = {0};
    cf_time now = cf_clock_wall(cf_state_clock(daemon->state));
    CF_TRY(cf_lock_try(cf_state_fd(daemon->state), CF_DAEMON_LOCK, CF_LOCK_EXCLUSIVE, "cofferd", now, lock, &holder));
    if (*lock) return NULL;
    return cf_fail(CF_ERR_DAEMON_RUNNING, "another cofferd serves %s: pid %d", cf_state_folder(daemon->state),
                   (int)holder.pid);
}

cf_err *cf_daemon_run(const cf_daemon_options *options) {
    CF_AUTO(cf_lock) lock = NULL;
    cf_daemon daemon = {.options = *options,
                        .state = options->state,
                        .timer_fd = -1,
                        .watch_fd = -1,
                        .watchdog_ms = cf_notify_watchdog_ms()};
    sigset_t ours, open;
    sigemptyset(&ours);
    sigaddset(&ours, SIGTERM);
    sigaddset(&ours, SIGINT);
    cf_policy_init(&daemon.policy);
    for (size_t i = 0; i < CF_WORK_KINDS; i++) daemon.workers[i] = (cf_worker){.kind = kinds[i], .child = {0, -1}};
    CF_TRY(take_lock(&daemon, &lock));
    (void)sigprocmask(SIG_BLOCK, &ours, &open);
    cf_err *err = serve(&daemon, &open);
    (void)sigprocmask(SIG_SETMASK, &open, NULL);
    cf_policy_wipe(&daemon.policy);
    if (daemon.timer_fd >= 0) close(daemon.timer_fd);
    if (daemon.watch_fd >= 0) close(daemon.watch_fd);
    return err;
}
