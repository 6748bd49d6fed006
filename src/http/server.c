#include "http/server.h"

#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/text.h"

/* Of each connection: half of it becomes the buffer that uploads arrive in. It also bounds the headers. */
#define CONNECTION_MEMORY ((size_t)512 << 10)
#define SEND_BLOCK ((size_t)256 << 10)
#define DRAIN_MAX ((uint64_t)4 << 20) /* of a body that nobody wants */
enum { HEADERS_MAX = 16, VALUE_MAX = 512, ADDRESS_MAX = 128, BACKLOG = 128, RENEW_GRACE_MS = 30000 };

#define PRIORITIES "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-CIPHER-ALL:+AES-128-GCM:+AES-256-GCM:+CHACHA20-POLY1305"

/* One libmicrohttpd daemon; a renewed certificate means a second one on the same socket. */
typedef struct generation {
    cf_http_server *server;
    struct MHD_Daemon *daemon;
    size_t active; /* requests between begin and done; under server->lock */
} generation;

struct cf_http_server {
    cf_http_handler handler;
    int socket;
    char address[ADDRESS_MAX];
    unsigned connections_max, idle_seconds;
    pthread_mutex_t lock;
    pthread_cond_t idle;
    generation *now;
};

struct cf_http_exchange {
    generation *owner;
    struct MHD_Connection *connection;
    const char *method, *path;
    uint64_t content_length, received;
    void *state;
    struct {
        const char *name;
        char value[VALUE_MAX];
    } headers[HEADERS_MAX];
    size_t header_count;
    unsigned status;
    struct MHD_Response *response;
    bool queued;
};

const char *cf_http_method(const cf_http_exchange *exchange) {
    return exchange->method;
}

const char *cf_http_path(const cf_http_exchange *exchange) {
    return exchange->path;
}

const char *cf_http_header_of(const cf_http_exchange *exchange, const char *name) {
    return MHD_lookup_connection_value(exchange->connection, MHD_HEADER_KIND, name);
}

const char *cf_http_query_of(const cf_http_exchange *exchange, const char *name) {
    return MHD_lookup_connection_value(exchange->connection, MHD_GET_ARGUMENT_KIND, name);
}

uint64_t cf_http_content_length(const cf_http_exchange *exchange) {
    return exchange->content_length;
}

void cf_http_add_header(cf_http_exchange *exchange, const char *name, const char *value) {
    if (exchange->header_count == HEADERS_MAX) return;
    exchange->headers[exchange->header_count].name = name;
    snprintf(exchange->headers[exchange->header_count++].value, VALUE_MAX, "%s", value);
}

bool cf_http_replied(const cf_http_exchange *exchange) {
    return exchange->response != NULL;
}

static void set_response(cf_http_exchange *exchange, unsigned status, struct MHD_Response *response) {
    if (exchange->response) MHD_destroy_response(exchange->response);
    exchange->response = response;
    exchange->status = status;
    if (!response) return; /* no memory: the connection is closed */
    for (size_t i = 0; i < exchange->header_count; i++)
        if (MHD_add_response_header(response, exchange->headers[i].name, exchange->headers[i].value) != MHD_YES)
            cf_log(CF_LOG_WARNING, "a reply's header %s could not be set", exchange->headers[i].name);
}

void cf_http_reply_bytes(cf_http_exchange *exchange, unsigned status, cf_buf *body) {
    struct MHD_Response *response = MHD_create_response_from_buffer_with_free_callback(body->size, body->data, free);
    if (response) { /* it owns the memory now */
        body->data = NULL;
        body->size = body->capacity = 0;
    }
    set_response(exchange, status, response);
}

static ssize_t read_source(void *context, uint64_t offset, char *out, size_t size) {
    cf_http_source *source = context;
    size_t got = source->read(source->context, offset, (uint8_t *)out, size);
    return got > 0 ? (ssize_t)got : MHD_CONTENT_READER_END_WITH_ERROR;
}

static void finish_source(void *context) {
    cf_http_source *source = context;
    source->finish(source->context);
    free(source);
}

void cf_http_reply_stream(cf_http_exchange *exchange, unsigned status, uint64_t size, const cf_http_source *source) {
    cf_http_source *copy = malloc(sizeof *copy);
    struct MHD_Response *response = NULL;
    if (copy) {
        *copy = *source;
        response = MHD_create_response_from_callback(size, SEND_BLOCK, read_source, copy, finish_source);
    }
    if (!response) {
        source->finish(source->context);
        free(copy);
    }
    set_response(exchange, status, response);
}

static uint64_t announced_length(const cf_http_exchange *exchange) {
    const char *text = cf_http_header_of(exchange, MHD_HTTP_HEADER_CONTENT_LENGTH);
    uint64_t length = 0;
    if (text) return cf_text_parse_u64(text, UINT64_MAX - 1, &length) ? length : UINT64_MAX;
    return cf_http_header_of(exchange, MHD_HTTP_HEADER_TRANSFER_ENCODING) ? UINT64_MAX : 0;
}

