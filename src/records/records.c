#include "records/records.h"

#include <stdlib.h>

#include "records/private.h"

cf_err *cf_rows_grow(void **rows, size_t count, size_t size) {
    if (count & (count - 1)) return NULL; /* full at every power of two */
    void *grown = reallocarray(*rows, count ? 2 * count : 1, size);
    if (!grown) return cf_fail(CF_ERR_OUT_OF_MEMORY, "rows of the database");
    *rows = grown;
    return NULL;
}

cf_err *cf_records_open(const char *path, bool create, cf_records **out) {
    CF_AUTO(cf_records) records = calloc(1, sizeof *records);
    if (!records) return cf_fail(CF_ERR_OUT_OF_MEMORY, "the database");
    CF_TRY(cf_db_open(path, create, &records->db));
    CF_TRY(cf_note(cf_migrate(records->db), "%s", path));
    *out = cf_take(records);
    return NULL;
}

void cf_records_close(cf_records *records) {
    if (!records) return;
    cf_db_close(records->db);
    free(records);
}

cf_err *cf_records_begin(cf_records *records) {
    return cf_db_begin(records->db);
}

cf_err *cf_records_finish(cf_records *records, cf_err *err) {
    return cf_db_finish(records->db, err);
}

cf_err *cf_records_set_vault(cf_records *records, const cf_vault_row *row) {
    return cf_db_run(records->db, NULL, "INSERT OR REPLACE INTO vault VALUES(1,?,?,?,?,?,?,?)", "hhsssib", &row->id,
                     &row->epoch, row->name, row->region, row->url, row->created,
                     cf_span_of(row->url_key, sizeof row->url_key));
}

cf_err *cf_records_get_vault(cf_records *records, cf_vault_row *row) {
    CF_AUTO_ROWS cf_db_rows rows = {0};
    bool there = false;
    CF_TRY(cf_db_query(records->db, &rows, "SELECT id,epoch,name,region,url,created,url_key FROM vault", ""));
    CF_TRY(cf_db_next(&rows, &there));
    bool whole = there && cf_db_bytes(&rows, 0, row->id.bytes, 16) && cf_db_bytes(&rows, 1, row->epoch.bytes, 16) &&
                 cf_db_bytes(&rows, 6, row->url_key, 32);
    if (!whole) return cf_fail(CF_ERR_DATABASE, "the database does not say which vault it belongs to");
    cf_db_copy_text(&rows, 2, row->name, sizeof row->name);
    cf_db_copy_text(&rows, 3, row->region, sizeof row->region);
    cf_db_copy_text(&rows, 4, row->url, sizeof row->url);
    row->created = cf_db_int(&rows, 5);
    return NULL;
}

cf_err *cf_records_get_journal_next(cf_records *records, uint64_t *sequence) {
    CF_AUTO_ROWS cf_db_rows rows = {0};
    bool there = false;
    CF_TRY(cf_db_query(records->db, &rows, "SELECT next FROM journal_seq", ""));
    CF_TRY(cf_db_next(&rows, &there));
    *sequence = there ? (uint64_t)cf_db_int(&rows, 0) : 1;
    return NULL;
}

cf_err *cf_records_set_journal_next(cf_records *records, uint64_t sequence) {
    return cf_db_run(records->db, NULL, "UPDATE journal_seq SET next=?", "i", (int64_t)sequence);
}

cf_err *cf_records_settle(cf_records *records) {
    return cf_db_settle(records->db);
}
