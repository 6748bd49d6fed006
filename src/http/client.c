#include "http/client.h"

#include <curl/curl.h>
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "base/text.h"
#include "http/failure.h"

enum {
    CONNECT_SECONDS = 15,
    STALL_SECONDS = 60,
    REPLY_MAX = 1 << 20,
    HEADERS_MAX = 32 << 10,
    TRANSFER_BUFFER = 512 << 10, /* libcurl's most for receiving */
    UPLOAD_BUFFER = 512 << 10,
    BUFFER_MAX = 4 << 20, /* of a socket */
    IDLE_MAX = 32,        /* handles kept with their open connections */
    TLS_AHEAD = 8 << 10,  /* of a record (16 KiB), which can be used only when all of it is there: half, on average */
    REQUEST_HEAD = 512,   /* about what a request's own lines take, and an answer's */
    CONNECTION_COST = 3 << 9, /* TLS handshake, certificates included */
    UNKNOWN_REPLY = 1 << 10,  /* paid for before an answer whose size nobody knows */
    BULK = 64 << 10,          /* transfers from this size on take turns when the rate is low */
    BULK_SHARE = 32 << 10,    /* bytes a second that each of them should have ... */
    BULK_MIN = 1,             /* ... but so many always may */
    TURN_MS = 50,
};

/* A handle keeps its connection open, whose socket was made for a rate. */
typedef struct handle {
    CURL *easy;
    uint64_t rate, window; /* as in transfer */
} handle;

struct cf_http {
    char *ca_pem, *proxy, *proxy_user;
    cf_secret *proxy_password; /* with a NUL at its end */
    cf_cancel *cancel;
    const cf_http_pace *pace;
    long connect_seconds, stall_seconds;
    CURLSH *share; /* names and TLS sessions, so that a new connection need not begin from nothing */
    pthread_mutex_t share_locks[CURL_LOCK_DATA_LAST];
    pthread_mutex_t lock; /* of the pool */
    handle idle[IDLE_MAX];
    size_t idle_count;
    atomic_uint active;  /* requests on their way */
    unsigned bulk;       /* of them, large ones at a pace; under lock */
    pthread_cond_t turn; /* one of those has ended */
};

/* One request on its way. */
typedef struct transfer {
    cf_http *http;
    const cf_http_request *request;
    cf_http_reply *reply;
    CURL *easy;
    uint64_t rate;                  /* that the socket was made for; 0: none */
    uint64_t window;                /* what it takes in before it is looked at */
    uint64_t paid, moved, received; /* bytes; moved counts both ways */
    size_t body_sent;
    bool too_large, cancelled;
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
    pthread_cond_init(&http->turn, NULL);
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
    http->pace = options->pace;
    http->connect_seconds = options->connect_seconds ? (long)options->connect_seconds : CONNECT_SECONDS;
    http->stall_seconds = options->stall_seconds ? (long)options->stall_seconds : STALL_SECONDS;
    *out = cf_take(http);
    return NULL;
}

void cf_http_free(cf_http *http) {
    if (!http) return;
    for (size_t i = 0; i < http->idle_count; i++) curl_easy_cleanup(http->idle[i].easy);
    if (http->share) (void)curl_share_cleanup(http->share); /* only fails while in use, which the contract excludes */
    for (size_t i = 0; i < CURL_LOCK_DATA_LAST; i++) pthread_mutex_destroy(&http->share_locks[i]);
    pthread_cond_destroy(&http->turn);
    pthread_mutex_destroy(&http->lock);
    free(http->ca_pem);
    free(http->proxy);
    free(http->proxy_user);
    cf_secret_free(http->proxy_password);
    free(http);
    curl_global_cleanup();
}

/* A connection whose buffers were made for another rate is not used again. */
static handle take_handle(cf_http *http) {
    handle taken = {.rate = http->pace ? http->pace->rate(http->pace->context) : 0}, kept = {0};
    pthread_mutex_lock(&http->lock);
    if (http->idle_count) kept = http->idle[--http->idle_count];
    pthread_mutex_unlock(&http->lock);
    if (kept.easy && kept.rate == taken.rate) return kept;
    if (kept.easy) curl_easy_cleanup(kept.easy);
    taken.easy = curl_easy_init();
    return taken;
}

/* Options are forgotten, the open connection is kept. */
static void give_handle(cf_http *http, handle used) {
    curl_easy_reset(used.easy);
    pthread_mutex_lock(&http->lock);
    bool kept = http->idle_count < IDLE_MAX;
    if (kept) http->idle[http->idle_count++] = used;
    pthread_mutex_unlock(&http->lock);
    if (!kept) curl_easy_cleanup(used.easy);
}