static enum MHD_Result queue(cf_http_exchange *exchange) {
    if (!exchange->response) return MHD_NO;
    exchange->queued = true;
    return MHD_queue_response(exchange->connection, exchange->status, exchange->response);
}

/* Whoever sends a body sees a reply only after it, unless it waits for "100 Continue": so an unwanted body is
 * read to its end when that is cheap.                                                                    */
static bool answer_at_once(const cf_http_exchange *exchange) {
    return exchange->content_length > DRAIN_MAX || cf_http_header_of(exchange, MHD_HTTP_HEADER_EXPECT) != NULL;
}

static enum MHD_Result begin(generation *owner, struct MHD_Connection *connection, const char *url, const char *method,
                             void **slot) {
    cf_http_exchange *exchange = calloc(1, sizeof *exchange);
    if (!exchange) return MHD_NO;
    cf_http_server *server = owner->server;
    *exchange = (cf_http_exchange){.owner = owner, .connection = connection, .method = method, .path = url};
    exchange->content_length = announced_length(exchange);
    pthread_mutex_lock(&server->lock);
    owner->active++;
    pthread_mutex_unlock(&server->lock);
    *slot = exchange;
    server->handler.begin(server->handler.context, exchange, &exchange->state);
    return exchange->response && answer_at_once(exchange) ? queue(exchange) : MHD_YES;
}

static enum MHD_Result handle(void *context, struct MHD_Connection *connection, const char *url, const char *method,
                              const char *version, const char *data, size_t *size, void **slot) {
    (void)version; /* libmicrohttpd knows what 1.0 and 1.1 need */
    generation *owner = context;
    cf_http_exchange *exchange = *slot;
    if (!exchange) return begin(owner, connection, url, method, slot);
    const cf_http_handler *handler = &owner->server->handler;
    if (*size > 0) {
        exchange->received += *size;
        if (!exchange->response)
            handler->body(handler->context, exchange, exchange->state, cf_span_of(data, *size));
        else if (exchange->received > DRAIN_MAX && exchange->content_length > DRAIN_MAX)
            return MHD_NO;
        *size = 0;
        return MHD_YES;
    }
    if (exchange->queued) return MHD_YES;
    if (!exchange->response) handler->end(handler->context, exchange, exchange->state);
    return queue(exchange);
}

static void completed(void *context, struct MHD_Connection *connection, void **slot,
                      enum MHD_RequestTerminationCode why) {
    (void)connection;
    (void)why; /* done says the same to the handler either way */
    generation *owner = context;
    cf_http_exchange *exchange = *slot;
    if (!exchange) return;
    *slot = NULL;
    cf_http_server *server = owner->server;
    server->handler.done(server->handler.context, exchange->state);
    if (exchange->response) MHD_destroy_response(exchange->response);
    free(exchange);
    pthread_mutex_lock(&server->lock);
    if (--owner->active == 0) pthread_cond_broadcast(&server->idle);
    pthread_mutex_unlock(&server->lock);
}

static void __attribute__((format(printf, 2, 0))) log_daemon(void *context, const char *format, va_list args) {
    (void)context;
    CF_AUTO_FREE char *text = cf_text_vformat(format, args);
    size_t size = text ? strlen(text) : 0;
    while (size && text[size - 1] == '\n') text[--size] = '\0';
    /* Mostly clients that break off or speak no TLS. */
    if (size) cf_log(CF_LOG_DEBUG, "http: %s", text);
}

static cf_err *start_generation(cf_http_server *server, cf_span certificate, cf_span key, generation **out) {
    generation *fresh = calloc(1, sizeof *fresh);
    if (!fresh) return cf_fail(CF_ERR_OUT_OF_MEMORY, "the HTTP server");
    fresh->server = server;
    fresh->daemon = MHD_start_daemon(
        MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL | MHD_USE_TLS | MHD_USE_ITC |
            MHD_USE_ERROR_LOG,
        0, NULL, NULL, handle, fresh, MHD_OPTION_EXTERNAL_LOGGER, log_daemon, NULL, MHD_OPTION_LISTEN_SOCKET,
        server->socket, MHD_OPTION_HTTPS_MEM_CERT, (const char *)certificate.data, MHD_OPTION_HTTPS_MEM_KEY,
        (const char *)key.data, MHD_OPTION_HTTPS_PRIORITIES, PRIORITIES, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        CONNECTION_MEMORY, MHD_OPTION_CONNECTION_MEMORY_INCREMENT, CONNECTION_MEMORY / 4, MHD_OPTION_CONNECTION_LIMIT,
        server->connections_max, MHD_OPTION_CONNECTION_TIMEOUT, server->idle_seconds, MHD_OPTION_NOTIFY_COMPLETED,
        completed, fresh, MHD_OPTION_END);
    if (!fresh->daemon) {
        free(fresh);
        return cf_fail(CF_ERR_LISTEN_FAILED, "the HTTPS service did not start (a damaged certificate or key?)");
    }
    *out = fresh;
    return NULL;
}

