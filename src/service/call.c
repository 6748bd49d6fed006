/* From a request's headers to its route, through authentication, to the reply. */
#include "service/call.h"

#include <stdlib.h>
#include <strings.h>

#include "base/log.h"
#include "digest/digest.h"
#include "proto/error_json.h"
#include "proto/version.h"
#include "service/handler.h"

static const struct {
    cf_code code;
    unsigned status;
} statuses[] = {
    {CF_ERR_CREDENTIALS, 401},        {CF_ERR_UNAUTHORIZED, 401},     {CF_ERR_FORBIDDEN, 403},
    {CF_ERR_PASSPHRASE_DIFFERS, 403}, {CF_ERR_NAME_TAKEN, 409},       {CF_ERR_SESSION_LOST, 410},
    {CF_ERR_POINT_CONFLICT, 409},     {CF_ERR_MISSING_SEGMENTS, 409}, {CF_ERR_RATE_LIMITED, 429},
    {CF_ERR_BAD_REQUEST, 400},        {CF_ERR_OBJECT_MISSING, 404},   {CF_ERR_UNKNOWN_OBJECT, 404},
    {CF_ERR_OBJECT_CONFLICT, 409},    {CF_ERR_OTHER_INSTANCE, 409},   {CF_ERR_UPLOAD_REFUSED, 400},
    {CF_ERR_TOO_MANY_LEASES, 429},    {CF_ERR_TOO_LARGE, 413},        {CF_ERR_FORMAT, 400},
    {CF_ERR_FORMAT_VERSION, 400},     {CF_ERR_VERSION_MISMATCH, 426}, {CF_ERR_DISK_FULL, 507},
    {CF_ERR_OUT_OF_MEMORY, 503},      {CF_ERR_POLICY_INVALID, 400},   {CF_ERR_RETENTION_INVALID, 400},
    {CF_ERR_TOO_MANY_POINTS, 400},    {CF_ERR_ZONE_UNKNOWN, 400},     {CF_ERR_BAD_SOURCE_PATH, 400},
    {CF_ERR_POLICY_CHANGED, 409},
};

unsigned cf_status_of(const cf_err *err) {
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++)
        if (statuses[i].code == cf_err_code(err)) return statuses[i].status;
    return 500;
}

json_t *cf_value_hex(const void *data, size_t size) {
    char hex[CF_HEX_SIZE(64)];
    if (size > 64) return NULL;
    cf_hex_encode(data, size, hex);
    return json_string(hex);
}

json_t *cf_value_base64(cf_span bytes) {
    CF_AUTO_FREE char *text = cf_base64_encode(bytes);
    return text ? json_string(text) : NULL;
}

json_t *cf_value_time(int64_t seconds) {
    char text[40];
    cf_time_format((cf_time){seconds, 0}, text);
    return json_string(text);
}

json_t *cf_value_number(uint64_t number) {
    return json_integer((json_int_t)number);
}

cf_err *cf_call_reply(cf_call *call, unsigned status, json_t *value) {
    if (!value) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a reply");
    json_decref(call->reply);
    call->reply = value;
    call->status = status;
    return NULL;
}

cf_err *cf_call_argument(const cf_call *call, void *out, size_t size) {
    if (strlen(call->argument) == 2 * size && cf_hex_decode(call->argument, out, size)) return NULL;
    return cf_fail(CF_ERR_UNKNOWN_OBJECT, "there is nothing with the ID %s", call->argument);
}

cf_err *cf_call_argument_number(const cf_call *call, uint64_t max, uint64_t *number) {
    if (cf_text_parse_u64(call->argument, max, number) && *number > 0) return NULL;
    return cf_fail(CF_ERR_BAD_REQUEST, "%s is no number from 1 to %llu", call->argument, (unsigned long long)max);
}

cf_err *cf_call_query_number(const cf_call *call, const char *name, uint64_t min, uint64_t max, uint64_t otherwise,
                             uint64_t *number) {
    const char *text = cf_http_query_of(call->exchange, name);
    *number = otherwise;
    if (!text || (cf_text_parse_u64(text, max, number) && *number >= min)) return NULL;
    return cf_fail(CF_ERR_BAD_REQUEST, "%s is no number from %llu to %llu", name, (unsigned long long)min,
                   (unsigned long long)max);
}

cf_json_reader cf_call_read(const cf_call *call) {
    return cf_json_reader_of(call->json, CF_ERR_BAD_REQUEST, "the request");
}

cf_err *cf_call_server(cf_call *call, cf_server_row *server) {
    bool found = false;
    CF_TRY(cf_records_find_server(call->vault->records, &call->token.server, &found, server));
    return found ? NULL : cf_fail(CF_ERR_DATABASE, "a token belongs to a server that is not there");
}

static cf_turns *stripe(cf_service *service, const cf_id16 *server) {
    return &service->stripes[server->bytes[0] % CF_STRIPES];
}

