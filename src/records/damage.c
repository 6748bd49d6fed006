#include "records/damage.h"

#include <stdio.h>
#include <stdlib.h>

#include "records/private.h"

cf_err *cf_records_put_damage(cf_records *records, const cf_damage_row *row) {
    return cf_db_run(
        records->db, NULL,
        "INSERT OR REPLACE INTO damage(object,segment,server,pack,reason,found,state,changed) VALUES(?,?,?,?,?,?,?,?)",
        "sihisisi", row->object, (int64_t)row->segment, row->has_server ? &row->server : NULL, (int64_t)row->pack,
        row->reason, row->found, row->state, row->changed);
}

#define DAMAGE_COLUMNS "object,segment,server,pack,reason,found,state,changed"

static void read_damage(const cf_db_rows *rows, cf_damage_row *row) {
    *row = (cf_damage_row){.segment = (int32_t)cf_db_int(rows, 1),
                           .pack = (uint64_t)cf_db_int(rows, 3),
                           .found = cf_db_int(rows, 5),
                           .changed = cf_db_int(rows, 7)};
    cf_db_copy_text(rows, 0, row->object, sizeof row->object);
    row->has_server = cf_db_bytes(rows, 2, row->server.bytes, 16);
    cf_db_copy_text(rows, 4, row->reason, sizeof row->reason);
    cf_db_copy_text(rows, 6, row->state, sizeof row->state);
}

cf_err *cf_records_find_damage(cf_records *records, const char *object, int32_t segment, bool *found,
                               cf_damage_row *row) {
    CF_AUTO_ROWS cf_db_rows rows = {0};
    bool there = false;
    CF_TRY(cf_db_query(records->db, &rows, "SELECT " DAMAGE_COLUMNS " FROM damage WHERE object=? AND segment=?", "si",
                       object, (int64_t)segment));
    CF_TRY(cf_db_next(&rows, &there));
    if (there) read_damage(&rows, row);
    *found = there;
    return NULL;
}

cf_err *cf_records_list_damage(cf_records *records, const cf_id16 *server, uint64_t pack, const char *state,
                               cf_damage_row **out, size_t *count) {
    CF_AUTO_ROWS cf_db_rows rows = {0};
    CF_AUTO_FREE cf_damage_row *list = NULL;
    size_t got = 0;
    CF_TRY(cf_db_query(records->db, &rows,
                       "SELECT " DAMAGE_COLUMNS " FROM damage WHERE (?1 IS NULL OR server=?1) AND (?2=0 OR pack=?2)"
                       " AND state=coalesce(?3,state) AND (?3 IS NOT NULL OR state!='gone')"
                       " ORDER BY server,pack,segment,object",
                       "his", server, (int64_t)pack, state));
    for (bool more = true;;) {
        CF_TRY(cf_db_next(&rows, &more));
        if (!more) break;
        CF_TRY(cf_rows_grow((void **)&list, got, sizeof *list));
        read_damage(&rows, &list[got++]);
    }
    *out = cf_take(list);
    *count = got;
    return NULL;
}

static cf_err *one_number(cf_db_rows *rows, uint64_t *number) {
    bool there = false;
    CF_TRY(cf_db_next(rows, &there));
    *number = there ? (uint64_t)cf_db_int(rows, 0) : 0;
    return NULL;
}

cf_err *cf_records_count_damage(cf_records *records, const cf_id16 *server, uint64_t *count) {
    CF_AUTO_ROWS cf_db_rows rows = {0};
    CF_TRY(cf_db_query(records->db, &rows,
                       "SELECT count(*) FROM damage WHERE state='open' AND (?1 IS NULL OR server=?1)", "h", server));
    return one_number(&rows, count);
}

cf_err *cf_records_get_scrub(cf_records *records, cf_scrub_row *row) {
    CF_AUTO_ROWS cf_db_rows rows = {0};
    bool there = false;
    CF_TRY(cf_db_query(records->db, &rows, "SELECT started,after,objects,bytes,finished FROM scrub", ""));
    CF_TRY(cf_db_next(&rows, &there));
    *row = (cf_scrub_row){0};
    if (!there) return NULL;
    row->started = cf_db_int(&rows, 0);
    cf_db_copy_text(&rows, 1, row->after, sizeof row->after);
    row->objects = (uint64_t)cf_db_int(&rows, 2);
    row->bytes = (uint64_t)cf_db_int(&rows, 3);
    row->finished = cf_db_int(&rows, 4);
    return NULL;
}

