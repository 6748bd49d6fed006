#include "remote/call.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/text.h"
#include "digest/digest.h"
#include "proto/error_json.h"
#include "proto/version.h"

enum {
    JSON_REPLY_MAX = 8 << 20,
    FAREWELL_SECONDS = 5,
    CALL_SECONDS = 300, /* a control request that takes longer is hung, whatever trickles in        */
    SLEEP_SLICE_MS = 200,
    TOLD_MS = 2000,          /* waits from here on are told to people                                      */
    SERVER_FAILED_TRIES = 4, /* HTTP 500 is more often a defect than passing                             */
    AUTHORIZATION_SIZE = 96,
};

struct cf_remote {
    cf_http *http;
    char *url;                /* without a slash at its end */
    cf_secret *authorization; /* header value with its NUL, or NULL */
    cf_cancel *cancel;
    uint64_t retry_total_ms;
    cf_clock clock;
    void (*waiting)(void *context, const cf_err *why, uint64_t wait_ms);
    void (*sleep)(void *context, uint64_t wait_ms);
    void *context;
    atomic_bool has_offset;
    atomic_int_fast64_t offset;
    pthread_mutex_t access_lock; /* URLs of packs, which readers renew */
};

static cf_err *make_authorization(const char *scheme, const cf_secret *secret, cf_secret **out) {
    if (cf_secret_size(secret) != CF_TOKEN_SIZE) return cf_fail(CF_ERR_INTERNAL, "a token has %d bytes", CF_TOKEN_SIZE);
    CF_AUTO(cf_secret) value = NULL;
    CF_TRY(cf_secret_new(AUTHORIZATION_SIZE, &value));
    char *text = (char *)cf_secret_data(value);
    size_t length = strlen(scheme);
    memcpy(text, scheme, length);
    cf_hex_encode(cf_secret_bytes(secret), CF_TOKEN_SIZE, text + length);
    *out = cf_take(value);
    return NULL;
}

cf_err *cf_remote_set_token(cf_remote *remote, const cf_secret *token) {
    CF_AUTO(cf_secret) value = NULL;
    CF_TRY(make_authorization("Bearer ", token, &value));
    cf_secret_free(remote->authorization);
    remote->authorization = cf_take(value);
    return NULL;
}

void cf_remote_set_patience(cf_remote *remote, uint64_t retry_total_ms) {
    remote->retry_total_ms = retry_total_ms;
}

static cf_err *set_up(cf_remote *remote, const cf_remote_options *options) {
    size_t length = strlen(options->url);
    while (length && options->url[length - 1] == '/') length--;
    remote->url = strndup(options->url, length);
    if (!remote->url) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a client");
    remote->cancel = options->cancel;
    remote->retry_total_ms = options->retry_total_ms;
    remote->clock = options->clock.wall ? options->clock : cf_clock_system();
    remote->waiting = options->waiting;
    remote->sleep = options->sleep;
    remote->context = options->context;
    if (options->token) CF_TRY(make_authorization("Bearer ", options->token, &remote->authorization));
    if (options->credentials)
        CF_TRY(make_authorization("Coffer-Credentials ", options->credentials, &remote->authorization));
    cf_http_options http = {.ca_pem = options->ca_pem,
                            .proxy = options->proxy,
                            .proxy_user = options->proxy_user,
                            .proxy_password = options->proxy_password,
                            .cancel = options->cancel,
                            .pace = options->pace};
    return cf_http_new(&http, &remote->http);
}

cf_err *cf_remote_open(const cf_remote_options *options, cf_remote **out) {
    if (!options->url || !cf_text_starts(options->url, "https://") || options->url[8] == '\0')
        return cf_fail(CF_ERR_BAD_USAGE, "the vault's address must begin with https://, not \"%s\"",
                       options->url ? options->url : "");
    cf_remote *remote = calloc(1, sizeof *remote);
    if (!remote) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a client");
    pthread_mutex_init(&remote->access_lock, NULL);
    cf_err *err = set_up(remote, options);
    if (err) {
        cf_remote_free(remote);
        return err;
    }
    *out = remote;
    return NULL;
}

void cf_remote_free(cf_remote *remote) {
    if (!remote) return;
    cf_http_free(remote->http);
    cf_secret_free(remote->authorization);
    pthread_mutex_destroy(&remote->access_lock);
    free(remote->url);
    free(remote);
}

const char *cf_remote_url(const cf_remote *remote) {
    return remote->url;
}

