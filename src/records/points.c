/* Recovery points, key slots, key records. */
#include <stdlib.h>

#include "records/private.h"

cf_err *cf_records_add_point(cf_records *records, const cf_point_row *row) {
    const int64_t *until = row->has_retain_until ? &row->retain_until : NULL;
    CF_TRY(cf_db_run(records->db, NULL,
                     "INSERT INTO points(id,server,counter,previous,session,size,received,base,chain,summary,manual,"
                     "flagged,state,expired_at) VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
                     "phiphiipibiisi", &row->id, &row->server, (int64_t)row->counter, &row->previous, &row->session,
                     (int64_t)row->size, row->received, row->delta ? &row->base : NULL, (int64_t)row->chain,
                     cf_span_of(row->summary, row->summary_size), (int64_t)row->manual, (int64_t)row->flagged,
                     row->expired ? "expired" : "current", row->expired_at));
    if (row->scheduled) CF_TRY(cf_records_set_origin(records, &row->id, true, row->slot));
    CF_TRY(cf_records_set_retention_due(records, &row->server, 0));
    if (until) CF_TRY(cf_records_retain_point(records, &row->id, *until));
    return cf_db_run(records->db, NULL,
                     "UPDATE servers SET newest=?,newest_counter=?,last_point=? WHERE id=? AND newest_counter<?",
                     "piihi", &row->id, (int64_t)row->counter, row->received, &row->server, (int64_t)row->counter);
}

cf_err *cf_records_retain_point(cf_records *records, const cf_id32 *id, int64_t until) {
    return cf_db_run(records->db, NULL, "UPDATE points SET retain_until=? WHERE id=?", "ip", until, id);
}

cf_err *cf_records_set_origin(cf_records *records, const cf_id32 *id, bool scheduled, int64_t slot) {
    if (!scheduled) return cf_db_run(records->db, NULL, "UPDATE points SET slot=NULL WHERE id=?", "p", id);
    return cf_db_run(records->db, NULL, "UPDATE points SET slot=? WHERE id=?", "ip", slot, id);
}

cf_err *cf_records_count_points(cf_records *records, const cf_id16 *server, uint64_t *count) {
    CF_AUTO_ROWS cf_db_rows rows = {0};
    bool there = false;
    CF_TRY(
        cf_db_query(records->db, &rows, "SELECT count(*) FROM points WHERE server=? AND state='current'", "h", server));
    CF_TRY(cf_db_next(&rows, &there));
    *count = there ? (uint64_t)cf_db_int(&rows, 0) : 0;
    return NULL;
}

cf_err *cf_records_expire_point(cf_records *records, const cf_id32 *id, int64_t now, bool *changed) {
    int changes = 0;
    CF_TRY(cf_db_run(records->db, &changes,
                     "UPDATE points SET state='expired',expired_at=? WHERE id=? AND state='current'", "ip", now, id));
    if (changed) *changed = changes > 0;
    return NULL;
}

#define POINT_COLUMNS                                                                                                \
    "id,counter,previous,session,size,received,retain_until,base,chain,summary,slot,manual,flagged,state='expired'," \
    "expired_at"

static cf_err *read_point(const cf_db_rows *rows, const cf_id16 *server, cf_point_row *row) {
    *row = (cf_point_row){.server = *server};
    cf_span summary = cf_db_blob(rows, 9);
    if (!cf_db_bytes(rows, 0, row->id.bytes, 32) || !cf_db_bytes(rows, 2, row->previous.bytes, 32) ||
        !cf_db_bytes(rows, 3, row->session.bytes, 16) || summary.size > sizeof row->summary)
        return cf_fail(CF_ERR_DATABASE, "a recovery point's row is malformed");
    row->counter = (uint64_t)cf_db_int(rows, 1);
    row->size = (uint64_t)cf_db_int(rows, 4);
    row->received = cf_db_int(rows, 5);
    row->has_retain_until = !cf_db_null(rows, 6);
    row->retain_until = cf_db_int(rows, 6);
    row->delta = cf_db_bytes(rows, 7, row->base.bytes, 32);
    row->chain = (uint8_t)cf_db_int(rows, 8);
    if (summary.size) memcpy(row->summary, summary.data, summary.size);
    row->summary_size = summary.size;
    row->scheduled = !cf_db_null(rows, 10);
    row->slot = cf_db_int(rows, 10);
    row->manual = cf_db_int(rows, 11) != 0;
    row->flagged = cf_db_int(rows, 12) != 0;
    row->expired = cf_db_int(rows, 13) != 0;
    row->expired_at = cf_db_int(rows, 14);
    return NULL;
}

