#include "records/reclaim.h"

#include <stdlib.h>

#include "records/private.h"

enum { PINNED_MAX_BYTES = 64 << 20, RETIRED_MAX_BYTES = 1 << 30 };

/* ---- Pins ---- */

static int compare_ids(const void *a, const void *b) {
    return memcmp(a, b, 32);
}

static cf_err *read_ids(cf_db_rows *rows, cf_buf *out) {
    for (bool more = true;;) {
        CF_TRY(cf_db_next(rows, &more));
        if (!more) return cf_buf_check(out, "the points that are held");
        cf_span ids = cf_db_blob(rows, 0);
        if (ids.size % 32 != 0) return cf_fail(CF_ERR_DATABASE, "a list of points is malformed");
        cf_buf_put_span(out, ids);
    }
}

static cf_err *collect_pinned(cf_records *records, const cf_id16 *server, cf_buf *out) {
    CF_AUTO_ROWS cf_db_rows rows = {0};
    CF_TRY(cf_db_query(records->db, &rows,
                       "SELECT id FROM points WHERE server=? AND state='current'"
                       " UNION ALL SELECT pins FROM sessions WHERE server=? AND state='open' AND pins IS NOT NULL"
                       " UNION ALL SELECT points FROM read_leases WHERE server=?",
                       "hhh", server, server, server));
    return read_ids(&rows, out);
}

cf_err *cf_records_list_pinned(cf_records *records, const cf_id16 *server, cf_id32 **out, size_t *count) {
    CF_AUTO_BUF cf_buf bytes;
    cf_buf_init(&bytes, PINNED_MAX_BYTES);
    CF_TRY(collect_pinned(records, server, &bytes));
    size_t total = bytes.size / 32, kept = 0;
    cf_id32 *ids = calloc(total + 1, sizeof *ids);
    if (!ids) return cf_fail(CF_ERR_OUT_OF_MEMORY, "the points that are held");
    if (total) memcpy(ids, bytes.data, bytes.size);
    if (total) qsort(ids, total, sizeof *ids, compare_ids);
    for (size_t i = 0; i < total; i++)
        if (kept == 0 || !cf_id32_equal(&ids[kept - 1], &ids[i])) ids[kept++] = ids[i];
    *out = ids;
    *count = kept;
    return NULL;
}

cf_err *cf_records_pin_session(cf_records *records, const cf_id16 *server, const cf_id16 *session, cf_span points) {
    return cf_db_run(records->db, NULL, "UPDATE sessions SET pins=? WHERE server=? AND id=?", "bhh", points, server,
                     session);
}

cf_err *cf_records_total_leases(cf_records *records, const cf_id16 *server, cf_lease_total *total) {
    CF_AUTO_ROWS cf_db_rows rows = {0};
    bool row = false;
    CF_TRY(cf_db_query(records->db, &rows,
                       "SELECT count(*) FILTER(WHERE kind='restore'),count(*) FILTER(WHERE kind='verify'),"
                       "count(*) FILTER(WHERE kind='mount') FROM read_leases WHERE server=?",
                       "h", server));
    CF_TRY(cf_db_next(&rows, &row));
    *total = (cf_lease_total){*server, (uint64_t)cf_db_int(&rows, 0), (uint64_t)cf_db_int(&rows, 1),
                              (uint64_t)cf_db_int(&rows, 2)};
    return NULL;
}

/* ---- Retired segments ---- */

void cf_retired_list_init(cf_retired_list *list) {
    *list = (cf_retired_list){0};
    cf_buf_init(&list->bytes, RETIRED_MAX_BYTES);
}

void cf_retired_list_wipe(cf_retired_list *list) {
    free(list->rows);
    cf_buf_wipe(&list->bytes);
    list->rows = NULL;
    list->count = 0;
}

