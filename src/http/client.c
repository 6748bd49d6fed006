#include "http/client.h"

#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "http/failure.h"

enum {
    CONNECT_SECONDS = 15,
    STALL_SECONDS = 60,
    REPLY_MAX = 1 << 20,
    HEADERS_MAX = 32 << 10,
    TRANSFER_BUFFER = 512 << 10, /* libcurl's most for receiving */
    UPLOAD_BUFFER = 512 << 10,
    IDLE_MAX = 32, /* handles kept with their open connections */
};

struct cf_http {
    char *ca_pem, *proxy, *proxy_user;
    cf_secret *proxy_password; /* with a NUL at its end */
    cf_cancel *cancel;
    long connect_seconds, stall_seconds;
    CURLSH *share; /* names and TLS sessions, so that a new connection need not begin from nothing */
    pthread_mutex_t share_locks[CURL_LOCK_DATA_LAST];
    pthread_mutex_t lock; /* of the pool */
    CURL *idle[IDLE_MAX];
    size_t idle_count;
};

/* One request on its way. */
typedef struct transfer {
    cf_http *http;
    const cf_http_request *request;
    cf_http_reply *reply;
    CURL *easy;
    size_t body_sent;
    bool too_large;
    char shown[512]; /* the URL for messages: without its query, which may be a signature */
    char message[CURL_ERROR_SIZE];
} transfer;

static void share_lock(CURL *easy, curl_lock_data data, curl_lock_access access, void *context) {
    (void)easy;
    (void)access;
    pthread_mutex_lock(&((cf_http *)context)->share_locks[data]);
}

static void share_unlock(CURL *easy, curl_lock_data data, void *context) {
    (void)easy;
    pthread_mutex_unlock(&((cf_http *)context)->share_locks[data]);
}

static bool start_share(cf_http *http) {
    for (size_t i = 0; i < CURL_LOCK_DATA_LAST; i++) pthread_mutex_init(&http->share_locks[i], NULL);
    pthread_mutex_init(&http->lock, NULL);
    http->share = curl_share_init();
    return http->share && curl_share_setopt(http->share, CURLSHOPT_LOCKFUNC, share_lock) == CURLSHE_OK &&
           curl_share_setopt(http->share, CURLSHOPT_UNLOCKFUNC, share_unlock) == CURLSHE_OK &&
           curl_share_setopt(http->share, CURLSHOPT_USERDATA, http) == CURLSHE_OK &&
           curl_share_setopt(http->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS) == CURLSHE_OK &&
           curl_share_setopt(http->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION) == CURLSHE_OK;
}

static bool copy_text(const char *from, char **to) {
    if (!from) return true;
    *to = strdup(from);
    return *to != NULL;
}

static cf_err *copy_password(const cf_secret *password, cf_secret **copy) {
    if (!password) return NULL;
    size_t size = cf_secret_size(password);
    CF_TRY(cf_secret_new(size + 1, copy));
    memcpy(cf_secret_data(*copy), cf_secret_bytes(password), size);
    return NULL;
}

cf_err *cf_http_new(const cf_http_options *options, cf_http **out) {
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) return cf_fail(CF_ERR_INTERNAL, "libcurl cannot start");
    CF_AUTO(cf_http) http = calloc(1, sizeof *http);
    if (!http) {
        curl_global_cleanup();
        return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for an HTTP client");
    }
    bool started = start_share(http);
    if (!started || !copy_text(options->ca_pem, &http->ca_pem) || !copy_text(options->proxy, &http->proxy) ||
        !copy_text(options->proxy_user, &http->proxy_user))
        return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for an HTTP client");
    CF_TRY(copy_password(options->proxy_password, &http->proxy_password));
    http->cancel = options->cancel;
    http->connect_seconds = options->connect_seconds ? (long)options->connect_seconds : CONNECT_SECONDS;
    http->stall_seconds = options->stall_seconds ? (long)options->stall_seconds : STALL_SECONDS;
    *out = cf_take(http);
    return NULL;
}

