/* Sessions, number blocks, read leases. */
#include <stdlib.h>

#include "records/private.h"

cf_err *cf_records_add_session(cf_records *records, const cf_session_row *row) {
    return cf_db_run(records->db, NULL,
                     "INSERT INTO sessions(server,id,instance,job,generation,opened,lease_until,state)"
                     " VALUES(?,?,?,?,?,?,?,?)",
                     "hhhhiiis", &row->server, &row->id, &row->instance, &row->job, (int64_t)row->generation,
                     row->opened, row->lease_until, row->state);
}

static cf_err *one_session(cf_db_rows *rows, bool *found, cf_session_row *row) {
    bool there = false;
    CF_TRY(cf_db_next(rows, &there));
    *found = there;
    if (!there) return NULL;
    *row = (cf_session_row){0};
    if (!cf_db_bytes(rows, 0, row->server.bytes, 16) || !cf_db_bytes(rows, 1, row->id.bytes, 16) ||
        !cf_db_bytes(rows, 2, row->instance.bytes, 16) || !cf_db_bytes(rows, 3, row->job.bytes, 16))
        return cf_fail(CF_ERR_DATABASE, "a session's row is malformed");
    row->generation = (uint64_t)cf_db_int(rows, 4);
    row->opened = cf_db_int(rows, 5);
    row->lease_until = cf_db_int(rows, 6);
    cf_db_copy_text(rows, 7, row->state, sizeof row->state);
    return NULL;
}

#define SESSION_COLUMNS "server,id,instance,job,generation,opened,lease_until,state"

cf_err *cf_records_find_session(cf_records *records, const cf_id16 *server, const cf_id16 *id, bool *found,
                                cf_session_row *row) {
    CF_AUTO_ROWS cf_db_rows rows = {0};
    CF_TRY(cf_db_query(records->db, &rows, "SELECT " SESSION_COLUMNS " FROM sessions WHERE server=? AND id=?", "hh",
                       server, id));
    return one_session(&rows, found, row);
}

cf_err *cf_records_find_open_session(cf_records *records, const cf_id16 *server, bool *found, cf_session_row *row) {
    CF_AUTO_ROWS cf_db_rows rows = {0};
    CF_TRY(cf_db_query(records->db, &rows, "SELECT " SESSION_COLUMNS " FROM sessions WHERE server=? AND state='open'",
                       "h", server));
    return one_session(&rows, found, row);
}

cf_err *cf_records_renew_session(cf_records *records, const cf_id16 *server, const cf_id16 *id, int64_t lease_until) {
    return cf_db_run(records->db, NULL, "UPDATE sessions SET lease_until=? WHERE server=? AND id=? AND state='open'",
                     "ihh", lease_until, server, id);
}

cf_err *cf_records_end_session(cf_records *records, const cf_id16 *server, const cf_id16 *id, const char *state) {
    return cf_db_run(records->db, NULL, "UPDATE sessions SET state=? WHERE server=? AND id=? AND state='open'", "shh",
                     state, server, id);
}

cf_err *cf_records_expire_sessions(cf_records *records, int64_t now, int64_t forget, int *expired) {
    CF_TRY(cf_db_run(records->db, expired, "UPDATE sessions SET state='expired' WHERE state='open' AND lease_until<?",
                     "i", now));
    return cf_db_run(records->db, NULL, "DELETE FROM sessions WHERE state!='open' AND lease_until<?", "i", forget);
}

cf_err *cf_records_add_block(cf_records *records, const cf_block_row *row) {
    return cf_db_run(records->db, NULL, "INSERT INTO number_blocks(server,first,count,session,after) VALUES(?,?,?,?,?)",
                     "hiihi", &row->server, (int64_t)row->first, (int64_t)row->count, &row->session,
                     (int64_t)row->after);
}

