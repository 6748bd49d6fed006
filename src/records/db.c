#include "records/db.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/turns.h"
#include "records/checkpoint.h"

enum { CACHE_SIZE = 128, BUSY_MS = 15000 };

struct cf_db {
    sqlite3 *handle;
    cf_checkpoint *checkpoint;
    cf_turns lock; /* a transaction's holder goes on calling; others come in the order of their asking */
    struct {
        const char *sql;
        sqlite3_stmt *statement;
    } cache[CACHE_SIZE];
    size_t cached;
};

static cf_err *fail_db(cf_db *db, const char *doing) {
    int code = db->handle ? sqlite3_errcode(db->handle) : SQLITE_NOMEM;
    const char *word = db->handle ? sqlite3_errmsg(db->handle) : "no memory";
    if (code == SQLITE_FULL) return cf_fail(CF_ERR_DISK_FULL, "the database cannot be written: %s", word);
    if (code == SQLITE_NOMEM) return cf_fail(CF_ERR_OUT_OF_MEMORY, "the database");
    return cf_fail(CF_ERR_DATABASE, "%s: %s", doing, word);
}

static void lock(cf_db *db) {
    cf_turns_lock(&db->lock);
}

static void unlock(cf_db *db) {
    cf_turns_unlock(&db->lock);
}

cf_err *cf_db_open(const char *path, bool create, cf_db **out) {
    cf_db *db = calloc(1, sizeof *db);
    if (!db) return cf_fail(CF_ERR_OUT_OF_MEMORY, "the database");
    cf_err *err = cf_turns_init(&db->lock);
    if (err) {
        free(db);
        return err;
    }
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_FULLMUTEX | (create ? SQLITE_OPEN_CREATE : 0);
    if (sqlite3_open_v2(path, &db->handle, flags, NULL) != SQLITE_OK)
        err = cf_note(fail_db(db, "cannot open"), "%s", path);
    if (!err) {
        sqlite3_extended_result_codes(db->handle, 0);
        sqlite3_busy_timeout(db->handle, BUSY_MS);
        err = cf_note(cf_db_script(db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;"
                                       "PRAGMA trusted_schema=OFF; PRAGMA cache_size=-16384;"),
                      "%s", path);
    }
    if (!err) err = cf_note(cf_checkpoint_new(db->handle, path, &db->lock, &db->checkpoint), "%s", path);
    if (err)
        cf_db_close(db);
    else
        *out = db;
    return err;
}

void cf_db_close(cf_db *db) {
    if (!db) return;
    cf_checkpoint_free(db->checkpoint);
    for (size_t i = 0; i < db->cached; i++) sqlite3_finalize(db->cache[i].statement);
    (void)sqlite3_close(db->handle); /* everything that mattered was committed */
    cf_turns_destroy(&db->lock);
    free(db);
}

cf_err *cf_db_script(cf_db *db, const char *sql) {
    lock(db);
    cf_err *err = sqlite3_exec(db->handle, sql, NULL, NULL, NULL) == SQLITE_OK ? NULL : fail_db(db, "database");
    unlock(db);
    return err;
}

cf_err *cf_db_settle(cf_db *db) {
    return cf_checkpoint_settle(db->checkpoint);
}

cf_err *cf_db_begin(cf_db *db) {
    lock(db);
    cf_err *err = cf_db_script(db, "BEGIN IMMEDIATE");
    if (err) unlock(db);
    return err;
}

cf_err *cf_db_commit(cf_db *db) {
    cf_err *err = cf_db_script(db, "COMMIT");
    if (err && !sqlite3_get_autocommit(db->handle)) {
        cf_db_rollback(db);
        return err;
    }
    unlock(db);
    return err;
}

void cf_db_rollback(cf_db *db) {
    /* Fails only when SQLite rolled back by itself already. */
    (void)sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
    unlock(db);
}

cf_err *cf_db_finish(cf_db *db, cf_err *err) {
    if (!err) return cf_db_commit(db);
    cf_db_rollback(db);
    return err;
}

static cf_err *prepare(cf_db *db, const char *sql, cf_db_rows *rows) {
    rows->db = db;
    for (size_t i = 0; i < db->cached; i++) {
        if (db->cache[i].sql != sql) continue;
        rows->statement = db->cache[i].statement;
        rows->cached = true;
        return NULL;
    }
    if (sqlite3_prepare_v3(db->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, &rows->statement, NULL) != SQLITE_OK)
        return fail_db(db, sql);
    rows->cached = db->cached < CACHE_SIZE;
    if (rows->cached) {
        db->cache[db->cached].sql = sql;
        db->cache[db->cached++].statement = rows->statement;
    }
    return NULL;
}

