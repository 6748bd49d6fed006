/* Telling the vault what it does not know (ended jobs, edits of the policy) and asking for the newest policy. */
#include <signal.h>
#include <sys/wait.h>

#include "base/log.h"
#include "daemon/internal.h"

enum {
    EVERY_MS = 15 * 60 * 1000,
    FIRST_RETRY_MS = 20 * 1000,
    PATIENCE_MS = 10 * 60 * 1000, /* a sync that takes longer hangs */
};

void cf_daemon_sync_soon(cf_daemon *daemon) {
    daemon->sync.next_ms = 0;
    daemon->sync.failures = 0;
}

/* Twenty seconds, then twice as long each time, up to the ordinary distance. */
static uint64_t pause_ms(const cf_daemon *daemon) {
    if (daemon->sync.failures == 0) return EVERY_MS;
    uint64_t pause = FIRST_RETRY_MS;
    for (unsigned i = 1; i < daemon->sync.failures && pause < EVERY_MS; i++) pause *= 2;
    return pause < EVERY_MS ? pause : EVERY_MS;
}

static cf_err *look(cf_daemon *daemon, cf_worker *worker, cf_wake *wake) {
    static const char *const words[] = {"-q", "sync", NULL};
    uint64_t now = cf_daemon_ms(daemon);
    if (!daemon->registered) return NULL;
    if (worker->child.pid) {
        if (now - daemon->sync.begun_ms > PATIENCE_MS) cf_child_signal(&worker->child, SIGKILL, true);
        return NULL;
    }
    if (now < daemon->sync.next_ms) {
        if (daemon->sync.next_ms < wake->monotonic_ms) wake->monotonic_ms = daemon->sync.next_ms;
        return NULL;
    }
    daemon->sync.begun_ms = now;
    daemon->sync.next_ms = UINT64_MAX; /* until it has ended; 0 when something new came up meanwhile */
    return cf_worker_start(daemon, worker, words);
}

static cf_err *ended(cf_daemon *daemon, cf_worker *worker, int status) {
    (void)worker;
    bool good = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (!good && daemon->sync.failures == 0) {
        char how[64];
        cf_child_text(status, how);
        cf_log(CF_LOG_INFO, "the vault could not be asked (%s); trying again", how);
    }
    daemon->sync.failures = good ? 0 : daemon->sync.failures + 1;
    daemon->reload = true;
    if (daemon->sync.next_ms == UINT64_MAX || !good) daemon->sync.next_ms = cf_daemon_ms(daemon) + pause_ms(daemon);
    return NULL;
}

const cf_work_kind cf_work_sync = {"sync", look, ended};
