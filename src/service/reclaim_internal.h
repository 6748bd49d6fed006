/* Of reclaiming's own files. */
#ifndef CF_SERVICE_RECLAIM_INTERNAL_H
#define CF_SERVICE_RECLAIM_INTERNAL_H

#include "base/text.h"
#include "service/reclaim.h"

/* cf_reclaim_sets_of: of a list in order, the rows of one pack; *at goes on behind them. */
cf_err *cf_reclaim_sets_of(const cf_retired_list *list, size_t *at, uint64_t number, int64_t ripe_before,
                           cf_segset *retired, cf_segset *ripe) __attribute__((warn_unused_result));

/* One pass over one server. */
typedef struct cf_reclaim_pass {
    const cf_reclaimer *reclaimer;
    cf_id16 server;
    int64_t now, grace, orphan_keep;
    cf_reclaim_mark *mark;
    cf_reclaim_report *report;
    uint64_t *ripe; /* packs that could go, ascending */
    size_t ripe_count, ripe_room;
    uint64_t deletion; /* this pass's number in the journal; 0: nothing was deleted yet */
} cf_reclaim_pass;

/* Retires what the mark does not hold, brings back what it does, collects ripe packs. */
cf_err *cf_reclaim_retire(cf_reclaim_pass *pass) __attribute__((warn_unused_result));
/* Ripe packs: the point of no return, the store, the rows. Begins with those that an earlier pass left behind. */
cf_err *cf_reclaim_delete(cf_reclaim_pass *pass) __attribute__((warn_unused_result));
/* Objects of expired points that no chain needs. */
cf_err *cf_reclaim_points(cf_reclaim_pass *pass) __attribute__((warn_unused_result));
/* Uploads that were never committed: noted when seen first, removed when their time has come. */
cf_err *cf_reclaim_strays(cf_reclaim_pass *pass) __attribute__((warn_unused_result));
/* Commits that a crash interrupted: made complete, or forgotten. */
cf_err *cf_reclaim_intents(const cf_reclaimer *reclaimer, const cf_id16 *server) __attribute__((warn_unused_result));
/* Is an orphan (a pack that no point refers to) kept still? after: the newest point when it was committed. */
cf_err *cf_reclaim_orphan_kept(const cf_reclaim_pass *pass, uint64_t after, bool *kept)
    __attribute__((warn_unused_result));
/* The server's packs and points in the store against its rows: freezes, or notes strays. */
cf_err *cf_reclaim_compare(const cf_reclaimer *reclaimer, const cf_id16 *server) __attribute__((warn_unused_result));
/* Before the first deletion of a pass: a journal entry, so that an older database notices that it is one. */
cf_err *cf_reclaim_announce(cf_reclaim_pass *pass) __attribute__((warn_unused_result));

#endif
