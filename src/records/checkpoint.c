#include "records/checkpoint.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include "base/log.h"

enum {
    START_PAGES = 1000, /* SQLite's own measure */
    FEW_PAGES = 64,
    TRIES = 4,
    IDLE_SECONDS = 2,
    RETRY_SECONDS = 5,
    SETTLE_BUSY_MS = 15000,
};

struct cf_checkpoint {
    sqlite3 *handle, *working;
    cf_turns *turns;
    pthread_mutex_t at_work; /* held around every checkpoint of this process */
    pthread_mutex_t mutex;   /* guards what follows */
    pthread_cond_t wake;
    pthread_t thread;
    bool started, end;
    bool failed; /* the last one; logged once */
    int pages;   /* in the log after the last commit */
    int done;    /* of these are in the database */
    int longest; /* of the log since it was cut */
    uint64_t commits;
};

/* ---- One checkpoint ---- */

static int run(cf_checkpoint *self, int mode, int *left) {
    int pages = -1, done = -1;
    pthread_mutex_lock(&self->at_work);
    int result = sqlite3_wal_checkpoint_v2(self->handle, NULL, mode, &pages, &done);
    pthread_mutex_unlock(&self->at_work);
    *left = pages >= 0 && done >= 0 ? pages - done : 0;
    pthread_mutex_lock(&self->mutex);
    if (result == SQLITE_OK && done >= 0) self->done = done;
    if (result == SQLITE_OK && mode == SQLITE_CHECKPOINT_TRUNCATE) self->pages = self->done = self->longest = 0;
    pthread_mutex_unlock(&self->mutex);
    return result;
}

static void note(cf_checkpoint *self, int result) {
    bool bad = result != SQLITE_OK && result != SQLITE_BUSY; /* another process's checkpoint is as good */
    if (bad && !self->failed)
        cf_log(CF_LOG_WARNING, "the database's log cannot be carried over and grows: %s", sqlite3_errstr(result));
    self->failed = bad;
}

/* Until only a few pages are left, or, when the log is long, none: commits wait for that one. */
static void carry_over(cf_checkpoint *self, bool bound) {
    int left = 0, result = SQLITE_OK;
    for (int i = 0; i < TRIES; i++) {
        result = run(self, SQLITE_CHECKPOINT_PASSIVE, &left);
        if (result != SQLITE_OK || left <= FEW_PAGES) break;
    }
    if (result == SQLITE_OK && bound && left > 0) {
        cf_turns_lock(self->turns);
        result = run(self, SQLITE_CHECKPOINT_PASSIVE, &left);
        cf_turns_unlock(self->turns);
    }
    note(self, result);
}

/* Nobody has written for a while: the file is cut. With the turn, so that a commit that comes just now waits in line and
 * not in SQLite, which would let it sleep. */
static void cut(cf_checkpoint *self) {
    int left = 0;
    int result = run(self, SQLITE_CHECKPOINT_PASSIVE, &left);
    if (result == SQLITE_OK && left == 0) {
        cf_turns_lock(self->turns);
        result = run(self, SQLITE_CHECKPOINT_TRUNCATE, &left);
        cf_turns_unlock(self->turns);
    }
    note(self, result);
}

/* ---- The thread ---- */

/* With mutex held. True when a time passed without being woken. */
static bool doze(cf_checkpoint *self, int seconds) {
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += seconds;
    return pthread_cond_timedwait(&self->wake, &self->mutex, &until) == ETIMEDOUT;
}

static bool is_due(const cf_checkpoint *self) {
    return self->pages - self->done >= START_PAGES;
}

static void *loop(void *context) {
    cf_checkpoint *self = context;
    uint64_t seen = 0, cut_at = UINT64_MAX;
    pthread_mutex_lock(&self->mutex);
    while (!self->end) {
        bool due = is_due(self), bound = self->pages >= CF_LOG_PAGES;
        bool idle = seen == self->commits && self->longest >= START_PAGES && cut_at != seen;
        if (due) {
            pthread_mutex_unlock(&self->mutex);
            carry_over(self, bound);
            pthread_mutex_lock(&self->mutex);
            if (self->failed && !self->end) (void)doze(self, RETRY_SECONDS);
            continue;
        }
        seen = self->commits;
        if (!doze(self, IDLE_SECONDS) || !idle || seen != self->commits || self->end) continue;
        cut_at = seen;
        pthread_mutex_unlock(&self->mutex);
        cut(self);
        pthread_mutex_lock(&self->mutex);
    }
    pthread_mutex_unlock(&self->mutex);
    return NULL;
}

