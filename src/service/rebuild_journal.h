/* What rebuild makes of journal entries (of this folder only). */
#ifndef CF_SERVICE_REBUILD_JOURNAL_H
#define CF_SERVICE_REBUILD_JOURNAL_H

#include "proto/json.h"
#include "service/rebuild.h"

enum { CF_REBUILD_CANDIDATES_MAX = 8 };

typedef struct cf_rebuild {
    cf_vault *vault; /* records: the new database */
    cf_cancel *cancel;
    cf_rebuild_problem problem;
    void *context;
    cf_rebuild_report *report;
    bool merging;   /* into a database that stays */
    bool has_vault; /* vault->row is filled but for epoch and url_key */
    cf_point_row candidates[CF_REBUILD_CANDIDATES_MAX];
    size_t candidate_count;
} cf_rebuild;

/* cf_rebuild_entry: into the database. Entries come in order; one that repeats an earlier one (written twice around
 * a crash) changes nothing.                                                                              */
cf_err *cf_rebuild_entry(cf_rebuild *job, const cf_journal_entry *entry) __attribute__((warn_unused_result));
/* cf_rebuild_retained: the entries about recovery points and key slots, once these are there; others are passed over. */
cf_err *cf_rebuild_retained(cf_rebuild *job, const char *key) __attribute__((warn_unused_result));

/* rebuild.c: what a rebuild and a merge share. */
typedef cf_err *(*cf_rebuild_take)(cf_rebuild *job, const char *key);
/* Every key with this prefix behind this one (NULL: all), a page in one transaction; what is wrong with an object is
 * told, and the others go on.                                                                            */
cf_err *cf_rebuild_take_all(cf_rebuild *job, const char *prefix, const char *behind, cf_rebuild_take take)
    __attribute__((warn_unused_result));
cf_err *cf_rebuild_object(cf_rebuild *job, const char *key) __attribute__((warn_unused_result));
cf_err *cf_rebuild_journal(cf_rebuild *job, const char *key) __attribute__((warn_unused_result));
/* The last points that were read: which of one counter is it? wanted: the one that the next names; NULL: none does. */
cf_err *cf_rebuild_settle(cf_rebuild *job, const cf_id32 *wanted) __attribute__((warn_unused_result));

/* rebuild_merge.c: does the point follow another than the one that the database has before it? Then the vault went on from
 * the older copy, and the point belongs to a history that it left. Only when merging.                    */
cf_err *cf_rebuild_forks(cf_rebuild *job, const cf_point_row *point, bool *forks) __attribute__((warn_unused_result));
/* Known from now on as one that is no recovery point. */
cf_err *cf_rebuild_refuse(cf_rebuild *job, const cf_point_row *point) __attribute__((warn_unused_result));

/* rebuild_retention.c: one entry each. */
cf_err *cf_rebuild_setting(cf_rebuild *job, cf_json_reader *reader) __attribute__((warn_unused_result));
cf_err *cf_rebuild_origin(cf_rebuild *job, cf_json_reader *reader) __attribute__((warn_unused_result));
cf_err *cf_rebuild_expired(cf_rebuild *job, const cf_journal_entry *entry, cf_json_reader *reader)
    __attribute__((warn_unused_result));

#endif
