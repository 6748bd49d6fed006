/* Reclaiming: what no retained recovery point needs is retired, and after a grace removed. docs/gc.md has the argument
 * why nothing live can be.
 *
 *   present    stored, and known to agents as usable
 *   retired    stored; new sessions are told that it is dead; a commit that needs it brings it back
 *   deleting   past the point of no return; a commit that needs it is told that it is missing (whole packs only)
 *   gone       no bytes and no row any more; or, in a pack that lives on, left out of its extent table by compaction
 *
 * What the database keeps: a pack's row has a state (present or deleting); `retired` has a row for each pack and
 * generation of the feed in which segments of it were retired. Which segments a pack has, says its extent table (its
 * row, when the numbers have no gaps). A segment is retired when it is in a row of `retired` and in the extent table.
 * Invariants: no retired segment is in the map of a current point (a commit brings back in the same transaction); no
 * object is removed before its row says so, and no row before its object is removed.
 *
 * The server's lock is the service's stripe together with a transaction: every change of a state, and every commit of
 * a point, holds both. Lock order: stripe, then transaction.
 * Threads: one pass at a time for each vault (whoever holds the vault's lock file); a mark belongs to one thread.  */
#ifndef CF_SERVICE_RECLAIM_H
#define CF_SERVICE_RECLAIM_H

#include "base/cancel.h"
#include "records/reclaim.h"
#include "service/vault.h"
#include "visible/map.h"
#include "visible/segset.h"

struct cf_service;

/* Who reclaims. */
typedef struct cf_reclaimer {
    cf_vault *vault;
    struct cf_service *service; /* NULL: no service runs (the vault's lock file is ours)                     */
    cf_cancel *cancel;          /* may be NULL */
} cf_reclaimer;

/* The server's stripe; nothing without a service. Hold it around a transaction that changes states.       */
void cf_reclaim_lock(const cf_reclaimer *reclaimer, const cf_id16 *server);
void cf_reclaim_unlock(const cf_reclaimer *reclaimer, const cf_id16 *server);

/* ---- The mark: everything that something still needs ---- */

/* The union of the maps of the server's current points, of the points that open sessions and read leases hold, with
 * the points whose objects those maps' chains go through.                                                 */
typedef struct cf_reclaim_mark cf_reclaim_mark;
/* cf_reclaim_mark_new: reads the points' objects; takes no lock. Fails: POINT_DAMAGED (then nothing of this server may
 * be reclaimed: what the point needs is not known), DATABASE and others.                                 */
cf_err *cf_reclaim_mark_new(const cf_reclaimer *reclaimer, const cf_id16 *server, cf_reclaim_mark **mark)
    __attribute__((warn_unused_result));
void cf_reclaim_mark_free(cf_reclaim_mark *mark); /* NULL-safe */
CF_DEFINE_AUTO(cf_reclaim_mark, cf_reclaim_mark_free)
const cf_map *cf_reclaim_mark_map(const cf_reclaim_mark *mark);
/* cf_reclaim_mark_live: the marked segments of a pack. */
void cf_reclaim_mark_live(const cf_reclaim_mark *mark, uint64_t pack, cf_segset *live);
/* cf_reclaim_mark_needs: does a marked map's chain go through this point (or is it marked itself)?        */
bool cf_reclaim_mark_needs(const cf_reclaim_mark *mark, const cf_id32 *point);

/* cf_reclaim_change: calls change under the server's lock, inside a transaction, with a mark that holds every point
 * that was committed, pinned or leased until that moment (what came since is folded in before, outside the lock).
 * The transaction is kept when change returns NULL. Keep it short: at most a few milliseconds, no reading of objects.
 * Fails: what change fails with; SESSION_LOST never.                                                      */
typedef cf_err *(*cf_reclaim_changer)(void *context, const cf_reclaim_mark *mark);
cf_err *cf_reclaim_change(cf_reclaim_mark *mark, cf_reclaim_changer change, void *context)
    __attribute__((warn_unused_result));

