#include "agent/db.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

enum { BUSY_MS = 30000 };

/* Each entry brings the database from version i to i + 1. Entries are never changed, only added. */
static const char *const migrations[] = {
    "CREATE TABLE jobs(number INTEGER PRIMARY KEY AUTOINCREMENT, id BLOB NOT NULL UNIQUE, type TEXT NOT NULL, status TEXT NOT NULL, started INTEGER NOT NULL,"
    " finished INTEGER, pid INTEGER NOT NULL, pid_started INTEGER NOT NULL, boot TEXT NOT NULL, point_id BLOB,"
    " bytes INTEGER NOT NULL DEFAULT 0, bytes_sent INTEGER NOT NULL DEFAULT 0, warnings INTEGER NOT NULL DEFAULT 0,"
    " error TEXT, reported INTEGER NOT NULL DEFAULT 0);"
    "CREATE TABLE job_warnings(job BLOB NOT NULL REFERENCES jobs(id) ON DELETE CASCADE, number INTEGER NOT NULL,"
    " path BLOB NOT NULL, code INTEGER NOT NULL, err_no INTEGER NOT NULL, message TEXT NOT NULL,"
    " PRIMARY KEY(job, number)) WITHOUT ROWID;"
    "CREATE TABLE head(one INTEGER PRIMARY KEY CHECK(one = 1), id BLOB NOT NULL, counter INTEGER NOT NULL, time INTEGER NOT NULL);"
    "CREATE TABLE settings(name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;",
    "ALTER TABLE jobs ADD COLUMN policy INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE jobs ADD COLUMN slot INTEGER;"
    "ALTER TABLE jobs ADD COLUMN merged_slot INTEGER;"
    "ALTER TABLE jobs ADD COLUMN seen INTEGER;"
    "CREATE INDEX jobs_by_status ON jobs(status, reported);",
};
enum { VERSION = sizeof migrations / sizeof migrations[0] };

cf_err *cf_sql_fail(sqlite3 *db, int result) {
    const char *words = db ? sqlite3_errmsg(db) : sqlite3_errstr(result);
    if ((result & 0xFF) == SQLITE_FULL) return cf_fail(CF_ERR_DISK_FULL, "the state folder's database: %s", words);
    if ((result & 0xFF) == SQLITE_NOMEM) return cf_fail(CF_ERR_OUT_OF_MEMORY, "the state folder's database: %s", words);
    return cf_fail(CF_ERR_STATE_DAMAGED, "the state folder's database coffer.db: %s", words);
}

cf_err *cf_sql_exec(sqlite3 *db, const char *sql) {
    int result = sqlite3_exec(db, sql, NULL, NULL, NULL);
    return result == SQLITE_OK ? NULL : cf_sql_fail(db, result);
}

cf_err *cf_sql_prepare(sqlite3 *db, const char *sql, sqlite3_stmt **statement) {
    int result = sqlite3_prepare_v2(db, sql, -1, statement, NULL);
    return result == SQLITE_OK ? NULL : cf_sql_fail(db, result);
}

cf_err *cf_sql_step(sqlite3 *db, sqlite3_stmt *statement, bool *row) {
    int result = sqlite3_step(statement);
    if (result != SQLITE_ROW && result != SQLITE_DONE) return cf_sql_fail(db, result);
    *row = result == SQLITE_ROW;
    return NULL;
}

cf_err *cf_sql_run(sqlite3 *db, sqlite3_stmt *statement) {
    bool row;
    return cf_sql_step(db, statement, &row);
}

static cf_err *get_version(sqlite3 *db, int *version) {
    CF_AUTO_STATEMENT sqlite3_stmt *statement = NULL;
    bool row;
    CF_TRY(cf_sql_prepare(db, "PRAGMA user_version", &statement));
    CF_TRY(cf_sql_step(db, statement, &row));
    *version = row ? sqlite3_column_int(statement, 0) : 0;
    return NULL;
}

static cf_err *apply(sqlite3 *db, int version) {
    char pragma[64];
    snprintf(pragma, sizeof pragma, "PRAGMA user_version = %d", version + 1);
    CF_TRY(cf_sql_exec(db, migrations[version]));
    return cf_sql_exec(db, pragma);
}

/* The version is read again inside the transaction: two commands may start on a fresh folder at once. */
static cf_err *migrate(sqlite3 *db) {
    int version;
    CF_TRY(get_version(db, &version));
    if (version == VERSION) return NULL;
    CF_TRY(cf_sql_exec(db, "BEGIN IMMEDIATE"));
    cf_err *err = get_version(db, &version);
    if (!err && version > VERSION)
        err = cf_fail_reason(CF_ERR_STATE_DAMAGED, "too_new", "coffer.db has version %d, this program (%s) knows %d",
                             version, CF_VERSION, VERSION);
    for (int i = version; !err && i < VERSION; i++) err = apply(db, i);
    if (!err) return cf_sql_exec(db, "COMMIT");
    cf_err *undone = cf_sql_exec(db, "ROLLBACK");
    cf_err_free(undone); /* closing the connection rolls back as well */
    return err;
}

cf_err *cf_sql_open(const char *path, sqlite3 **out) {
    sqlite3 *db = NULL;
    int result = sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX, NULL);
    cf_err *err = result == SQLITE_OK ? NULL : cf_note(cf_sql_fail(db, result), "%s", path);
    if (!err) (void)sqlite3_busy_timeout(db, BUSY_MS); /* cannot fail on an open connection */
    if (!err) err = cf_sql_exec(db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON");
    if (!err) err = migrate(db);
    if (err) {
        sqlite3_close(db);
        return err;
    }
    *out = db;
    return NULL;
}

/* Binding can only fail without memory or on a wrong index; the step that follows then fails as well. */
void cf_sql_bind_text(sqlite3_stmt *statement, int index, const char *text) {
    (void)sqlite3_bind_text(statement, index, text, -1, SQLITE_TRANSIENT);
}

void cf_sql_bind_bytes(sqlite3_stmt *statement, int index, cf_span bytes) {
    (void)sqlite3_bind_blob64(statement, index, bytes.size ? (const void *)bytes.data : "", bytes.size,
                              SQLITE_TRANSIENT);
}

void cf_sql_bind_number(sqlite3_stmt *statement, int index, uint64_t number) {
    (void)sqlite3_bind_int64(statement, index, number > INT64_MAX ? INT64_MAX : (sqlite3_int64)number);
}

char *cf_sql_column_text(sqlite3_stmt *statement, int column) {
    const unsigned char *text = sqlite3_column_text(statement, column);
    return text ? strdup((const char *)text) : NULL;
}

void cf_sql_copy_text(sqlite3_stmt *statement, int column, char *out, size_t size) {
    const unsigned char *text = sqlite3_column_text(statement, column);
    snprintf(out, size, "%s", text ? (const char *)text : "");
}

bool cf_sql_copy_bytes(sqlite3_stmt *statement, int column, void *out, size_t size) {
    const void *bytes = sqlite3_column_blob(statement, column);
    if (!bytes || (size_t)sqlite3_column_bytes(statement, column) != size) return false;
    memcpy(out, bytes, size);
    return true;
}

uint64_t cf_sql_column_number(sqlite3_stmt *statement, int column) {
    sqlite3_int64 number = sqlite3_column_int64(statement, column);
    return number < 0 ? 0 : (uint64_t)number;
}