static int bind_blob(sqlite3_stmt *statement, int at, const void *data, size_t size) {
    if (!data) return sqlite3_bind_null(statement, at);
    return sqlite3_bind_blob64(statement, at, data, size, SQLITE_STATIC);
}

static int bind_one(sqlite3_stmt *statement, int at, char type, va_list *args) {
    switch (type) {
    case 'i':
        return sqlite3_bind_int64(statement, at, va_arg(*args, int64_t));
    case 's':
        return sqlite3_bind_text(statement, at, va_arg(*args, const char *), -1, SQLITE_STATIC);
    case 'h':
        return bind_blob(statement, at, va_arg(*args, const cf_id16 *), 16);
    case 'p':
        return bind_blob(statement, at, va_arg(*args, const cf_id32 *), 32);
    case 'b': {
        cf_span span = va_arg(*args, cf_span);
        return bind_blob(statement, at, span.data, span.size);
    }
    default:
        return SQLITE_MISUSE;
    }
}

/* Takes the lock; on failure it is released again. Values are borrowed until cf_db_end. */
static cf_err *start(cf_db *db, cf_db_rows *rows, const char *sql, const char *types, va_list *args) {
    *rows = (cf_db_rows){0};
    lock(db);
    cf_err *err = prepare(db, sql, rows);
    for (int at = 1; !err && types[at - 1]; at++)
        if (bind_one(rows->statement, at, types[at - 1], args) != SQLITE_OK) err = fail_db(db, sql);
    if (!err) return NULL;
    rows->db = db;
    cf_db_end(rows);
    return err;
}

cf_err *cf_db_query(cf_db *db, cf_db_rows *rows, const char *sql, const char *types, ...) {
    va_list args;
    va_start(args, types);
    cf_err *err = start(db, rows, sql, types, &args);
    va_end(args);
    return err;
}

cf_err *cf_db_next(cf_db_rows *rows, bool *row) {
    int result = sqlite3_step(rows->statement);
    if (result != SQLITE_ROW && result != SQLITE_DONE) return fail_db(rows->db, sqlite3_sql(rows->statement));
    *row = result == SQLITE_ROW;
    return NULL;
}

void cf_db_end(cf_db_rows *rows) {
    if (!rows->db) return;
    if (rows->statement) {
        (void)sqlite3_reset(rows->statement); /* repeats the error of the last step */
        (void)sqlite3_clear_bindings(rows->statement);
        if (!rows->cached) (void)sqlite3_finalize(rows->statement);
    }
    cf_db *db = rows->db;
    *rows = (cf_db_rows){0};
    unlock(db);
}

cf_err *cf_db_run(cf_db *db, int *changes, const char *sql, const char *types, ...) {
    CF_AUTO_ROWS cf_db_rows rows = {0};
    va_list args;
    va_start(args, types);
    cf_err *err = start(db, &rows, sql, types, &args);
    va_end(args);
    CF_TRY(err);
    bool row = true;
    while (row) CF_TRY(cf_db_next(&rows, &row));
    if (changes) *changes = sqlite3_changes(db->handle);
    return NULL;
}

int64_t cf_db_int(const cf_db_rows *rows, int column) {
    return sqlite3_column_int64(rows->statement, column);
}

const char *cf_db_text(const cf_db_rows *rows, int column) {
    const unsigned char *text = sqlite3_column_text(rows->statement, column);
    return text ? (const char *)text : "";
}

cf_span cf_db_blob(const cf_db_rows *rows, int column) {
    const void *data = sqlite3_column_blob(rows->statement, column);
    int size = sqlite3_column_bytes(rows->statement, column);
    return cf_span_of(data, data && size > 0 ? (size_t)size : 0);
}

bool cf_db_null(const cf_db_rows *rows, int column) {
    return sqlite3_column_type(rows->statement, column) == SQLITE_NULL;
}

bool cf_db_bytes(const cf_db_rows *rows, int column, void *out, size_t size) {
    cf_span blob = cf_db_blob(rows, column);
    bool fits = blob.size == size;
    if (fits)
        memcpy(out, blob.data, size);
    else
        memset(out, 0, size);
    return fits;
}

void cf_db_copy_text(const cf_db_rows *rows, int column, char *out, size_t size) {
    snprintf(out, size, "%s", cf_db_text(rows, column));
}
