/* A vault's folder, opened: database, object store, certificate.
 *
 *   vault.db   the database (and its -wal, -shm)     objects/   the embedded object store
 *   tls/       ca.crt ca.key server.crt server.key   lock       held by serve and rebuild
 *
 * Threads: any number, except where a function says otherwise.                                          */
#ifndef CF_SERVICE_VAULT_H
#define CF_SERVICE_VAULT_H

#include <jansson.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/err.h"
#include "digest/x509.h"
#include "objects/objects.h"
#include "records/records.h"
#include "visible/journal.h"

/* What the service holds its clock against: service/time_guard.h. */
typedef struct cf_time_anchor {
    bool set;
    int64_t wall, saved, confirmed;
    uint64_t ms;
    uint64_t told; /* how many points wait, as the log says */
} cf_time_anchor;

typedef struct cf_vault {
    char *path; /* of the folder, as given */
    int fd;
    int lock; /* -1: not held */
    cf_clock clock;
    cf_objects *objects;
    cf_records *records;
    cf_vault_row row;
    atomic_bool looked;    /* whether anything stored is ahead of the database: service/reclaim.h */
    cf_time_anchor anchor; /* of the service's own thread */
} cf_vault;

typedef struct cf_vault_init_options {
    const char *path;
    const char *name;   /* NULL: the machine's name */
    const char *url;    /* NULL: https://<machine's name>:8443 */
    const char *region; /* NULL: "" */
} cf_vault_init_options;

/* cf_vault_init: a new vault in a folder that is empty or does not exist. Fails: EXISTS, IO, DISK_FULL,
 * BAD_USAGE (the URL).                                                                                  */
cf_err *cf_vault_init(const cf_vault_init_options *options, cf_clock clock, cf_vault_row *row)
    __attribute__((warn_unused_result));

typedef enum cf_vault_use {
    CF_VAULT_LIST,  /* reading, or issuing credentials: beside a running service */
    CF_VAULT_SERVE, /* the service: takes the lock, cleans up unfinished uploads */
} cf_vault_use;
/* Fails: NOT_A_VAULT, VAULT_IN_USE, DATABASE, DATABASE_NEWER.                                            */
cf_err *cf_vault_open(const char *path, cf_vault_use use, cf_clock clock, cf_vault **vault)
    __attribute__((warn_unused_result));
void cf_vault_close(cf_vault *vault); /* NULL-safe */
CF_DEFINE_AUTO(cf_vault, cf_vault_close)

/* For rebuild: the folder and its objects with the lock held, without a database (records is NULL).      */
cf_err *cf_vault_open_objects(const char *path, cf_clock clock, cf_vault **vault) __attribute__((warn_unused_result));

#define CF_VAULT_DATABASE "vault.db"
/* A path in the vault's folder; NULL only without memory. */
char *cf_vault_path(const cf_vault *vault, const char *name);

static inline int64_t cf_vault_now(const cf_vault *vault) {
    return cf_clock_wall(&vault->clock).seconds;
}

/* cf_vault_journal: what an administrator decided, durable in the object store before the row. Call inside
 * a transaction of the records. body is taken (NULL: without memory).                                    */
cf_err *cf_vault_journal(cf_vault *vault, cf_journal_type type, json_t *body, uint64_t *sequence)
    __attribute__((warn_unused_result));

/* cf_vault_move: the vault has a new address: for credentials files from now on, and in the certificate. The earlier
 * files name the old one. Fails: BAD_USAGE (the URL).                                                    */
cf_err *cf_vault_move(cf_vault *vault, const char *url) __attribute__((warn_unused_result));

/* cf_vault_certificate: the service's certificate and key; made anew (and kept) when it ends in less than 30
 * days. *renewed may be NULL. cf_vault_authority: the CA's certificate, PEM, appended to out.              */
cf_err *cf_vault_certificate(cf_vault *vault, cf_x509_pair *pair, bool *renewed) __attribute__((warn_unused_result));
cf_err *cf_vault_authority(cf_vault *vault, cf_buf *out) __attribute__((warn_unused_result));

#endif