void cf_http_free(cf_http *http) {
    if (!http) return;
    for (size_t i = 0; i < http->idle_count; i++) curl_easy_cleanup(http->idle[i]);
    if (http->share) (void)curl_share_cleanup(http->share); /* only fails while in use, which the contract excludes */
    for (size_t i = 0; i < CURL_LOCK_DATA_LAST; i++) pthread_mutex_destroy(&http->share_locks[i]);
    pthread_mutex_destroy(&http->lock);
    free(http->ca_pem);
    free(http->proxy);
    free(http->proxy_user);
    cf_secret_free(http->proxy_password);
    free(http);
    curl_global_cleanup();
}

static CURL *take_handle(cf_http *http) {
    pthread_mutex_lock(&http->lock);
    CURL *easy = http->idle_count ? http->idle[--http->idle_count] : NULL;
    pthread_mutex_unlock(&http->lock);
    return easy ? easy : curl_easy_init();
}

/* Options are forgotten, the open connection is kept. */
static void give_handle(cf_http *http, CURL *easy) {
    curl_easy_reset(easy);
    pthread_mutex_lock(&http->lock);
    bool kept = http->idle_count < IDLE_MAX;
    if (kept) http->idle[http->idle_count++] = easy;
    pthread_mutex_unlock(&http->lock);
    if (!kept) curl_easy_cleanup(easy);
}

static size_t send_body(char *out, size_t unit, size_t count, void *context) {
    transfer *t = context;
    size_t left = t->request->body.size - t->body_sent, room = unit * count;
    size_t size = left < room ? left : room;
    if (size) memcpy(out, t->request->body.data + t->body_sent, size);
    t->body_sent += size;
    return size;
}

/* A kept-alive connection may turn out to be closed only when we write: libcurl then starts over. */
static int rewind_body(void *context, curl_off_t offset, int origin) {
    transfer *t = context;
    if (origin != SEEK_SET || offset < 0 || (uint64_t)offset > t->request->body.size) return CURL_SEEKFUNC_FAIL;
    t->body_sent = (size_t)offset;
    return CURL_SEEKFUNC_OK;
}

static size_t receive_body(char *data, size_t unit, size_t count, void *context) {
    transfer *t = context;
    size_t size = unit * count;
    long status = 0;
    (void)curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    if (t->request->into && (status == 200 || status == 206)) {
        if (size > t->request->into_size - t->reply->into_got) {
            t->too_large = true;
            return 0;
        }
        memcpy(t->request->into + t->reply->into_got, data, size);
        t->reply->into_got += size;
        return size;
    }
    cf_buf_put(&t->reply->body, data, size);
    t->too_large = t->reply->body.failed;
    return t->too_large ? 0 : size;
}

static size_t receive_header(char *data, size_t unit, size_t count, void *context) {
    transfer *t = context;
    size_t size = unit * count;
    /* A new status line (a proxy's CONNECT came before, or 100 Continue): what we have belongs to that. */
    if (size > 5 && memcmp(data, "HTTP/", 5) == 0) cf_buf_reset(&t->reply->headers);
    cf_buf_put(&t->reply->headers, data, size);
    t->too_large = t->reply->headers.failed;
    return t->too_large ? 0 : size;
}

static int watch(void *context, curl_off_t down_total, curl_off_t down, curl_off_t up_total, curl_off_t up) {
    (void)down_total;
    (void)down;
    (void)up_total;
    (void)up;
    const transfer *t = context;
    return !t->request->ignore_cancel && cf_cancel_requested(t->http->cancel) ? 1 : 0;
}

#define SET(option, value)                                                   \
    do {                                                                     \
        if (curl_easy_setopt(easy, option, value) != CURLE_OK) return false; \
    } while (0)

static bool set_trust(cf_http *http, CURL *easy) {
    SET(CURLOPT_PROTOCOLS_STR, "https");
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(CURLOPT_SSL_VERIFYPEER, 1L);
    SET(CURLOPT_SSL_VERIFYHOST, 2L);
    if (!http->ca_pem) return true;
    struct curl_blob blob = {http->ca_pem, strlen(http->ca_pem), CURL_BLOB_NOCOPY};
    SET(CURLOPT_CAINFO, NULL); /* the system's store would count as well */
    SET(CURLOPT_CAPATH, NULL);
    SET(CURLOPT_CAINFO_BLOB, &blob);
    return true;
}

