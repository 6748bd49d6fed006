/* One request on its way through the service, and the table that says who answers it (of this folder only). */
#ifndef CF_SERVICE_CALL_H
#define CF_SERVICE_CALL_H

#include "base/text.h"
#include "base/turns.h"
#include "http/server.h"
#include "proto/json.h"
#include "service/rate.h"
#include "service/service.h"

enum { CF_STRIPES = 64, CF_JSON_BODY_MAX = 1 << 20 };

typedef struct cf_service {
    cf_vault *vault;
    cf_rate *rate;                /* wrong passphrases, per server                              */
    cf_turns stripes[CF_STRIPES]; /* a server's changes of more than one step, one at a time     */
} cf_service;

typedef enum cf_auth {
    CF_AUTH_NONE,
    CF_AUTH_CREDENTIALS, /* any credentials file              */
    CF_AUTH_REGISTER,    /* one for registering               */
    CF_AUTH_TOKEN,       /* a server's token of either kind   */
    CF_AUTH_AGENT,       /* one that may change things        */
    CF_AUTH_URL,         /* a signed address: the route looks */
} cf_auth;

typedef enum cf_body { CF_BODY_NONE, CF_BODY_JSON, CF_BODY_RAW, CF_BODY_STREAM } cf_body;

typedef struct cf_call cf_call;

/* A row of the routing table. path may hold one {name}, at the end or before a ":verb". */
typedef struct cf_route {
    const char *method, *path;
    cf_auth auth;
    cf_body body;
    uint64_t body_max; /* RAW */
    cf_err *(*handle)(cf_call *call);
    /* STREAM: before the body, for each piece, and when the call ends in whatever way. */
    cf_err *(*start)(cf_call *call);
    cf_err *(*piece)(cf_call *call, cf_span bytes);
    void (*drop)(cf_call *call);
} cf_route;

struct cf_call {
    cf_service *service;
    cf_vault *vault;
    cf_http_exchange *exchange;
    const cf_route *route;
    char argument[129]; /* what stood for {name} */
    int64_t now;
    char request_id[CF_HEX_SIZE(8)];
    cf_token_row token;             /* TOKEN, AGENT          */
    cf_credentials_row credentials; /* CREDENTIALS, REGISTER */
    cf_buf body;                    /* RAW, and the text of JSON */
    json_t *json;                   /* JSON */
    void *stream;                   /* STREAM: the route's own */
    cf_err *failed;                 /* while the body came   */
    /* The answer. Nothing set: 200 and {}. */
    unsigned status;
    json_t *reply;   /* an object               */
    json_t *details; /* joins an error          */
    bool raw;        /* reply_bytes is the body */
    cf_buf reply_bytes;
    bool streamed; /* the route has replied by itself */
};

/* cf_route_find: NULL when nothing has this path; *allowed then tells whether it has, with other methods.
 *   argument  129 bytes.                                                                               */
const cf_route *cf_route_find(const char *method, const char *path, char *argument, bool *path_known);
const cf_route *cf_routes(size_t *count);
const char *cf_auth_name(cf_auth auth);

/* cf_call_reply: value is taken; fails without memory when it is NULL.                                  */
cf_err *cf_call_reply(cf_call *call, unsigned status, json_t *value) __attribute__((warn_unused_result));
/* cf_call_argument: the path's {id}, size bytes of hexadecimal. Fails: UNKNOWN_OBJECT.                    */
cf_err *cf_call_argument(const cf_call *call, void *out, size_t size) __attribute__((warn_unused_result));
cf_err *cf_call_argument_number(const cf_call *call, uint64_t max, uint64_t *number)
    __attribute__((warn_unused_result));
cf_json_reader cf_call_read(const cf_call *call);
cf_err *cf_call_query_number(const cf_call *call, const char *name, uint64_t min, uint64_t max, uint64_t otherwise,
                             uint64_t *number) __attribute__((warn_unused_result));
