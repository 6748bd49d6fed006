/* What retention reads and writes. */
#include <stdlib.h>
#include <string.h>

#include "records/private.h"

enum { POINT_ID = 32, HELD_MAX_BYTES = 64 << 20 };

cf_err *cf_records_set_retention_due(cf_records *records, const cf_id16 *server, int64_t due) {
    if (!server) return cf_db_run(records->db, NULL, "UPDATE servers SET retention_due=?", "i", due);
    return cf_db_run(records->db, NULL, "UPDATE servers SET retention_due=? WHERE id=?", "ih", due, server);
}

cf_err *cf_records_list_retention_due(cf_records *records, int64_t now, cf_id16 **out, size_t *count) {
    CF_AUTO_ROWS cf_db_rows rows = {0};
    CF_AUTO_FREE cf_id16 *list = NULL;
    size_t got = 0;
    CF_TRY(cf_db_query(records->db, &rows, "SELECT id FROM servers WHERE retention_due<=? ORDER BY retention_due", "i",
                       now));
    for (bool more = true;;) {
        CF_TRY(cf_db_next(&rows, &more));
        if (!more) break;
        CF_TRY(cf_rows_grow((void **)&list, got, sizeof *list));
        if (!cf_db_bytes(&rows, 0, list[got].bytes, 16)) return cf_fail(CF_ERR_DATABASE, "a server's row is malformed");
        got++;
    }
    *out = cf_take(list);
    *count = got;
    return NULL;
}

static cf_err *read_history(const cf_db_rows *rows, cf_history_row *row) {
    *row = (cf_history_row){
        .counter = (uint64_t)cf_db_int(rows, 1),
        .received = cf_db_int(rows, 2),
        .has_retain_until = !cf_db_null(rows, 3),
        .retain_until = cf_db_int(rows, 3),
        .scheduled = !cf_db_null(rows, 4),
        .slot = cf_db_int(rows, 4),
        .manual = cf_db_int(rows, 5) != 0,
        .flagged = cf_db_int(rows, 6) != 0,
        .expired = cf_db_int(rows, 7) != 0,
        .expired_at = cf_db_int(rows, 8),
    };
    if (!cf_db_bytes(rows, 0, row->id.bytes, 32)) return cf_fail(CF_ERR_DATABASE, "a point's row is malformed");
    return NULL;
}

cf_err *cf_records_list_history(cf_records *records, const cf_id16 *server, cf_history_row **out, size_t *count) {
    CF_AUTO_ROWS cf_db_rows rows = {0};
    CF_AUTO_FREE cf_history_row *list = NULL;
    size_t got = 0;
    CF_TRY(cf_db_query(records->db, &rows,
                       "SELECT id,counter,received,retain_until,slot,manual,flagged,state='expired',expired_at"
                       " FROM points WHERE server=? ORDER BY counter",
                       "h", server));
    for (bool more = true;;) {
        CF_TRY(cf_db_next(&rows, &more));
        if (!more) break;
        CF_TRY(cf_rows_grow((void **)&list, got, sizeof *list));
        CF_TRY(read_history(&rows, &list[got]));
        got++;
    }
    *out = cf_take(list);
    *count = got;
    return NULL;
}

static int compare_ids(const void *a, const void *b) {
    return memcmp(a, b, POINT_ID);
}

static cf_err *collect(cf_db_rows *rows, cf_buf *bytes) {
    for (bool more = true;;) {
        CF_TRY(cf_db_next(rows, &more));
        if (!more) return cf_buf_check(bytes, "points that are held");
        cf_span ids = cf_db_blob(rows, 0);
        cf_buf_put_span(bytes, cf_span_of(ids.data, ids.size - ids.size % POINT_ID));
    }
}

static cf_err *collect_held(cf_records *records, const cf_id16 *server, int64_t now, cf_buf *bytes) {
    CF_AUTO_ROWS cf_db_rows leases = {0}, sessions = {0};
    CF_TRY(cf_db_query(records->db, &leases, "SELECT points FROM read_leases WHERE server=? AND expires>=?", "hi",
                       server, now));
    CF_TRY(collect(&leases, bytes));
    CF_TRY(cf_db_query(records->db, &sessions,
                       "SELECT pins FROM sessions WHERE server=? AND state='open' AND pins IS NOT NULL", "h", server));
    return collect(&sessions, bytes);
}

cf_err *cf_records_list_held(cf_records *records, const cf_id16 *server, int64_t now, cf_id32 **out, size_t *count) {
    CF_AUTO_BUF cf_buf bytes;
    cf_buf_init(&bytes, HELD_MAX_BYTES);
    CF_TRY(collect_held(records, server, now, &bytes));
    size_t total = bytes.size / POINT_ID;
    cf_id32 *ids = calloc(total + 1, sizeof *ids);
    if (!ids) return cf_fail(CF_ERR_OUT_OF_MEMORY, "the points that are held");
    if (total) memcpy(ids, bytes.data, total * POINT_ID);
    qsort(ids, total, sizeof *ids, compare_ids);
    *out = ids;
    *count = total;
    return NULL;
}
