/* SQLite for this folder: one connection, statements prepared once, values bound by a type string.
 *
 * Types of cf_db_run and cf_db_query, one letter for each '?': i int64_t (given as such), s const char *
 * (NULL binds null), h const cf_id16 *, p const cf_id32 * (either NULL: null), b cf_span (data NULL: null).
 *
 * Threads: every function takes the connection's lock; cf_db_begin keeps it until commit or rollback, and
 * cf_db_query until cf_db_end, so that calls of one thread may nest. Threads get it in the order in which they asked: one
 * that makes one small transaction after the other holds nobody up for longer than one of them. No COMMIT waits for
 * the log to be carried over: records/checkpoint.h.
 * Fails: 900601 DATABASE; 900102 DISK_FULL.                                                             */
#ifndef CF_RECORDS_DB_H
#define CF_RECORDS_DB_H

#include <sqlite3.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/ids.h"

typedef struct cf_db cf_db;

/* cf_db_open: WAL, synchronous=FULL, foreign keys. create: the file may be new.                          */
cf_err *cf_db_open(const char *path, bool create, cf_db **db) __attribute__((warn_unused_result));
void cf_db_close(cf_db *db); /* NULL-safe */
/* cf_db_settle: everything into the one file. Not in a transaction. */
cf_err *cf_db_settle(cf_db *db) __attribute__((warn_unused_result));

/* cf_db_begin: BEGIN IMMEDIATE. Transactions do not nest.                                                */
cf_err *cf_db_begin(cf_db *db) __attribute__((warn_unused_result));
cf_err *cf_db_commit(cf_db *db) __attribute__((warn_unused_result));
void cf_db_rollback(cf_db *db);
/* cf_db_finish: commit when err is NULL, else roll back; returns err or what the commit said.             */
cf_err *cf_db_finish(cf_db *db, cf_err *err) __attribute__((warn_unused_result));

/* cf_db_script: statements without values (migrations).                                                  */
cf_err *cf_db_script(cf_db *db, const char *sql) __attribute__((warn_unused_result));
/* cf_db_run: sql is a literal (its address is the cache's key). *changes may be NULL.                     */
cf_err *cf_db_run(cf_db *db, int *changes, const char *sql, const char *types, ...) __attribute__((warn_unused_result));

typedef struct cf_db_rows {
    cf_db *db;
    sqlite3_stmt *statement;
    bool cached;
} cf_db_rows;
/* cf_db_query: begin; then cf_db_next until *row is false; cf_db_end always, also after a failure of next.
 * The same sql must not be running already in this thread.                                               */
cf_err *cf_db_query(cf_db *db, cf_db_rows *rows, const char *sql, const char *types, ...)
    __attribute__((warn_unused_result));
cf_err *cf_db_next(cf_db_rows *rows, bool *row) __attribute__((warn_unused_result));
void cf_db_end(cf_db_rows *rows);
#define CF_AUTO_ROWS __attribute__((cleanup(cf_db_end)))

/* Columns of the current row. Text and blobs are borrowed until the next cf_db_next. */
int64_t cf_db_int(const cf_db_rows *rows, int column);
const char *cf_db_text(const cf_db_rows *rows, int column); /* "" for null */
cf_span cf_db_blob(const cf_db_rows *rows, int column);
bool cf_db_null(const cf_db_rows *rows, int column);
/* Exactly size bytes; false (and zeros) when the blob is of another size. */
bool cf_db_bytes(const cf_db_rows *rows, int column, void *out, size_t size);
/* Cut to size - 1 bytes. */
void cf_db_copy_text(const cf_db_rows *rows, int column, char *out, size_t size);

#endif