/* ---- The pace ---- */

static uint64_t between(uint64_t value, uint64_t min, uint64_t max) {
    return value < min ? min : value > max ? max : value;
}

/* What may come in before it is looked at again: an eighth of a second's worth for all connections together. */
static uint64_t window_now(transfer *t) {
    unsigned active = atomic_load_explicit(&t->http->active, memory_order_relaxed);
    return t->rate ? between(t->rate / (8 * (active ? active : 1)), 4 << 10, BUFFER_MAX) : BUFFER_MAX;
}

/* Small enough that what is in them has been paid for. Where the system refuses, the pace is only less even. */
static void size_buffers(transfer *t, int fd) {
    int send = (int)(t->rate ? between(t->rate / 4, 4 << 10, BUFFER_MAX) : BUFFER_MAX);
    t->window = window_now(t);
    int receive = (int)t->window;
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &send, sizeof send);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive, sizeof receive);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_WINDOW_CLAMP, &receive, sizeof receive);
}

/* Also for a connection that is there already. */
static void follow(transfer *t) {
    curl_socket_t fd = CURL_SOCKET_BAD;
    if (curl_easy_getinfo(t->easy, CURLINFO_ACTIVESOCKET, &fd) == CURLE_OK && fd != CURL_SOCKET_BAD)
        size_buffers(t, fd);
    else
        t->window = window_now(t); /* on_socket will set it */
}

static int on_socket(void *context, curl_socket_t fd, curlsocktype purpose) {
    transfer *t = context;
    if (purpose == CURLSOCKTYPE_IPCXN && t->rate) size_buffers(t, fd);
    return CURL_SOCKOPT_OK;
}

/* The rate as it is now. The socket follows a change, and the number of transfers that share it. */
static uint64_t pace_of(transfer *t) {
    const cf_http_pace *pace = t->http->pace;
    uint64_t rate = pace ? pace->rate(pace->context) : 0;
    bool changed = rate != t->rate;
    if (!t->rate && rate) t->paid = REQUEST_HEAD + t->moved; /* what went before the limit came is not made up for */
    t->rate = rate;
    if (rate) {
        uint64_t window = window_now(t);
        changed |= window > 2 * t->window || 2 * window < t->window;
    }
    if (changed) follow(t);
    return rate;
}

/* Waits until total bytes of this request are paid for. A request that tidies up is not held up when the job was
 * asked to stop. False: cancelled. */
static bool pay(transfer *t, uint64_t total) {
    const cf_http_pace *pace = t->http->pace;
    if (!pace_of(t) || total <= t->paid) return true;
    cf_cancel *cancel = t->http->cancel;
    bool paid = pace->take(pace->context, total - t->paid, true, cancel);
    t->cancelled = !paid && !t->request->ignore_cancel;
    if (t->cancelled) return false;
    t->paid = total;
    return true;
}

/* What may arrive before the next look: the window, and what the TLS library holds. */
static uint64_t arriving(const transfer *t) {
    if (!t->request->into) return t->received ? TLS_AHEAD : UNKNOWN_REPLY;
    uint64_t left = t->request->into_size > t->received ? t->request->into_size - t->received : 0;
    return between(left, 0, t->window + TLS_AHEAD);
}

/* The request's own lines, and the beginning of the answer to a range. */
static bool pay_first(transfer *t) {
    return pay(t, REQUEST_HEAD + (t->request->into ? arriving(t) : 0));
}

/* Now that it is known: lines, a new connection; and what was paid for and did not come. */
static void settle(transfer *t) {
    const cf_http_pace *pace = t->http->pace;
    long sent_lines = 0, got_lines = 0, connects = 0;
    if (!t->paid || !pace) return;
    (void)curl_easy_getinfo(t->easy, CURLINFO_REQUEST_SIZE, &sent_lines); /* each stays 0 when not known */
    (void)curl_easy_getinfo(t->easy, CURLINFO_HEADER_SIZE, &got_lines);
    (void)curl_easy_getinfo(t->easy, CURLINFO_NUM_CONNECTS, &connects);
    uint64_t total = t->moved + (uint64_t)sent_lines + (uint64_t)got_lines + (uint64_t)connects * CONNECTION_COST;
    if (total > t->paid)
        (void)pace->take(pace->context, total - t->paid, false, NULL); /* it does not wait, so it cannot be cancelled */
    else
        pace->give(pace->context, t->paid - total);
}

