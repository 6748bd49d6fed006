/* Of this folder only. */
#ifndef CF_RECORDS_PRIVATE_H
#define CF_RECORDS_PRIVATE_H

#include "records/db.h"
#include "records/records.h"

struct cf_records {
    cf_db *db;
};

/* cf_rows_grow: room for one more element in *rows, which holds count of them; doubles.                  */
cf_err *cf_rows_grow(void **rows, size_t count, size_t size) __attribute__((warn_unused_result));

/* cf_migrate: numbered steps up to this program's version.                                              */
cf_err *cf_migrate(cf_db *db) __attribute__((warn_unused_result));
enum { CF_SCHEMA_VERSION = 6 };

#endif
