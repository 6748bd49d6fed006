/* What rebuild makes of journal entries (of this folder only). */
#ifndef CF_SERVICE_REBUILD_JOURNAL_H
#define CF_SERVICE_REBUILD_JOURNAL_H

#include "service/rebuild.h"

enum { CF_REBUILD_CANDIDATES_MAX = 8 };

typedef struct cf_rebuild {
    cf_vault *vault; /* records: the new database */
    cf_cancel *cancel;
    cf_rebuild_problem problem;
    void *context;
    cf_rebuild_report *report;
    bool has_vault; /* vault->row is filled but for epoch and url_key */
    cf_point_row candidates[CF_REBUILD_CANDIDATES_MAX];
    size_t candidate_count;
} cf_rebuild;

/* cf_rebuild_entry: into the database. Entries come in order; one that repeats an earlier one (written twice around
 * a crash) changes nothing.                                                                              */
cf_err *cf_rebuild_entry(cf_rebuild *job, const cf_journal_entry *entry) __attribute__((warn_unused_result));
/* cf_rebuild_retained: the entries about recovery points, once these are there; others are passed over.   */
cf_err *cf_rebuild_retained(cf_rebuild *job, const char *key) __attribute__((warn_unused_result));

#endif
