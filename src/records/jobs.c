#include <stdlib.h>

#include "records/private.h"

void cf_job_rows_free(cf_job_row *rows, size_t count) {
    for (size_t i = 0; i < count; i++) free(rows[i].error);
    free(rows);
}

cf_err *cf_records_put_job(cf_records *records, const cf_job_row *row) {
    return cf_db_run(
        records->db, NULL,
        "INSERT OR REPLACE INTO jobs(server,id,type,status,host,started,finished,bytes,bytes_sent,warnings,"
        "point,error,updated) VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?)",
        "hhsssiiiiipsi", &row->server, &row->id, row->type, row->status, row->host, row->started, row->finished,
        (int64_t)row->bytes, (int64_t)row->bytes_sent, (int64_t)row->warnings, row->has_point ? &row->point : NULL,
        row->error, row->updated);
}

static cf_err *read_job(const cf_db_rows *rows, cf_job_row *row) {
    *row = (cf_job_row){0};
    if (!cf_db_bytes(rows, 0, row->server.bytes, 16) || !cf_db_bytes(rows, 1, row->id.bytes, 16))
        return cf_fail(CF_ERR_DATABASE, "a job's row is malformed");
    cf_db_copy_text(rows, 2, row->type, sizeof row->type);
    cf_db_copy_text(rows, 3, row->status, sizeof row->status);
    cf_db_copy_text(rows, 4, row->host, sizeof row->host);
    row->started = cf_db_int(rows, 5);
    row->finished = cf_db_int(rows, 6);
    row->bytes = (uint64_t)cf_db_int(rows, 7);
    row->bytes_sent = (uint64_t)cf_db_int(rows, 8);
    row->warnings = (uint64_t)cf_db_int(rows, 9);
    row->has_point = cf_db_bytes(rows, 10, row->point.bytes, 32);
    row->updated = cf_db_int(rows, 12);
    if (cf_db_null(rows, 11)) return NULL;
    row->error = strdup(cf_db_text(rows, 11));
    return row->error ? NULL : cf_fail(CF_ERR_OUT_OF_MEMORY, "a job's row");
}

static cf_err *read_jobs(cf_db_rows *rows, cf_job_row **list, size_t *got) {
    for (bool more = true;;) {
        CF_TRY(cf_db_next(rows, &more));
        if (!more) return NULL;
        CF_TRY(cf_rows_grow((void **)list, *got, sizeof **list));
        CF_TRY(read_job(rows, &(*list)[*got]));
        (*got)++;
    }
}

#define JOB_COLUMNS "server,id,type,status,host,started,finished,bytes,bytes_sent,warnings,point,error,updated"

cf_err *cf_records_list_jobs(cf_records *records, const cf_id16 *server, size_t limit, cf_job_row **out,
                             size_t *count) {
    CF_AUTO_ROWS cf_db_rows rows = {0};
    if (server)
        CF_TRY(cf_db_query(records->db, &rows,
                           "SELECT " JOB_COLUMNS " FROM jobs WHERE server=? ORDER BY started DESC,id LIMIT ?", "hi",
                           server, (int64_t)limit));
    else
        CF_TRY(cf_db_query(records->db, &rows, "SELECT " JOB_COLUMNS " FROM jobs ORDER BY started DESC,id LIMIT ?", "i",
                           (int64_t)limit));
    cf_job_row *list = NULL;
    size_t got = 0;
    cf_err *err = read_jobs(&rows, &list, &got);
    if (err) {
        cf_job_rows_free(list, got);
        return err;
    }
    *out = list;
    *count = got;
    return NULL;
}

cf_err *cf_records_interrupt_jobs(cf_records *records, int64_t before, int *count) {
    return cf_db_run(records->db, count,
                     "UPDATE jobs SET status='interrupted',finished=updated WHERE status='running' AND updated<?", "i",
                     before);
}

cf_err *cf_records_drop_jobs(cf_records *records, int64_t before) {
    return cf_db_run(records->db, NULL, "DELETE FROM jobs WHERE updated<? AND status!='running'", "i", before);
}
