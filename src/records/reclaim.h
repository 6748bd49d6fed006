/* What reclaiming keeps in the database: retired segments (they are the feed as well), pins, packs past the point of
 * no return, commits under way, uploads that nothing refers to, and whether everything is frozen.
 * Errors and threads as in records.h.                                                                   */
#ifndef CF_RECORDS_RECLAIM_H
#define CF_RECORDS_RECLAIM_H

#include "records/records.h"
#include "visible/names.h"

/* ---- Pins ---- */

/* cf_records_list_pinned: the IDs of the server's current points, and of those that its open sessions and its read
 * leases hold; ascending by byte, none twice.                                                            */
cf_err *cf_records_list_pinned(cf_records *records, const cf_id16 *server, cf_id32 **ids, size_t *count)
    __attribute__((warn_unused_result));
/* cf_records_pin_session: points (32 bytes each) that stay while the session is open. */
cf_err *cf_records_pin_session(cf_records *records, const cf_id16 *server, const cf_id16 *session, cf_span points)
    __attribute__((warn_unused_result));
typedef struct cf_lease_total {
    cf_id16 server;
    uint64_t restore, verify, mount;
} cf_lease_total;
/* Read leases of a server, by kind. */
cf_err *cf_records_total_leases(cf_records *records, const cf_id16 *server, cf_lease_total *total)
    __attribute__((warn_unused_result));

/* ---- Retired segments, the feed ---- */

typedef struct cf_retired_row {
    uint64_t number, generation;
    int64_t at;
    size_t offset, size; /* of the encoded set of segments, in the list's bytes */
} cf_retired_row;
typedef struct cf_retired_list {
    cf_retired_row *rows;
    size_t count;
    cf_buf bytes;
} cf_retired_list;
void cf_retired_list_init(cf_retired_list *list);
void cf_retired_list_wipe(cf_retired_list *list);
#define CF_AUTO_RETIRED __attribute__((cleanup(cf_retired_list_wipe)))
static inline cf_span cf_retired_segments(const cf_retired_list *list, const cf_retired_row *row) {
    return cf_span_of(list->bytes.data + row->offset, row->size);
}
/* cf_records_list_retired: of packs first .. last, ascending by number, then generation. list: initialised. */
cf_err *cf_records_list_retired(cf_records *records, const cf_id16 *server, uint64_t first, uint64_t last,
                                cf_retired_list *list) __attribute__((warn_unused_result));
/* cf_records_list_feed: generations above `after`, whole ones, until `packs` rows are reached (at least one
 * generation). *upto: the last generation that is in the list whole; the server's when there is no more.  */
cf_err *cf_records_list_feed(cf_records *records, const cf_id16 *server, uint64_t after, size_t packs,
                             cf_retired_list *list, uint64_t *upto) __attribute__((warn_unused_result));
/* cf_records_put_retired: replaces a row; an empty span removes it. */
cf_err *cf_records_put_retired(cf_records *records, const cf_id16 *server, uint64_t number, uint64_t generation,
                               int64_t at, cf_span segments) __attribute__((warn_unused_result));
/* cf_records_next_generation: the server's generation goes up by one; *generation is the new one. */
cf_err *cf_records_next_generation(cf_records *records, const cf_id16 *server, uint64_t *generation)
    __attribute__((warn_unused_result));
/* cf_records_trim_feed: the lowest generation above the floor of the feed, when all of it was retired before `before`:
 * its rows of packs that do not exist any more go, and the floor rises to it. *more: one was trimmed; ask again. */
cf_err *cf_records_trim_feed(cf_records *records, const cf_id16 *server, int64_t before, bool *more)
    __attribute__((warn_unused_result));
/* What else a server's row says. */
typedef struct cf_reclaim_row {
    uint64_t generation, feed_floor, deletions, stamp;
    int64_t compared; /* when the store was compared with the database */
} cf_reclaim_row;
cf_err *cf_records_get_reclaim(cf_records *records, const cf_id16 *server, cf_reclaim_row *row)
    __attribute__((warn_unused_result));
/* cf_records_touch_reclaim: something became retired, deleting or gone: a commit that looked before looks again. */
cf_err *cf_records_touch_reclaim(cf_records *records, const cf_id16 *server) __attribute__((warn_unused_result));
cf_err *cf_records_set_compared(cf_records *records, const cf_id16 *server, int64_t now)
    __attribute__((warn_unused_result));
/* cf_records_set_deletions: at least so many. */
cf_err *cf_records_set_deletions(cf_records *records, const cf_id16 *server, uint64_t deletions)
    __attribute__((warn_unused_result));

/* ---- Packs ---- */

/* cf_records_refer_pack: a point refers to it: no orphan any more. */
cf_err *cf_records_refer_pack(cf_records *records, const cf_id16 *server, uint64_t number)
    __attribute__((warn_unused_result));
/* cf_records_own_pack: the pack was stored for the point with this counter. For a rebuild. */
cf_err *cf_records_own_pack(cf_records *records, const cf_id16 *server, uint64_t number, uint64_t counter)
    __attribute__((warn_unused_result));
/* cf_records_settle_orphans: after a rebuild: what no point is known to refer to counts from the newest point on. */
cf_err *cf_records_settle_orphans(cf_records *records) __attribute__((warn_unused_result));
/* cf_records_doom_pack: the point of no return. */
cf_err *cf_records_doom_pack(cf_records *records, const cf_id16 *server, uint64_t number)
    __attribute__((warn_unused_result));