static cf_err *read_retired(const cf_db_rows *rows, cf_retired_list *list) {
    cf_span segments = cf_db_blob(rows, 3);
    CF_TRY(cf_rows_grow((void **)&list->rows, list->count, sizeof *list->rows));
    list->rows[list->count++] = (cf_retired_row){(uint64_t)cf_db_int(rows, 0), (uint64_t)cf_db_int(rows, 1),
                                                 cf_db_int(rows, 2), list->bytes.size, segments.size};
    cf_buf_put_span(&list->bytes, segments);
    return cf_buf_check(&list->bytes, "retired segments");
}

cf_err *cf_records_list_retired(cf_records *records, const cf_id16 *server, uint64_t first, uint64_t last,
                                cf_retired_list *list) {
    CF_AUTO_ROWS cf_db_rows rows = {0};
    CF_TRY(cf_db_query(records->db, &rows,
                       "SELECT number,generation,at,segments FROM retired WHERE server=? AND number>=? AND number<=?"
                       " ORDER BY number,generation",
                       "hii", server, (int64_t)first, (int64_t)last));
    for (bool more = true;;) {
        CF_TRY(cf_db_next(&rows, &more));
        if (!more) return NULL;
        CF_TRY(read_retired(&rows, list));
    }
}

cf_err *cf_records_list_feed(cf_records *records, const cf_id16 *server, uint64_t after, size_t packs,
                             cf_retired_list *list, uint64_t *upto) {
    cf_reclaim_row row;
    CF_TRY(cf_records_get_reclaim(records, server, &row));
    CF_AUTO_ROWS cf_db_rows rows = {0};
    CF_TRY(cf_db_query(records->db, &rows,
                       "SELECT number,generation,at,segments FROM retired WHERE server=? AND generation>?"
                       " ORDER BY generation",
                       "hi", server, (int64_t)after));
    for (bool more = true;;) {
        CF_TRY(cf_db_next(&rows, &more));
        if (!more) break;
        uint64_t generation = (uint64_t)cf_db_int(&rows, 1);
        if (list->count >= packs && generation != list->rows[list->count - 1].generation) {
            *upto = list->rows[list->count - 1].generation;
            return NULL;
        }
        CF_TRY(read_retired(&rows, list));
    }
    *upto = row.generation;
    return NULL;
}

cf_err *cf_records_put_retired(cf_records *records, const cf_id16 *server, uint64_t number, uint64_t generation,
                               int64_t at, cf_span segments) {
    if (segments.size == 0)
        return cf_db_run(records->db, NULL, "DELETE FROM retired WHERE server=? AND number=? AND generation=?", "hii",
                         server, (int64_t)number, (int64_t)generation);
    return cf_db_run(records->db, NULL,
                     "INSERT OR REPLACE INTO retired(server,number,generation,at,segments) VALUES(?,?,?,?,?)", "hiiib",
                     server, (int64_t)number, (int64_t)generation, at, segments);
}

cf_err *cf_records_get_reclaim(cf_records *records, const cf_id16 *server, cf_reclaim_row *row) {
    CF_AUTO_ROWS cf_db_rows rows = {0};
    bool there = false;
    CF_TRY(cf_db_query(records->db, &rows,
                       "SELECT generation,feed_floor,deletions,reclaim_stamp,compared FROM servers WHERE id=?", "h",
                       server));
    CF_TRY(cf_db_next(&rows, &there));
    if (!there) return cf_fail(CF_ERR_DATABASE, "a server is not there any more");
    *row = (cf_reclaim_row){(uint64_t)cf_db_int(&rows, 0), (uint64_t)cf_db_int(&rows, 1), (uint64_t)cf_db_int(&rows, 2),
                            (uint64_t)cf_db_int(&rows, 3), cf_db_int(&rows, 4)};
    return NULL;
}

cf_err *cf_records_touch_reclaim(cf_records *records, const cf_id16 *server) {
    return cf_db_run(records->db, NULL, "UPDATE servers SET reclaim_stamp=reclaim_stamp+1 WHERE id=?", "h", server);
}