/* At a low rate, many large transfers at once would each move so little that the other side gives up on them: few at a
 * time, then the next. *mine: end_turn is due. False: cancelled. */
static bool begin_turn(transfer *t, bool *mine) {
    cf_http *http = t->http;
    size_t size = t->request->into ? t->request->into_size : t->request->body.size;
    uint64_t rate = pace_of(t);
    bool go_on = true;
    *mine = rate > 0 && size >= BULK && !t->request->ignore_cancel;
    if (!*mine) return true;
    pthread_mutex_lock(&http->lock);
    while (rate && http->bulk >= between(rate / BULK_SHARE, BULK_MIN, UINT_MAX) && go_on) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += TURN_MS * 1000000L;
        if (until.tv_nsec >= 1000000000L) {
            until.tv_sec++;
            until.tv_nsec -= 1000000000L;
        }
        (void)pthread_cond_timedwait(&http->turn, &http->lock, &until); /* whatever woke it: looked at again */
        go_on = !cf_cancel_requested(http->cancel);
        rate = http->pace->rate(http->pace->context);
    }
    if (go_on) http->bulk++;
    *mine = go_on;
    pthread_mutex_unlock(&http->lock);
    return go_on;
}

static void end_turn(cf_http *http) {
    pthread_mutex_lock(&http->lock);
    http->bulk--;
    pthread_cond_signal(&http->turn);
    pthread_mutex_unlock(&http->lock);
}

/* ---- What libcurl calls ---- */

static size_t send_body(char *out, size_t unit, size_t count, void *context) {
    transfer *t = context;
    size_t left = t->request->body.size - t->body_sent, room = unit * count;
    uint64_t rate = pace_of(t);
    if (rate) room = between(room, 0, between(rate / 20, 1 << 10, UPLOAD_BUFFER)); /* 50 ms' worth */
    size_t size = left < room ? left : room;
    if (size && !pay(t, REQUEST_HEAD + t->moved + size)) return CURL_READFUNC_ABORT;
    if (size) memcpy(out, t->request->body.data + t->body_sent, size);
    t->body_sent += size;
    t->moved += size;
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
    t->moved += size;
    t->received += size;
    if (!pay(t, REQUEST_HEAD + t->moved + arriving(t))) return 0;
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
    /* Waiting for its turn is not the other side's hanging. */
    long patience = t->rate && !t->request->ignore_cancel ? 4 : 1;
    if (t->request->total_seconds) SET(CURLOPT_TIMEOUT, (long)t->request->total_seconds * patience);
    SET(CURLOPT_BUFFERSIZE, (long)TRANSFER_BUFFER);
    SET(CURLOPT_UPLOAD_BUFFERSIZE, (long)UPLOAD_BUFFER);
    SET(CURLOPT_SOCKOPTFUNCTION, on_socket);
    SET(CURLOPT_SOCKOPTDATA, t);
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
    if (t->cancelled) result = CURLE_ABORTED_BY_CALLBACK;
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

static cf_err *perform_paced(transfer *t) {
    cf_http *http = t->http;
    bool turn;
    if (!begin_turn(t, &turn)) return cf_cancel_check(http->cancel);
    atomic_fetch_add(&http->active, 1);
    cf_err *err = pay_first(t) ? perform(t) : cf_cancel_check(http->cancel);
    atomic_fetch_sub(&http->active, 1);
    if (turn) end_turn(http);
    return err;
}

cf_err *cf_http_send(cf_http *http, const cf_http_request *request, cf_http_reply *reply) {
    memset(reply, 0, sizeof *reply);
    cf_buf_init(&reply->body, request->reply_max ? request->reply_max : REPLY_MAX);
    cf_buf_init(&reply->headers, HEADERS_MAX);
    if (!request->ignore_cancel) CF_TRY(cf_cancel_check(http->cancel));
    transfer t = {.http = http, .request = request, .reply = reply};
    struct curl_slist *headers = NULL;
    snprintf(t.shown, sizeof t.shown, "%.*s", (int)strcspn(request->url, "?"), request->url);
    handle used = take_handle(http);
    t.easy = used.easy;
    t.rate = used.rate;
    t.window = used.window;
    cf_err *err = NULL;
    if (!t.easy || !build_headers(request, &headers) || !set_request(&t, t.easy, headers))
        err = cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a request to %s", t.shown);
    else
        err = perform_paced(&t);
    if (t.easy) {
        settle(&t);
        give_handle(http, (handle){t.easy, t.rate, t.window});
    }
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