static bool set_proxy(cf_http *http, CURL *easy) {
    if (http->proxy) SET(CURLOPT_PROXY, http->proxy);
    if (http->proxy && *http->proxy) SET(CURLOPT_NOPROXY, ""); /* it was asked for by name */
    if (http->proxy_user) {
        SET(CURLOPT_PROXYUSERNAME, http->proxy_user);
        SET(CURLOPT_PROXYPASSWORD, http->proxy_password ? (const char *)cf_secret_bytes(http->proxy_password) : "");
    }
    SET(CURLOPT_PROXYAUTH, (long)(CURLAUTH_BASIC | CURLAUTH_DIGEST | CURLAUTH_NTLM | CURLAUTH_NEGOTIATE));
    SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    return true;
}

static bool set_limits(transfer *t, CURL *easy) {
    cf_http *http = t->http;
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_CONNECTTIMEOUT, http->connect_seconds);
    SET(CURLOPT_LOW_SPEED_LIMIT, 1L);
    SET(CURLOPT_LOW_SPEED_TIME, http->stall_seconds);
    if (t->request->total_seconds) SET(CURLOPT_TIMEOUT, (long)t->request->total_seconds);
    SET(CURLOPT_BUFFERSIZE, (long)TRANSFER_BUFFER);
    SET(CURLOPT_UPLOAD_BUFFERSIZE, (long)UPLOAD_BUFFER);
    SET(CURLOPT_TCP_KEEPALIVE, 1L);
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1); /* one stream a connection: no shared windows */
    SET(CURLOPT_NOPROGRESS, 0L);
    SET(CURLOPT_XFERINFOFUNCTION, watch);
    SET(CURLOPT_XFERINFODATA, t);
    SET(CURLOPT_ERRORBUFFER, t->message);
    return true;
}

static bool set_method(transfer *t, CURL *easy) {
    const char *method = t->request->method;
    size_t size = t->request->body.size;
    if (strcmp(method, "GET") == 0) {
        SET(CURLOPT_HTTPGET, 1L);
    } else if (strcmp(method, "PUT") == 0) {
        SET(CURLOPT_UPLOAD, 1L);
        SET(CURLOPT_INFILESIZE_LARGE, (curl_off_t)size);
    } else if (strcmp(method, "DELETE") == 0) {
        SET(CURLOPT_CUSTOMREQUEST, method);
    } else { /* POST, PATCH */
        SET(CURLOPT_POST, 1L);
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)size);
        if (strcmp(method, "POST") != 0) SET(CURLOPT_CUSTOMREQUEST, method);
    }
    SET(CURLOPT_READFUNCTION, send_body);
    SET(CURLOPT_READDATA, t);
    SET(CURLOPT_SEEKFUNCTION, rewind_body);
    SET(CURLOPT_SEEKDATA, t);
    return true;
}

static bool set_request(transfer *t, CURL *easy, struct curl_slist *headers) {
    const cf_http_request *request = t->request;
    SET(CURLOPT_SHARE, t->http->share);
    SET(CURLOPT_URL, request->url);
    SET(CURLOPT_HTTPHEADER, headers);
    SET(CURLOPT_WRITEFUNCTION, receive_body);
    SET(CURLOPT_WRITEDATA, t);
    SET(CURLOPT_HEADERFUNCTION, receive_header);
    SET(CURLOPT_HEADERDATA, t);
    char range[48];
    if (request->has_range) {
        snprintf(range, sizeof range, "%llu-%llu", (unsigned long long)request->range_offset,
                 (unsigned long long)(request->range_offset + request->range_size - 1));
        SET(CURLOPT_RANGE, range);
    }
    return set_limits(t, easy) && set_trust(t->http, easy) && set_proxy(t->http, easy) && set_method(t, easy);
}

static bool add_header(struct curl_slist **list, const char *name, const char *value) {
    CF_AUTO_FREE char *line = *value ? cf_text_format("%s: %s", name, value) : cf_text_format("%s;", name);
    struct curl_slist *longer = line ? curl_slist_append(*list, line) : NULL;
    if (line) cf_wipe(line, strlen(line)); /* it may be the token */
    if (longer) *list = longer;
    return longer != NULL;
}

