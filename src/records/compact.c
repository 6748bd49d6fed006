#include "records/compact.h"

#include <stdlib.h>

#include "records/private.h"

cf_err *cf_records_put_compacting(cf_records *records, const cf_id16 *server, uint64_t number, cf_span segments) {
    return cf_db_run(records->db, NULL, "INSERT OR REPLACE INTO compacting(server,number,segments) VALUES(?,?,?)",
                     "hib", server, (int64_t)number, segments);
}

cf_err *cf_records_drop_compacting(cf_records *records, const cf_id16 *server, uint64_t number) {
    return cf_db_run(records->db, NULL, "DELETE FROM compacting WHERE server=? AND number=?", "hi", server,
                     (int64_t)number);
}

cf_err *cf_records_get_compacting(cf_records *records, const cf_id16 *server, uint64_t number, bool *found,
                                  cf_segset *set) {
    CF_AUTO_ROWS cf_db_rows rows = {0};
    bool there = false;
    cf_segset_clear(set);
    CF_TRY(cf_db_query(records->db, &rows, "SELECT segments FROM compacting WHERE server=? AND number=?", "hi", server,
                       (int64_t)number));
    CF_TRY(cf_db_next(&rows, &there));
    if (there) CF_TRY(cf_segset_decode(cf_db_blob(&rows, 0), set));
    *found = there;
    return NULL;
}

cf_err *cf_records_list_compacting(cf_records *records, const cf_id16 *server, uint64_t **out, size_t *count) {
    CF_TRY(cf_db_run(records->db, NULL,
                     "DELETE FROM compacting WHERE server=?1 AND NOT EXISTS"
                     " (SELECT 1 FROM packs WHERE packs.server=?1 AND packs.number=compacting.number)",
                     "h", server));
    CF_AUTO_ROWS cf_db_rows rows = {0};
    CF_AUTO_FREE uint64_t *list = NULL;
    size_t got = 0;
    CF_TRY(
        cf_db_query(records->db, &rows, "SELECT number FROM compacting WHERE server=? ORDER BY number", "h", server));
    for (bool more = true;;) {
        CF_TRY(cf_db_next(&rows, &more));
        if (!more) break;
        CF_TRY(cf_rows_grow((void **)&list, got, sizeof *list));
        list[got++] = (uint64_t)cf_db_int(&rows, 0);
    }
    *out = cf_take(list);
    *count = got;
    return NULL;
}

cf_err *cf_records_add_old_object(cf_records *records, const cf_id16 *server, const cf_old_object *row) {
    return cf_db_run(records->db, NULL, "INSERT OR IGNORE INTO old_objects(object,server,remove_after) VALUES(?,?,?)",
                     "shi", row->object, server, row->remove_after);
}

cf_err *cf_records_list_old_objects(cf_records *records, const cf_id16 *server, int64_t now, cf_old_object **out,
                                    size_t *count) {
    CF_AUTO_ROWS cf_db_rows rows = {0};
    CF_AUTO_FREE cf_old_object *list = NULL;
    size_t got = 0;
    CF_TRY(cf_db_query(records->db, &rows,
                       "SELECT object,remove_after FROM old_objects WHERE server=? AND remove_after<=? ORDER BY object",
                       "hi", server, now));
    for (bool more = true;;) {
        CF_TRY(cf_db_next(&rows, &more));
        if (!more) break;
        CF_TRY(cf_rows_grow((void **)&list, got, sizeof *list));
        cf_db_copy_text(&rows, 0, list[got].object, sizeof list[got].object);
        list[got++].remove_after = cf_db_int(&rows, 1);
    }
    *out = cf_take(list);
    *count = got;
    return NULL;
}

cf_err *cf_records_has_old_object(cf_records *records, const char *object, bool *found) {
    CF_AUTO_ROWS cf_db_rows rows = {0};
    CF_TRY(cf_db_query(records->db, &rows, "SELECT 1 FROM old_objects WHERE object=?", "s", object));
    return cf_db_next(&rows, found);
}

cf_err *cf_records_drop_old_object(cf_records *records, const char *object) {
    return cf_db_run(records->db, NULL, "DELETE FROM old_objects WHERE object=?", "s", object);
}

cf_err *cf_records_list_merged(cf_records *records, const cf_id16 *server, cf_merged_total **out, size_t *count) {
    CF_AUTO_ROWS cf_db_rows rows = {0};
    CF_AUTO_FREE cf_merged_total *list = NULL;
    size_t got = 0;
    CF_TRY(cf_db_query(records->db, &rows,
                       "SELECT merged,count(*),sum(size) FROM packs WHERE server=? AND merged IS NOT NULL"
                       " GROUP BY merged ORDER BY merged",
                       "h", server));
    for (bool more = true;;) {
        CF_TRY(cf_db_next(&rows, &more));
        if (!more) break;
        CF_TRY(cf_rows_grow((void **)&list, got, sizeof *list));
        if (!cf_db_bytes(&rows, 0, list[got].merged.bytes, 16))
            return cf_fail(CF_ERR_DATABASE, "a pack's row is malformed");
        list[got].packs = (uint64_t)cf_db_int(&rows, 1);
        list[got++].bytes = (uint64_t)cf_db_int(&rows, 2);
    }
    *out = cf_take(list);
    *count = got;
    return NULL;
}