pthread_mutex_t *cf_remote_access_lock(cf_remote *remote) {
    return &remote->access_lock;
}

bool cf_remote_clock_offset(const cf_remote *remote, int64_t *seconds) {
    if (!atomic_load(&remote->has_offset)) return false;
    *seconds = atomic_load(&remote->offset);
    return true;
}

cf_time cf_remote_now(const cf_remote *remote) {
    cf_time now = cf_clock_wall(&remote->clock);
    int64_t offset;
    if (cf_remote_clock_offset(remote, &offset)) now.seconds += offset;
    return now;
}

static void learn_time(cf_remote *remote, const cf_http_reply *reply) {
    char text[64];
    int64_t seconds;
    if (!cf_http_reply_header(reply, "Date", text, sizeof text) || !cf_http_date_parse(text, &seconds)) return;
    atomic_store(&remote->offset, seconds - cf_clock_wall(&remote->clock).seconds);
    atomic_store(&remote->has_offset, true);
}

/* Is it a vault that answers, and one that we can talk with? */
static cf_err *check_version(const cf_remote *remote, const cf_http_reply *reply) {
    char text[64], vault[64] = "", oldest[64] = "";
    cf_protocol_range range;
    if (!cf_http_reply_header(reply, CF_HEADER_PROTOCOL, text, sizeof text) || !cf_protocol_range_parse(text, &range))
        return cf_fail_reason(CF_ERR_BAD_REPLY, "not_json",
                              "%s: HTTP %d without a vault's headers: another server answers", remote->url,
                              reply->status);
    (void)cf_http_reply_header(reply, CF_HEADER_VERSION, vault, sizeof vault);        /* for the message only */
    (void)cf_http_reply_header(reply, CF_HEADER_AGENT_OLDEST, oldest, sizeof oldest); /* none: no limit */
    return cf_version_check_vault(CF_VERSION, vault, range, oldest);
}

static unsigned retry_after_of(const cf_http_reply *reply) {
    char text[32];
    uint64_t seconds;
    if (!cf_http_reply_header(reply, "Retry-After", text, sizeof text)) return 0;
    return cf_text_parse_u64(text, 86400, &seconds) ? (unsigned)seconds : 0;
}

static cf_err *busy_error(const char *object, const cf_http_reply *reply) {
    cf_err *err = cf_fail_reason(CF_ERR_VAULT_BUSY, "", "%s: HTTP %d", object, reply->status);
    char word[16];
    snprintf(word, sizeof word, "%d", reply->status);
    cf_err_set_reason(err, word);
    return err;
}

static bool is_success(int status) {
    return status >= 200 && status < 300;
}

/* What a reply with an error status means. details as in cf_call_run. */
static cf_err *status_error(const cf_remote *remote, const cf_http_reply *reply, json_t **details) {
    json_t *document = NULL;
    cf_err *err =
        cf_json_parse(cf_buf_span(&reply->body), JSON_REPLY_MAX, CF_ERR_BAD_REPLY, "the vault's error", &document);
    if (!err && json_is_object(json_object_get(document, "error"))) {
        err = cf_error_from_json(document);
        if (details) *details = json_incref(json_object_get(json_object_get(document, "error"), "details"));
    } else {
        cf_err_free(err);
        err = reply->status >= 500 || reply->status == 429
                  ? busy_error(remote->url, reply)
                  : cf_fail_reason(CF_ERR_BAD_REPLY, "not_json", "%s: HTTP %d, which no vault sends", remote->url,
                                   reply->status);
    }
    json_decref(document);
    if (!cf_err_retry_after(err)) cf_err_set_retry_after(err, retry_after_of(reply));
    return err;
}

static cf_err *judge_reply(cf_remote *remote, const cf_http_reply *reply, json_t **details) {
    cf_err *version = check_version(remote, reply);
    if (cf_err_code(version) == CF_ERR_VERSION_MISMATCH) return version;
    if (version && reply->status >= 500) { /* what stands in front of the vault says that it is away */
        cf_err_free(version);
        version = NULL;
    }
    if (version) return version;
    learn_time(remote, reply);
    return is_success(reply->status) ? NULL : status_error(remote, reply, details);
}

static bool passing_status(int status) {
    return status == 408 || status == 429 || status == 500 || status == 502 || status == 503 || status == 504;
}

static bool may_pass(const cf_err *err, int status, uint32_t tries) {
    if (status == 500 && (tries >= SERVER_FAILED_TRIES || cf_err_has(err, CF_F_DAMAGE)))
        return false; /* lost is lost */
    if (status) return passing_status(status);
    return cf_err_code(err) == CF_ERR_VAULT_UNREACHABLE;
}