cf_err *cf_records_next_generation(cf_records *records, const cf_id16 *server, uint64_t *generation) {
    cf_reclaim_row row;
    CF_TRY(cf_db_run(records->db, NULL,
                     "UPDATE servers SET generation=generation+1,reclaim_stamp=reclaim_stamp+1 WHERE id=?", "h",
                     server));
    CF_TRY(cf_records_get_reclaim(records, server, &row));
    *generation = row.generation;
    return NULL;
}

static cf_err *lowest_generation(cf_records *records, const cf_id16 *server, bool *found, uint64_t *generation,
                                 int64_t *at) {
    CF_AUTO_ROWS cf_db_rows rows = {0};
    CF_TRY(cf_db_query(records->db, &rows,
                       "SELECT generation,max(at) FROM retired WHERE server=? AND generation>"
                       "(SELECT feed_floor FROM servers WHERE id=?) GROUP BY generation ORDER BY generation LIMIT 1",
                       "hh", server, server));
    CF_TRY(cf_db_next(&rows, found));
    if (!*found) return NULL;
    *generation = (uint64_t)cf_db_int(&rows, 0);
    *at = cf_db_int(&rows, 1);
    return NULL;
}

cf_err *cf_records_trim_feed(cf_records *records, const cf_id16 *server, int64_t before, bool *more) {
    uint64_t generation = 0;
    int64_t at = 0;
    CF_TRY(lowest_generation(records, server, more, &generation, &at));
    *more = *more && at < before;
    if (!*more) return NULL;
    CF_TRY(cf_db_run(records->db, NULL,
                     "DELETE FROM retired WHERE server=? AND generation=? AND NOT EXISTS(SELECT 1 FROM packs AS p"
                     " WHERE p.server=retired.server AND p.number=retired.number)",
                     "hi", server, (int64_t)generation));
    return cf_db_run(records->db, NULL, "UPDATE servers SET feed_floor=? WHERE id=?", "ih", (int64_t)generation,
                     server);
}

cf_err *cf_records_set_compared(cf_records *records, const cf_id16 *server, int64_t now) {
    return cf_db_run(records->db, NULL, "UPDATE servers SET compared=? WHERE id=?", "ih", now, server);
}

cf_err *cf_records_set_deletions(cf_records *records, const cf_id16 *server, uint64_t deletions) {
    return cf_db_run(records->db, NULL, "UPDATE servers SET deletions=max(deletions,?) WHERE id=?", "ih",
                     (int64_t)deletions, server);
}

/* ---- Packs ---- */

cf_err *cf_records_refer_pack(cf_records *records, const cf_id16 *server, uint64_t number) {
    return cf_db_run(records->db, NULL, "UPDATE packs SET referenced=1 WHERE server=? AND number=? AND referenced=0",
                     "hi", server, (int64_t)number);
}

cf_err *cf_records_own_pack(cf_records *records, const cf_id16 *server, uint64_t number, uint64_t counter) {
    return cf_db_run(records->db, NULL,
                     "UPDATE packs SET referenced=1,after_point=? WHERE server=? AND number=? AND referenced=0", "ihi",
                     (int64_t)counter - 1, server, (int64_t)number);
}

cf_err *cf_records_settle_orphans(cf_records *records) {
    return cf_db_run(records->db, NULL,
                     "UPDATE packs SET after_point=(SELECT newest_counter FROM servers WHERE servers.id=packs.server)"
                     " WHERE referenced=0",
                     "");
}

cf_err *cf_records_doom_pack(cf_records *records, const cf_id16 *server, uint64_t number) {
    int changes = 0;
    CF_TRY(cf_db_run(records->db, &changes,
                     "UPDATE packs SET state='deleting' WHERE server=? AND number=? AND state='present'", "hi", server,
                     (int64_t)number));
    return changes == 1
               ? NULL
               : cf_fail(CF_ERR_DATABASE, "pack %llu is in no state to be deleted", (unsigned long long)number);
}

