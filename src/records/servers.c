/* Servers, tokens, credentials, challenges. */
#include <stdlib.h>

#include "records/private.h"

cf_err *cf_records_add_server(cf_records *records, const cf_server_row *row) {
    return cf_db_run(records->db, NULL,
                     "INSERT INTO servers(id,name,auth_key,instance,registered,generation,next_number)"
                     " VALUES(?,?,?,?,?,?,?)",
                     "hsbhiii", &row->id, row->name, cf_span_of(row->auth_key, 32), &row->instance, row->registered,
                     (int64_t)row->generation, (int64_t)row->next_number);
}

#define SERVER_COLUMNS "id,name,auth_key,instance,registered,generation,next_number,newest,newest_counter,last_point"

static cf_err *read_server(const cf_db_rows *rows, cf_server_row *row) {
    *row = (cf_server_row){0};
    if (!cf_db_bytes(rows, 0, row->id.bytes, 16) || !cf_db_bytes(rows, 2, row->auth_key, 32) ||
        !cf_db_bytes(rows, 3, row->instance.bytes, 16))
        return cf_fail(CF_ERR_DATABASE, "a server's row is malformed");
    cf_db_copy_text(rows, 1, row->name, sizeof row->name);
    row->registered = cf_db_int(rows, 4);
    row->generation = (uint64_t)cf_db_int(rows, 5);
    row->next_number = (uint64_t)cf_db_int(rows, 6);
    row->has_newest = cf_db_bytes(rows, 7, row->newest.bytes, 32);
    row->newest_counter = (uint64_t)cf_db_int(rows, 8);
    row->last_point = cf_db_int(rows, 9);
    return NULL;
}

static cf_err *one_server(cf_db_rows *rows, bool *found, cf_server_row *row) {
    bool there = false;
    CF_TRY(cf_db_next(rows, &there));
    if (there) CF_TRY(read_server(rows, row));
    *found = there;
    return NULL;
}

cf_err *cf_records_find_server(cf_records *records, const cf_id16 *id, bool *found, cf_server_row *row) {
    CF_AUTO_ROWS cf_db_rows rows = {0};
    CF_TRY(cf_db_query(records->db, &rows, "SELECT " SERVER_COLUMNS " FROM servers WHERE id=?", "h", id));
    return one_server(&rows, found, row);
}

cf_err *cf_records_find_server_named(cf_records *records, const char *name, bool *found, cf_server_row *row) {
    CF_AUTO_ROWS cf_db_rows rows = {0};
    CF_TRY(cf_db_query(records->db, &rows,
                       "SELECT " SERVER_COLUMNS " FROM servers WHERE name=? ORDER BY registered,id LIMIT 1", "s",
                       name));
    return one_server(&rows, found, row);
}

cf_err *cf_records_list_servers(cf_records *records, cf_server_row **out, size_t *count) {
    CF_AUTO_ROWS cf_db_rows rows = {0};
    CF_AUTO_FREE cf_server_row *list = NULL;
    size_t got = 0;
    CF_TRY(cf_db_query(records->db, &rows, "SELECT " SERVER_COLUMNS " FROM servers ORDER BY name,registered,id", ""));
    for (bool more = true;;) {
        CF_TRY(cf_db_next(&rows, &more));
        if (!more) break;
        CF_TRY(cf_rows_grow((void **)&list, got, sizeof *list));
        CF_TRY(read_server(&rows, &list[got]));
        got++;
    }
    *out = cf_take(list);
    *count = got;
    return NULL;
}

cf_err *cf_records_rename_server(cf_records *records, const cf_id16 *id, const char *name) {
    return cf_db_run(records->db, NULL, "UPDATE servers SET name=? WHERE id=?", "sh", name, id);
}

cf_err *cf_records_set_instance(cf_records *records, const cf_id16 *id, const cf_id16 *instance) {
    return cf_db_run(records->db, NULL, "UPDATE servers SET instance=? WHERE id=?", "hh", instance, id);
}

cf_err *cf_records_set_next_number(cf_records *records, const cf_id16 *id, uint64_t next) {
    return cf_db_run(records->db, NULL, "UPDATE servers SET next_number=max(next_number,?) WHERE id=?", "ih",
                     (int64_t)next, id);
}

cf_err *cf_records_add_token(cf_records *records, const cf_token_row *row) {
    return cf_db_run(records->db, NULL,
                     "INSERT INTO tokens(sha256,server,agent,issued,expires,revoked) VALUES(?,?,?,?,?,?)", "phiiii",
                     &row->sha256, &row->server, (int64_t)row->agent, row->issued, row->expires, row->revoked);
}

static cf_err *read_token(const cf_db_rows *rows, cf_token_row *row) {
    *row = (cf_token_row){0};
    if (!cf_db_bytes(rows, 0, row->sha256.bytes, 32) || !cf_db_bytes(rows, 1, row->server.bytes, 16))
        return cf_fail(CF_ERR_DATABASE, "a token's row is malformed");
    row->agent = cf_db_int(rows, 2) != 0;
    row->issued = cf_db_int(rows, 3);
    row->expires = cf_db_int(rows, 4);
    row->revoked = cf_db_int(rows, 5);
    return NULL;
}

cf_err *cf_records_find_token(cf_records *records, const cf_id32 *sha256, bool *found, cf_token_row *row) {
    CF_AUTO_ROWS cf_db_rows rows = {0};
    bool there = false;
    CF_TRY(cf_db_query(records->db, &rows,
                       "SELECT sha256,server,agent,issued,expires,revoked FROM tokens WHERE sha256=?", "p", sha256));
    CF_TRY(cf_db_next(&rows, &there));
    if (there) CF_TRY(read_token(&rows, row));
    *found = there;
    return NULL;
}

