/* The routing table: the one place that says what the service answers. docs/openapi.yaml lists the same. */
#include "service/call.h"
#include "visible/point.h"
#include "visible/relocation.h"
#include "visible/slot_header.h"

static const cf_route routes[] = {
    {"GET", "/v1/version", CF_AUTH_NONE, CF_BODY_NONE, 0, cf_api_version, NULL, NULL, NULL},
    {"POST", "/v1/credentials:check", CF_AUTH_CREDENTIALS, CF_BODY_JSON, 0, cf_api_credentials_check, NULL, NULL, NULL},
    {"GET", "/v1/servers", CF_AUTH_CREDENTIALS, CF_BODY_NONE, 0, cf_api_servers_list, NULL, NULL, NULL},
    {"POST", "/v1/servers", CF_AUTH_REGISTER, CF_BODY_JSON, 0, cf_api_servers_add, NULL, NULL, NULL},
    {"POST", "/v1/servers/{id}:challenge", CF_AUTH_CREDENTIALS, CF_BODY_JSON, 0, cf_api_challenge, NULL, NULL, NULL},
    {"POST", "/v1/servers/{id}:unlock", CF_AUTH_CREDENTIALS, CF_BODY_JSON, 0, cf_api_unlock, NULL, NULL, NULL},
    {"GET", "/v1/self", CF_AUTH_TOKEN, CF_BODY_NONE, 0, cf_api_self, NULL, NULL, NULL},
    {"PATCH", "/v1/self", CF_AUTH_AGENT, CF_BODY_JSON, 0, cf_api_self_rename, NULL, NULL, NULL},
    {"DELETE", "/v1/self/token", CF_AUTH_TOKEN, CF_BODY_NONE, 0, cf_api_token_revoke, NULL, NULL, NULL},
    {"GET", "/v1/slots", CF_AUTH_TOKEN, CF_BODY_NONE, 0, cf_api_slots_list, NULL, NULL, NULL},
    {"POST", "/v1/slots", CF_AUTH_AGENT, CF_BODY_JSON, 0, cf_api_slots_add, NULL, NULL, NULL},
    {"POST", "/v1/kits", CF_AUTH_AGENT, CF_BODY_JSON, 0, cf_api_kits_add, NULL, NULL, NULL},
    {"PUT", "/v1/records/{session}", CF_AUTH_AGENT, CF_BODY_RAW, CF_KEY_RECORD_BYTES, cf_api_record_put, NULL, NULL,
     NULL},
    {"GET", "/v1/records/{session}", CF_AUTH_TOKEN, CF_BODY_NONE, 0, cf_api_record_get, NULL, NULL, NULL},
    {"POST", "/v1/sessions", CF_AUTH_AGENT, CF_BODY_JSON, 0, cf_api_sessions_open, NULL, NULL, NULL},
    {"POST", "/v1/sessions/{session}:heartbeat", CF_AUTH_AGENT, CF_BODY_JSON, 0, cf_api_sessions_heartbeat, NULL, NULL,
     NULL},
    {"POST", "/v1/sessions/{session}:numbers", CF_AUTH_AGENT, CF_BODY_JSON, 0, cf_api_sessions_numbers, NULL, NULL,
     NULL},
    {"POST", "/v1/sessions/{session}:close", CF_AUTH_AGENT, CF_BODY_JSON, 0, cf_api_sessions_close, NULL, NULL, NULL},
    {"POST", "/v1/packs/{number}:upload", CF_AUTH_AGENT, CF_BODY_JSON, 0, cf_api_packs_upload, NULL, NULL, NULL},
    {"POST", "/v1/packs/{number}:commit", CF_AUTH_AGENT, CF_BODY_JSON, 4 << 20, cf_api_packs_commit, NULL, NULL, NULL},
    {"POST", "/v1/packs:download", CF_AUTH_TOKEN, CF_BODY_JSON, 0, cf_api_packs_download, NULL, NULL, NULL},
    {"GET", "/v1/packs", CF_AUTH_TOKEN, CF_BODY_NONE, 0, cf_api_packs_list, NULL, NULL, NULL},
    {"PUT", "/v1/blobs/{number}", CF_AUTH_URL, CF_BODY_STREAM, CF_PACK_MAX, cf_api_blob_put, cf_api_blob_start,
     cf_api_blob_piece, cf_api_blob_drop},
    {"GET", "/v1/blobs/{number}", CF_AUTH_URL, CF_BODY_NONE, 0, cf_api_blob_get, NULL, NULL, NULL},
    {"PUT", "/v1/points/{id}", CF_AUTH_AGENT, CF_BODY_RAW, CF_POINT_MAX, cf_api_points_put, NULL, NULL, NULL},
    {"GET", "/v1/points", CF_AUTH_TOKEN, CF_BODY_NONE, 0, cf_api_points_list, NULL, NULL, NULL},
    {"GET", "/v1/points/{id}", CF_AUTH_TOKEN, CF_BODY_NONE, 0, cf_api_points_get, NULL, NULL, NULL},
    {"GET", "/v1/points/{id}/map", CF_AUTH_TOKEN, CF_BODY_NONE, 0, cf_api_points_map, NULL, NULL, NULL},
    {"GET", "/v1/damage", CF_AUTH_TOKEN, CF_BODY_NONE, 0, cf_api_damage, NULL, NULL, NULL},
    {"PUT", "/v1/relocations/{id}", CF_AUTH_AGENT, CF_BODY_RAW, CF_RELOCATION_MAX, cf_api_relocations_put, NULL, NULL,
     NULL},
    {"GET", "/v1/relocations", CF_AUTH_TOKEN, CF_BODY_NONE, 0, cf_api_relocations_list, NULL, NULL, NULL},
    {"GET", "/v1/relocations/{id}", CF_AUTH_TOKEN, CF_BODY_NONE, 0, cf_api_relocations_get, NULL, NULL, NULL},
    {"POST", "/v1/leases", CF_AUTH_TOKEN, CF_BODY_JSON, 0, cf_api_leases_add, NULL, NULL, NULL},
    {"POST", "/v1/leases/{id}:renew", CF_AUTH_TOKEN, CF_BODY_JSON, 0, cf_api_leases_renew, NULL, NULL, NULL},
    {"DELETE", "/v1/leases/{id}", CF_AUTH_TOKEN, CF_BODY_NONE, 0, cf_api_leases_end, NULL, NULL, NULL},
    {"GET", "/v1/policy", CF_AUTH_TOKEN, CF_BODY_NONE, 0, cf_api_policy_get, NULL, NULL, NULL},
    {"PUT", "/v1/policy", CF_AUTH_AGENT, CF_BODY_JSON, 0, cf_api_policy_put, NULL, NULL, NULL},
    {"PUT", "/v1/jobs/{id}", CF_AUTH_AGENT, CF_BODY_JSON, 0, cf_api_jobs_put, NULL, NULL, NULL},
    {"GET", "/v1/jobs", CF_AUTH_TOKEN, CF_BODY_NONE, 0, cf_api_jobs_list, NULL, NULL, NULL},
};