static void sleep_ms(cf_remote *remote, uint64_t ms) {
    if (remote->sleep) {
        remote->sleep(remote->context, ms);
        return;
    }
    while (ms && !cf_cancel_requested(remote->cancel)) {
        uint64_t slice = ms < SLEEP_SLICE_MS ? ms : SLEEP_SLICE_MS;
        nanosleep(&(struct timespec){.tv_nsec = (long)slice * 1000000}, NULL);
        ms -= slice;
    }
}

/* Wait before the next try; false when it is not worth one. err is borrowed. */
static bool wait_before_retry(cf_remote *remote, cf_retry *retry, const cf_err *err, int status) {
    uint32_t random = 0;
    uint64_t wait;
    cf_err *none = cf_random(&random, sizeof random);
    cf_err_free(none); /* without randomness there is no jitter, and nothing worse */
    if (!may_pass(err, status, retry->tries) || cf_cancel_requested(remote->cancel)) return false;
    if (!cf_retry_next(retry, err, cf_clock_ms(&remote->clock), random, &wait)) return false;
    if (remote->waiting)
        remote->waiting(remote->context, err, wait);
    else
        cf_log(wait < TOLD_MS ? CF_LOG_INFO : CF_LOG_WARNING, "waiting for the vault: %s; trying again in %.1f s",
               cf_err_message(err), (double)wait / 1000);
    sleep_ms(remote, wait);
    return !cf_cancel_requested(remote->cancel);
}

static void add_header(cf_call *call, const char *name, const char *value) {
    if (call->header_count < CF_CALL_HEADERS_MAX) call->headers[call->header_count++] = (cf_http_header){name, value};
}

static cf_err *encode_body(cf_call *call, cf_buf *buf, cf_span *body) {
    *body = call->raw;
    if (call->has_raw) {
        add_header(call, "Content-Type", "application/octet-stream");
        return NULL;
    }
    if (!call->body) return NULL;
    if (json_is_null(call->body)) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a request to the vault");
    CF_TRY(cf_json_format(call->body, buf));
    *body = cf_buf_span(buf);
    add_header(call, "Content-Type", "application/json");
    return NULL;
}

/* Send until it is answered or not worth trying. The caller wipes the reply in either case. */
static cf_err *exchange(cf_remote *remote, cf_call *call, cf_span body, cf_http_reply *reply, json_t **details) {
    CF_AUTO_FREE char *url = cf_text_format("%s%s", remote->url, call->path);
    if (!url) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a request to the vault");
    cf_http_request request = {
        .method = call->method,
        .url = url,
        .headers = call->headers,
        .header_count = call->header_count,
        .authorization = remote->authorization ? (const char *)cf_secret_bytes(remote->authorization) : NULL,
        .body = body,
        .reply_max = call->reply_max ? call->reply_max : JSON_REPLY_MAX,
        .total_seconds = call->has_raw || call->reply_max ? 0 : CALL_SECONDS}; /* large ones: only a stall ends them */
    if (call->to_the_end) request.ignore_cancel = true;
    if (call->farewell && cf_cancel_requested(remote->cancel)) {
        request.ignore_cancel = true;
        request.total_seconds = FAREWELL_SECONDS;
    }
    cf_retry retry = {.total_ms = remote->retry_total_ms};
    for (;;) {
        cf_err *err = cf_http_send(remote->http, &request, reply);
        int status = err ? 0 : reply->status;
        if (!err) err = judge_reply(remote, reply, details);
        if (!err || call->once || !wait_before_retry(remote, &retry, err, status)) return err;
        cf_err_free(err);
        cf_http_reply_wipe(reply);
        if (details && *details) {
            json_decref(*details);
            *details = NULL;
        }
    }
}

static cf_err *run(cf_remote *remote, cf_call *call, cf_http_reply *reply, json_t **details) {
    CF_AUTO_BUF cf_buf buf;
    cf_buf_init(&buf, 1 << 20);
    cf_span body;
    memset(reply, 0, sizeof *reply);
    add_header(call, CF_HEADER_AGENT, CF_VERSION);
    add_header(call, CF_HEADER_PROTOCOL, "1");
    cf_err *err = encode_body(call, &buf, &body);
    if (!err) err = exchange(remote, call, body, reply, details);
    json_decref(call->body);
    call->body = NULL;
    return err;
}