cf_err *cf_records_find_point(cf_records *records, const cf_id16 *server, const cf_id32 *id, bool *found,
                              cf_point_row *row) {
    CF_AUTO_ROWS cf_db_rows rows = {0};
    bool there = false;
    CF_TRY(cf_db_query(records->db, &rows, "SELECT " POINT_COLUMNS " FROM points WHERE id=? AND server=?", "ph", id,
                       server));
    CF_TRY(cf_db_next(&rows, &there));
    if (there) CF_TRY(read_point(&rows, server, row));
    *found = there;
    return NULL;
}

cf_err *cf_records_list_points(cf_records *records, const cf_id16 *server, cf_point_row **out, size_t *count) {
    CF_AUTO_ROWS cf_db_rows rows = {0};
    CF_AUTO_FREE cf_point_row *list = NULL;
    size_t got = 0;
    CF_TRY(cf_db_query(records->db, &rows,
                       "SELECT " POINT_COLUMNS " FROM points WHERE server=? AND state='current'"
                       " ORDER BY counter",
                       "h", server));
    for (bool more = true;;) {
        CF_TRY(cf_db_next(&rows, &more));
        if (!more) break;
        CF_TRY(cf_rows_grow((void **)&list, got, sizeof *list));
        CF_TRY(read_point(&rows, server, &list[got]));
        got++;
    }
    *out = cf_take(list);
    *count = got;
    return NULL;
}

cf_err *cf_records_add_slot(cf_records *records, const cf_id16 *server, const cf_slot_row *row, cf_span slot) {
    return cf_db_run(records->db, NULL, "INSERT INTO slots(server,number,added,slot) VALUES(?,?,?,?)", "hiib", server,
                     (int64_t)row->number, row->added, slot);
}

cf_err *cf_records_set_slot_added(cf_records *records, const cf_id16 *server, const cf_slot_row *row) {
    return cf_db_run(records->db, NULL, "UPDATE slots SET added=? WHERE server=? AND number=?", "ihi", row->added,
                     server, (int64_t)row->number);
}

static cf_err *one_blob(cf_db_rows *rows, bool *found, cf_buf *out) {
    bool there = false;
    CF_TRY(cf_db_next(rows, &there));
    *found = there;
    if (!there) return NULL;
    cf_buf_put_span(out, cf_db_blob(rows, 0));
    return cf_buf_check(out, "a row of the database");
}

cf_err *cf_records_get_slot(cf_records *records, const cf_id16 *server, uint32_t number, bool *found, cf_buf *out) {
    CF_AUTO_ROWS cf_db_rows rows = {0};
    CF_TRY(cf_db_query(records->db, &rows, "SELECT slot FROM slots WHERE server=? AND number=?", "hi", server,
                       (int64_t)number));
    return one_blob(&rows, found, out);
}

cf_err *cf_records_list_slots(cf_records *records, const cf_id16 *server, cf_slot_row **out, size_t *count) {
    CF_AUTO_ROWS cf_db_rows rows = {0};
    CF_AUTO_FREE cf_slot_row *list = NULL;
    size_t got = 0;
    CF_TRY(
        cf_db_query(records->db, &rows, "SELECT number,added FROM slots WHERE server=? ORDER BY number", "h", server));
    for (bool more = true;;) {
        CF_TRY(cf_db_next(&rows, &more));
        if (!more) break;
        CF_TRY(cf_rows_grow((void **)&list, got, sizeof *list));
        list[got++] = (cf_slot_row){(uint32_t)cf_db_int(&rows, 0), cf_db_int(&rows, 1)};
    }
    *out = cf_take(list);
    *count = got;
    return NULL;
}

cf_err *cf_records_add_record(cf_records *records, const cf_id16 *server, const cf_id16 *session, cf_span record) {
    return cf_db_run(records->db, NULL, "INSERT INTO records(server,session,record) VALUES(?,?,?)", "hhb", server,
                     session, record);
}

cf_err *cf_records_get_record(cf_records *records, const cf_id16 *server, const cf_id16 *session, bool *found,
                              cf_buf *out) {
    CF_AUTO_ROWS cf_db_rows rows = {0};
    CF_TRY(cf_db_query(records->db, &rows, "SELECT record FROM records WHERE server=? AND session=?", "hh", server,
                       session));
    return one_blob(&rows, found, out);
}
