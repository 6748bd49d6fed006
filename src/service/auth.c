/* Who asks: a credentials file's secret, or a server's token. Both come as 32 bytes of which only the
 * SHA-256 is known here; looking that up leaks nothing about the bytes. */
#include <strings.h>

#include "base/secret.h"
#include "digest/digest.h"
#include "service/call.h"

static cf_err *read_secret(const cf_call *call, const char *scheme, cf_id32 *sha256, bool *there) {
    const char *text = cf_http_header_of(call->exchange, "Authorization");
    size_t size = strlen(scheme);
    uint8_t secret[32];
    *there = text && strncasecmp(text, scheme, size) == 0 && text[size] == ' ' && strlen(text + size + 1) == 64 &&
             cf_hex_decode(text + size + 1, secret, sizeof secret);
    if (!*there) return NULL;
    cf_err *err = cf_sha256(cf_span_of(secret, sizeof secret), sha256->bytes);
    cf_wipe(secret, sizeof secret);
    return err;
}

static cf_err *authenticate_token(cf_call *call) {
    cf_id32 sha256;
    bool there = false, found = false;
    CF_TRY(read_secret(call, "Bearer", &sha256, &there));
    if (there) CF_TRY(cf_records_find_token(call->vault->records, &sha256, &found, &call->token));
    if (!there) return cf_fail_reason(CF_ERR_UNAUTHORIZED, "missing", "the request has no token");
    if (!found) return cf_fail_reason(CF_ERR_UNAUTHORIZED, "unknown", "the vault does not know this token");
    if (call->token.revoked) return cf_fail_reason(CF_ERR_UNAUTHORIZED, "revoked", "this token was revoked");
    if (call->token.expires && call->token.expires <= call->now)
        return cf_fail_reason(CF_ERR_UNAUTHORIZED, "expired", "this token has expired");
    if (call->route->auth == CF_AUTH_AGENT && !call->token.agent)
        return cf_fail_reason(CF_ERR_FORBIDDEN, "read_only", "this token may only read");
    return NULL;
}

static cf_err *authenticate_credentials(cf_call *call) {
    cf_id32 sha256;
    bool there = false, found = false, newest = false;
    CF_TRY(read_secret(call, "Coffer-Credentials", &sha256, &there));
    if (there) CF_TRY(cf_records_find_credentials(call->vault->records, &sha256, &found, &call->credentials, &newest));
    if (!there) return cf_fail_reason(CF_ERR_UNAUTHORIZED, "missing", "the request has no credentials");
    if (!found) return cf_fail_reason(CF_ERR_CREDENTIALS, "unknown", "this vault did not issue these credentials");
    char when[40];
    cf_time_format((cf_time){call->credentials.expires, 0}, when);
    if (call->credentials.expires <= call->now)
        return cf_fail_reason(CF_ERR_CREDENTIALS, "expired", "the credentials expired on %s", when);
    if (!newest)
        return cf_fail_reason(CF_ERR_CREDENTIALS, "superseded", "newer credentials for the same purpose were issued");
    if (call->route->auth == CF_AUTH_REGISTER && strcmp(call->credentials.purpose, "register") != 0)
        return cf_fail_reason(CF_ERR_CREDENTIALS, "wrong_purpose",
                              "the credentials are for \"%s\", not for registering", call->credentials.purpose);
    return NULL;
}

cf_err *cf_call_authenticate(cf_call *call) {
    switch (call->route->auth) {
    case CF_AUTH_TOKEN:
    case CF_AUTH_AGENT:
        return authenticate_token(call);
    case CF_AUTH_CREDENTIALS:
    case CF_AUTH_REGISTER:
        return authenticate_credentials(call);
    case CF_AUTH_NONE:
    case CF_AUTH_URL:
        return NULL;
    }
    return cf_fail(CF_ERR_INTERNAL, "a route without authentication");
}
