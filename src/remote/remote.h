/* The client of the vault (HTTP API v1, docs/openapi.yaml). One function per request, in the headers of
 * this folder: identity.h, sessions.h, packs.h, points.h, jobs.h.
 *
 * Every request is idempotent, so passing trouble (no network, HTTP 429 and 5xx) is waited out here, with
 * backoff, until the patience given at opening is used up. Every reply's protocol range is checked
 * (130003 VERSION_MISMATCH says which side to update). What the vault refuses comes back as the error that
 * it sent, its chain included.
 *
 * Fails, all requests: what http/client.h lists; 130015 VAULT_BUSY (HTTP 429 and 5xx); 900402 BAD_REPLY
 * (reasons not_json: not our vault, perhaps a captive portal; fields: JSON without what the API promises);
 * 100201 NOT_AUTHORIZED (HTTP 401); 130003; and what the vault says.
 * Threads: any number may call at once.                                                                 */
#ifndef CF_REMOTE_REMOTE_H
#define CF_REMOTE_REMOTE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/cancel.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/ids.h"
#include "base/secret.h"
#include "remote/retry.h"

enum { CF_TOKEN_SIZE = 32, CF_REMOTE_NAME_MAX = 255, CF_REMOTE_EPOCH_MAX = 64 };

typedef struct cf_remote_options {
    const char *url;    /* https://HOST:PORT                                                               */
    const char *ca_pem; /* trusted, and nothing else; NULL: the system's store                             */
    const char *proxy;  /* as in cf_http_options                                                           */
    const char *proxy_user;
    const cf_secret *proxy_password;
    const cf_secret *token;          /* 32 bytes, or NULL                                                     */
    const cf_secret *credentials;    /* 32 bytes: the credentials file's secret instead of a token, or NULL   */
    cf_cancel *cancel;               /* borrowed; may be NULL                                                 */
    const struct cf_http_pace *pace; /* borrowed; may be NULL: as fast as it goes                             */
    uint64_t retry_total_ms;         /* CF_RETRY_JOB_MS, CF_RETRY_PERSON_MS; 0: never try again               */
    cf_clock clock;                  /* wall == NULL: the system's                                            */
    /* Called before each wait, by the thread that waits; may be NULL (then it is logged).                  */
    void (*waiting)(void *context, const cf_err *why, uint64_t wait_ms);
    /* For tests: instead of sleeping. */
    void (*sleep)(void *context, uint64_t wait_ms);
    void *context;
} cf_remote_options;

typedef struct cf_remote cf_remote;
/* cf_remote_open: nothing is sent yet; options are copied. Fails: OUT_OF_MEMORY, BAD_USAGE (a URL that is not
 * https).                                                                                                */
cf_err *cf_remote_open(const cf_remote_options *options, cf_remote **remote) __attribute__((warn_unused_result));
void cf_remote_free(cf_remote *remote); /* NULL-safe; no request may be running */
CF_DEFINE_AUTO(cf_remote, cf_remote_free)

/* cf_remote_set_token: from now on (after registering). Not while requests are running.                   */
cf_err *cf_remote_set_token(cf_remote *remote, const cf_secret *token) __attribute__((warn_unused_result));
/* cf_remote_set_patience: retry_total_ms from now on. Not while requests are running.                     */
void cf_remote_set_patience(cf_remote *remote, uint64_t retry_total_ms);
/* cf_remote_clock_offset: the vault's time less this machine's, in seconds, from the last reply's Date; false
 * before the first reply.                                                                                 */
bool cf_remote_clock_offset(const cf_remote *remote, int64_t *seconds);
/* cf_remote_now: the vault's time as far as known, else this machine's.                                    */
cf_time cf_remote_now(const cf_remote *remote);
const char *cf_remote_url(const cf_remote *remote);

#endif
