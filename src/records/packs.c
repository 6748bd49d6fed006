#include <stdlib.h>

#include "records/private.h"
#include "records/reclaim.h"

cf_err *cf_records_add_pack(cf_records *records, const cf_pack_row *row, cf_span header, cf_span tail) {
    CF_TRY(cf_db_run(records->db, NULL,
                     "INSERT INTO packs(server,number,session,kind,size,xxh3,segments,gaps,generation,merged,base,"
                     "after_point) VALUES(?,?,?,?,?,?,?,?,?,?,?,(SELECT newest_counter FROM servers WHERE id=?))",
                     "hihiibiiihih", &row->server, (int64_t)row->number, &row->session, (int64_t)row->kind,
                     (int64_t)row->size, cf_span_of(row->xxh3, 16), (int64_t)row->segments, (int64_t)row->gaps,
                     (int64_t)row->generation, row->is_merged ? &row->merged : NULL, (int64_t)row->base, &row->server));
    return cf_db_run(records->db, NULL, "INSERT INTO pack_tails(server,number,header,tail) VALUES(?,?,?,?)", "hibb",
                     &row->server, (int64_t)row->number, header, tail);
}

cf_err *cf_records_move_pack(cf_records *records, const cf_pack_row *row, cf_span header, cf_span tail) {
    CF_TRY(cf_db_run(records->db, NULL,
                     "UPDATE packs SET size=?,xxh3=?,segments=?,gaps=?,generation=?,merged=?,base=?"
                     " WHERE server=? AND number=?",
                     "ibiiihihi", (int64_t)row->size, cf_span_of(row->xxh3, 16), (int64_t)row->segments,
                     (int64_t)row->gaps, (int64_t)row->generation, row->is_merged ? &row->merged : NULL,
                     (int64_t)row->base, &row->server, (int64_t)row->number));
    return cf_db_run(records->db, NULL, "UPDATE pack_tails SET header=?,tail=? WHERE server=? AND number=?", "bbhi",
                     header, tail, &row->server, (int64_t)row->number);
}

#define PACK_COLUMNS "number,session,kind,size,xxh3,segments,gaps,generation,merged,base,referenced,after_point"

static cf_err *read_pack(const cf_db_rows *rows, const cf_id16 *server, cf_pack_row *row) {
    *row = (cf_pack_row){.server = *server};
    row->number = (uint64_t)cf_db_int(rows, 0);
    if (!cf_db_bytes(rows, 1, row->session.bytes, 16) || !cf_db_bytes(rows, 4, row->xxh3, 16))
        return cf_fail(CF_ERR_DATABASE, "a pack's row is malformed");
    row->kind = cf_db_int(rows, 2) ? CF_KIND_TREE : CF_KIND_DATA;
    row->size = (uint64_t)cf_db_int(rows, 3);
    row->segments = (uint32_t)cf_db_int(rows, 5);
    row->gaps = cf_db_int(rows, 6) != 0;
    row->generation = (uint32_t)cf_db_int(rows, 7);
    row->is_merged = cf_db_bytes(rows, 8, row->merged.bytes, 16);
    row->base = (uint64_t)cf_db_int(rows, 9);
    row->referenced = cf_db_int(rows, 10) != 0;
    row->after_point = (uint64_t)cf_db_int(rows, 11);
    return NULL;
}

cf_err *cf_records_find_pack(cf_records *records, const cf_id16 *server, uint64_t number, bool *found,
                             cf_pack_row *row) {
    CF_AUTO_ROWS cf_db_rows rows = {0};
    bool there = false;
    CF_TRY(cf_db_query(records->db, &rows,
                       "SELECT " PACK_COLUMNS " FROM packs WHERE server=? AND number=? AND state='present'", "hi",
                       server, (int64_t)number));
    CF_TRY(cf_db_next(&rows, &there));
    if (there) CF_TRY(read_pack(&rows, server, row));
    *found = there;
    return NULL;
}

cf_err *cf_records_get_tail(cf_records *records, const cf_id16 *server, uint64_t number, cf_buf *header, cf_buf *tail) {
    CF_AUTO_ROWS cf_db_rows rows = {0};
    bool there = false;
    CF_TRY(cf_db_query(records->db, &rows, "SELECT header,tail FROM pack_tails WHERE server=? AND number=?", "hi",
                       server, (int64_t)number));
    CF_TRY(cf_db_next(&rows, &there));
    if (!there) return cf_fail(CF_ERR_DATABASE, "pack %llu has no extent table", (unsigned long long)number);
    if (header) cf_buf_put_span(header, cf_db_blob(&rows, 0));
    if (tail) cf_buf_put_span(tail, cf_db_blob(&rows, 1));
    if (header) CF_TRY(cf_buf_check(header, "a pack's header"));
    return tail ? cf_buf_check(tail, "a pack's extent table") : NULL;
}

static cf_err *read_packs(cf_db_rows *rows, const cf_id16 *server, cf_pack_row **out, size_t *count) {
    CF_AUTO_FREE cf_pack_row *list = NULL;
    size_t got = 0;
    for (bool more = true;;) {
        CF_TRY(cf_db_next(rows, &more));
        if (!more) break;
        CF_TRY(cf_rows_grow((void **)&list, got, sizeof *list));
        CF_TRY(read_pack(rows, server, &list[got]));
        got++;
    }
    *out = cf_take(list);
    *count = got;
    return NULL;
}

cf_err *cf_records_list_packs(cf_records *records, const cf_id16 *server, uint64_t after, size_t limit,
                              cf_pack_row **out, size_t *count) {
    CF_AUTO_ROWS cf_db_rows rows = {0};
    CF_TRY(cf_db_query(records->db, &rows,
                       "SELECT " PACK_COLUMNS " FROM packs WHERE server=? AND number>? AND state='present'"
                       " ORDER BY number LIMIT ?",
                       "hii", server, (int64_t)after, (int64_t)limit));
    return read_packs(&rows, server, out, count);
}

cf_err *cf_records_list_doomed(cf_records *records, const cf_id16 *server, size_t limit, cf_pack_row **out,
                               size_t *count) {
    CF_AUTO_ROWS cf_db_rows rows = {0};
    CF_TRY(cf_db_query(records->db, &rows,
                       "SELECT " PACK_COLUMNS
                       " FROM packs INDEXED BY packs_deleting WHERE server=? AND state='deleting'"
                       " ORDER BY number LIMIT ?" /* the planner would rather look at all packs, in their order */,
                       "hi", server, (int64_t)limit));
    return read_packs(&rows, server, out, count);
}

cf_err *cf_records_pack_totals(cf_records *records, const cf_id16 *server, uint64_t *packs, uint64_t *bytes) {
    CF_AUTO_ROWS cf_db_rows rows = {0};
    bool there = false;
    CF_TRY(cf_db_query(records->db, &rows, "SELECT count(*),coalesce(sum(size),0) FROM packs WHERE server=?", "h",
                       server));
    CF_TRY(cf_db_next(&rows, &there));
    *packs = there ? (uint64_t)cf_db_int(&rows, 0) : 0;
    *bytes = there ? (uint64_t)cf_db_int(&rows, 1) : 0;
    return NULL;
}
