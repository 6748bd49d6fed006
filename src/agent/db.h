/* SQLite of the state folder: short forms with the errors of this folder. Of this folder only.            */
#ifndef CF_AGENT_DB_H
#define CF_AGENT_DB_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

/* cf_sql_open: WAL, synchronous=FULL, busy time-out; migrated to the newest version.
 * Fails: 900921 STATE_DAMAGED (reason too_new), DISK_FULL.                                                 */
cf_err *cf_sql_open(const char *path, sqlite3 **db) __attribute__((warn_unused_result));
cf_err *cf_sql_exec(sqlite3 *db, const char *sql) __attribute__((warn_unused_result));
/* cf_sql_prepare: the caller ends it with sqlite3_finalize (CF_AUTO_STATEMENT).                             */
cf_err *cf_sql_prepare(sqlite3 *db, const char *sql, sqlite3_stmt **statement) __attribute__((warn_unused_result));
/* cf_sql_step: *row tells whether there is one.                                                             */
cf_err *cf_sql_step(sqlite3 *db, sqlite3_stmt *statement, bool *row) __attribute__((warn_unused_result));
/* cf_sql_run: a statement without rows. */
cf_err *cf_sql_run(sqlite3 *db, sqlite3_stmt *statement) __attribute__((warn_unused_result));
cf_err *cf_sql_fail(sqlite3 *db, int result) __attribute__((warn_unused_result));

static inline void cf_statement_auto_(sqlite3_stmt **statement) {
    sqlite3_finalize(*statement);
}
#define CF_AUTO_STATEMENT __attribute__((cleanup(cf_statement_auto_)))

/* Binding and reading; numbers are bounded to what SQLite holds.                                           */
void cf_sql_bind_text(sqlite3_stmt *statement, int index, const char *text); /* NULL: null */
void cf_sql_bind_bytes(sqlite3_stmt *statement, int index, cf_span bytes);
void cf_sql_bind_number(sqlite3_stmt *statement, int index, uint64_t number);
char *cf_sql_column_text(sqlite3_stmt *statement, int column); /* fresh; NULL for null */
void cf_sql_copy_text(sqlite3_stmt *statement, int column, char *out, size_t size);
bool cf_sql_copy_bytes(sqlite3_stmt *statement, int column, void *out, size_t size); /* exactly size */
uint64_t cf_sql_column_number(sqlite3_stmt *statement, int column);

#endif
