/* The vault's database: schema, transactions, and the rows' round trips. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "records/records.h"

#define OK(call)                              \
    do {                                      \
        cf_err *err_ = (call);                \
        if (err_) cf_err_print(stderr, err_); \
        assert_null(err_);                    \
    } while (0)
#define FAILS(expected, call)                          \
    do {                                               \
        CF_AUTO(cf_err) err_ = (call);                 \
        assert_int_equal(cf_err_code(err_), expected); \
    } while (0)

typedef struct subject {
    char folder[64], path[96];
    cf_records *records;
    cf_id16 server;
} subject;

static cf_id16 id16(uint8_t byte) {
    cf_id16 id;
    memset(id.bytes, byte, sizeof id.bytes);
    return id;
}

static cf_id32 id32(uint8_t byte) {
    cf_id32 id;
    memset(id.bytes, byte, sizeof id.bytes);
    return id;
}

static cf_server_row a_server(uint8_t byte, const char *name) {
    cf_server_row row = {
        .id = id16(byte), .instance = id16((uint8_t)(byte + 1)), .registered = 100 + byte, .next_number = 1};
    snprintf(row.name, sizeof row.name, "%s", name);
    memset(row.auth_key, byte, sizeof row.auth_key);
    return row;
}

static int setup(void **state) {
    subject *s = calloc(1, sizeof *s);
    assert_non_null(s);
    snprintf(s->folder, sizeof s->folder, "/tmp/coffer-records-XXXXXX");
    assert_non_null(mkdtemp(s->folder));
    snprintf(s->path, sizeof s->path, "%s/v.db", s->folder);
    OK(cf_records_open(s->path, true, &s->records));
    cf_server_row row = a_server(7, "web");
    s->server = row.id;
    OK(cf_records_add_server(s->records, &row));
    *state = s;
    return 0;
}

static int teardown(void **state) {
    subject *s = *state;
    cf_records_close(s->records);
    static const char *const parts[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < 3; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s%s", s->path, parts[i]);
        unlink(path);
    }
    rmdir(s->folder);
    free(s);
    return 0;
}

static void script(const char *path, const char *sql) {
    sqlite3 *handle = NULL;
    assert_int_equal(sqlite3_open(path, &handle), SQLITE_OK);
    assert_int_equal(sqlite3_exec(handle, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(handle);
}

static void test_schema(void **state) {
    subject *s = *state;
    int version = 0;
    bool found = false;
    cf_server_row row;
    OK(cf_records_version(s->records, &version));
    assert_true(version >= 1);
    cf_records_close(s->records);
    s->records = NULL;
    OK(cf_records_open(s->path, false, &s->records)); /* again: nothing is lost */
    OK(cf_records_find_server(s->records, &s->server, &found, &row));
    assert_true(found);
    cf_records_close(s->records);
    s->records = NULL;
    script(s->path, "INSERT INTO schema_version VALUES(4711)");
    FAILS(CF_ERR_DATABASE_NEWER, cf_records_open(s->path, false, &s->records));
}

