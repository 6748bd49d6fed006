/* HTTPS requests through libcurl: one pool of kept-alive connections for any number of threads.
 *
 * TLS 1.2 is the minimum. Redirects are not followed. What is trusted is what the options say, nothing
 * else. A reply of any status is a reply (its status is looked at by the caller); an error means that no
 * complete reply came.
 *
 * Fails (cf_http_send), with these reasons:
 *   100021 VAULT_UNREACHABLE  dns, refused, timeout, unreachable, cut, stalled: passing trouble
 *   900401 TLS_REFUSED        certificate, tls_version, handshake
 *   130052 CLOCK_SKEW         certificate_time: the certificate is not valid at this machine's time
 *   100050 PROXY              407, unreachable, dns, refused (another status than 407), url
 *   900402 BAD_REPLY          too_large, not_http, malformed
 *   900004 CANCELLED
 * Threads: any number may send at once; each request uses a connection of its own.                    */
#ifndef CF_HTTP_CLIENT_H
#define CF_HTTP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/cancel.h"
#include "base/err.h"
#include "base/secret.h"

/* A limit on what moves: asked before bytes are sent and before more are taken from the network. Headers and what
 * making a connection takes count too, and a request that is sent again counts again.                     */
typedef struct cf_http_pace {
    uint64_t (*rate)(void *context); /* bytes a second at this moment; 0: no limit (then nothing else is called) */
    /* Waits until so many bytes may move. wait false: they have moved already. False: cancelled.           */
    bool (*take)(void *context, uint64_t bytes, bool wait, cf_cancel *cancel);
    void (*give)(void *context, uint64_t bytes); /* taken, but not moved */
    void *context;
} cf_http_pace;

typedef struct cf_http_options {
    const char *ca_pem;              /* trust exactly these certificates; NULL: the system's store            */
    const char *proxy;               /* URL; "" for none; NULL: the environment's (https_proxy, no_proxy)     */
    const char *proxy_user;          /* may be NULL                                                           */
    const cf_secret *proxy_password; /* may be NULL; copied                                            */
    cf_cancel *cancel;               /* borrowed for the client's life; may be NULL                           */
    const cf_http_pace *pace;        /* borrowed for the client's life; may be NULL                           */
    unsigned connect_seconds;        /* 0: 15                                                                 */
    unsigned stall_seconds;          /* no byte moved for so long: reason "stalled"; 0: 60                    */
} cf_http_options;

typedef struct cf_http cf_http;
/* cf_http_new: options are copied. Fails: OUT_OF_MEMORY, INTERNAL (libcurl cannot start).             */
cf_err *cf_http_new(const cf_http_options *options, cf_http **http) __attribute__((warn_unused_result));
void cf_http_free(cf_http *http); /* NULL-safe; no request may be running */
CF_DEFINE_AUTO(cf_http, cf_http_free)

typedef struct cf_http_header {
    const char *name, *value;
} cf_http_header;

typedef struct cf_http_request {
    const char *method; /* GET, PUT, POST, PATCH, DELETE */
    const char *url;    /* https only                    */
    const cf_http_header *headers;
    size_t header_count;
    const char *authorization; /* value of the Authorization header, or NULL; kept out of every message  */
    cf_span body;              /* sent straight from this memory                                         */
    /* Where the body of a 200 or 206 goes: exactly these bytes (into != NULL), or reply->body.         */
    uint8_t *into;
    size_t into_size;
    size_t reply_max; /* of reply->body; 0: 1 MiB                                                   */
    bool has_range;   /* ask for these bytes of the object                                          */
    uint64_t range_offset, range_size;
    unsigned total_seconds; /* for the whole request; 0: no limit                                        */
    bool ignore_cancel;     /* sent although somebody asked to stop: tidying up                           */
} cf_http_request;

typedef struct cf_http_reply {
    int status;
    cf_buf body;     /* text of errors too                                                               */
    size_t into_got; /* bytes that went to request->into                                                */
    cf_buf headers;  /* "name: value\n" lines as received; see cf_http_reply_header                      */
} cf_http_reply;

/* cf_http_send: reply need not be initialised; it is written, and must be wiped, also on failure.      */
cf_err *cf_http_send(cf_http *http, const cf_http_request *request, cf_http_reply *reply)
    __attribute__((warn_unused_result));
void cf_http_reply_wipe(cf_http_reply *reply);
#define CF_AUTO_HTTP_REPLY __attribute__((cleanup(cf_http_reply_wipe)))
/* cf_http_reply_header: the value of the last header of this name (any case), copied and cut to size; false
 * when there is none.                                                                                  */
bool cf_http_reply_header(const cf_http_reply *reply, const char *name, char *out, size_t size);
/* cf_http_date_parse: "Fri, 20 Nov 2026 22:57:47 GMT" to seconds since 1970; false when it is not.      */
bool cf_http_date_parse(const char *text, int64_t *seconds);

#endif