cf_err *cf_records_drop_pack(cf_records *records, const cf_id16 *server, uint64_t number) {
    CF_TRY(cf_db_run(records->db, NULL, "DELETE FROM pack_tails WHERE server=? AND number=?", "hi", server,
                     (int64_t)number));
    return cf_db_run(records->db, NULL, "DELETE FROM packs WHERE server=? AND number=? AND state='deleting'", "hi",
                     server, (int64_t)number);
}

cf_err *cf_records_count_merged(cf_records *records, const cf_id16 *server, const cf_id16 *merged, uint64_t *count) {
    CF_AUTO_ROWS cf_db_rows rows = {0};
    bool row = false;
    CF_TRY(cf_db_query(records->db, &rows, "SELECT count(*) FROM packs WHERE server=? AND merged=?", "hh", server,
                       merged));
    CF_TRY(cf_db_next(&rows, &row));
    *count = row ? (uint64_t)cf_db_int(&rows, 0) : 0;
    return NULL;
}

cf_err *cf_records_point_after(cf_records *records, const cf_id16 *server, uint64_t counter, bool *found,
                               int64_t *received) {
    CF_AUTO_ROWS cf_db_rows rows = {0};
    CF_TRY(cf_db_query(records->db, &rows,
                       "SELECT received FROM points WHERE server=? AND counter>? ORDER BY counter LIMIT 1", "hi",
                       server, (int64_t)counter));
    CF_TRY(cf_db_next(&rows, found));
    if (*found) *received = cf_db_int(&rows, 0);
    return NULL;
}

cf_err *cf_records_is_doomed(cf_records *records, const cf_id16 *server, uint64_t number, bool *doomed) {
    CF_AUTO_ROWS cf_db_rows rows = {0};
    CF_TRY(cf_db_query(records->db, &rows, "SELECT 1 FROM packs WHERE server=? AND number=? AND state='deleting'", "hi",
                       server, (int64_t)number));
    return cf_db_next(&rows, doomed);
}

cf_err *cf_records_point_at(cf_records *records, const cf_id16 *server, uint64_t counter, bool *found, cf_id32 *id) {
    CF_AUTO_ROWS cf_db_rows rows = {0};
    CF_TRY(cf_db_query(records->db, &rows, "SELECT id FROM points WHERE server=? AND counter=?", "hi", server,
                       (int64_t)counter));
    CF_TRY(cf_db_next(&rows, found));
    if (*found && !cf_db_bytes(&rows, 0, id->bytes, 32))
        return cf_fail(CF_ERR_DATABASE, "a recovery point's row is malformed");
    return NULL;
}

/* ---- Objects of expired points ---- */

cf_err *cf_records_list_expired_objects(cf_records *records, const cf_id16 *server, int64_t before,
                                        cf_point_object **out, size_t *count) {
    CF_AUTO_ROWS cf_db_rows rows = {0};
    CF_AUTO_FREE cf_point_object *list = NULL;
    size_t got = 0;
    CF_TRY(cf_db_query(records->db, &rows,
                       "SELECT id,counter FROM points WHERE server=? AND state!='current' AND object!='gone'"
                       " AND expired_at<=? ORDER BY counter",
                       "hi", server, before));
    for (bool more = true;;) {
        CF_TRY(cf_db_next(&rows, &more));
        if (!more) break;
        CF_TRY(cf_rows_grow((void **)&list, got, sizeof *list));
        if (!cf_db_bytes(&rows, 0, list[got].id.bytes, 32))
            return cf_fail(CF_ERR_DATABASE, "a recovery point's row is malformed");
        list[got++].counter = (uint64_t)cf_db_int(&rows, 1);
    }
    *out = cf_take(list);
    *count = got;
    return NULL;
}

cf_err *cf_records_set_point_object(cf_records *records, const cf_id32 *point, const char *state) {
    return cf_db_run(records->db, NULL, "UPDATE points SET object=? WHERE id=? AND state!='current'", "sp", state,
                     point);
}

/* ---- Commits under way ---- */