cf_err *cf_call_run(cf_remote *remote, cf_call *call, json_t **out, json_t **details) {
    CF_AUTO_HTTP_REPLY cf_http_reply reply;
    CF_TRY(run(remote, call, &reply, details));
    if (!out) return NULL;
    cf_err *err = cf_json_parse(cf_buf_span(&reply.body), call->reply_max ? call->reply_max : JSON_REPLY_MAX,
                                CF_ERR_BAD_REPLY, call->path, out);
    cf_err_set_reason(err, "not_json");
    return err;
}

cf_err *cf_call_run_raw(cf_remote *remote, cf_call *call, cf_buf *out) {
    CF_AUTO_HTTP_REPLY cf_http_reply reply;
    CF_TRY(run(remote, call, &reply, NULL));
    cf_buf_put_span(out, cf_buf_span(&reply.body));
    return cf_buf_check(out, call->path);
}

/* Statuses of a transfer that its caller acts upon. */
static bool understood(int status) {
    return is_success(status) || status == 403 || status == 404 || status == 410 || status == 416;
}

static cf_err *judge_transfer(cf_remote *remote, const cf_transfer *transfer, const cf_http_reply *reply) {
    if (transfer->into && is_success(reply->status) && reply->into_got != transfer->size)
        /* A connection that broke is an error of the transfer itself: here the object is shorter than the range. */
        return cf_fail_reason(CF_ERR_OBJECT_MISSING, "short", "%.*s: %zu of %zu bytes are there",
                              (int)strcspn(transfer->url, "?"), transfer->url, reply->into_got, transfer->size);
    if (understood(reply->status)) return NULL;
    return status_error(remote, reply, NULL);
}

/* A range that was answered whole, but ends where the object does: asking again gives no more. */
static bool object_ends(const cf_transfer *transfer, const cf_http_reply *reply) {
    char range[96];
    if (!transfer->into || !is_success(reply->status) || reply->into_got >= transfer->size) return false;
    if (!cf_http_reply_header(reply, "Content-Range", range, sizeof range)) return false;
    const char *total = strchr(range, '/');
    uint64_t size;
    return total && cf_text_parse_u64(total + 1, UINT64_MAX, &size) && size == transfer->offset + reply->into_got;
}

static bool transfer_may_pass(const cf_err *err) {
    return cf_err_code(err) == CF_ERR_UPLOAD_REFUSED || cf_err_code(err) == CF_ERR_UPLOAD_DAMAGED;
}

static cf_err *transfer_until_done(cf_remote *remote, const cf_transfer *transfer, cf_http_request *request,
                                   int *status) {
    cf_retry retry = {.total_ms = remote->retry_total_ms};
    for (;;) {
        CF_AUTO_HTTP_REPLY cf_http_reply reply;
        cf_err *err = cf_http_send(remote->http, request, &reply);
        int answered = err ? 0 : reply.status;
        if (!err && object_ends(transfer, &reply)) {
            *status = 416;
            return NULL;
        }
        if (!err) err = judge_transfer(remote, transfer, &reply);
        if (!err) {
            *status = reply.status;
            return NULL;
        }
        /* Damage on the way is passing too: sent again from the same memory. */
        if (transfer_may_pass(err)) answered = 503;
        if (!wait_before_retry(remote, &retry, err, answered)) return err;
        cf_err_free(err);
    }
}

static size_t transfer_headers(const json_t *from, cf_http_header to[CF_CALL_HEADERS_MAX]) {
    size_t count = 0;
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)from, name, value) {
        if (count == CF_CALL_HEADERS_MAX || !json_is_string(value)) continue;
        to[count++] = (cf_http_header){name, json_string_value(value)};
    }
    return count;
}

cf_err *cf_transfer_run(cf_remote *remote, const cf_transfer *transfer, int *status) {
    cf_http_header headers[CF_CALL_HEADERS_MAX];
    CF_AUTO_FREE char *url =
        transfer->url[0] == '/' ? cf_text_format("%s%s", remote->url, transfer->url) : strdup(transfer->url);
    if (!url) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a transfer");
    cf_http_request request = {.method = transfer->method,
                               .url = url,
                               .headers = headers,
                               .header_count = transfer->headers ? transfer_headers(transfer->headers, headers) : 0,
                               .body = transfer->body,
                               .into = transfer->into,
                               .into_size = transfer->size,
                               .has_range = transfer->into != NULL,
                               .range_offset = transfer->offset,
                               .range_size = transfer->size};
    return transfer_until_done(remote, transfer, &request, status);
}
