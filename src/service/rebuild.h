/* The vault's database made again from what the object store holds. */
#ifndef CF_SERVICE_REBUILD_H
#define CF_SERVICE_REBUILD_H

#include "base/cancel.h"
#include "service/vault.h"

typedef struct cf_rebuild_report {
    uint64_t servers, tokens, credentials, blocks, slots, records, packs, points, problems;
    uint64_t lost;  /* merge: packs whose objects are gone: no longer in the database */
    uint64_t bytes; /* of packs */
} cf_rebuild_report;

/* An object that could not be used: it stays where it is, and the rest goes on. err is borrowed.         */
typedef void (*cf_rebuild_problem)(void *context, const char *object, const cf_err *err);

/* cf_vault_rebuild: reads every byte of every pack. The new database takes the old one's place at the very end;
 * the old one is kept as vault.db.old. The epoch is new, so agents ask everything anew; open sessions, read leases
 * and the history of jobs are not known any more.
 * Fails: VAULT_IN_USE, NOT_A_VAULT, FORMAT (no journal entry says which vault it is), DATABASE, DISK_FULL.  */
cf_err *cf_vault_rebuild(const char *path, cf_clock clock, cf_cancel *cancel, cf_rebuild_problem problem, void *context,
                         cf_rebuild_report *report) __attribute__((warn_unused_result));

/* cf_vault_merge: for a database that was put back to an older copy: it stays, and takes over what the store has ahead of
 * it (journal entries, slots, records, packs, recovery points); packs whose objects are gone and that no point needs
 * leave it. The epoch is new, so that agents compare everything, and what was frozen goes on. What was adopted already
 * is skipped, so a run that was cut short is begun again. Report: what was adopted.
 * Fails: VAULT_IN_USE, NOT_A_VAULT, DATABASE, DISK_FULL.                                                  */
cf_err *cf_vault_merge(const char *path, cf_clock clock, cf_cancel *cancel, cf_rebuild_problem problem, void *context,
                       cf_rebuild_report *report) __attribute__((warn_unused_result));

#endif