void cf_service_lock(cf_service *service, const cf_id16 *server) {
    cf_turns_lock(stripe(service, server));
}

void cf_service_unlock(cf_service *service, const cf_id16 *server) {
    cf_turns_unlock(stripe(service, server));
}

cf_err *cf_object_put_same(cf_vault *vault, const char *key, cf_span bytes, const char *what) {
    bool created = false;
    CF_TRY(cf_objects_put(vault->objects, key, bytes, &created));
    if (created) return NULL;
    CF_AUTO_BUF cf_buf old;
    cf_buf_init(&old, bytes.size);
    cf_err *err = cf_objects_get_all(vault->objects, key, bytes.size, &old);
    if (err && cf_err_code(err) != CF_ERR_TOO_LARGE) return err;
    bool same = !err && cf_span_equal(cf_buf_span(&old), bytes);
    cf_err_free(err);
    return same ? NULL : cf_fail(CF_ERR_OBJECT_CONFLICT, "%s: the vault has other bytes under this name", what);
}

static cf_err *check_versions(const cf_call *call) {
    const char *agent = cf_http_header_of(call->exchange, CF_HEADER_AGENT);
    const char *protocol = cf_http_header_of(call->exchange, CF_HEADER_PROTOCOL);
    cf_protocol_range range = {CF_PROTOCOL_MIN, CF_PROTOCOL_MAX};
    if (protocol && !cf_protocol_range_parse(protocol, &range))
        return cf_fail(CF_ERR_BAD_REQUEST, "%s is malformed", CF_HEADER_PROTOCOL);
    if (!agent && !protocol) return NULL; /* no agent of ours: a person with curl */
    return cf_version_check_agent(CF_VERSION, agent ? agent : CF_AGENT_OLDEST, range);
}

static cf_err *find_route(cf_call *call) {
    const char *path = cf_http_path(call->exchange), *method = cf_http_method(call->exchange);
    bool known = false;
    call->route = cf_route_find(method, path, call->argument, &known);
    if (call->route) return NULL;
    if (known) return cf_fail_reason(CF_ERR_BAD_REQUEST, "method", "%.16s is not for this address", method);
    return cf_fail_reason(CF_ERR_UNKNOWN_OBJECT, "address", "the service has no such address");
}

static uint64_t body_max(const cf_route *route) {
    if (route->body == CF_BODY_NONE) return CF_JSON_BODY_MAX; /* is ignored */
    return route->body == CF_BODY_JSON && !route->body_max ? CF_JSON_BODY_MAX : route->body_max;
}

static cf_err *check_length(const cf_call *call) {
    uint64_t length = cf_http_content_length(call->exchange), max = body_max(call->route);
    if (length == UINT64_MAX || length <= max) return NULL;
    return cf_fail(CF_ERR_TOO_LARGE, "the request has %llu bytes, at most %llu are taken", (unsigned long long)length,
                   (unsigned long long)max);
}

static cf_err *start_call(cf_call *call) {
    CF_TRY(find_route(call));
    CF_TRY(check_versions(call));
    CF_TRY(check_length(call));
    CF_TRY(cf_call_authenticate(call));
    cf_buf_init(&call->body, (size_t)body_max(call->route));
    return call->route->start ? call->route->start(call) : NULL;
}

/* The Date header says the time that the vault decides by; agents hold their clock against it. */
static void add_date(cf_call *call) {
    static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t now = (time_t)call->now;
    struct tm at;
    char text[64];
    if (!gmtime_r(&now, &at)) return;
    snprintf(text, sizeof text, "%s, %02d %s %04d %02d:%02d:%02d GMT", days[at.tm_wday], at.tm_mday, months[at.tm_mon],
             at.tm_year + 1900, at.tm_hour, at.tm_min, at.tm_sec);
    cf_http_add_header(call->exchange, "Date", text);
}

static void add_headers(cf_call *call) {
    char range[24];
    add_date(call);
    snprintf(range, sizeof range, "%d-%d", CF_PROTOCOL_MIN, CF_PROTOCOL_MAX);
    cf_http_add_header(call->exchange, CF_HEADER_VERSION, CF_VERSION);
    cf_http_add_header(call->exchange, CF_HEADER_PROTOCOL, range);
    cf_http_add_header(call->exchange, CF_HEADER_AGENT_OLDEST, CF_AGENT_OLDEST);
    cf_http_add_header(call->exchange, CF_HEADER_REQUEST, call->request_id);
    cf_http_add_header(call->exchange, "Cache-Control", "no-store");
}

static void send_json(cf_call *call, unsigned status, const json_t *value) {
    CF_AUTO_BUF cf_buf text;
    cf_buf_init(&text, (size_t)1 << 30);
    cf_err_free(cf_json_format(value, &text)); /* without memory: an empty reply with this status */
    cf_http_add_header(call->exchange, "Content-Type", "application/json");
    cf_http_reply_bytes(call->exchange, status, &text);
}

