#include "records/private.h"

enum { VERSIONS_KEPT = 50 };

cf_err *cf_records_get_policy(cf_records *records, const cf_id16 *server, bool *found, cf_policy_row *row,
                              cf_buf *document) {
    CF_AUTO_ROWS cf_db_rows rows = {0};
    bool there = false;
    CF_TRY(cf_db_query(records->db, &rows,
                       "SELECT number,changed,changed_by,document FROM policies WHERE server=?"
                       " ORDER BY number DESC LIMIT 1",
                       "h", server));
    CF_TRY(cf_db_next(&rows, &there));
    *found = there;
    if (!there) return NULL;
    *row = (cf_policy_row){.server = *server, .number = (uint64_t)cf_db_int(&rows, 0), .changed = cf_db_int(&rows, 1)};
    cf_db_copy_text(&rows, 2, row->changed_by, sizeof row->changed_by);
    if (!document) return NULL;
    cf_buf_put_span(document, cf_span_text(cf_db_text(&rows, 3)));
    return cf_buf_check(document, "a policy");
}

cf_err *cf_records_put_policy(cf_records *records, const cf_policy_row *row, const char *document) {
    CF_TRY(cf_db_run(records->db, NULL,
                     "INSERT OR REPLACE INTO policies(server,number,document,changed,changed_by) VALUES(?,?,?,?,?)",
                     "hisis", &row->server, (int64_t)row->number, document, row->changed, row->changed_by));
    CF_TRY(cf_records_set_retention_due(records, &row->server, 0));
    return cf_db_run(records->db, NULL, "DELETE FROM policies WHERE server=? AND number<=?", "hi", &row->server,
                     (int64_t)row->number - VERSIONS_KEPT);
}