cf_err *cf_records_put_intent(cf_records *records, const cf_intent_row *row) {
    CF_TRY(cf_db_run(records->db, NULL,
                     "INSERT OR REPLACE INTO intents(server,point,counter,session,received) VALUES(?,?,?,?,?)", "hpihi",
                     &row->server, &row->point, (int64_t)row->counter, &row->session, row->received));
    if (row->scheduled)
        CF_TRY(cf_db_run(records->db, NULL, "UPDATE intents SET slot=? WHERE server=? AND point=?", "ihp", row->slot,
                         &row->server, &row->point));
    if (!row->has_retain_until) return NULL;
    return cf_db_run(records->db, NULL, "UPDATE intents SET retain_until=? WHERE server=? AND point=?", "ihp",
                     row->retain_until, &row->server, &row->point);
}

cf_err *cf_records_drop_intent(cf_records *records, const cf_id16 *server, const cf_id32 *point) {
    return cf_db_run(records->db, NULL, "DELETE FROM intents WHERE server=? AND point=?", "hp", server, point);
}

cf_err *cf_records_has_intent(cf_records *records, const cf_id16 *server, const cf_id32 *point, bool *found) {
    CF_AUTO_ROWS cf_db_rows rows = {0};
    CF_TRY(cf_db_query(records->db, &rows, "SELECT 1 FROM intents WHERE server=? AND point=?", "hp", server, point));
    return cf_db_next(&rows, found);
}

cf_err *cf_records_list_intents(cf_records *records, const cf_id16 *server, cf_intent_row **out, size_t *count) {
    CF_AUTO_ROWS cf_db_rows rows = {0};
    CF_AUTO_FREE cf_intent_row *list = NULL;
    size_t got = 0;
    CF_TRY(cf_db_query(records->db, &rows,
                       "SELECT point,session,received,retain_until,slot,counter FROM intents WHERE server=?", "h",
                       server));
    for (bool more = true;;) {
        CF_TRY(cf_db_next(&rows, &more));
        if (!more) break;
        CF_TRY(cf_rows_grow((void **)&list, got, sizeof *list));
        cf_intent_row *row = &list[got];
        *row = (cf_intent_row){.server = *server, .received = cf_db_int(&rows, 2)};
        if (!cf_db_bytes(&rows, 0, row->point.bytes, 32) || !cf_db_bytes(&rows, 1, row->session.bytes, 16))
            return cf_fail(CF_ERR_DATABASE, "a commit's row is malformed");
        row->has_retain_until = !cf_db_null(&rows, 3);
        row->retain_until = cf_db_int(&rows, 3);
        row->scheduled = !cf_db_null(&rows, 4);
        row->slot = cf_db_int(&rows, 4);
        row->counter = (uint64_t)cf_db_int(&rows, 5);
        got++;
    }
    *out = cf_take(list);
    *count = got;
    return NULL;
}

/* ---- Uploads without a row ---- */

cf_err *cf_records_add_stray(cf_records *records, const cf_id16 *server, const cf_stray_row *row) {
    return cf_db_run(records->db, NULL, "INSERT OR IGNORE INTO strays(server,object,after_point) VALUES(?,?,?)", "hsi",
                     server, row->object, (int64_t)row->after_point);
}

cf_err *cf_records_list_strays(cf_records *records, const cf_id16 *server, cf_stray_row **out, size_t *count) {
    CF_AUTO_ROWS cf_db_rows rows = {0};
    CF_AUTO_FREE cf_stray_row *list = NULL;
    size_t got = 0;
    CF_TRY(cf_db_query(records->db, &rows, "SELECT object,after_point FROM strays WHERE server=? ORDER BY object", "h",
                       server));
    for (bool more = true;;) {
        CF_TRY(cf_db_next(&rows, &more));
        if (!more) break;
        CF_TRY(cf_rows_grow((void **)&list, got, sizeof *list));
        cf_db_copy_text(&rows, 0, list[got].object, sizeof list[got].object);
        list[got++].after_point = (uint64_t)cf_db_int(&rows, 1);
    }
    *out = cf_take(list);
    *count = got;
    return NULL;
}

