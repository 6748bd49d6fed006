/* The service reclaims by itself; `coffer-vault gc` asks it for a pass out of turn. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/file.h>
#include <time.h>

#include "base/log.h"
#include "os/fail.h"
#include "os/file.h"
#include "proto/json.h"
#include "service/call.h"
#include "service/reclaim_internal.h"
#include "service/settings.h"

enum { LOOK_MS = 50, RETRY_MS = 60000 };

struct cf_reclaim_thread {
    cf_service *service;
    cf_cancel cancel;
    pthread_t thread;
};

static void pause_ms(long ms) {
    struct timespec pause = {ms / 1000, ms % 1000 * 1000000L};
    (void)nanosleep(&pause, NULL);
}

static json_t *report_value(const cf_reclaim_report *report) {
    return json_pack("{so,so,so,so,so,so,so,so,sb}", "servers", cf_value_number(report->servers), "failed",
                     cf_value_number(report->failed), "retired_segments", cf_value_number(report->retired_segments),
                     "revived_segments", cf_value_number(report->revived_segments), "deleted_packs",
                     cf_value_number(report->deleted_packs), "deleted_bytes", cf_value_number(report->deleted_bytes),
                     "deleted_points", cf_value_number(report->deleted_points), "deleted_strays",
                     cf_value_number(report->deleted_strays), "frozen", (int)report->frozen);
}

static cf_err *parse_report(const char *text, cf_reclaim_report *report) {
    CF_AUTO(json_t) value = NULL;
    CF_TRY(cf_json_parse(cf_span_text(text), 1 << 16, CF_ERR_FORMAT, "the report of the service", &value));
    cf_json_reader reader = cf_json_reader_of(value, CF_ERR_FORMAT, "the report of the service");
    report->servers = cf_json_read_number(&reader, "servers", 0, INT64_MAX);
    report->failed = cf_json_read_number(&reader, "failed", 0, INT64_MAX);
    report->retired_segments = cf_json_read_number(&reader, "retired_segments", 0, INT64_MAX);
    report->revived_segments = cf_json_read_number(&reader, "revived_segments", 0, INT64_MAX);
    report->deleted_packs = cf_json_read_number(&reader, "deleted_packs", 0, INT64_MAX);
    report->deleted_bytes = cf_json_read_number(&reader, "deleted_bytes", 0, INT64_MAX);
    report->deleted_points = cf_json_read_number(&reader, "deleted_points", 0, INT64_MAX);
    report->deleted_strays = cf_json_read_number(&reader, "deleted_strays", 0, INT64_MAX);
    report->frozen = json_is_true(json_object_get(value, "frozen"));
    return cf_json_done(&reader);
}

static cf_err *answer(cf_vault *vault, uint64_t asked, const cf_reclaim_report *report) {
    CF_AUTO(json_t) value = report_value(report);
    char *text = value ? json_dumps(value, JSON_COMPACT) : NULL;
    if (!text) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a report");
    cf_err *err = cf_records_answer_reclaim(vault->records, asked, text);
    free(text);
    return err;
}

/* *asked: answer it too. */
static cf_err *one_pass(cf_reclaim_thread *self, bool asked_for, uint64_t asked) {
    cf_vault *vault = self->service->vault;
    cf_reclaimer reclaimer = {vault, self->service, &self->cancel};
    cf_reclaim_report report;
    CF_TRY(cf_reclaim_all(&reclaimer, asked_for, &report));
    return asked_for ? answer(vault, asked, &report) : NULL;
}

static uint64_t interval_ms(cf_vault *vault) {
    uint64_t seconds = 3600;
    CF_AUTO(cf_err) err = cf_setting_get(vault, "reclaim_interval_seconds", &seconds, NULL);
    return seconds * 1000; /* as it is by default when it cannot be read */
}

static bool step(cf_reclaim_thread *self, uint64_t *due) {
    cf_vault *vault = self->service->vault;
    uint64_t asked = 0, answered = 0, now = cf_clock_ms(&vault->clock);
    CF_AUTO(cf_err) err = cf_records_reclaim_asked(vault->records, &asked, &answered);
    bool wanted = !err && asked > answered;
    if (!err && !wanted && now < *due) return true;
    if (!err) err = one_pass(self, wanted, asked);
    *due = cf_clock_ms(&vault->clock) + (err ? RETRY_MS : interval_ms(vault));
    if (!err) return true;
    if (cf_err_code(err) != CF_ERR_CANCELLED) cf_log_error(CF_LOG_ERROR, err);
    return !wanted; /* asked for: tried again soon, but not at once */
}

static void *run(void *context) {
    cf_reclaim_thread *self = context;
    uint64_t due = 0;
    while (!cf_cancel_requested(&self->cancel)) {
        bool well = step(self, &due);
        for (int i = 0; i < (well ? 1 : 100) && !cf_cancel_requested(&self->cancel); i++) pause_ms(LOOK_MS);
    }
    return NULL;
}

cf_err *cf_reclaim_thread_start(cf_service *service, cf_reclaim_thread **out) {
    cf_reclaim_thread *self = calloc(1, sizeof *self);
    if (!self) return cf_fail(CF_ERR_OUT_OF_MEMORY, "the reclaiming thread");
    self->service = service;
    int err_no = pthread_create(&self->thread, NULL, run, self);
    if (err_no) {
        free(self);
        return cf_fail_errno(CF_ERR_INTERNAL, err_no, "cannot start the reclaiming thread");
    }
    *out = self;
    return NULL;
}

void cf_reclaim_thread_end(cf_reclaim_thread *self) {
    if (!self) return;
    cf_cancel_request(&self->cancel, SIGTERM);
    (void)pthread_join(self->thread, NULL);
    free(self);
}

/* Whoever serves holds the vault's lock. */
static cf_err *is_served(cf_vault *vault, bool *served) {
    CF_AUTO_FD int fd = openat(vault->fd, "lock", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return cf_os_fail(errno, "open", "lock");
    *served = flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    return NULL; /* closing lets go of it */
}

cf_err *cf_reclaim_ask(cf_vault *vault, cf_cancel *cancel, bool *answered, cf_reclaim_report *report) {
    uint64_t asked = 0;
    bool served = true;
    CF_TRY(cf_records_ask_reclaim(vault->records, &asked));
    for (unsigned i = 1;; i++) {
        CF_AUTO_FREE char *text = NULL;
        CF_TRY(cf_cancel_check(cancel));
        if (i % 16 == 0) CF_TRY(is_served(vault, &served));
        CF_TRY(cf_records_reclaim_answer(vault->records, asked, &text));
        *answered = text != NULL;
        if (text) return parse_report(text, report);
        if (!served) return NULL;
        pause_ms(LOOK_MS);
    }
}
