/* The HTTPS server: libmicrohttpd with TLS 1.2 and 1.3 (GnuTLS, AES-GCM and ChaCha20 only), a thread for each
 * connection, bodies in both directions in pieces, so that a request's memory does not depend on its size.
 *
 * What a request means is the handler's affair. Handlers run in the connection's thread and may block.
 * Threads: handlers of different connections run at the same time.                                     */
#ifndef CF_HTTP_SERVER_H
#define CF_HTTP_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

typedef struct cf_http_exchange cf_http_exchange; /* one request and its reply */

/* What is done with a request, in this order. A reply that is set before end makes the rest of the body go
 * unseen (it is read and forgotten when it is small, else the connection is closed).                    */
typedef struct cf_http_handler {
    void *context;
    /* The headers are here. *state is the handler's own for this request, NULL before.                  */
    void (*begin)(void *context, cf_http_exchange *exchange, void **state);
    /* A piece of the body.                                                                              */
    void (*body)(void *context, cf_http_exchange *exchange, void *state, cf_span piece);
    /* The body is complete (or there is none): a reply must be set now.                                 */
    void (*end)(void *context, cf_http_exchange *exchange, void *state);
    /* Always, once: also when the connection broke. state may be NULL.                                  */
    void (*done)(void *context, void *state);
} cf_http_handler;

const char *cf_http_method(const cf_http_exchange *exchange);
const char *cf_http_path(const cf_http_exchange *exchange);                        /* %-escapes decoded    */
const char *cf_http_header_of(const cf_http_exchange *exchange, const char *name); /* NULL: not there   */
const char *cf_http_query_of(const cf_http_exchange *exchange, const char *name);  /* NULL: not there   */
/* UINT64_MAX: not announced (chunked). */
uint64_t cf_http_content_length(const cf_http_exchange *exchange);

/* cf_http_add_header: of the reply, before it is set; name is a literal, value copied and cut at 511 bytes. At
 * most 16.                                                                                              */
void cf_http_add_header(cf_http_exchange *exchange, const char *name, const char *value);
/* cf_http_reply_bytes: takes the content of *body, which is empty then.                                 */
void cf_http_reply_bytes(cf_http_exchange *exchange, unsigned status, cf_buf *body);
/* cf_http_reply_stream: size bytes, from read, which is called in order with offsets from 0 and writes 1 to
 * size bytes into out; 0 breaks the connection off. finish is always called, once.                       */
typedef struct cf_http_source {
    void *context;
    size_t (*read)(void *context, uint64_t offset, uint8_t *out, size_t size);
    void (*finish)(void *context);
} cf_http_source;
void cf_http_reply_stream(cf_http_exchange *exchange, unsigned status, uint64_t size, const cf_http_source *source);
bool cf_http_replied(const cf_http_exchange *exchange);

typedef struct cf_http_server cf_http_server;

typedef struct cf_http_server_options {
    const char *listen;       /* "127.0.0.1:8443", "[::]:0", ":8443": port 0 takes a free one             */
    cf_span certificate, key; /* PEM, NUL-terminated (size without the NUL)                              */
    unsigned connections_max; /* 0: 512                                                                   */
    unsigned idle_seconds;    /* a connection that moves nothing for so long is closed; 0: 120             */
} cf_http_server_options;

/* cf_http_server_start: listens and answers from now on; handler is copied.
 * Fails: 900514 LISTEN_FAILED; OUT_OF_MEMORY.                                                           */
cf_err *cf_http_server_start(const cf_http_server_options *options, const cf_http_handler *handler,
                             cf_http_server **server) __attribute__((warn_unused_result));
/* cf_http_server_address: "127.0.0.1:40123", as it is now; lives as long as the server.                  */
const char *cf_http_server_address(const cf_http_server *server);
/* cf_http_server_renew: new connections get this certificate, nobody is cut off.                         */
cf_err *cf_http_server_renew(cf_http_server *server, cf_span certificate, cf_span key)
    __attribute__((warn_unused_result));
/* cf_http_server_stop: no new requests; those at work may finish for grace_ms, then connections are cut.
 * NULL-safe; frees the server.                                                                          */
void cf_http_server_stop(cf_http_server *server, unsigned grace_ms);

#endif