cf_err *cf_records_drop_stray(cf_records *records, const cf_id16 *server, const char *object) {
    return cf_db_run(records->db, NULL, "DELETE FROM strays WHERE server=? AND object=?", "hs", server, object);
}

/* ---- Ahead of the database ---- */

cf_err *cf_records_get_frozen(cf_records *records, bool *frozen, cf_frozen_row *row) {
    CF_AUTO_ROWS cf_db_rows rows = {0};
    CF_TRY(cf_db_query(records->db, &rows, "SELECT at,server,why FROM frozen", ""));
    CF_TRY(cf_db_next(&rows, frozen));
    if (!*frozen || !row) return NULL;
    *row = (cf_frozen_row){.at = cf_db_int(&rows, 0)};
    row->has_server = cf_db_bytes(&rows, 1, row->server.bytes, 16);
    cf_db_copy_text(&rows, 2, row->why, sizeof row->why);
    return NULL;
}

cf_err *cf_records_set_frozen(cf_records *records, const cf_frozen_row *row) {
    if (!row) return cf_db_run(records->db, NULL, "DELETE FROM frozen", "");
    return cf_db_run(records->db, NULL, "INSERT OR IGNORE INTO frozen(one,at,server,why) VALUES(1,?,?,?)", "ihs",
                     row->at, row->has_server ? &row->server : NULL, row->why);
}

cf_err *cf_records_add_epoch(cf_records *records, const cf_id16 *epoch) {
    return cf_db_run(records->db, NULL, "INSERT OR IGNORE INTO epochs(epoch) VALUES(?)", "h", epoch);
}

cf_err *cf_records_has_epoch(cf_records *records, const cf_id16 *epoch, bool *found) {
    CF_AUTO_ROWS cf_db_rows rows = {0};
    CF_TRY(cf_db_query(records->db, &rows, "SELECT 1 FROM epochs WHERE epoch=?", "h", epoch));
    return cf_db_next(&rows, found);
}

/* ---- Asking for a pass ---- */

cf_err *cf_records_reclaim_asked(cf_records *records, uint64_t *asked, uint64_t *answered) {
    CF_AUTO_ROWS cf_db_rows rows = {0};
    bool row = false;
    CF_TRY(cf_db_query(records->db, &rows, "SELECT asked,answered FROM reclaim_runs", ""));
    CF_TRY(cf_db_next(&rows, &row));
    *asked = row ? (uint64_t)cf_db_int(&rows, 0) : 0;
    *answered = row ? (uint64_t)cf_db_int(&rows, 1) : 0;
    return NULL;
}

static cf_err *ask(cf_records *records, uint64_t *asked) {
    uint64_t answered = 0;
    CF_TRY(cf_db_run(records->db, NULL, "UPDATE reclaim_runs SET asked=asked+1", ""));
    return cf_records_reclaim_asked(records, asked, &answered);
}

cf_err *cf_records_ask_reclaim(cf_records *records, uint64_t *asked) {
    CF_TRY(cf_db_begin(records->db));
    return cf_db_finish(records->db, ask(records, asked));
}

cf_err *cf_records_reclaim_answer(cf_records *records, uint64_t asked, char **report) {
    CF_AUTO_ROWS cf_db_rows rows = {0};
    bool row = false;
    *report = NULL;
    CF_TRY(cf_db_query(records->db, &rows, "SELECT report FROM reclaim_runs WHERE answered>=?", "i", (int64_t)asked));
    CF_TRY(cf_db_next(&rows, &row));
    if (!row) return NULL;
    *report = strdup(cf_db_text(&rows, 0));
    return *report ? NULL : cf_fail(CF_ERR_OUT_OF_MEMORY, "a report");
}

cf_err *cf_records_answer_reclaim(cf_records *records, uint64_t asked, const char *report) {
    return cf_db_run(records->db, NULL, "UPDATE reclaim_runs SET answered=?,report=?", "is", (int64_t)asked, report);
}