/* cf_call_session: the open session of this ID; ends it when its lease is over. Fails: SESSION_LOST.     */
cf_err *cf_call_session(cf_call *call, const cf_id16 *id, cf_session_row *session) __attribute__((warn_unused_result));
/* The server of the token. */
cf_err *cf_call_server(cf_call *call, cf_server_row *server) __attribute__((warn_unused_result));
cf_err *cf_call_authenticate(cf_call *call) __attribute__((warn_unused_result));
void cf_service_lock(cf_service *service, const cf_id16 *server);
void cf_service_unlock(cf_service *service, const cf_id16 *server);
unsigned cf_status_of(const cf_err *err);

/* JSON values: new references, NULL without memory. */
json_t *cf_value_hex(const void *data, size_t size);
json_t *cf_value_base64(cf_span bytes);
json_t *cf_value_time(int64_t seconds);
json_t *cf_value_number(uint64_t number);

/* cf_object_put_same: create-only; when it is there already, with the same bytes is fine.
 * Fails: OBJECT_CONFLICT.                                                                               */
cf_err *cf_object_put_same(cf_vault *vault, const char *key, cf_span bytes, const char *what)
    __attribute__((warn_unused_result));

/* The routes, by file. */
cf_err *cf_api_version(cf_call *call);           /* api_version.c   */
cf_err *cf_api_credentials_check(cf_call *call); /* api_register.c  */
cf_err *cf_api_servers_list(cf_call *call);
cf_err *cf_api_servers_add(cf_call *call);
cf_err *cf_api_challenge(cf_call *call); /* api_unlock.c */
cf_err *cf_api_unlock(cf_call *call);
cf_err *cf_api_self(cf_call *call); /* api_self.c */
cf_err *cf_api_self_rename(cf_call *call);
cf_err *cf_api_token_revoke(cf_call *call);
cf_err *cf_api_slots_list(cf_call *call); /* api_keys.c */
cf_err *cf_api_slots_add(cf_call *call);
cf_err *cf_api_kits_add(cf_call *call);
cf_err *cf_api_record_put(cf_call *call);
cf_err *cf_api_record_get(cf_call *call);
cf_err *cf_api_sessions_open(cf_call *call); /* api_sessions.c */
cf_err *cf_api_sessions_heartbeat(cf_call *call);
cf_err *cf_api_sessions_numbers(cf_call *call);
cf_err *cf_api_sessions_close(cf_call *call);
cf_err *cf_api_packs_upload(cf_call *call); /* api_packs.c */
cf_err *cf_api_packs_commit(cf_call *call);
cf_err *cf_api_packs_download(cf_call *call);
cf_err *cf_api_packs_list(cf_call *call);
cf_err *cf_api_blob_start(cf_call *call); /* api_blobs.c */
cf_err *cf_api_blob_piece(cf_call *call, cf_span bytes);
cf_err *cf_api_blob_put(cf_call *call);
void cf_api_blob_drop(cf_call *call);
cf_err *cf_api_blob_get(cf_call *call);
cf_err *cf_api_points_put(cf_call *call);  /* api_commit.c */
cf_err *cf_api_points_list(cf_call *call); /* api_points.c */
cf_err *cf_api_points_get(cf_call *call);
cf_err *cf_api_points_map(cf_call *call);
cf_err *cf_api_damage(cf_call *call);          /* api_damage.c */
cf_err *cf_api_relocations_put(cf_call *call); /* api_relocations.c */
cf_err *cf_api_relocations_list(cf_call *call);
cf_err *cf_api_relocations_get(cf_call *call);
cf_err *cf_api_leases_add(cf_call *call); /* api_leases.c */
cf_err *cf_api_leases_renew(cf_call *call);
cf_err *cf_api_leases_end(cf_call *call);
cf_err *cf_api_policy_get(cf_call *call); /* api_policy.c */
cf_err *cf_api_policy_put(cf_call *call);
cf_err *cf_api_jobs_put(cf_call *call); /* api_jobs.c */
cf_err *cf_api_jobs_list(cf_call *call);

#endif
