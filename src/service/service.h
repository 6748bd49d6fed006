/* The vault's HTTPS service: docs/openapi.yaml. */
#ifndef CF_SERVICE_SERVICE_H
#define CF_SERVICE_SERVICE_H

#include <stdio.h>

#include "base/cancel.h"
#include "service/vault.h"

enum {
    CF_SESSION_LEASE_SECONDS = 120,
    CF_READ_LEASE_SECONDS = 300,
    CF_READ_LEASES_MAX = 64,
    CF_NUMBERS_PER_BLOCK = 1024,
    CF_URL_SECONDS = 3600,
    CF_CHALLENGE_SECONDS = 120,
    CF_READ_TOKEN_SECONDS = 86400,
    CF_READ_TOKEN_MOST_SECONDS = 30 * 86400, /* while a lease is renewed with it, from its issue */
    CF_JOB_SILENCE_SECONDS = 100,            /* with what the service looks after in between, two minutes at most */
};

typedef struct cf_serve_options {
    const char *listen;     /* NULL: the port of the vault's address, on every address of the machine */
    const char *ready_file; /* the address is written there once the service answers; may be NULL     */
    FILE *out;              /* the same as the first line; may be NULL                                */
} cf_serve_options;

/* cf_serve: answers until cancel is requested, then finishes the requests at work (at most 30 seconds).
 * Takes the vault as opened with CF_VAULT_SERVE (borrowed). Fails: LISTEN_FAILED and others, before it
 * answers anything.                                                                                     */
cf_err *cf_serve(cf_vault *vault, const cf_serve_options *options, cf_cancel *cancel)
    __attribute__((warn_unused_result));

/* cf_service_tick: what housekeeping does every ten seconds: leases that ran out, silent jobs, retention. */
cf_err *cf_service_tick(cf_vault *vault) __attribute__((warn_unused_result));

/* cf_service_routes: "GET /v1/version none" and so on, one line each: for the test that compares them with
 * docs/openapi.yaml.                                                                                    */
void cf_service_routes(FILE *out);

#endif