static bool build_headers(const cf_http_request *request, struct curl_slist **list) {
    /* "Name:" removes what libcurl would add by itself. */
    struct curl_slist *first = curl_slist_append(NULL, "Expect:");
    if (!first) return false;
    *list = first;
    if (request->authorization && !add_header(list, "Authorization", request->authorization)) return false;
    for (size_t i = 0; i < request->header_count; i++)
        if (!add_header(list, request->headers[i].name, request->headers[i].value)) return false;
    return true;
}

static void free_headers(struct curl_slist *list) {
    for (struct curl_slist *item = list; item; item = item->next) cf_wipe(item->data, strlen(item->data));
    curl_slist_free_all(list);
}

static cf_err *failure_of(transfer *t, CURLcode result) {
    if (t->too_large)
        return cf_fail_reason(CF_ERR_BAD_REPLY, "too_large", "%s answers with more than the request allows", t->shown);
    cf_http_failure failure = {.result = result, .url = t->shown, .message = t->message, .proxy = t->http->proxy};
    (void)curl_easy_getinfo(t->easy, CURLINFO_OS_ERRNO, &failure.os_errno); /* stays 0 when not known */
    (void)curl_easy_getinfo(t->easy, CURLINFO_HTTP_CONNECTCODE, &failure.connect_status);
    return cf_http_failure_to_err(&failure);
}

static cf_err *perform(transfer *t) {
    CURLcode result = curl_easy_perform(t->easy);
    if (result != CURLE_OK) return failure_of(t, result);
    long status = 0;
    (void)curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    t->reply->status = (int)status;
    cf_err *err = cf_buf_check(&t->reply->body, "an HTTP reply");
    return err ? err : cf_buf_check(&t->reply->headers, "an HTTP reply's headers");
}

cf_err *cf_http_send(cf_http *http, const cf_http_request *request, cf_http_reply *reply) {
    memset(reply, 0, sizeof *reply);
    cf_buf_init(&reply->body, request->reply_max ? request->reply_max : REPLY_MAX);
    cf_buf_init(&reply->headers, HEADERS_MAX);
    if (!request->ignore_cancel) CF_TRY(cf_cancel_check(http->cancel));
    transfer t = {.http = http, .request = request, .reply = reply};
    struct curl_slist *headers = NULL;
    snprintf(t.shown, sizeof t.shown, "%.*s", (int)strcspn(request->url, "?"), request->url);
    t.easy = take_handle(http);
    cf_err *err = NULL;
    if (!t.easy || !build_headers(request, &headers) || !set_request(&t, t.easy, headers))
        err = cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a request to %s", t.shown);
    else
        err = perform(&t);
    if (t.easy) give_handle(http, t.easy);
    free_headers(headers);
    return err;
}

void cf_http_reply_wipe(cf_http_reply *reply) {
    cf_buf_wipe(&reply->body);
    cf_buf_wipe(&reply->headers);
}

bool cf_http_reply_header(const cf_http_reply *reply, const char *name, char *out, size_t size) {
    size_t length = strlen(name);
    const char *line = (const char *)reply->headers.data, *end = line ? line + reply->headers.size : NULL;
    bool found = false;
    while (line && line < end) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        const char *next = stop ? stop + 1 : end;
        if (!stop) stop = end;
        if ((size_t)(stop - line) > length && line[length] == ':' && strncasecmp(line, name, length) == 0) {
            const char *value = line + length + 1;
            while (value < stop && (*value == ' ' || *value == '\t')) value++;
            while (stop > value && (stop[-1] == '\r' || stop[-1] == ' ')) stop--;
            snprintf(out, size, "%.*s", (int)(stop - value), value);
            found = true;
        }
        line = next;
    }
    return found;
}

bool cf_http_date_parse(const char *text, int64_t *seconds) {
    time_t parsed = curl_getdate(text, NULL);
    if (parsed == (time_t)-1) return false;
    *seconds = (int64_t)parsed;
    return true;
}