static void test_not_a_database(void **state) {
    subject *s = *state;
    char path[128];
    cf_records *records = NULL;
    FAILS(CF_ERR_DATABASE, cf_records_open("/nonexistent/v.db", false, &records));
    snprintf(path, sizeof path, "%s/text", s->folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (int i = 0; i < 1000; i++) fputs("this is no database", file);
    fclose(file);
    FAILS(CF_ERR_DATABASE, cf_records_open(path, false, &records));
    unlink(path);
}

static void test_step_that_fails_leaves_nothing(void **state) {
    subject *s = *state;
    char path[128];
    cf_records *records = NULL;
    snprintf(path, sizeof path, "%s/old", s->folder);
    script(path, "CREATE TABLE jobs(x)"); /* in the way of the first step */
    FAILS(CF_ERR_DATABASE, cf_records_open(path, false, &records));
    sqlite3 *handle = NULL;
    sqlite3_stmt *statement = NULL;
    assert_int_equal(sqlite3_open(path, &handle), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(handle, "SELECT count(*) FROM sqlite_master WHERE name IN ('vault','servers')",
                                        -1, &statement, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    assert_int_equal(sqlite3_column_int(statement, 0), 0);
    sqlite3_finalize(statement);
    sqlite3_close(handle);
    unlink(path);
}

static void test_transactions(void **state) {
    subject *s = *state;
    cf_server_row row = a_server(9, "undone"), got;
    bool found = true;
    OK(cf_records_begin(s->records));
    OK(cf_records_add_server(s->records, &row));
    FAILS(CF_ERR_IO, cf_records_finish(s->records, cf_fail(CF_ERR_IO, "something else")));
    OK(cf_records_find_server(s->records, &row.id, &found, &got));
    assert_false(found);
    OK(cf_records_begin(s->records));
    OK(cf_records_add_server(s->records, &row));
    OK(cf_records_finish(s->records, NULL));
    OK(cf_records_find_server(s->records, &row.id, &found, &got));
    assert_true(found);
    assert_string_equal(got.name, "undone");
    FAILS(CF_ERR_DATABASE, cf_records_add_server(s->records, &row)); /* the same ID twice */
    cf_token_row orphan = {.sha256 = id32(1), .server = id16(200)};
    FAILS(CF_ERR_DATABASE, cf_records_add_token(s->records, &orphan)); /* of no server */
}

static void test_vault_row(void **state) {
    subject *s = *state;
    cf_vault_row row = {.id = id16(1),
                        .epoch = id16(2),
                        .name = "n\xc3\xa4me",
                        .region = "",
                        .url = "https://h",
                        .created = -5},
                 got;
    FAILS(CF_ERR_DATABASE, cf_records_get_vault(s->records, &got));
    memset(row.url_key, 3, 32);
    OK(cf_records_set_vault(s->records, &row));
    OK(cf_records_get_vault(s->records, &got));
    assert_memory_equal(&got.id, &row.id, 16);
    assert_memory_equal(&got.epoch, &row.epoch, 16);
    assert_memory_equal(got.url_key, row.url_key, 32);
    assert_string_equal(got.name, row.name);
    assert_int_equal(got.created, -5);
    uint64_t next = 0;
    OK(cf_records_get_journal_next(s->records, &next));
    assert_int_equal(next, 1);
    OK(cf_records_set_journal_next(s->records, 77));
    OK(cf_records_get_journal_next(s->records, &next));
    assert_int_equal(next, 77);
}

static void test_servers(void **state) {
    subject *s = *state;
    cf_server_row twin = a_server(3, "web"), got, *rows = NULL;
    bool found = false;
    size_t count = 0;
    twin.registered = 1000;
    OK(cf_records_add_server(s->records, &twin));
    OK(cf_records_find_server_named(s->records, "web", &found, &got));
    assert_true(found && cf_id16_equal(&got.id, &s->server)); /* the older one */
    OK(cf_records_find_server_named(s->records, "we", &found, &got));
    assert_false(found);
    OK(cf_records_set_next_number(s->records, &s->server, 500));
    OK(cf_records_set_next_number(s->records, &s->server, 400)); /* never back */
    OK(cf_records_rename_server(s->records, &s->server, "api"));
    OK(cf_records_list_servers(s->records, &rows, &count));
    assert_int_equal(count, 2);
    assert_string_equal(rows[0].name, "api");
    assert_int_equal(rows[0].next_number, 500);
    assert_false(rows[0].has_newest);
    free(rows);
}

static void test_credentials(void **state) {
    subject *s = *state;
    bool found = true, newest = true;
    cf_credentials_row got, first = {id32(1), "register", 10, 20, 5}, second = {id32(2), "register", 10, 20, 6},
                            other = {id32(3), "restore", 10, 20, 4};
    OK(cf_records_add_credentials(s->records, &first));
    OK(cf_records_add_credentials(s->records, &other));
    OK(cf_records_find_credentials(s->records, &first.secret_sha256, &found, &got, &newest));
    assert_true(found && newest);
    OK(cf_records_add_credentials(s->records, &second));
    OK(cf_records_find_credentials(s->records, &first.secret_sha256, &found, &got, &newest));
    assert_true(found && !newest);
    OK(cf_records_find_credentials(s->records, &second.secret_sha256, &found, &got, &newest));
    assert_true(newest);
    OK(cf_records_find_credentials(s->records, &other.secret_sha256, &found, &got, &newest));
    assert_true(newest);
    assert_string_equal(got.purpose, "restore");
    cf_id32 nobody = id32(99);
    OK(cf_records_find_credentials(s->records, &nobody, &found, &got, &newest));
    assert_false(found);
}

static void test_sessions(void **state) {
    subject *s = *state;
    bool found = false;
    int expired = 0;
    cf_session_row row = {.server = s->server, .id = id16(20), .opened = 1000, .lease_until = 1120, .state = "open"},
                   got;
    OK(cf_records_add_session(s->records, &row));
    cf_session_row second = row;
    second.id = id16(21);
    FAILS(CF_ERR_DATABASE, cf_records_add_session(s->records, &second)); /* one open session for each server */
    OK(cf_records_find_open_session(s->records, &s->server, &found, &got));
    assert_true(found);
    OK(cf_records_expire_sessions(s->records, 1120, 0, &expired));
    assert_int_equal(expired, 0);
    OK(cf_records_renew_session(s->records, &s->server, &row.id, 1200));
    OK(cf_records_expire_sessions(s->records, 1199, 0, &expired));
    assert_int_equal(expired, 0);
    OK(cf_records_expire_sessions(s->records, 1201, 0, &expired));
    assert_int_equal(expired, 1);
    OK(cf_records_renew_session(s->records, &s->server, &row.id, 5000)); /* too late */
    OK(cf_records_find_session(s->records, &s->server, &row.id, &found, &got));
    assert_string_equal(got.state, "expired");
    assert_int_equal(got.lease_until, 1200);
    OK(cf_records_add_session(s->records, &second));
    OK(cf_records_expire_sessions(s->records, 1100, 1201, &expired)); /* forgets the old one only */
    OK(cf_records_find_session(s->records, &s->server, &row.id, &found, &got));
    assert_false(found);
    OK(cf_records_find_session(s->records, &s->server, &second.id, &found, &got));
    assert_true(found);
}

static void test_blocks(void **state) {
    subject *s = *state;
    bool found = false;
    cf_block_row row = {s->server, id16(20), 1, 1024, 0}, next = {s->server, id16(20), 2049, 1024, 1024}, got;
    OK(cf_records_add_block(s->records, &row));
    OK(cf_records_add_block(s->records, &next));
    FAILS(CF_ERR_DATABASE, cf_records_add_block(s->records, &row));
    cf_id16 session = id16(20), other = id16(21);
    static const struct {
        uint64_t number;
        bool inside;
    } cases[] = {{0, false},    {1, true},    {1024, true}, {1025, false},
                 {2048, false}, {2049, true}, {3072, true}, {3073, false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        OK(cf_records_find_block_of(s->records, &s->server, &session, cases[i].number, &found, &got));
        assert_int_equal(found, cases[i].inside);
    }
    OK(cf_records_find_block_of(s->records, &s->server, &other, 5, &found, &got));
    assert_false(found);
    OK(cf_records_find_block_after(s->records, &s->server, &session, 1024, &found, &got));
    assert_true(found && got.first == 2049);
}

static void test_packs_and_points(void **state) {
    subject *s = *state;
    bool found = false;
    cf_pack_row row = {.server = s->server,
                       .session = id16(20),
                       .number = 5,
                       .size = 1000,
                       .kind = CF_KIND_TREE,
                       .segments = 3},
                got;
    memset(row.xxh3, 9, 16);
    OK(cf_records_add_pack(s->records, &row, cf_span_text("header"), cf_span_text("tail")));
    OK(cf_records_find_pack(s->records, &s->server, 5, &found, &got));
    assert_true(found && got.kind == CF_KIND_TREE && got.segments == 3 && !got.gaps && got.size == 1000);
    CF_AUTO_BUF cf_buf tail;
    cf_buf_init(&tail, 100);
    OK(cf_records_get_tail(s->records, &s->server, 5, NULL, &tail));
    assert_true(cf_span_equal(cf_buf_span(&tail), cf_span_text("tail")));
    FAILS(CF_ERR_DATABASE, cf_records_get_tail(s->records, &s->server, 6, NULL, &tail));
    uint64_t packs = 0, bytes = 0;
    OK(cf_records_pack_totals(s->records, &s->server, &packs, &bytes));
    assert_true(packs == 1 && bytes == 1000);

    cf_point_row point = {.id = id32(1),
                          .previous = id32(0),
                          .server = s->server,
                          .session = id16(20),
                          .counter = 1,
                          .size = 10,
                          .received = 77,
                          .summary = {1, 2, 3},
                          .summary_size = 3},
                 *points = NULL;
    cf_server_row server;
    size_t count = 0;
    OK(cf_records_add_point(s->records, &point));
    cf_point_row second = point;
    second.id = id32(2);
    FAILS(CF_ERR_DATABASE, cf_records_add_point(s->records, &second)); /* the counter is taken */
    second.counter = 2;
    second.delta = true;
    second.base = id32(1);
    second.chain = 1;
    second.has_retain_until = true;
    second.retain_until = 12345;
    OK(cf_records_add_point(s->records, &second));
    OK(cf_records_list_points(s->records, &s->server, &points, &count));
    assert_int_equal(count, 2);
    assert_true(!points[0].delta && !points[0].has_retain_until && points[0].summary_size == 3);
    assert_true(points[1].delta && points[1].chain == 1 && points[1].retain_until == 12345);
    free(points);
    OK(cf_records_find_server(s->records, &s->server, &found, &server));
    assert_true(server.has_newest && server.newest_counter == 2 && server.last_point == 77);
    cf_id16 stranger = id16(100);
    OK(cf_records_find_point(s->records, &stranger, &point.id, &found, &point));
    assert_false(found);
}

static void test_jobs(void **state) {
    subject *s = *state;
    int interrupted = 0;
    size_t count = 0;
    cf_job_row row = {.server = s->server,
                      .id = id16(30),
                      .type = "backup",
                      .status = "running",
                      .started = 10,
                      .updated = 100},
               *rows = NULL;
    OK(cf_records_put_job(s->records, &row));
    row.bytes = 5;
    row.error = (char *)"{}";
    OK(cf_records_put_job(s->records, &row)); /* the same job */
    OK(cf_records_interrupt_jobs(s->records, 100, &interrupted));
    assert_int_equal(interrupted, 0);
    OK(cf_records_interrupt_jobs(s->records, 101, &interrupted));
    assert_int_equal(interrupted, 1);
    OK(cf_records_list_jobs(s->records, NULL, 10, &rows, &count));
    assert_int_equal(count, 1);
    assert_string_equal(rows[0].status, "interrupted");
    assert_string_equal(rows[0].error, "{}");
    assert_int_equal(rows[0].finished, 100);
    assert_int_equal(rows[0].bytes, 5);
    cf_job_rows_free(rows, count);
    cf_id16 stranger = id16(100);
    OK(cf_records_list_jobs(s->records, &stranger, 10, &rows, &count));
    assert_int_equal(count, 0);
    cf_job_rows_free(rows, count);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_schema, setup, teardown),
        cmocka_unit_test_setup_teardown(test_not_a_database, setup, teardown),
        cmocka_unit_test_setup_teardown(test_step_that_fails_leaves_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_transactions, setup, teardown),
        cmocka_unit_test_setup_teardown(test_vault_row, setup, teardown),
        cmocka_unit_test_setup_teardown(test_servers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_credentials, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sessions, setup, teardown),
        cmocka_unit_test_setup_teardown(test_blocks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_packs_and_points, setup, teardown),
        cmocka_unit_test_setup_teardown(test_jobs, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
