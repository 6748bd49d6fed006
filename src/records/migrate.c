/* The schema, step by step. A step that was released is never changed: the next version adds one.       */
#include "records/private.h"

static const char *const steps[CF_SCHEMA_VERSION] = {
    /* 1 */
    "CREATE TABLE vault(one INTEGER PRIMARY KEY CHECK(one=1), id BLOB NOT NULL, epoch BLOB NOT NULL, name TEXT NOT NULL,"
    " region TEXT NOT NULL, url TEXT NOT NULL, created INTEGER NOT NULL, url_key BLOB NOT NULL) STRICT;"
    "CREATE TABLE journal_seq(one INTEGER PRIMARY KEY CHECK(one=1), next INTEGER NOT NULL) STRICT;"
    "INSERT INTO journal_seq VALUES(1,1);"
    "CREATE TABLE servers(id BLOB PRIMARY KEY, name TEXT NOT NULL, auth_key BLOB NOT NULL, instance BLOB NOT NULL,"
    " registered INTEGER NOT NULL, generation INTEGER NOT NULL DEFAULT 0, next_number INTEGER NOT NULL DEFAULT 1,"
    " newest BLOB, newest_counter INTEGER NOT NULL DEFAULT 0, last_point INTEGER NOT NULL DEFAULT 0) STRICT;"
    "CREATE INDEX servers_name ON servers(name);"
    "CREATE TABLE tokens(sha256 BLOB PRIMARY KEY, server BLOB NOT NULL REFERENCES servers(id), agent INTEGER NOT NULL,"
    " issued INTEGER NOT NULL, expires INTEGER NOT NULL, revoked INTEGER NOT NULL DEFAULT 0) STRICT;"
    "CREATE INDEX tokens_server ON tokens(server);"
    "CREATE TABLE credentials(secret_sha256 BLOB PRIMARY KEY, purpose TEXT NOT NULL, issued INTEGER NOT NULL,"
    " expires INTEGER NOT NULL, sequence INTEGER NOT NULL) STRICT;"
    "CREATE TABLE challenges(challenge BLOB PRIMARY KEY, server BLOB NOT NULL REFERENCES servers(id),"
    " expires INTEGER NOT NULL, used_for BLOB) STRICT;"
    "CREATE TABLE sessions(server BLOB NOT NULL REFERENCES servers(id), id BLOB NOT NULL, instance BLOB NOT NULL,"
    " job BLOB NOT NULL, generation INTEGER NOT NULL, opened INTEGER NOT NULL, lease_until INTEGER NOT NULL,"
    " state TEXT NOT NULL, PRIMARY KEY(server,id)) STRICT;"
    "CREATE UNIQUE INDEX sessions_open ON sessions(server) WHERE state='open';"
    "CREATE TABLE number_blocks(server BLOB NOT NULL REFERENCES servers(id), first INTEGER NOT NULL, count INTEGER NOT NULL,"
    " session BLOB NOT NULL, after INTEGER NOT NULL, PRIMARY KEY(server,first)) STRICT;"
    "CREATE UNIQUE INDEX number_blocks_after ON number_blocks(server,session,after);"
    "CREATE TABLE read_leases(server BLOB NOT NULL REFERENCES servers(id), id BLOB NOT NULL, kind TEXT NOT NULL,"
    " points BLOB NOT NULL, expires INTEGER NOT NULL, PRIMARY KEY(server,id)) STRICT;"
    "CREATE TABLE packs(server BLOB NOT NULL REFERENCES servers(id), number INTEGER NOT NULL, session BLOB NOT NULL,"
    " kind INTEGER NOT NULL, size INTEGER NOT NULL, xxh3 BLOB NOT NULL, segments INTEGER NOT NULL, gaps INTEGER NOT NULL,"
    " state TEXT NOT NULL DEFAULT 'present', PRIMARY KEY(server,number)) STRICT, WITHOUT ROWID;"
    /* Apart from packs, which are gone through in order for every recovery point. */
    "CREATE TABLE pack_tails(server BLOB NOT NULL, number INTEGER NOT NULL, header BLOB NOT NULL, tail BLOB NOT NULL,"
    " PRIMARY KEY(server,number), FOREIGN KEY(server,number) REFERENCES packs(server,number)) STRICT;"
    "CREATE TABLE points(id BLOB PRIMARY KEY, server BLOB NOT NULL REFERENCES servers(id), counter INTEGER NOT NULL,"
    " previous BLOB NOT NULL, session BLOB NOT NULL, size INTEGER NOT NULL, received INTEGER NOT NULL,"
    " retain_until INTEGER, base BLOB, chain INTEGER NOT NULL, summary BLOB NOT NULL, UNIQUE(server,counter)) STRICT;"
    "CREATE TABLE slots(server BLOB NOT NULL REFERENCES servers(id), number INTEGER NOT NULL, slot BLOB NOT NULL,"
    " PRIMARY KEY(server,number)) STRICT;"
    "CREATE TABLE records(server BLOB NOT NULL REFERENCES servers(id), session BLOB NOT NULL, record BLOB NOT NULL,"
    " PRIMARY KEY(server,session)) STRICT;"
    "CREATE TABLE jobs(server BLOB NOT NULL REFERENCES servers(id), id BLOB NOT NULL, type TEXT NOT NULL,"
    " status TEXT NOT NULL, host TEXT NOT NULL, started INTEGER NOT NULL, finished INTEGER NOT NULL, bytes INTEGER NOT NULL,"
    " bytes_sent INTEGER NOT NULL, warnings INTEGER NOT NULL, point BLOB, error TEXT, updated INTEGER NOT NULL,"
    " PRIMARY KEY(server,id)) STRICT;"
    "CREATE INDEX jobs_started ON jobs(server,started);"
    "CREATE INDEX jobs_running ON jobs(updated) WHERE status='running';",
    /* 2: policies */
    "",
    /* 3: retention */
    "",
    /* 4: reclaiming */
    "",
    /* 5: scrub and compaction */
    "",
};