/* ---- One pack ---- */

/* cf_reclaim_sets: of a pack's segments (without the directory): stored, retired, and ripe: retired for longer than
 * the grace. Any of the three may be NULL. Reads the database only.                                       */
cf_err *cf_reclaim_sets(cf_vault *vault, const cf_pack_row *row, int64_t now, cf_segset *stored, cf_segset *retired,
                        cf_segset *ripe) __attribute__((warn_unused_result));
/* cf_reclaim_stored: which segments the extent table has. */
cf_err *cf_reclaim_stored(cf_vault *vault, const cf_pack_row *row, cf_segset *stored)
    __attribute__((warn_unused_result));
/* For compaction, inside cf_reclaim_change: the segments to leave out must be ripe and not in the mark at that moment;
 * then put the new extent table into the rows (the segments are gone from here on) and call
 * cf_records_touch_reclaim(server). The rows of `retired` stay: they are the feed.                         */

/* ---- May anything be deleted? ---- */

/* cf_reclaim_may_delete: false while anything in the store or at an agent is ahead of the database (it was put back to
 * an older copy): nothing may expire, be retired or deleted until `coffer-vault rebuild --merge`; and while the clock is
 * not to be trusted or a rebuild was not confirmed (time_guard.h). Looks at the store the first time that it is called
 * for an opened vault. *why (fresh text, may be NULL) says what was found.                                */
cf_err *cf_reclaim_may_delete(const cf_reclaimer *reclaimer, bool *may, char **why) __attribute__((warn_unused_result));
/* cf_reclaim_freeze: something ahead was seen. Inside or outside of a transaction. */
cf_err *cf_reclaim_freeze(cf_vault *vault, const cf_id16 *server, const char *why) __attribute__((warn_unused_result));

/* cf_reclaim_entry_ahead: a journal entry that the database does not count: does it say that it is an older copy?
 * Inside or outside of a transaction.                                                                    */
cf_err *cf_reclaim_entry_ahead(cf_vault *vault, const char *key) __attribute__((warn_unused_result));

/* ---- Passes ---- */

typedef struct cf_reclaim_report {
    uint64_t servers, failed; /* failed: a server whose mark could not be made: nothing was touched */
    uint64_t retired_segments, revived_segments;
    uint64_t deleted_packs, deleted_bytes;
    uint64_t deleted_points; /* objects of expired points */
    uint64_t deleted_strays; /* uploads that were never committed */
    bool frozen;
} cf_reclaim_report;

/* cf_reclaim_server: one pass over one server. thorough: also compares the store with the database.       */
cf_err *cf_reclaim_server(const cf_reclaimer *reclaimer, const cf_id16 *server, bool thorough,
                          cf_reclaim_report *report) __attribute__((warn_unused_result));
/* cf_reclaim_all: one pass over every server; a server that fails is logged and counted, the others go on. */
cf_err *cf_reclaim_all(const cf_reclaimer *reclaimer, bool thorough, cf_reclaim_report *report)
    __attribute__((warn_unused_result));

/* The service's own thread: a pass every interval, and when `coffer-vault gc` asks for one.              */
typedef struct cf_reclaim_thread cf_reclaim_thread;
cf_err *cf_reclaim_thread_start(struct cf_service *service, cf_reclaim_thread **thread)
    __attribute__((warn_unused_result));
void cf_reclaim_thread_end(cf_reclaim_thread *thread); /* waits for the pass's current step; NULL-safe */

/* cf_reclaim_ask: beside a running service: asks it for a pass and waits for its end. *answered is false when the service
 * ended meanwhile. Fails: CANCELLED, DATABASE.                                                           */
cf_err *cf_reclaim_ask(cf_vault *vault, cf_cancel *cancel, bool *answered, cf_reclaim_report *report)
    __attribute__((warn_unused_result));

#endif