const cf_route *cf_routes(size_t *count) {
    *count = sizeof routes / sizeof *routes;
    return routes;
}

const char *cf_auth_name(cf_auth auth) {
    static const char *const names[] = {"none", "credentials", "register", "token", "agent", "url"};
    return names[auth];
}

/* Letters and digits up to what follows the braces. */
static bool matches(const char *pattern, const char *path, char *argument) {
    const char *open = strchr(pattern, '{');
    argument[0] = '\0';
    if (!open) return strcmp(pattern, path) == 0;
    size_t before = (size_t)(open - pattern);
    if (strncmp(pattern, path, before) != 0) return false;
    const char *value = path + before, *rest = strchr(open, '}') + 1;
    size_t size = strspn(value, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");
    if (size == 0 || size > 128 || strcmp(value + size, rest) != 0) return false;
    memcpy(argument, value, size);
    argument[size] = '\0';
    return true;
}

const cf_route *cf_route_find(const char *method, const char *path, char *argument, bool *path_known) {
    *path_known = false;
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        if (!matches(routes[i].path, path, argument)) continue;
        *path_known = true;
        if (strcmp(routes[i].method, method) == 0) return &routes[i];
    }
    return NULL;
}

void cf_service_routes(FILE *out) {
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++)
        fprintf(out, "%s %s %s\n", routes[i].method, routes[i].path, cf_auth_name(routes[i].auth));
}