static cf_err *current_version(cf_db *db, int *version) {
    CF_AUTO_ROWS cf_db_rows rows = {0};
    bool row = false;
    CF_TRY(cf_db_query(db, &rows, "SELECT max(version) FROM schema_version", ""));
    CF_TRY(cf_db_next(&rows, &row));
    *version = row ? (int)cf_db_int(&rows, 0) : 0;
    return NULL;
}

static cf_err *run_step(cf_db *db, int step) {
    CF_TRY(cf_db_script(db, steps[step - 1]));
    return cf_db_run(db, NULL, "INSERT INTO schema_version(version) VALUES(?)", "i", (int64_t)step);
}

/* Looks again inside the transaction: another program may have done the step meanwhile. */
static cf_err *step_once(cf_db *db, int step) {
    int version = 0;
    CF_TRY(current_version(db, &version));
    return version >= step ? NULL : run_step(db, step);
}

cf_err *cf_migrate(cf_db *db) {
    int version = 0;
    CF_TRY(cf_db_script(db, "CREATE TABLE IF NOT EXISTS schema_version(version INTEGER NOT NULL) STRICT"));
    CF_TRY(current_version(db, &version));
    if (version > CF_SCHEMA_VERSION)
        return cf_fail(CF_ERR_DATABASE_NEWER, "the database has schema %d, this program knows %d", version,
                       CF_SCHEMA_VERSION);
    for (int step = version + 1; step <= CF_SCHEMA_VERSION; step++) {
        CF_TRY(cf_db_begin(db));
        CF_TRY(cf_note(cf_db_finish(db, step_once(db, step)), "schema step %d", step));
    }
    return NULL;
}

cf_err *cf_records_version(cf_records *records, int *version) {
    return current_version(records->db, version);
}
