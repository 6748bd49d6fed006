/* Letting recovery points go, on the vault's own clock. A point that has expired is not listed any more; its row stays as
 * history, its data is for reclaiming. docs/retention.md.
 *
 * Each server in one transaction: what is leased or pinned is looked at again, the journal entry is durable, then the
 * rows change. Threads: any number, also of several programs.                                               */
#ifndef CF_SERVICE_RETENTION_RUN_H
#define CF_SERVICE_RETENTION_RUN_H

#include "service/time_guard.h"

/* cf_retention_run: looks at the servers whose time has come (all: at every one); does nothing while expiry is stopped. A
 * server that fails is logged and tried again within the hour; the others go on. *expired (may be NULL): points. */
cf_err *cf_retention_run(cf_vault *vault, bool all, uint64_t *expired) __attribute__((warn_unused_result));
/* cf_retention_tick: of the service, every few seconds: the clock, then a run. */
cf_err *cf_retention_tick(cf_vault *vault) __attribute__((warn_unused_result));

/* What a server's points wait for, past their dates. */
typedef struct cf_retention_waiting {
    cf_id16 server;
    uint64_t current;           /* not expired                                    */
    uint64_t due, held, pinned; /* due: past their date with nothing that holds them */
    uint64_t allowed;           /* of those, so many may go today                  */
    char problem[128];          /* "": none; else why nothing can be said          */
} cf_retention_waiting;
/* cf_retention_show: *rows is fresh, one for each server. */
cf_err *cf_retention_show(cf_vault *vault, cf_retention_waiting **rows, size_t *count)
    __attribute__((warn_unused_result));

/* cf_retention_confirm: an administrator has looked: the clock is right, points may expire again, and what is due now
 * goes, however much it is. Fails: EXPIRY_STOPPED, reason "frozen": the database is behind the store.        */
cf_err *cf_retention_confirm(cf_vault *vault, uint64_t *expired) __attribute__((warn_unused_result));

#endif