static cf_err *one_block(cf_db_rows *rows, bool *found, const cf_id16 *server, const cf_id16 *session,
                         cf_block_row *row) {
    bool there = false;
    CF_TRY(cf_db_next(rows, &there));
    *found = there;
    if (there)
        *row = (cf_block_row){*server, *session, (uint64_t)cf_db_int(rows, 0), (uint32_t)cf_db_int(rows, 1),
                              (uint64_t)cf_db_int(rows, 2)};
    return NULL;
}

cf_err *cf_records_find_block_after(cf_records *records, const cf_id16 *server, const cf_id16 *session, uint64_t after,
                                    bool *found, cf_block_row *row) {
    CF_AUTO_ROWS cf_db_rows rows = {0};
    CF_TRY(cf_db_query(records->db, &rows,
                       "SELECT first,count,after FROM number_blocks WHERE server=? AND session=? AND after=?", "hhi",
                       server, session, (int64_t)after));
    return one_block(&rows, found, server, session, row);
}

cf_err *cf_records_find_block_of(cf_records *records, const cf_id16 *server, const cf_id16 *session, uint64_t number,
                                 bool *found, cf_block_row *row) {
    CF_AUTO_ROWS cf_db_rows rows = {0};
    CF_TRY(cf_db_query(records->db, &rows,
                       "SELECT first,count,after FROM number_blocks WHERE server=? AND session=? AND first<=?"
                       " AND first+count>?",
                       "hhii", server, session, (int64_t)number, (int64_t)number));
    return one_block(&rows, found, server, session, row);
}

cf_err *cf_records_drop_block(cf_records *records, const cf_block_row *row) {
    return cf_db_run(records->db, NULL, "DELETE FROM number_blocks WHERE server=? AND first=?", "hi", &row->server,
                     (int64_t)row->first);
}

cf_err *cf_records_put_lease(cf_records *records, const cf_lease_row *row, cf_span points) {
    return cf_db_run(records->db, NULL,
                     "INSERT OR REPLACE INTO read_leases(server,id,kind,points,expires) VALUES(?,?,?,?,?)", "hhsbi",
                     &row->server, &row->id, row->kind, points, row->expires);
}

cf_err *cf_records_renew_lease(cf_records *records, const cf_id16 *server, const cf_id16 *id, int64_t expires,
                               bool *found) {
    int changes = 0;
    CF_TRY(cf_db_run(records->db, &changes, "UPDATE read_leases SET expires=? WHERE server=? AND id=?", "ihh", expires,
                     server, id));
    *found = changes > 0;
    return NULL;
}

static cf_err *count_rows(cf_db_rows *rows, size_t *count) {
    bool there = false;
    CF_TRY(cf_db_next(rows, &there));
    *count = there ? (size_t)cf_db_int(rows, 0) : 0;
    return NULL;
}

cf_err *cf_records_has_lease(cf_records *records, const cf_id16 *server, const cf_id16 *id, bool *found) {
    CF_AUTO_ROWS cf_db_rows rows = {0};
    size_t count = 0;
    CF_TRY(
        cf_db_query(records->db, &rows, "SELECT count(*) FROM read_leases WHERE server=? AND id=?", "hh", server, id));
    CF_TRY(count_rows(&rows, &count));
    *found = count > 0;
    return NULL;
}

cf_err *cf_records_count_leases(cf_records *records, const cf_id16 *server, size_t *count) {
    CF_AUTO_ROWS cf_db_rows rows = {0};
    CF_TRY(cf_db_query(records->db, &rows, "SELECT count(*) FROM read_leases WHERE server=?", "h", server));
    return count_rows(&rows, count);
}

cf_err *cf_records_drop_lease(cf_records *records, const cf_id16 *server, const cf_id16 *id) {
    return cf_db_run(records->db, NULL, "DELETE FROM read_leases WHERE server=? AND id=?", "hh", server, id);
}

cf_err *cf_records_drop_expired_leases(cf_records *records, int64_t now) {
    return cf_db_run(records->db, NULL, "DELETE FROM read_leases WHERE expires<?", "i", now);
}