cf_err *cf_records_list_doomed(cf_records *records, const cf_id16 *server, size_t limit, cf_pack_row **rows,
                               size_t *count) __attribute__((warn_unused_result));
/* cf_records_drop_pack: row and extent table. */
cf_err *cf_records_drop_pack(cf_records *records, const cf_id16 *server, uint64_t number)
    __attribute__((warn_unused_result));
/* cf_records_is_doomed: is there a row past the point of no return? */
cf_err *cf_records_is_doomed(cf_records *records, const cf_id16 *server, uint64_t number, bool *doomed)
    __attribute__((warn_unused_result));
/* How many packs stand in this merged object. */
cf_err *cf_records_count_merged(cf_records *records, const cf_id16 *server, const cf_id16 *merged, uint64_t *count)
    __attribute__((warn_unused_result));
/* cf_records_point_after: when the first point with a counter above this was received. */
cf_err *cf_records_point_after(cf_records *records, const cf_id16 *server, uint64_t counter, bool *found,
                               int64_t *received) __attribute__((warn_unused_result));

/* cf_records_point_at: the point with this counter, expired or not. */
cf_err *cf_records_point_at(cf_records *records, const cf_id16 *server, uint64_t counter, bool *found, cf_id32 *id)
    __attribute__((warn_unused_result));

/* ---- Objects of expired points: stored, deleting, gone ---- */

typedef struct cf_point_object {
    cf_id32 id;
    uint64_t counter;
} cf_point_object;
/* Of points that expired at or before `before` and whose object is not gone. */
cf_err *cf_records_list_expired_objects(cf_records *records, const cf_id16 *server, int64_t before,
                                        cf_point_object **rows, size_t *count) __attribute__((warn_unused_result));
cf_err *cf_records_set_point_object(cf_records *records, const cf_id32 *point, const char *state)
    __attribute__((warn_unused_result));

/* ---- Commits under way: the object may be stored, the row is not there yet ---- */

typedef struct cf_intent_row {
    cf_id16 server, session;
    cf_id32 point;
    uint64_t counter;
    int64_t received;
    bool has_retain_until, scheduled;
    int64_t retain_until, slot;
} cf_intent_row;
cf_err *cf_records_put_intent(cf_records *records, const cf_intent_row *row) __attribute__((warn_unused_result));
cf_err *cf_records_drop_intent(cf_records *records, const cf_id16 *server, const cf_id32 *point)
    __attribute__((warn_unused_result));
cf_err *cf_records_has_intent(cf_records *records, const cf_id16 *server, const cf_id32 *point, bool *found)
    __attribute__((warn_unused_result));
cf_err *cf_records_list_intents(cf_records *records, const cf_id16 *server, cf_intent_row **rows, size_t *count)
    __attribute__((warn_unused_result));

/* ---- Uploads without a row ---- */

typedef struct cf_stray_row {
    char object[CF_NAME_MAX];
    uint64_t after_point; /* the newest point when it was seen first */
} cf_stray_row;
/* cf_records_add_stray: one that is known keeps its row. */
cf_err *cf_records_add_stray(cf_records *records, const cf_id16 *server, const cf_stray_row *row)
    __attribute__((warn_unused_result));
cf_err *cf_records_list_strays(cf_records *records, const cf_id16 *server, cf_stray_row **rows, size_t *count)
    __attribute__((warn_unused_result));
cf_err *cf_records_drop_stray(cf_records *records, const cf_id16 *server, const char *object)
    __attribute__((warn_unused_result));

/* ---- Ahead of the database ---- */

typedef struct cf_frozen_row {
    int64_t at;
    bool has_server;
    cf_id16 server;
    char why[256];
} cf_frozen_row;
cf_err *cf_records_get_frozen(cf_records *records, bool *frozen, cf_frozen_row *row)
    __attribute__((warn_unused_result));
/* cf_records_set_frozen: the first reason stays. NULL: not any more. */
cf_err *cf_records_set_frozen(cf_records *records, const cf_frozen_row *row) __attribute__((warn_unused_result));
/* Epochs that this vault had, now or before. */
cf_err *cf_records_add_epoch(cf_records *records, const cf_id16 *epoch) __attribute__((warn_unused_result));
cf_err *cf_records_has_epoch(cf_records *records, const cf_id16 *epoch, bool *found)
    __attribute__((warn_unused_result));

/* ---- `coffer-vault gc` beside a running service ---- */

/* cf_records_ask_reclaim: *asked is to be answered. */
cf_err *cf_records_ask_reclaim(cf_records *records, uint64_t *asked) __attribute__((warn_unused_result));
cf_err *cf_records_reclaim_asked(cf_records *records, uint64_t *asked, uint64_t *answered)
    __attribute__((warn_unused_result));
/* report: JSON text, fresh; NULL when it is not answered yet. */
cf_err *cf_records_reclaim_answer(cf_records *records, uint64_t asked, char **report)
    __attribute__((warn_unused_result));
cf_err *cf_records_answer_reclaim(cf_records *records, uint64_t asked, const char *report)
    __attribute__((warn_unused_result));

#endif
