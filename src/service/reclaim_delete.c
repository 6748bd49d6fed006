/* retired -> deleting -> gone, for whole packs; objects of expired points. The order is always: the row says that it is
 * past the point of no return (durable), the object goes (durable), the row goes. */
#include <stdlib.h>

#include "base/log.h"
#include "service/call.h"
#include "service/place.h"
#include "service/reclaim_internal.h"

enum { DOOM_PAGE = 128, DROP_PAGE = 128 }; /* short: requests wait for it */

cf_err *cf_reclaim_announce(cf_reclaim_pass *pass) {
    if (pass->deletion) return NULL;
    cf_vault *vault = pass->reclaimer->vault;
    cf_reclaim_row row;
    CF_TRY(cf_records_get_reclaim(vault->records, &pass->server, &row));
    uint64_t number = row.deletions + 1;
    /* The number first: a journal entry that the database does not know means an older database, never a crash. */
    CF_TRY(cf_records_set_deletions(vault->records, &pass->server, number));
    CF_TRY(cf_records_begin(vault->records));
    CF_TRY(cf_records_finish(vault->records,
                             cf_vault_journal(vault, CF_JOURNAL_RECLAIMED,
                                              json_pack("{so,so}", "server_id", cf_value_hex(pass->server.bytes, 16),
                                                        "deletion", cf_value_number(number)),
                                              NULL)));
    pass->deletion = number;
    return NULL;
}

/* ---- The point of no return ---- */

typedef struct doom {
    cf_reclaim_pass *pass;
    const uint64_t *numbers;
    size_t count, doomed;
} doom;

/* Everything again, under the lock: nothing of it may be needed now, and all of it must be retired for long enough. */
static cf_err *doom_one(doom *what, const cf_reclaim_mark *mark, uint64_t number) {
    cf_reclaim_pass *pass = what->pass;
    cf_records *records = pass->reclaimer->vault->records;
    bool found = false, open = false;
    cf_pack_row row;
    cf_session_row session;
    cf_segset stored, ripe;
    CF_TRY(cf_records_find_pack(records, &pass->server, number, &found, &row));
    if (!found || cf_map_has_pack(cf_reclaim_mark_map(mark), number)) return NULL;
    CF_TRY(cf_records_find_open_session(records, &pass->server, &open, &session));
    if (open && cf_id16_equal(&session.id, &row.session)) return NULL;
    CF_TRY(cf_reclaim_sets(pass->reclaimer->vault, &row, pass->now, &stored, NULL, &ripe));
    if (!cf_segset_equal(&stored, &ripe)) return NULL;
    CF_TRY(cf_records_doom_pack(records, &pass->server, number));
    what->doomed++;
    return NULL;
}

static cf_err *doom_some(void *context, const cf_reclaim_mark *mark) {
    doom *what = context;
    what->doomed = 0;
    for (size_t i = 0; i < what->count; i++) CF_TRY(doom_one(what, mark, what->numbers[i]));
    return what->doomed ? cf_records_touch_reclaim(what->pass->reclaimer->vault->records, &what->pass->server) : NULL;
}

/* ---- The store, then the row ---- */

static cf_err *drop_rows(cf_reclaim_pass *pass, const cf_pack_row *rows, size_t count) {
    cf_records *records = pass->reclaimer->vault->records;
    CF_TRY(cf_records_begin(records));
    cf_err *err = NULL;
    for (size_t i = 0; i < count && !err; i++) err = cf_records_drop_pack(records, &pass->server, rows[i].number);
    return cf_records_finish(records, err);
}

/* Of a merged object only when no other pack stands in it: then compaction removes it. */
static cf_err *remove_object(cf_reclaim_pass *pass, const cf_pack_row *row) {
    char key[CF_NAME_MAX];
    bool existed = false;
    uint64_t sharers = 0;
    if (row->is_merged) {
        CF_TRY(cf_records_count_merged(pass->reclaimer->vault->records, &pass->server, &row->merged, &sharers));
        if (sharers > 1) return NULL; /* the last of them takes it along */
    }
    cf_pack_place(row, key);
    CF_TRY(cf_objects_remove(pass->reclaimer->vault->objects, key, &existed));
    if (existed) {
        pass->report->deleted_packs++;
        pass->report->deleted_bytes += row->size;
    }
    return NULL;
}

static cf_err *clear_doomed(cf_reclaim_pass *pass) {
    for (;;) {
        CF_AUTO_FREE cf_pack_row *rows = NULL;
        size_t count = 0, done = 0;
        CF_TRY(cf_cancel_check(pass->reclaimer->cancel));
        CF_TRY(cf_records_list_doomed(pass->reclaimer->vault->records, &pass->server, DROP_PAGE, &rows, &count));
        if (count == 0) return NULL;
        cf_err *err = NULL;
        while (done < count && !err) {
            bool shared = rows[done].is_merged; /* counted by its rows: one at a time */
            if (shared && done > 0) break;
            err = remove_object(pass, &rows[done]);
            if (!err) done++;
            if (shared) break;
        }
        cf_err *dropping = done ? drop_rows(pass, rows, done) : NULL;
        if (err) cf_err_free(dropping);
        CF_TRY(err ? err : dropping);
    }
}

cf_err *cf_reclaim_delete(cf_reclaim_pass *pass) {
    CF_TRY(clear_doomed(pass)); /* of a pass that did not come to its end */
    for (size_t at = 0; at < pass->ripe_count; at += DOOM_PAGE) {
        size_t left = pass->ripe_count - at;
        doom what = {pass, pass->ripe + at, left < DOOM_PAGE ? left : DOOM_PAGE, 0};
        CF_TRY(cf_cancel_check(pass->reclaimer->cancel));
        CF_TRY(cf_reclaim_announce(pass));
        CF_TRY(cf_reclaim_change(pass->mark, doom_some, &what));
        if (what.doomed) CF_TRY(clear_doomed(pass));
    }
    return NULL;
}

/* ---- Objects of expired points ---- */

typedef struct point_doom {
    cf_reclaim_pass *pass;
    const cf_point_object *point;
    bool doomed;
} point_doom;

static cf_err *doom_point(void *context, const cf_reclaim_mark *mark) {
    point_doom *what = context;
    what->doomed = false;
    if (cf_reclaim_mark_needs(mark, &what->point->id)) return NULL;
    CF_TRY(cf_records_set_point_object(what->pass->reclaimer->vault->records, &what->point->id, "deleting"));
    what->doomed = true;
    return NULL;
}

cf_err *cf_reclaim_points(cf_reclaim_pass *pass) {
    CF_AUTO_FREE cf_point_object *points = NULL;
    size_t count = 0;
    cf_vault *vault = pass->reclaimer->vault;
    CF_TRY(cf_records_list_expired_objects(vault->records, &pass->server, pass->now - pass->grace, &points, &count));
    for (size_t i = 0; i < count; i++) {
        if (cf_reclaim_mark_needs(pass->mark, &points[i].id)) continue;
        point_doom what = {pass, &points[i], false};
        bool existed = false;
        char key[CF_NAME_MAX];
        CF_TRY(cf_cancel_check(pass->reclaimer->cancel));
        CF_TRY(cf_reclaim_announce(pass));
        CF_TRY(cf_reclaim_change(pass->mark, doom_point, &what));
        if (!what.doomed) continue;
        cf_name_point(&pass->server, points[i].counter, &points[i].id, key);
        CF_TRY(cf_objects_remove(vault->objects, key, &existed));
        CF_TRY(cf_records_set_point_object(vault->records, &points[i].id, "gone"));
        if (existed) pass->report->deleted_points++;
    }
    return NULL;
}