/* "host:port" apart; an empty host is every address. */
static cf_err *split_address(const char *text, char *host, size_t size, const char **port) {
    const char *colon = strrchr(text, ':');
    bool bracketed = text[0] == '[' && colon && colon > text && colon[-1] == ']';
    const char *start = bracketed ? text + 1 : text;
    size_t length = colon ? (size_t)(colon - start) - (bracketed ? 1 : 0) : 0;
    uint64_t number = 0;
    if (!colon || length >= size || !cf_text_parse_u64(colon + 1, 65535, &number))
        return cf_fail(CF_ERR_BAD_USAGE, "'%s' is no ADDRESS:PORT", text);
    memcpy(host, start, length);
    host[length] = '\0';
    *port = colon + 1;
    return NULL;
}

static int listen_on(const struct addrinfo *where) {
    int fd = socket(where->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -1;
    const int on = 1, off = 0;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on); /* only spares a wait after a restart */
    if (where->ai_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off); /* best effort: else IPv6 only */
    if (bind(fd, where->ai_addr, where->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0) return fd;
    int err_no = errno;
    close(fd);
    errno = err_no;
    return -1;
}

static cf_err *open_socket(const char *address, int *out) {
    char host[ADDRESS_MAX];
    const char *port = NULL;
    CF_TRY(split_address(address, host, sizeof host, &port));
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *found = NULL;
    int result = getaddrinfo(host[0] ? host : NULL, port, &hints, &found);
    if (result != 0) return cf_fail(CF_ERR_LISTEN_FAILED, "%s: %s", address, gai_strerror(result));
    int fd = listen_on(found);
    int err_no = errno;
    freeaddrinfo(found);
    if (fd < 0) return cf_fail_errno(CF_ERR_LISTEN_FAILED, err_no, "cannot listen on %s", address);
    *out = fd;
    return NULL;
}

static cf_err *learn_address(cf_http_server *server) {
    struct sockaddr_storage where;
    socklen_t size = sizeof where;
    char host[ADDRESS_MAX - 16], port[8];
    if (getsockname(server->socket, (struct sockaddr *)&where, &size) < 0)
        return cf_fail_errno(CF_ERR_LISTEN_FAILED, errno, "cannot tell the address");
    int result = getnameinfo((struct sockaddr *)&where, size, host, sizeof host, port, sizeof port,
                             NI_NUMERICHOST | NI_NUMERICSERV);
    if (result != 0) return cf_fail(CF_ERR_LISTEN_FAILED, "cannot tell the address: %s", gai_strerror(result));
    bool six = where.ss_family == AF_INET6;
    snprintf(server->address, sizeof server->address, "%s%s%s:%s", six ? "[" : "", host, six ? "]" : "", port);
    return NULL;
}

static void free_server(cf_http_server *server) {
    if (server->socket >= 0) close(server->socket);
    pthread_cond_destroy(&server->idle);
    pthread_mutex_destroy(&server->lock);
    free(server);
}

static void init_locks(cf_http_server *server) {
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&server->lock, NULL);
    pthread_cond_init(&server->idle, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

cf_err *cf_http_server_start(const cf_http_server_options *options, const cf_http_handler *handler,
                             cf_http_server **out) {
    cf_http_server *server = calloc(1, sizeof *server);
    if (!server) return cf_fail(CF_ERR_OUT_OF_MEMORY, "the HTTP server");
    server->handler = *handler;
    server->socket = -1;
    server->connections_max = options->connections_max ? options->connections_max : 512;
    server->idle_seconds = options->idle_seconds ? options->idle_seconds : 120;
    init_locks(server);
    cf_err *err = open_socket(options->listen, &server->socket);
    if (!err) err = learn_address(server);
    if (!err) err = start_generation(server, options->certificate, options->key, &server->now);
    if (err)
        free_server(server);
    else
        *out = server;
    return err;
}

const char *cf_http_server_address(const cf_http_server *server) {
    return server->address;
}

/* Waits for requests at work, then cuts what is left. The listening socket stays open. */
static void stop_generation(cf_http_server *server, generation *old, unsigned grace_ms) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += grace_ms / 1000;
    until.tv_nsec += (long)(grace_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&server->lock);
    while (old->active > 0 && pthread_cond_timedwait(&server->idle, &server->lock, &until) == 0) continue;
    if (old->active > 0) cf_log(CF_LOG_WARNING, "%zu requests are cut off", old->active);
    pthread_mutex_unlock(&server->lock);
    MHD_stop_daemon(old->daemon);
    free(old);
}

cf_err *cf_http_server_renew(cf_http_server *server, cf_span certificate, cf_span key) {
    generation *old = server->now, *fresh = NULL;
    /* For a moment both take connections from the one socket. */
    CF_TRY(start_generation(server, certificate, key, &fresh));
    (void)MHD_quiesce_daemon(old->daemon); /* returns the socket, which is ours anyway */
    server->now = fresh;
    stop_generation(server, old, RENEW_GRACE_MS);
    return NULL;
}

void cf_http_server_stop(cf_http_server *server, unsigned grace_ms) {
    if (!server) return;
    (void)MHD_quiesce_daemon(server->now->daemon);
    stop_generation(server, server->now, grace_ms);
    free_server(server);
}
