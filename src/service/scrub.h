/* Scrubbing: reading every stored byte again and again, and marking what is not what it was.
 *
 * A cycle goes through everything that the database knows: each server's slots, records, packs (header, extent table,
 * the XXH3 of each segment), recovery points and relocation records, then the journal. Where it stands is kept, so that a
 * restart goes on there. Damage is marked durably (journal, then row), logged, and told to the server's agent,
 * whose next full scan stores the chunks again (docs/scrub.md).
 * Threads: any number may mark; one cycle at a time.                                                     */
#ifndef CF_SERVICE_SCRUB_H
#define CF_SERVICE_SCRUB_H

#include "base/cancel.h"
#include "records/damage.h"
#include "service/vault.h"
#include "visible/map.h"

enum { CF_SCRUB_DAYS = 30 /* setting scrub_days */ };

typedef struct cf_scrub_report {
    uint64_t objects, bytes; /* read in this cycle                             */
    uint64_t found;          /* marks that were not there before               */
    uint64_t known;          /* open marks that were confirmed                 */
    uint64_t healed;         /* damage whose chunks are stored elsewhere       */
    uint64_t mended;         /* marks that went: the bytes are right again     */
} cf_scrub_report;

typedef struct cf_scrub {
    cf_vault *vault;
    cf_cancel *cancel; /* may be NULL */
    bool keep_place;   /* where it stands is written down, and a cycle goes on from there */
    /* After every object that was read: may wait. total: of everything, about. May be NULL. */
    void (*pace)(void *context, const cf_scrub_report *report, uint64_t total);
    void (*damage)(void *context, const cf_damage_row *row); /* a mark that is open; may be NULL */
    void *context;
} cf_scrub;

/* cf_scrub_cycle: to the end. report receives the whole cycle's counts, also when it was cut short by CANCELLED.
 * Fails: CANCELLED, DATABASE, OUT_OF_MEMORY. Objects that cannot be read are damage, no failure.          */
cf_err *cf_scrub_cycle(const cf_scrub *scrub, cf_scrub_report *report) __attribute__((warn_unused_result));

/* cf_scrub_mark: durable, once: found or changed again. row->found and changed are set here. Inside no transaction. */
cf_err *cf_scrub_mark(cf_vault *vault, cf_damage_row *row) __attribute__((warn_unused_result));
/* The same inside one. */
cf_err *cf_scrub_put_mark(cf_vault *vault, cf_damage_row *row) __attribute__((warn_unused_result));

/* cf_scrub_bad: segments of the server's packs that are known to be damaged; state NULL: healed or not: no new point
 * may build on them. *bad is NULL when there are none.                                                   */
cf_err *cf_scrub_bad(cf_vault *vault, const cf_id16 *server, const char *state, cf_map **bad)
    __attribute__((warn_unused_result));

/* The service's own thread: cycles of `scrub_days` days, the bytes spread over them.                     */
typedef struct cf_scrub_thread cf_scrub_thread;
cf_err *cf_scrub_thread_start(cf_vault *vault, cf_scrub_thread **thread) __attribute__((warn_unused_result));
void cf_scrub_thread_end(cf_scrub_thread *thread); /* NULL-safe */

#endif
