/* The credentials file: what a server needs to find a vault, to trust it, and to be let in.
 *
 * JSON: format "coffer-credentials", version 1, purpose, vault_id, vault_name, region, url, ca (PEM), issued,
 * expires (RFC 3339), secret (64 hex digits), checksum: SHA-256 of the compact dump with sorted keys of all
 * the others. Pure.                                                                                      */
#ifndef CF_PROTO_CREDENTIALS_H
#define CF_PROTO_CREDENTIALS_H

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/ids.h"
#include "base/secret.h"

enum { CF_CREDENTIALS_MAX = 256 << 10, CF_CREDENTIALS_SECRET_SIZE = 32, CF_CREDENTIALS_DAYS = 10 };

typedef enum cf_purpose { CF_PURPOSE_REGISTER, CF_PURPOSE_RESTORE, CF_PURPOSE_SECONDARY, CF_PURPOSE_KIT } cf_purpose;
const char *cf_purpose_name(cf_purpose purpose);
bool cf_purpose_parse(const char *text, cf_purpose *purpose);

typedef struct cf_credentials {
    cf_purpose purpose;
    cf_id16 vault_id;
    char *vault_name, *region, *url;
    char *ca_pem; /* NULL: the vault uses a public certificate */
    cf_time issued, expires;
    cf_secret *secret; /* 32 bytes */
} cf_credentials;
void cf_credentials_free(cf_credentials *credentials); /* NULL-safe */
CF_DEFINE_AUTO(cf_credentials, cf_credentials_free)

/* cf_credentials_format: the file's content, with a newline at the end, in a secret.                      */
cf_err *cf_credentials_format(const cf_credentials *credentials, cf_secret **text) __attribute__((warn_unused_result));
/* cf_credentials_parse: name is for messages (the path). Fails: 34513 CREDENTIALS with reason
 *   empty, truncated   cut on its way
 *   not_json           something else altogether
 *   tampered           the checksum does not fit, or a member is missing or malformed
 *   too_new            a version that this program does not know                                          */
cf_err *cf_credentials_parse(cf_span text, const char *name, cf_credentials **credentials)
    __attribute__((warn_unused_result));
/* cf_credentials_check: usable for this purpose at this time? RESTORE also accepts one for registering or of a
 * recovery kit.
 * Fails: 34513, reasons wrong_purpose, expired, clock (issued more than a day in the future).               */
cf_err *cf_credentials_check(const cf_credentials *credentials, cf_purpose purpose, cf_time now, const char *name)
    __attribute__((warn_unused_result));

#endif
