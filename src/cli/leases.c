#include "cli/leases.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "digest/digest.h"
#include "remote/sessions.h"

struct lease {
    cf_id16 id;
    cf_id32 points[CF_LEASE_POINTS];
    size_t count;
    bool held; /* the vault granted it, with these points */
};

struct cf_leases {
    cf_remote *remote;
    const char *kind;
    pthread_mutex_t lock; /* all below; held during requests, so that they do not cross */
    struct lease lease[CF_LEASES_MAX];
    size_t count;
    uint32_t seconds;
    pthread_mutex_t sleep_lock; /* stop */
    pthread_cond_t wake;
    bool stop, has_thread;
    pthread_t thread;
};

static cf_err *take(cf_leases *leases, struct lease *lease) {
    CF_TRY(
        cf_remote_take_lease(leases->remote, &lease->id, leases->kind, lease->points, lease->count, &leases->seconds));
    lease->held = true;
    return NULL;
}

/* A lease that ran out (the vault was away for long) is taken anew: the data will most likely still be there. */
static void renew(cf_leases *leases, struct lease *lease) {
    uint32_t seconds = 0;
    cf_err *err = cf_remote_renew_lease(leases->remote, &lease->id, &seconds);
    if (cf_err_is(err, CF_ERR_UNKNOWN_OBJECT)) {
        cf_err_free(err);
        err = take(leases, lease);
    }
    if (err) cf_log(CF_LOG_INFO, "the read lease could not be renewed: %s", cf_err_message(err));
    cf_err_free(err);
    if (seconds) leases->seconds = seconds;
}

static void *keep(void *context) {
    cf_leases *leases = context;
    pthread_mutex_lock(&leases->sleep_lock);
    while (!leases->stop) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += leases->seconds > 15 ? leases->seconds / 3 : 5;
        int result = 0;
        while (!leases->stop && result != ETIMEDOUT)
            result = pthread_cond_timedwait(&leases->wake, &leases->sleep_lock, &until);
        if (leases->stop) break;
        pthread_mutex_unlock(&leases->sleep_lock);
        pthread_mutex_lock(&leases->lock);
        for (size_t i = 0; i < leases->count; i++) renew(leases, &leases->lease[i]);
        pthread_mutex_unlock(&leases->lock);
        pthread_mutex_lock(&leases->sleep_lock);
    }
    pthread_mutex_unlock(&leases->sleep_lock);
    return NULL;
}

static cf_err *drop(cf_leases *leases, struct lease *lease) {
    if (!lease->held) return NULL;
    lease->held = false;
    return cf_remote_end_lease(leases->remote, &lease->id);
}

static cf_err *cover(cf_leases *leases, const cf_id32 *points, size_t count) {
    const size_t most = (size_t)CF_LEASES_MAX * CF_LEASE_POINTS;
    if (count > most) {
        points += count - most;
        count = most;
    }
    size_t need = (count + CF_LEASE_POINTS - 1) / CF_LEASE_POINTS;
    for (size_t i = 0; i < need; i++) {
        struct lease *lease = &leases->lease[i];
        size_t part = count - i * CF_LEASE_POINTS < CF_LEASE_POINTS ? count - i * CF_LEASE_POINTS : CF_LEASE_POINTS;
        const cf_id32 *first = points + i * CF_LEASE_POINTS;
        if (i >= leases->count) {
            *lease = (struct lease){0};
            CF_TRY(cf_random(lease->id.bytes, sizeof lease->id.bytes));
            leases->count = i + 1;
        }
        if (lease->held && lease->count == part && memcmp(lease->points, first, part * sizeof *first) == 0) continue;
        memcpy(lease->points, first, part * sizeof *first);
        lease->count = part;
        CF_TRY(take(leases, lease));
    }
    while (leases->count > need) CF_TRY(drop(leases, &leases->lease[--leases->count]));
    return NULL;
}

cf_err *cf_leases_cover(cf_leases *leases, const cf_id32 *points, size_t count) {
    pthread_mutex_lock(&leases->lock);
    cf_err *err = cover(leases, points, count);
    pthread_mutex_unlock(&leases->lock);
    return err;
}

cf_err *cf_leases_take(cf_remote *remote, const char *kind, const cf_id32 *points, size_t count, cf_leases **out) {
    CF_AUTO(cf_leases) leases = calloc(1, sizeof *leases);
    if (!leases) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for read leases");
    leases->remote = remote;
    leases->kind = kind;
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&leases->lock, NULL);
    pthread_mutex_init(&leases->sleep_lock, NULL);
    pthread_cond_init(&leases->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    CF_TRY(cf_leases_cover(leases, points, count));
    int result = pthread_create(&leases->thread, NULL, keep, leases);
    if (result) return cf_fail_errno(CF_ERR_OUT_OF_MEMORY, result, "no thread for the read lease");
    leases->has_thread = true;
    *out = cf_take(leases);
    return NULL;
}

void cf_leases_free(cf_leases *leases) {
    if (!leases) return;
    if (leases->has_thread) {
        pthread_mutex_lock(&leases->sleep_lock);
        leases->stop = true;
        pthread_cond_signal(&leases->wake);
        pthread_mutex_unlock(&leases->sleep_lock);
        pthread_join(leases->thread, NULL);
    }
    for (size_t i = 0; i < leases->count; i++) {
        cf_err *err = drop(leases, &leases->lease[i]);
        if (err) cf_log(CF_LOG_INFO, "a read lease could not be ended, it runs out by itself: %s", cf_err_message(err));
        cf_err_free(err);
    }
    pthread_cond_destroy(&leases->wake);
    pthread_mutex_destroy(&leases->sleep_lock);
    pthread_mutex_destroy(&leases->lock);
    free(leases);
}