cf_err *cf_records_set_scrub(cf_records *records, const cf_scrub_row *row) {
    return cf_db_run(records->db, NULL, "UPDATE scrub SET started=?,after=?,objects=?,bytes=?,finished=?", "isiii",
                     row->started, row->after, (int64_t)row->objects, (int64_t)row->bytes, row->finished);
}

cf_err *cf_records_stored_bytes(cf_records *records, uint64_t *bytes) {
    CF_AUTO_ROWS cf_db_rows rows = {0};
    CF_TRY(cf_db_query(records->db, &rows,
                       "SELECT (SELECT coalesce(sum(size),0) FROM packs)+(SELECT coalesce(sum(size),0) FROM points)",
                       ""));
    return one_number(&rows, bytes);
}

cf_err *cf_records_list_record_sessions(cf_records *records, const cf_id16 *server, cf_id16 **out, size_t *count) {
    CF_AUTO_ROWS cf_db_rows rows = {0};
    CF_AUTO_FREE cf_id16 *list = NULL;
    size_t got = 0;
    CF_TRY(cf_db_query(records->db, &rows, "SELECT session FROM records WHERE server=? ORDER BY session", "h", server));
    for (bool more = true;;) {
        CF_TRY(cf_db_next(&rows, &more));
        if (!more) break;
        CF_TRY(cf_rows_grow((void **)&list, got, sizeof *list));
        if (!cf_db_bytes(&rows, 0, list[got].bytes, 16))
            return cf_fail(CF_ERR_DATABASE, "a key record's row is malformed");
        got++;
    }
    *out = cf_take(list);
    *count = got;
    return NULL;
}

cf_err *cf_records_add_relocation(cf_records *records, const cf_relocation_row *row) {
    return cf_db_run(records->db, NULL, "INSERT INTO relocations(server,number,id,size) VALUES(?,?,?,?)", "hipi",
                     &row->server, (int64_t)row->number, &row->id, (int64_t)row->size);
}

static cf_err *read_relocation(const cf_db_rows *rows, const cf_id16 *server, cf_relocation_row *row) {
    *row = (cf_relocation_row){.server = *server};
    row->number = (uint64_t)cf_db_int(rows, 0);
    row->size = (uint64_t)cf_db_int(rows, 2);
    return cf_db_bytes(rows, 1, row->id.bytes, 32) ? NULL
                                                   : cf_fail(CF_ERR_DATABASE, "a relocation record's row is malformed");
}

cf_err *cf_records_list_relocations(cf_records *records, const cf_id16 *server, uint64_t after, cf_relocation_row **out,
                                    size_t *count) {
    CF_AUTO_ROWS cf_db_rows rows = {0};
    CF_AUTO_FREE cf_relocation_row *list = NULL;
    size_t got = 0;
    CF_TRY(cf_db_query(records->db, &rows,
                       "SELECT number,id,size FROM relocations WHERE server=? AND number>? ORDER BY number", "hi",
                       server, (int64_t)after));
    for (bool more = true;;) {
        CF_TRY(cf_db_next(&rows, &more));
        if (!more) break;
        CF_TRY(cf_rows_grow((void **)&list, got, sizeof *list));
        CF_TRY(read_relocation(&rows, server, &list[got]));
        got++;
    }
    *out = cf_take(list);
    *count = got;
    return NULL;
}

cf_err *cf_records_find_relocation(cf_records *records, const cf_id16 *server, const cf_id32 *id, bool *found,
                                   cf_relocation_row *row) {
    CF_AUTO_ROWS cf_db_rows rows = {0};
    bool there = false;
    CF_TRY(cf_db_query(records->db, &rows, "SELECT number,id,size FROM relocations WHERE server=? AND id=?", "hp",
                       server, id));
    CF_TRY(cf_db_next(&rows, &there));
    if (there) CF_TRY(read_relocation(&rows, server, row));
    *found = there;
    return NULL;
}

cf_err *cf_records_drop_relocation(cf_records *records, const cf_id16 *server, uint64_t number) {
    return cf_db_run(records->db, NULL, "DELETE FROM relocations WHERE server=? AND number=?", "hi", server,
                     (int64_t)number);
}
