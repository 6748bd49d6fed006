/* One request to the vault with everything that all of them share: authorisation, waiting and trying again,
 * versions, the clock, errors from the other side. Of this folder only.                                   */
#ifndef CF_REMOTE_CALL_H
#define CF_REMOTE_CALL_H

#include <jansson.h>
#include <pthread.h>

#include "base/buf.h"
#include "http/client.h"
#include "proto/json.h"
#include "remote/remote.h"

enum { CF_CALL_HEADERS_MAX = 8, CF_CALL_PATH_MAX = 512 };

typedef struct cf_call {
    const char *method;
    char path[CF_CALL_PATH_MAX]; /* "/v1/..." */
    json_t *body;                /* taken by cf_call_run, also on failure; NULL: none                      */
    bool has_raw;                /* raw bytes instead of JSON                                              */
    cf_span raw;
    cf_http_header headers[CF_CALL_HEADERS_MAX];
    size_t header_count;
    bool to_the_end;  /* a request on its way is not cut off when somebody asks to stop: its answer decides     */
    bool once;        /* may not be sent twice                                                             */
    bool farewell;    /* tidying up: also sent, once and briefly, after somebody asked to stop             */
    size_t reply_max; /* 0: 8 MiB                                                                          */
} cf_call;

void cf_call_init(cf_call *call, const char *method, const char *path, ...) __attribute__((format(printf, 3, 4)));
/* cf_call_body: json_pack's result; NULL (no memory) is found out by cf_call_run.                         */
void cf_call_body(cf_call *call, json_t *body);

/* cf_call_run: *reply is the JSON object of a 2xx (NULL out: not looked at).
 *   details  NULL, or receives the "details" of an error, a new reference or NULL.                        */
cf_err *cf_call_run(cf_remote *remote, cf_call *call, json_t **reply, json_t **details)
    __attribute__((warn_unused_result));
/* cf_call_run_raw: the bytes of a 2xx, appended to out.                                                   */
cf_err *cf_call_run_raw(cf_remote *remote, cf_call *call, cf_buf *out) __attribute__((warn_unused_result));

/* Reading a reply: cf_json_reader with the error of this folder.                                          */
cf_json_reader cf_reply_reader(const json_t *reply, const char *what);
cf_err *cf_reply_done(cf_json_reader *reader) __attribute__((warn_unused_result));
/* cf_reply_copy: a text member into a fixed array.                                                        */
void cf_reply_copy(cf_json_reader *reader, const char *member, char *out, size_t size);
void cf_reply_copy_optional(cf_json_reader *reader, const char *member, char *out, size_t size);

/* cf_reply_newest: the member "newest" ({id, counter} or null).                                           */
struct cf_remote_newest;
void cf_reply_newest(cf_json_reader *reader, struct cf_remote_newest *newest);

/* A transfer to or from a URL that the control plane handed out.                                          */
typedef struct cf_transfer {
    const char *method, *url; /* absolute, or a path on the vault */
    const json_t *headers;    /* object of texts, or NULL         */
    cf_span body;
    uint8_t *into; /* for ranges */
    uint64_t offset;
    size_t size;
} cf_transfer;
/* cf_transfer_run: waits out passing trouble; *status is 200, 201, 204, 206, or 403, 404, 410 or 416, which the
 * caller understands; every other answer is an error. A range that comes back short is an error too.      */
cf_err *cf_transfer_run(cf_remote *remote, const cf_transfer *transfer, int *status)
    __attribute__((warn_unused_result));

pthread_mutex_t *cf_remote_access_lock(cf_remote *remote);

#endif