/* Takes err. Names of what is inside the vault's machine stay inside. */
static void send_error(cf_call *call, cf_err *err) {
    unsigned status = cf_status_of(err);
    if (strcmp(cf_err_reason(err), "method") == 0) status = 405;
    if (strcmp(cf_err_reason(err), "range") == 0 && cf_err_code(err) == CF_ERR_BAD_REQUEST) status = 416;
    if (status >= 500 || cf_err_has(err, CF_F_DAMAGE)) {
        cf_log(CF_LOG_ERROR, "request %s, %s %s:", call->request_id, cf_http_method(call->exchange),
               cf_http_path(call->exchange));
        cf_log_error(CF_LOG_ERROR, err);
    }
    json_t *document = cf_error_document(err);
    if (document && call->details)
        (void)json_object_set(json_object_get(document, "error"), "details", call->details); /* else without */
    if (cf_err_retry_after(err) > 0) {
        char seconds[16];
        snprintf(seconds, sizeof seconds, "%u", cf_err_retry_after(err));
        cf_http_add_header(call->exchange, "Retry-After", seconds);
    }
    cf_log(CF_LOG_DEBUG, "%s %s %s: %u", call->request_id, cf_http_method(call->exchange), cf_http_path(call->exchange),
           status);
    send_json(call, status, document);
    json_decref(document);
    cf_err_free(err);
}

static cf_err *parse_json(cf_call *call) {
    if (call->body.size == 0) {
        call->json = json_object();
        return call->json ? NULL : cf_fail(CF_ERR_OUT_OF_MEMORY, "a request");
    }
    CF_TRY(cf_json_parse(cf_buf_span(&call->body), call->body.max, CF_ERR_BAD_REQUEST, "the request", &call->json));
    if (json_is_object(call->json)) return NULL;
    return cf_fail_reason(CF_ERR_BAD_REQUEST, "json", "the request is no JSON object");
}

static cf_err *finish_call(cf_call *call) {
    CF_TRY(cf_take(call->failed));
    CF_TRY(cf_buf_check(&call->body, "the request"));
    if (call->route->body == CF_BODY_JSON) CF_TRY(parse_json(call));
    return call->route->handle(call);
}

static void send_reply(cf_call *call) {
    if (call->raw) {
        cf_http_add_header(call->exchange, "Content-Type", "application/octet-stream");
        cf_http_reply_bytes(call->exchange, call->status, &call->reply_bytes);
    } else {
        json_t *value = call->reply ? call->reply : json_object();
        send_json(call, call->status, value);
        if (!call->reply) json_decref(value);
    }
}

static cf_call *new_call(cf_service *service, cf_http_exchange *exchange) {
    cf_call *call = calloc(1, sizeof *call);
    if (!call) return NULL;
    uint8_t random[8] = {0};
    cf_err_free(cf_random(random, sizeof random)); /* only to find the request in a log */
    cf_hex_encode(random, sizeof random, call->request_id);
    call->service = service;
    call->vault = service->vault;
    call->exchange = exchange;
    call->now = cf_vault_now(service->vault);
    call->status = 200;
    return call;
}

static void on_begin(void *context, cf_http_exchange *exchange, void **state) {
    cf_call *call = new_call(context, exchange);
    *state = call;
    if (!call) return; /* on_end closes the connection */
    add_headers(call);
    cf_err *err = start_call(call);
    if (err) send_error(call, err);
}

static void on_body(void *context, cf_http_exchange *exchange, void *state, cf_span piece) {
    (void)context;
    (void)exchange;
    cf_call *call = state;
    if (!call || call->failed || call->route->body == CF_BODY_NONE) return;
    if (call->route->piece)
        call->failed = call->route->piece(call, piece);
    else
        cf_buf_put_span(&call->body, piece);
}

static void on_end(void *context, cf_http_exchange *exchange, void *state) {
    (void)context;
    (void)exchange;
    cf_call *call = state;
    if (!call) return;
    call->exchange = exchange;
    cf_err *err = finish_call(call);
    if (err)
        send_error(call, err);
    else if (!call->streamed)
        send_reply(call);
}

static void on_done(void *context, void *state) {
    (void)context;
    cf_call *call = state;
    if (!call) return;
    if (call->route && call->route->drop) call->route->drop(call);
    json_decref(call->json);
    json_decref(call->reply);
    json_decref(call->details);
    cf_buf_wipe(&call->body);
    cf_buf_wipe(&call->reply_bytes);
    cf_err_free(call->failed);
    free(call);
}

cf_http_handler cf_service_handler(cf_service *service) {
    return (cf_http_handler){service, on_begin, on_body, on_end, on_done};
}
