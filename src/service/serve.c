/* Running the service: start, housekeeping, end. */
#include "service/service.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "os/file.h"
#include "service/handler.h"
#include "service/reclaim.h"
#include "service/retention_run.h"
#include "service/scrub.h"

enum {
    GRACE_MS = 30000,
    TICK_MS = 10000,
    LOOK_MS = 200, /* how soon a signal is noticed */
    SESSION_KEEP_SECONDS = 30 * 86400,
    JOB_KEEP_SECONDS = 400 * 86400,
    TOKEN_KEEP_SECONDS = 86400,
};

cf_err *cf_service_tick(cf_vault *vault) {
    int64_t now = cf_vault_now(vault);
    int sessions = 0, jobs = 0;
    CF_TRY(cf_records_expire_sessions(vault->records, now, now - SESSION_KEEP_SECONDS, &sessions));
    CF_TRY(cf_records_drop_expired_leases(vault->records, now));
    CF_TRY(cf_records_drop_challenges(vault->records, now));
    CF_TRY(cf_records_drop_expired_tokens(vault->records, now - TOKEN_KEEP_SECONDS));
    CF_TRY(cf_records_interrupt_jobs(vault->records, now - CF_JOB_SILENCE_SECONDS, &jobs));
    if (sessions > 0) cf_log(CF_LOG_INFO, "%d backup sessions were not heard of any more and are closed", sessions);
    CF_TRY(cf_records_drop_jobs(vault->records, now - JOB_KEEP_SECONDS));
    return cf_retention_tick(vault);
}

/* The port of the vault's address, on every address of the machine. */
static void default_listen(const cf_vault *vault, char out[32]) {
    const char *host = vault->row.url + 8; /* behind https:// */
    const char *end = host[0] == '[' ? strchr(host, ']') : host;
    const char *colon = end ? strchr(end, ':') : NULL;
    snprintf(out, 32, "[::]:%.5s", colon ? colon + 1 : "443");
}

static cf_err *tell_ready(const cf_serve_options *options, const char *address) {
    if (options->out && (fprintf(options->out, "%s\n", address) < 0 || fflush(options->out) != 0))
        return cf_fail(CF_ERR_IO, "cannot write the address");
    if (!options->ready_file) return NULL;
    cf_span text[] = {cf_span_text(address), cf_span_text("\n")};
    return cf_file_write_durable(AT_FDCWD, options->ready_file, text, 2, 0644);
}

/* Takes a certificate that was renewed, here or by another program, into use. */
static cf_err *look_at_certificate(cf_vault *vault, cf_http_server *server, cf_x509_pair *used) {
    CF_AUTO_X509 cf_x509_pair pair;
    cf_x509_pair_init(&pair);
    CF_TRY(cf_vault_certificate(vault, &pair, NULL));
    if (cf_span_equal(cf_buf_span(&pair.certificate), cf_buf_span(&used->certificate))) return NULL;
    CF_TRY(cf_http_server_renew(server, cf_buf_span(&pair.certificate), cf_buf_span(&pair.key)));
    cf_log(CF_LOG_INFO, "a new certificate is in use");
    cf_x509_pair old = *used;
    *used = pair;
    pair = old; /* wiped */
    return NULL;
}

static void log_failure(cf_err *err) {
    if (err) cf_log_error(CF_LOG_ERROR, err);
    cf_err_free(err);
}

/* Every so often something; ends when asked. */
static void run(cf_vault *vault, cf_http_server *server, cf_x509_pair *used, cf_cancel *cancel) {
    uint64_t ticked = cf_clock_ms(&vault->clock);
    while (!cf_cancel_requested(cancel)) {
        struct timespec pause = {0, LOOK_MS * 1000000L};
        (void)nanosleep(&pause, NULL); /* shorter when a signal comes */
        uint64_t now = cf_clock_ms(&vault->clock);
        if (now - ticked < TICK_MS) continue;
        ticked = now;
        log_failure(cf_service_tick(vault));
        log_failure(look_at_certificate(vault, server, used));
    }
}

static cf_err *start_server(cf_service *service, const cf_serve_options *options, cf_x509_pair *used,
                            cf_http_server **server) {
    char listen[32];
    default_listen(service->vault, listen);
    CF_TRY(cf_vault_certificate(service->vault, used, NULL));
    cf_http_server_options http = {.listen = options->listen ? options->listen : listen,
                                   .certificate = cf_buf_span(&used->certificate),
                                   .key = cf_buf_span(&used->key)};
    cf_http_handler handler = cf_service_handler(service);
    return cf_http_server_start(&http, &handler, server);
}

static cf_err *serve(cf_service *service, const cf_serve_options *options, cf_cancel *cancel) {
    cf_http_server *server = NULL;
    CF_AUTO_X509 cf_x509_pair used;
    cf_x509_pair_init(&used);
    CF_TRY(cf_service_tick(service->vault));
    CF_TRY(start_server(service, options, &used, &server));
    cf_err *err = tell_ready(options, cf_http_server_address(server));
    if (!err) {
        cf_log(CF_LOG_INFO, "vault \"%s\" answers on https://%s", service->vault->row.name,
               cf_http_server_address(server));
        cf_scrub_thread *scrub = NULL;
        cf_reclaim_thread *reclaim = NULL;
        log_failure(cf_reclaim_thread_start(service, &reclaim));
        log_failure(cf_scrub_thread_start(service->vault, &scrub));
        run(service->vault, server, &used, cancel);
        cf_scrub_thread_end(scrub);
        cf_reclaim_thread_end(reclaim);
        cf_log(CF_LOG_INFO, "ending: requests at work may finish");
    }
    cf_http_server_stop(server, GRACE_MS);
    return err;
}

cf_err *cf_serve(cf_vault *vault, const cf_serve_options *options, cf_cancel *cancel) {
    cf_service *service = calloc(1, sizeof *service);
    if (!service) return cf_fail(CF_ERR_OUT_OF_MEMORY, "the service");
    service->vault = vault;
    cf_err *err = cf_rate_new(&service->rate);
    size_t stripes = 0;
    while (!err && stripes < CF_STRIPES) {
        err = cf_turns_init(&service->stripes[stripes]);
        if (!err) stripes++;
    }
    if (!err) err = serve(service, options, cancel);
    while (stripes > 0) cf_turns_destroy(&service->stripes[--stripes]);
    cf_rate_free(service->rate);
    free(service);
    return err;
}