cf_err *cf_records_revoke_token(cf_records *records, const cf_id32 *sha256, int64_t now) {
    return cf_db_run(records->db, NULL, "UPDATE tokens SET revoked=? WHERE sha256=? AND revoked=0", "ip", now, sha256);
}

cf_err *cf_records_extend_token(cf_records *records, const cf_id32 *sha256, int64_t expires) {
    return cf_db_run(records->db, NULL, "UPDATE tokens SET expires=? WHERE sha256=? AND expires<>0 AND expires<?",
                     "ipi", expires, sha256, expires);
}

cf_err *cf_records_list_tokens(cf_records *records, const cf_id16 *server, cf_token_row **out, size_t *count) {
    CF_AUTO_ROWS cf_db_rows rows = {0};
    CF_AUTO_FREE cf_token_row *list = NULL;
    size_t got = 0;
    CF_TRY(cf_db_query(records->db, &rows,
                       "SELECT sha256,server,agent,issued,expires,revoked FROM tokens WHERE server=? AND revoked=0"
                       " ORDER BY sha256",
                       "h", server));
    for (bool more = true;;) {
        CF_TRY(cf_db_next(&rows, &more));
        if (!more) break;
        CF_TRY(cf_rows_grow((void **)&list, got, sizeof *list));
        CF_TRY(read_token(&rows, &list[got]));
        got++;
    }
    *out = cf_take(list);
    *count = got;
    return NULL;
}

cf_err *cf_records_drop_expired_tokens(cf_records *records, int64_t before) {
    return cf_db_run(records->db, NULL, "DELETE FROM tokens WHERE expires!=0 AND expires<?", "i", before);
}

cf_err *cf_records_add_credentials(cf_records *records, const cf_credentials_row *row) {
    return cf_db_run(
        records->db, NULL,
        "INSERT INTO credentials(secret_sha256,purpose,issued,expires,sequence,server) VALUES(?,?,?,?,?,?)", "psiiih",
        &row->secret_sha256, row->purpose, row->issued, row->expires, (int64_t)row->sequence,
        row->has_server ? &row->server : NULL);
}

cf_err *cf_records_find_credentials(cf_records *records, const cf_id32 *secret_sha256, bool *found,
                                    cf_credentials_row *row, bool *newest) {
    CF_AUTO_ROWS cf_db_rows rows = {0};
    bool there = false;
    CF_TRY(cf_db_query(records->db, &rows,
                       "SELECT purpose,issued,expires,sequence,"
                       "sequence=(SELECT max(sequence) FROM credentials AS o WHERE o.purpose=c.purpose),server"
                       " FROM credentials AS c WHERE secret_sha256=?",
                       "p", secret_sha256));
    CF_TRY(cf_db_next(&rows, &there));
    *found = there;
    if (!there) return NULL;
    *row = (cf_credentials_row){.secret_sha256 = *secret_sha256};
    cf_db_copy_text(&rows, 0, row->purpose, sizeof row->purpose);
    row->issued = cf_db_int(&rows, 1);
    row->expires = cf_db_int(&rows, 2);
    row->sequence = (uint64_t)cf_db_int(&rows, 3);
    row->has_server = cf_db_bytes(&rows, 5, row->server.bytes, 16);
    *newest = row->has_server || cf_db_int(&rows, 4) != 0;
    return NULL;
}

cf_err *cf_records_count_kits(cf_records *records, const cf_id16 *server, size_t *count) {
    CF_AUTO_ROWS cf_db_rows rows = {0};
    bool row = false;
    CF_TRY(cf_db_query(records->db, &rows, "SELECT count(*) FROM credentials WHERE server=?", "h", server));
    CF_TRY(cf_db_next(&rows, &row));
    *count = row ? (size_t)cf_db_int(&rows, 0) : 0;
    return NULL;
}

cf_err *cf_records_add_challenge(cf_records *records, const cf_challenge_row *row) {
    return cf_db_run(records->db, NULL, "INSERT INTO challenges(challenge,server,expires,used_for) VALUES(?,?,?,?)",
                     "phip", &row->challenge, &row->server, row->expires, row->used ? &row->used_for : NULL);
}

cf_err *cf_records_find_challenge(cf_records *records, const cf_id32 *challenge, bool *found, cf_challenge_row *row) {
    CF_AUTO_ROWS cf_db_rows rows = {0};
    bool there = false;
    CF_TRY(cf_db_query(records->db, &rows, "SELECT server,expires,used_for FROM challenges WHERE challenge=?", "p",
                       challenge));
    CF_TRY(cf_db_next(&rows, &there));
    *found = there;
    if (!there) return NULL;
    *row = (cf_challenge_row){.challenge = *challenge, .expires = cf_db_int(&rows, 1)};
    if (!cf_db_bytes(&rows, 0, row->server.bytes, 16))
        return cf_fail(CF_ERR_DATABASE, "a challenge's row is malformed");
    row->used = cf_db_bytes(&rows, 2, row->used_for.bytes, 32);
    return NULL;
}

cf_err *cf_records_use_challenge(cf_records *records, const cf_id32 *challenge, const cf_id32 *used_for) {
    return cf_db_run(records->db, NULL, "UPDATE challenges SET used_for=? WHERE challenge=?", "pp", used_for,
                     challenge);
}

cf_err *cf_records_drop_challenges(cf_records *records, int64_t before) {
    return cf_db_run(records->db, NULL, "DELETE FROM challenges WHERE expires<?", "i", before);
}
