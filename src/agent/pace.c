#include "agent/pace.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#include "base/log.h"
#include "os/file.h"
#include "os/shared.h"

#define RULES "throttle.conf"
#define BUCKET "throttle.bucket"
#define NS_PER_MS UINT64_C(1000000)
enum { LOOK_MS = 500, NAP_MS = 50, BUCKET_SIZE = 64 };

struct cf_agent_pace {
    int dirfd;
    cf_clock clock;
    cf_http_pace http;
    cf_shared shared;
    _Atomic uint64_t own; /* the bucket when there is no shared one */
    _Atomic uint64_t *paid;
    _Atomic uint64_t rate;    /* bytes a second; 0: no limit */
    _Atomic uint64_t look_at; /* when the rules are looked at next, ns */
    pthread_mutex_t lock;     /* of what follows */
    cf_throttle rules;
    struct stat seen; /* of the rules' file; all zero: there was none */
};

/* Bytes move in real time, also where a test has put the hours under its own clock. */
static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

void cf_throttle_local(cf_time time, unsigned *weekday, unsigned *minute) {
    time_t seconds = (time_t)time.seconds;
    struct tm tm = {0};
    tzset();                                                        /* the machine's zone may have been changed since */
    if (!localtime_r(&seconds, &tm)) (void)gmtime_r(&seconds, &tm); /* a year beyond int: any answer will do */
    *weekday = (unsigned)(tm.tm_wday + 6) % 7;
    *minute = (unsigned)(tm.tm_hour * 60 + tm.tm_min);
}

cf_err *cf_throttle_load(int dirfd, cf_throttle *throttle) {
    CF_AUTO_BUF cf_buf text;
    cf_buf_init(&text, CF_THROTTLE_SIZE_MAX);
    cf_err *err = cf_file_read(dirfd, RULES, CF_THROTTLE_SIZE_MAX, &text);
    if (err && cf_err_code(err) == CF_ERR_NOT_FOUND) {
        cf_err_free(err);
        *throttle = (cf_throttle){0};
        return NULL;
    }
    if (err) return err;
    return cf_throttle_parse(cf_buf_span(&text), RULES, throttle);
}

cf_err *cf_throttle_save(int dirfd, const cf_throttle *throttle) {
    CF_AUTO_BUF cf_buf text;
    cf_buf_init(&text, CF_THROTTLE_SIZE_MAX);
    CF_TRY(cf_throttle_format(throttle, &text));
    cf_span span = cf_buf_span(&text);
    return cf_file_write_durable(dirfd, RULES, &span, 1, 0600);
}

static bool rules_changed(cf_agent_pace *pace) {
    struct stat now;
    if (fstatat(pace->dirfd, RULES, &now, AT_SYMLINK_NOFOLLOW) < 0) now = (struct stat){0};
    const struct stat *seen = &pace->seen;
    bool same = now.st_ino == seen->st_ino && now.st_size == seen->st_size &&
                now.st_mtim.tv_sec == seen->st_mtim.tv_sec && now.st_mtim.tv_nsec == seen->st_mtim.tv_nsec;
    pace->seen = now;
    return !same;
}

static void load_rules(cf_agent_pace *pace) {
    cf_throttle fresh;
    cf_err *err = cf_throttle_load(pace->dirfd, &fresh);
    if (err)
        cf_log_error(CF_LOG_WARNING, err); /* what held before goes on */
    else
        pace->rules = fresh;
    cf_err_free(err);
}

/* What was promised at a lower rate must not hold up a higher one. */
static void set_rate(cf_agent_pace *pace, uint64_t rate) {
    uint64_t before = atomic_exchange(&pace->rate, rate);
    if (!before || rate <= before) return;
    uint64_t now = now_ns(), paid = atomic_load(pace->paid);
    while (paid > now && !atomic_compare_exchange_weak(pace->paid, &paid, now)) {
    }
}

static void look(cf_agent_pace *pace) {
    unsigned weekday, minute;
    pthread_mutex_lock(&pace->lock);
    if (rules_changed(pace)) load_rules(pace);
    if (pace->rules.enabled) cf_throttle_local(cf_clock_wall(&pace->clock), &weekday, &minute);
    set_rate(pace, pace->rules.enabled ? cf_throttle_bits(&pace->rules, weekday, minute) / 8 : 0);
    pthread_mutex_unlock(&pace->lock);
}

static uint64_t rate_now(void *context) {
    cf_agent_pace *pace = context;
    uint64_t now = now_ns(), due = atomic_load_explicit(&pace->look_at, memory_order_relaxed);
    if (now >= due && atomic_compare_exchange_strong(&pace->look_at, &due, now + LOOK_MS * NS_PER_MS)) look(pace);
    return atomic_load_explicit(&pace->rate, memory_order_relaxed);
}

static bool wait_until(cf_agent_pace *pace, uint64_t until, uint64_t rate, cf_cancel *cancel) {
    for (;;) {
        uint64_t now = now_ns();
        if (now >= until) return true;
        if (cf_cancel_requested(cancel)) return false;
        uint64_t holds = rate_now(pace);
        if (holds == 0 || holds > rate) return true; /* the promise was made at a lower rate, which is gone */
        uint64_t nap = now + NAP_MS * NS_PER_MS < until ? now + NAP_MS * NS_PER_MS : until;
        struct timespec end = {.tv_sec = (time_t)(nap / 1000000000), .tv_nsec = (long)(nap % 1000000000)};
        (void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, NULL); /* a signal: looked at above */
    }
}

static bool take(void *context, uint64_t bytes, bool wait, cf_cancel *cancel) {
    cf_agent_pace *pace = context;
    while (bytes > 0) {
        uint64_t rate = rate_now(pace);
        if (!rate) return true;
        uint64_t slice = wait && bytes > cf_bucket_slice(rate) ? cf_bucket_slice(rate) : bytes, until;
        uint64_t paid = atomic_load(pace->paid);
        while (!atomic_compare_exchange_weak(pace->paid, &paid, cf_bucket_take(paid, now_ns(), rate, slice, &until))) {
        }
        if (wait && !wait_until(pace, until, rate, cancel)) return false;
        bytes -= slice;
    }
    return true;
}

static void give(void *context, uint64_t bytes) {
    cf_agent_pace *pace = context;
    uint64_t rate = rate_now(pace), paid = atomic_load(pace->paid);
    while (rate && !atomic_compare_exchange_weak(pace->paid, &paid, cf_bucket_give(paid, rate, bytes))) {
    }
}

cf_err *cf_agent_pace_open(int dirfd, const cf_clock *clock, cf_agent_pace **out) {
    cf_agent_pace *pace = calloc(1, sizeof *pace);
    if (!pace) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for the throttle");
    pace->dirfd = dirfd;
    pace->clock = *clock;
    pace->http = (cf_http_pace){.rate = rate_now, .take = take, .give = give, .context = pace};
    pthread_mutex_init(&pace->lock, NULL);
    cf_err *err = cf_shared_open(dirfd, BUCKET, BUCKET_SIZE, &pace->shared);
    if (err) cf_log_error(CF_LOG_INFO, err);
    cf_err_free(err);
    pace->paid = pace->shared.data ? pace->shared.data : (void *)&pace->own;
    *out = pace;
    return NULL;
}

void cf_agent_pace_free(cf_agent_pace *pace) {
    if (!pace) return;
    cf_shared_close(&pace->shared);
    pthread_mutex_destroy(&pace->lock);
    free(pace);
}

const cf_http_pace *cf_agent_pace_http(const cf_agent_pace *pace) {
    return &pace->http;
}
