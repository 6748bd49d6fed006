/* The service scrubs by itself: one cycle after the other, the bytes spread over the days of a cycle. */
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/log.h"
#include "service/scrub.h"
#include "service/settings.h"

enum { LOOK_MS = 200, SPREAD_PERCENT = 80, RATE_MIN = 1 << 20 };

struct cf_scrub_thread {
    cf_vault *vault;
    cf_cancel cancel;
    pthread_t thread;
    uint64_t began_ms, began_bytes; /* of what is paced */
    bool pacing;
};

static int64_t cycle_seconds(cf_vault *vault) {
    uint64_t days = CF_SCRUB_DAYS;
    CF_AUTO(cf_err) err = cf_setting_get(vault, "scrub_days", &days, NULL);
    return (int64_t)(err || days == 0 ? CF_SCRUB_DAYS : days) * 86400;
}

static void pause_ms(long ms) {
    struct timespec pause = {ms / 1000, ms % 1000 * 1000000L};
    (void)nanosleep(&pause, NULL); /* shorter when a signal comes */
}

/* So fast that a cycle is over in four fifths of its days; never slower than a MiB a second: small vaults are done
 * soon. */
static void pace(void *context, const cf_scrub_report *report, uint64_t total) {
    cf_scrub_thread *self = context;
    uint64_t now = cf_clock_ms(&self->vault->clock);
    if (!self->pacing) {
        self->pacing = true;
        self->began_ms = now;
        self->began_bytes = report->bytes;
    }
    uint64_t seconds = (uint64_t)cycle_seconds(self->vault) * SPREAD_PERCENT / 100;
    uint64_t rate = total / (seconds ? seconds : 1);
    if (rate < RATE_MIN) rate = RATE_MIN;
    uint64_t due = self->began_ms + (report->bytes - self->began_bytes) * 1000 / rate;
    while (now < due && !cf_cancel_requested(&self->cancel)) {
        pause_ms(due - now < LOOK_MS ? (long)(due - now) : LOOK_MS);
        now = cf_clock_ms(&self->vault->clock);
    }
}

static bool is_due(cf_scrub_thread *self) {
    cf_scrub_row place;
    CF_AUTO(cf_err) err = cf_records_get_scrub(self->vault->records, &place);
    if (err) {
        cf_log_error(CF_LOG_ERROR, err);
        return false;
    }
    if (place.started == 0 || place.started > place.finished) return true;
    return cf_vault_now(self->vault) >= place.started + cycle_seconds(self->vault);
}

static void one_cycle(cf_scrub_thread *self) {
    cf_scrub scrub = {.vault = self->vault, .cancel = &self->cancel, .keep_place = true, .pace = pace, .context = self};
    cf_scrub_report report;
    self->pacing = false;
    CF_AUTO(cf_err) err = cf_scrub_cycle(&scrub, &report);
    if (cf_err_code(err) == CF_ERR_CANCELLED) return;
    if (err) {
        cf_log_error(CF_LOG_ERROR, err);
        for (int i = 0; i < 60 * 5 && !cf_cancel_requested(&self->cancel); i++) pause_ms(LOOK_MS); /* and again */
        return;
    }
    cf_log(report.found + report.known ? CF_LOG_ERROR : CF_LOG_INFO,
           "scrubbed %llu objects, %llu bytes: %llu new marks of damage, %llu known, %llu healed, %llu right again",
           (unsigned long long)report.objects, (unsigned long long)report.bytes, (unsigned long long)report.found,
           (unsigned long long)report.known, (unsigned long long)report.healed, (unsigned long long)report.mended);
}

static void *loop(void *argument) {
    cf_scrub_thread *self = argument;
    while (!cf_cancel_requested(&self->cancel)) {
        if (is_due(self)) one_cycle(self);
        for (int i = 0; i < 10 && !cf_cancel_requested(&self->cancel); i++) pause_ms(LOOK_MS);
    }
    return NULL;
}

cf_err *cf_scrub_thread_start(cf_vault *vault, cf_scrub_thread **out) {
    cf_scrub_thread *self = calloc(1, sizeof *self);
    if (!self) return cf_fail(CF_ERR_OUT_OF_MEMORY, "scrubbing");
    self->vault = vault;
    int failed = pthread_create(&self->thread, NULL, loop, self);
    if (failed) {
        free(self);
        return cf_fail_errno(CF_ERR_OUT_OF_MEMORY, failed, "the thread that scrubs");
    }
    *out = self;
    return NULL;
}

void cf_scrub_thread_end(cf_scrub_thread *thread) {
    if (!thread) return;
    cf_cancel_request(&thread->cancel, 15);
    pthread_join(thread->thread, NULL);
    free(thread);
}
