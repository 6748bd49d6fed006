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
    /* 2: policies, the newest of a server and some before it */
    "CREATE TABLE policies(server BLOB NOT NULL REFERENCES servers(id), number INTEGER NOT NULL, document TEXT NOT NULL,"
    " changed INTEGER NOT NULL, changed_by TEXT NOT NULL, PRIMARY KEY(server,number)) STRICT;",
    /* 3: retention. Points that are there were all started by hand; what they cover stands in their summaries. */
    "CREATE TABLE settings(name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;"
    "ALTER TABLE points ADD COLUMN state TEXT NOT NULL DEFAULT 'current';"
    "ALTER TABLE points ADD COLUMN expired_at INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE points ADD COLUMN slot INTEGER;"
    "ALTER TABLE points ADD COLUMN manual INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE points ADD COLUMN flagged INTEGER NOT NULL DEFAULT 0;"
    "UPDATE points SET manual=hex(substr(summary,2,1))='01', flagged=hex(substr(summary,4,1))='01';"
    "ALTER TABLE servers ADD COLUMN retention_due INTEGER NOT NULL DEFAULT 0;"
    "CREATE INDEX servers_retention_due ON servers(retention_due);",
    /* 4: reclaiming. `retired` is the feed too: its rows of packs that are gone stay for a while. */
    "ALTER TABLE packs ADD COLUMN referenced INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE packs ADD COLUMN after_point INTEGER NOT NULL DEFAULT 0;"
    "UPDATE packs SET after_point=(SELECT newest_counter FROM servers WHERE servers.id=packs.server);"
    "CREATE INDEX packs_deleting ON packs(server,number) WHERE state='deleting';"
    "ALTER TABLE points ADD COLUMN object TEXT NOT NULL DEFAULT 'stored';"
    "ALTER TABLE sessions ADD COLUMN pins BLOB;"
    "ALTER TABLE servers ADD COLUMN feed_floor INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE servers ADD COLUMN deletions INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE servers ADD COLUMN reclaim_stamp INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE servers ADD COLUMN compared INTEGER NOT NULL DEFAULT 0;"
    "CREATE TABLE retired(server BLOB NOT NULL REFERENCES servers(id), number INTEGER NOT NULL, generation INTEGER NOT NULL,"
    " at INTEGER NOT NULL, segments BLOB NOT NULL, PRIMARY KEY(server,number,generation)) STRICT, WITHOUT ROWID;"
    "CREATE INDEX retired_generation ON retired(server,generation);"
    "CREATE TABLE intents(server BLOB NOT NULL REFERENCES servers(id), point BLOB NOT NULL, counter INTEGER NOT NULL, session BLOB NOT NULL,"
    " received INTEGER NOT NULL, retain_until INTEGER, slot INTEGER, PRIMARY KEY(server,point)) STRICT;"
    "CREATE TABLE strays(server BLOB NOT NULL REFERENCES servers(id), object TEXT NOT NULL, after_point INTEGER NOT NULL,"
    " PRIMARY KEY(server,object)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE frozen(one INTEGER PRIMARY KEY CHECK(one=1), at INTEGER NOT NULL, server BLOB, why TEXT NOT NULL) STRICT;"
    "CREATE TABLE epochs(epoch BLOB PRIMARY KEY) STRICT;"
    "CREATE TABLE reclaim_runs(one INTEGER PRIMARY KEY CHECK(one=1), asked INTEGER NOT NULL, answered INTEGER NOT NULL,"
    " report TEXT NOT NULL) STRICT;"
    "INSERT INTO reclaim_runs VALUES(1,0,0,'');",
    /* 5: scrub, healing, compaction */
    "CREATE TABLE damage(object TEXT NOT NULL, segment INTEGER NOT NULL, server BLOB, pack INTEGER NOT NULL,"
    " reason TEXT NOT NULL, found INTEGER NOT NULL, state TEXT NOT NULL, changed INTEGER NOT NULL,"
    " PRIMARY KEY(object,segment)) STRICT, WITHOUT ROWID;"
    "CREATE INDEX damage_server ON damage(server,pack,segment);"
    "CREATE TABLE scrub(one INTEGER PRIMARY KEY CHECK(one=1), started INTEGER NOT NULL, after TEXT NOT NULL,"
    " objects INTEGER NOT NULL, bytes INTEGER NOT NULL, finished INTEGER NOT NULL) STRICT;"
    "INSERT INTO scrub VALUES(1,0,'',0,0,0);"
    "CREATE TABLE relocations(server BLOB NOT NULL REFERENCES servers(id), number INTEGER NOT NULL, id BLOB NOT NULL,"
    " size INTEGER NOT NULL, PRIMARY KEY(server,number)) STRICT;"
    "ALTER TABLE packs ADD COLUMN generation INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE packs ADD COLUMN merged BLOB;"
    "ALTER TABLE packs ADD COLUMN base INTEGER NOT NULL DEFAULT 0;"
    "CREATE INDEX packs_merged ON packs(merged) WHERE merged IS NOT NULL;"
    "CREATE TABLE compacting(server BLOB NOT NULL, number INTEGER NOT NULL, segments BLOB NOT NULL,"
    " PRIMARY KEY(server,number)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE old_objects(object TEXT PRIMARY KEY, server BLOB NOT NULL, remove_after INTEGER NOT NULL) STRICT;",
    /* 6: when a key slot was added; credentials that are for one server (recovery kits) */
    "ALTER TABLE slots ADD COLUMN added INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE credentials ADD COLUMN server BLOB;",
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