/* Signals are for the other threads. */
static bool start(cf_checkpoint *self) {
    sigset_t all, before;
    (void)sigfillset(&all);
    if (pthread_sigmask(SIG_SETMASK, &all, &before) != 0) return false;
    bool fine = pthread_create(&self->thread, NULL, loop, self) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return fine;
}

/* After each commit of the working connection, still in its turn. */
static int committed(void *context, sqlite3 *handle, const char *name, int pages) {
    cf_checkpoint *self = context;
    (void)handle;
    (void)name;
    bool alone = false;
    pthread_mutex_lock(&self->mutex);
    if (pages < self->pages) self->done = 0; /* the log began anew */
    self->pages = pages;
    self->commits++;
    if (pages > self->longest) self->longest = pages;
    if (is_due(self) && !self->started) {
        self->started = start(self);
        alone = !self->started;
    }
    if (is_due(self)) pthread_cond_signal(&self->wake);
    pthread_mutex_unlock(&self->mutex);
    if (alone) { /* no thread to be had: as SQLite does it by itself */
        int left = 0;
        note(self, run(self, SQLITE_CHECKPOINT_PASSIVE, &left));
    }
    return SQLITE_OK;
}

/* ---- Making and ending ---- */

static cf_err *fail(const cf_checkpoint *self, const char *doing) {
    return cf_fail(CF_ERR_DATABASE, "%s: %s", doing, self->handle ? sqlite3_errmsg(self->handle) : "no memory");
}

static cf_err *init_locks(cf_checkpoint *self) {
    pthread_condattr_t kind;
    int err_no = pthread_condattr_init(&kind);
    if (err_no == 0) err_no = pthread_condattr_setclock(&kind, CLOCK_MONOTONIC);
    if (err_no == 0) err_no = pthread_cond_init(&self->wake, &kind);
    if (err_no == 0) err_no = pthread_mutex_init(&self->mutex, NULL);
    if (err_no == 0) err_no = pthread_mutex_init(&self->at_work, NULL);
    return err_no ? cf_fail_errno(CF_ERR_INTERNAL, err_no, "cannot make a lock") : NULL;
}

/* It must have read once: SQLite takes a database for one without a log until then, and carries nothing over. */
static bool open_second(cf_checkpoint *self, const char *path) {
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_FULLMUTEX;
    if (sqlite3_open_v2(path, &self->handle, flags, NULL) != SQLITE_OK) return false;
    sqlite3_busy_timeout(self->handle, SETTLE_BUSY_MS);
    bool fine = sqlite3_exec(self->handle,
                             "PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0; PRAGMA cache_size=-256;"
                             "SELECT count(*) FROM sqlite_schema;",
                             NULL, NULL, NULL) == SQLITE_OK;
    sqlite3_busy_timeout(self->handle, 0); /* what cannot be done now is done the next time */
    return fine;
}

cf_err *cf_checkpoint_new(sqlite3 *working, const char *path, cf_turns *turns, cf_checkpoint **out) {
    cf_checkpoint *self = calloc(1, sizeof *self);
    if (!self) return cf_fail(CF_ERR_OUT_OF_MEMORY, "the database");
    self->working = working;
    self->turns = turns;
    cf_err *err = init_locks(self);
    if (err) {
        free(self);
        return err;
    }
    if (!open_second(self, path)) err = fail(self, "cannot open a second time");
    if (err) {
        cf_checkpoint_free(self);
        return err;
    }
    (void)sqlite3_wal_hook(working, committed, self); /* instead of SQLite's, which checkpoints */
    *out = self;
    return NULL;
}

void cf_checkpoint_free(cf_checkpoint *self) {
    if (!self) return;
    (void)sqlite3_wal_hook(self->working, NULL, NULL);
    pthread_mutex_lock(&self->mutex);
    self->end = true;
    pthread_cond_signal(&self->wake);
    pthread_mutex_unlock(&self->mutex);
    if (self->started) (void)pthread_join(self->thread, NULL);
    (void)sqlite3_close(self->handle); /* holds nothing */
    pthread_cond_destroy(&self->wake);
    pthread_mutex_destroy(&self->mutex);
    pthread_mutex_destroy(&self->at_work);
    free(self);
}

cf_err *cf_checkpoint_settle(cf_checkpoint *self) {
    int left = 0;
    cf_turns_lock(self->turns);
    sqlite3_busy_timeout(self->handle, SETTLE_BUSY_MS);
    int result = run(self, SQLITE_CHECKPOINT_TRUNCATE, &left);
    sqlite3_busy_timeout(self->handle, 0);
    cf_turns_unlock(self->turns);
    return result == SQLITE_OK ? NULL : fail(self, "the database's log cannot be carried over");
}
