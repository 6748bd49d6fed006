/* Parts of the service that need no network: routes, addresses, rate limit, leases by the clock, pack checks. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "digest/digest.h"
#include "objects/fault.h"
#include "objects/memory.h"
#include "os/dir.h"
#include "service/call.h"
#include "service/issue.h"
#include "service/packcheck.h"
#include "service/rebuild.h"
#include "service/url.h"
#include "visible/pack.h"

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

/* A clock that stands until it is moved. */
typedef struct fake_clock {
    int64_t wall;
    uint64_t ms;
} fake_clock;

static cf_time fake_wall(void *context) {
    return (cf_time){((fake_clock *)context)->wall, 0};
}
static uint64_t fake_ms(void *context) {
    return ((fake_clock *)context)->ms;
}

static void test_routes(void **state) {
    (void)state;
    char argument[129];
    bool known = false;
    static const struct {
        const char *method, *path, *argument; /* argument NULL: no route */
        bool known;
    } cases[] = {
        {"GET", "/v1/version", "", true},
        {"POST", "/v1/version", NULL, true},
        {"GET", "/v1/version/", NULL, false},
        {"GET", "/v1/Version", NULL, false},
        {"GET", "/", NULL, false},
        {"GET", "", NULL, false},
        {"POST", "/v1/servers/00ff:unlock", "00ff", true},
        {"POST", "/v1/servers/:unlock", NULL, false},
        {"POST", "/v1/servers/00ff:unlock2", NULL, false},
        {"POST", "/v1/servers/00/ff:unlock", NULL, false},
        {"GET", "/v1/points", "", true},
        {"GET", "/v1/points/ab", "ab", true},
        {"GET", "/v1/points/ab/map", "ab", true},
        {"PUT", "/v1/points/ab/map", NULL, true},
        {"GET", "/v1/points/ab/map/x", NULL, false},
        {"GET", "/v1/points/..", NULL, false},
        {"POST", "/v1/packs:download", "", true},
        {"POST", "/v1/packs/7:upload", "7", true},
        {"PUT", "/v1/blobs/7", "7", true},
        {"DELETE", "/v1/points/ab", NULL, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const cf_route *route = cf_route_find(cases[i].method, cases[i].path, argument, &known);
        assert_int_equal(route != NULL, cases[i].argument != NULL);
        assert_int_equal(known, cases[i].known);
        if (route) assert_string_equal(argument, cases[i].argument);
    }
    char longest[300] = "/v1/points/";
    memset(longest + 11, 'a', 200);
    longest[211] = '\0';
    assert_null(cf_route_find("GET", longest, argument, &known));
}

/* Every route that changes something wants more than a token for reading; nothing deletes stored data. */
static void test_route_rights(void **state) {
    (void)state;
    size_t count = 0;
    const cf_route *routes = cf_routes(&count);
    for (size_t i = 0; i < count; i++) {
        const cf_route *route = &routes[i];
        assert_non_null(route->handle);
        if (strcmp(route->method, "DELETE") == 0)
            assert_true(strcmp(route->path, "/v1/self/token") == 0 || strcmp(route->path, "/v1/leases/{id}") == 0);
        if (strcmp(route->method, "PUT") == 0) assert_true(route->auth == CF_AUTH_AGENT || route->auth == CF_AUTH_URL);
        if (route->auth == CF_AUTH_NONE) assert_string_equal(route->path, "/v1/version");
    }
}

static void test_rate(void **state) {
    (void)state;
    CF_AUTO(cf_rate) rate = NULL;
    cf_id16 one = {{1}}, two = {{2}};
    OK(cf_rate_new(&rate));
    for (int i = 0; i < 10; i++) OK(cf_rate_take(rate, &one, 1000));
    cf_err *err = cf_rate_take(rate, &one, 31000);
    assert_int_equal(cf_err_code(err), CF_ERR_RATE_LIMITED);
    assert_int_equal(cf_err_retry_after(err), 30);
    cf_err_free(err);
    cf_rate_give_back(rate, &one, 2);
    OK(cf_rate_take(rate, &one, 31000));
    OK(cf_rate_take(rate, &one, 31000));
    OK(cf_rate_take(rate, &two, 31000));
    FAILS(CF_ERR_RATE_LIMITED, cf_rate_take(rate, &one, 60999));
    OK(cf_rate_take(rate, &one, 61000));
    /* More servers than there is room for: old ones make place, and without any, everybody waits. */
    for (unsigned i = 0; i < CF_RATE_SERVERS_MAX; i++) {
        cf_id16 key = {{9, (uint8_t)i, (uint8_t)(i >> 8)}};
        OK(cf_rate_take(rate, &key, 200000));
    }
    FAILS(CF_ERR_RATE_LIMITED, cf_rate_take(rate, &one, 200000));
    OK(cf_rate_take(rate, &one, 260000));
}

typedef struct query {
    const char *names[8];
    char values[8][80];
} query;

static const char *get_value(const void *context, const char *name) {
    const query *values = context;
    for (size_t i = 0; i < 8; i++)
        if (values->names[i] && strcmp(values->names[i], name) == 0) return values->values[i];
    return NULL;
}

static void parse_url(const char *url, query *out) {
    static const char *const names[] = {"op", "server", "session", "size", "xxh3", "expires", "sig"};
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < 7; i++) {
        char find[24];
        snprintf(find, sizeof find, "%c%s=", i ? '&' : '?', names[i]);
        const char *at = strstr(url, find);
        assert_non_null(at);
        at += strlen(find);
        out->names[i] = names[i];
        snprintf(out->values[i], sizeof out->values[i], "%.*s", (int)strcspn(at, "&"), at);
    }
}

static void test_urls(void **state) {
    (void)state;
    uint8_t key[32] = {5}, other[32] = {6};
    cf_blob blob = {.upload = true,
                    .server = {{1}},
                    .session = {{2}},
                    .number = 77,
                    .size = 1234,
                    .xxh3 = {3},
                    .expires = 5000},
            got;
    CF_AUTO_FREE char *url = NULL;
    query values;
    OK(cf_blob_url(key, "https://h:1", &blob, &url));
    assert_non_null(strstr(url, "https://h:1/v1/blobs/77?op=put&"));
    parse_url(url, &values);
    OK(cf_blob_check(key, true, "77", get_value, &values, 4999, &got));
    assert_true(got.number == 77 && got.size == 1234 && got.expires == 5000 &&
                cf_id16_equal(&got.server, &blob.server));
    assert_memory_equal(got.xxh3, blob.xxh3, 16);
    FAILS(CF_ERR_FORBIDDEN, cf_blob_check(key, true, "77", get_value, &values, 5000, &got)); /* over */
    FAILS(CF_ERR_FORBIDDEN, cf_blob_check(key, false, "77", get_value, &values, 1, &got));   /* not for reading */
    FAILS(CF_ERR_FORBIDDEN, cf_blob_check(key, true, "78", get_value, &values, 1, &got));
    FAILS(CF_ERR_FORBIDDEN, cf_blob_check(other, true, "77", get_value, &values, 1, &got));
    for (size_t i = 0; i < 7; i++) { /* every part counts */
        query changed = values;
        char *last = &changed.values[i][strlen(changed.values[i]) - 1];
        *last = *last == '1' ? '2' : '1';
        FAILS(CF_ERR_FORBIDDEN, cf_blob_check(key, true, "77", get_value, &changed, 1, &got));
        changed = values;
        changed.names[i] = NULL;
        FAILS(CF_ERR_FORBIDDEN, cf_blob_check(key, true, "77", get_value, &changed, 1, &got));
    }
}

/* A vault in a folder, with a clock of its own. */
typedef struct world {
    char folder[64], path[80];
    fake_clock time;
    cf_vault *vault;
} world;

static int setup_world(void **state) {
    world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    cf_vault_row row;
    snprintf(w->folder, sizeof w->folder, "/tmp/coffer-service-XXXXXX");
    assert_non_null(mkdtemp(w->folder));
    snprintf(w->path, sizeof w->path, "%s/vault", w->folder);
    w->time = (fake_clock){1800000000, 5000};
    cf_clock clock = {fake_wall, fake_ms, &w->time};
    OK(cf_vault_init(&(cf_vault_init_options){w->path, "test", "https://[::1]:8443/", "here"}, clock, &row));
    assert_string_equal(row.url, "https://[::1]:8443");
    OK(cf_vault_open(w->path, CF_VAULT_SERVE, clock, &w->vault));
    *state = w;
    return 0;
}

static int teardown_world(void **state) {
    world *w = *state;
    cf_vault_close(w->vault);
    OK(cf_dir_remove_tree(AT_FDCWD, w->folder));
    free(w);
    return 0;
}

static void test_init(void **state) {
    world *w = *state;
    cf_clock clock = {fake_wall, fake_ms, &w->time};
    cf_vault_row row;
    cf_vault *second = NULL;
    struct stat there;
    char path[128];
    FAILS(CF_ERR_EXISTS, cf_vault_init(&(cf_vault_init_options){w->path, NULL, NULL, NULL}, clock, &row));
    FAILS(CF_ERR_VAULT_IN_USE, cf_vault_open(w->path, CF_VAULT_SERVE, clock, &second));
    FAILS(CF_ERR_NOT_A_VAULT, cf_vault_open(w->folder, CF_VAULT_LIST, clock, &second));
    FAILS(CF_ERR_NOT_A_VAULT, cf_vault_open("/nonexistent", CF_VAULT_LIST, clock, &second));
    static const char *const bad[] = {"http://h", "https://",    "https://h:x",  "https://h:70000", "https://h/path",
                                      "h:1",      "https://a b", "https://[::1", "https://u@h",     "https://h,DNS:x"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(path, sizeof path, "%s/bad", w->folder);
        FAILS(CF_ERR_BAD_USAGE, cf_vault_init(&(cf_vault_init_options){path, NULL, bad[i], NULL}, clock, &row));
        assert_int_equal(stat(path, &there), -1); /* nothing was made */
    }
    assert_int_equal(stat(w->path, &there), 0);
    assert_int_equal(there.st_mode & 0777, 0700);
    snprintf(path, sizeof path, "%s/tls/ca.key", w->path);
    assert_int_equal(stat(path, &there), 0);
    assert_int_equal(there.st_mode & 0777, 0600);
}

static void test_certificate_is_renewed(void **state) {
    world *w = *state;
    bool renewed = true;
    CF_AUTO_X509 cf_x509_pair first, later;
    cf_x509_pair_init(&first);
    cf_x509_pair_init(&later);
    OK(cf_vault_certificate(w->vault, &first, &renewed));
    assert_false(renewed);
    w->time.wall += (int64_t)334 * 86400;
    cf_x509_pair_wipe(&first);
    OK(cf_vault_certificate(w->vault, &first, &renewed));
    assert_false(renewed);
    w->time.wall += (int64_t)2 * 86400; /* less than 30 days are left */
    OK(cf_vault_certificate(w->vault, &later, &renewed));
    assert_true(renewed);
    assert_false(cf_span_equal(cf_buf_span(&first.certificate), cf_buf_span(&later.certificate)));
    assert_true(cf_x509_matches(&later));
    int64_t until = 0;
    OK(cf_x509_expiry(cf_buf_span(&later.certificate), &until));
    assert_int_equal(until, w->time.wall + (int64_t)365 * 86400);
}

static void test_leases_end_by_the_clock(void **state) {
    world *w = *state;
    cf_records *records = w->vault->records;
    cf_server_row server = {.id = {{4}}, .name = "s", .next_number = 1};
    OK(cf_records_add_server(records, &server));
    cf_session_row session = {.server = server.id,
                              .id = {{5}},
                              .opened = w->time.wall,
                              .lease_until = w->time.wall + CF_SESSION_LEASE_SECONDS,
                              .state = "open"},
                   got;
    cf_lease_row lease = {server.id, {{6}}, "mount", w->time.wall + CF_READ_LEASE_SECONDS};
    cf_job_row job = {.server = server.id, .id = {{7}}, .type = "backup", .status = "running", .updated = w->time.wall},
               *jobs;
    bool found = false;
    size_t count = 0;
    OK(cf_records_add_session(records, &session));
    OK(cf_records_put_lease(records, &lease, cf_span_text("")));
    OK(cf_records_put_job(records, &job));
    w->time.wall += 119;
    OK(cf_service_tick(w->vault));
    OK(cf_records_find_open_session(records, &server.id, &found, &got));
    assert_true(found);
    w->time.wall += 2;
    OK(cf_service_tick(w->vault));
    OK(cf_records_find_open_session(records, &server.id, &found, &got));
    assert_false(found);
    OK(cf_records_list_jobs(records, &server.id, 5, &jobs, &count));
    assert_string_equal(jobs[0].status, "interrupted");
    cf_job_rows_free(jobs, count);
    OK(cf_records_has_lease(records, &server.id, &lease.id, &found));
    assert_true(found);
    w->time.wall += 200;
    OK(cf_service_tick(w->vault));
    OK(cf_records_has_lease(records, &server.id, &lease.id, &found));
    assert_false(found);
}

static void test_journal_goes_on_after_a_crash(void **state) {
    world *w = *state;
    uint64_t sequence = 0;
    bool exists = false;
    OK(cf_records_begin(w->vault->records));
    OK(cf_vault_journal(w->vault, CF_JOURNAL_SERVER_RENAMED, json_pack("{ss}", "name", "lost"), &sequence));
    FAILS(CF_ERR_IO, cf_records_finish(w->vault->records, cf_fail(CF_ERR_IO, "a crash")));
    uint64_t again = 0;
    OK(cf_records_begin(w->vault->records));
    OK(cf_vault_journal(w->vault, CF_JOURNAL_SERVER_RENAMED, json_pack("{ss}", "name", "kept"), &again));
    OK(cf_records_finish(w->vault->records, NULL));
    assert_int_equal(again, sequence + 1); /* what was written stays */
    OK(cf_objects_has(w->vault->objects, "journal/0000000000000003", &exists, NULL));
    assert_true(exists);
}

static void test_issue(void **state) {
    world *w = *state;
    CF_AUTO(cf_secret) text = NULL;
    CF_AUTO(cf_credentials) parsed = NULL;
    cf_time expires;
    OK(cf_vault_issue(w->vault, CF_PURPOSE_RESTORE, &text, &expires));
    OK(cf_credentials_parse(cf_span_of(cf_secret_bytes(text), cf_secret_size(text)), "test", &parsed));
    assert_int_equal(parsed->purpose, CF_PURPOSE_RESTORE);
    assert_int_equal(expires.seconds, w->time.wall + 10 * 86400);
    assert_string_equal(parsed->url, "https://[::1]:8443");
    cf_id32 sha256;
    bool found = false, newest = false;
    cf_credentials_row row;
    OK(cf_sha256(cf_span_of(cf_secret_bytes(parsed->secret), 32), sha256.bytes));
    OK(cf_records_find_credentials(w->vault->records, &sha256, &found, &row, &newest));
    assert_true(found && newest);
}

static void no_problem(void *context, const char *object, const cf_err *err) {
    (void)context;
    fprintf(stderr, "%s: %s\n", object, cf_err_message(err));
}

static void test_rebuild_of_a_new_vault(void **state) {
    world *w = *state;
    cf_clock clock = w->vault->clock;
    cf_vault_row before = w->vault->row;
    cf_rebuild_report report;
    FAILS(CF_ERR_VAULT_IN_USE, cf_vault_rebuild(w->path, clock, NULL, no_problem, NULL, &report));
    cf_vault_close(cf_take(w->vault));
    OK(cf_vault_rebuild(w->path, clock, NULL, no_problem, NULL, &report));
    assert_int_equal(report.problems, 0);
    OK(cf_vault_open(w->path, CF_VAULT_SERVE, clock, &w->vault));
    assert_true(cf_id16_equal(&before.id, &w->vault->row.id));
    assert_false(cf_id16_equal(&before.epoch, &w->vault->row.epoch));
    assert_int_equal(before.created, w->vault->row.created);
}

/* A pack of three segments in a memory store below a fault layer. */
static cf_objects *store_pack(size_t segments) {
    cf_objects *store = NULL;
    bool created = false;
    OK(cf_objects_memory_new(&store));
    OK(cf_objects_fault_new(store, &store));
    CF_AUTO_BUF cf_buf out;
    cf_buf_init(&out, 1 << 22);
    uint8_t header[CF_PACK_HEADER_SIZE];
    cf_pack_header_encode(&(cf_pack_header){.kind = CF_KIND_DATA, .server = {{1}}, .session = {{2}}, .number = 3},
                          header);
    cf_buf_put(&out, header, sizeof header);
    cf_extent extents[8];
    for (size_t i = 0; i < segments; i++) {
        uint8_t data[70000];
        memset(data, (int)i + 1, sizeof data);
        extents[i] = (cf_extent){(uint16_t)(i + 1 == segments ? 0xFFFF : i * 2), sizeof data, out.size, {0}};
        cf_xxh3_128(cf_span_of(data, sizeof data), extents[i].xxh3);
        cf_buf_put(&out, data, sizeof data);
    }
    cf_pack_tail_encode(header, out.size, extents, segments, &out);
    OK(cf_objects_put(store, "p", cf_buf_span(&out), &created));
    return store;
}

static void test_pack_check(void **state) {
    (void)state;
    CF_AUTO(cf_objects) store = store_pack(4);
    uint8_t xxh3[16], again[16];
    {
        CF_AUTO(cf_object_reader) reader = NULL;
        CF_AUTO_PACK_FRAME cf_pack_frame frame = {0};
        OK(cf_objects_open(store, "p", &reader));
        OK(cf_pack_frame_read(reader, &frame));
        assert_int_equal(frame.count, 4);
        OK(cf_pack_frame_verify(reader, &frame, xxh3));
        cf_pack_row row = cf_pack_frame_row(&frame, xxh3);
        assert_true(row.number == 3 && row.segments == 3 && row.gaps);
        cf_objects_fault_set(store, CF_FAULT_FLIPPED, "p", 1); /* a bad disk */
        FAILS(CF_ERR_UPLOAD_REFUSED, cf_pack_frame_verify(reader, &frame, again));
        cf_objects_fault_set(store, CF_FAULT_FAIL, "p", 1);
        FAILS(CF_ERR_IO, cf_pack_frame_verify(reader, &frame, again));
        OK(cf_pack_frame_verify(reader, &frame, again));
        assert_memory_equal(xxh3, again, 16);
    }
    static const struct { size_t size; } cut[] = {{0}, {100}, {151}, {152}, {200000}};
    for (size_t i = 0; i < sizeof cut / sizeof *cut; i++) { /* torn at any place: no pack */
        CF_AUTO(cf_object_reader) reader = NULL;
        CF_AUTO_PACK_FRAME cf_pack_frame frame = {0};
        CF_AUTO_BUF cf_buf bytes;
        bool created = false;
        char key[16];
        cf_buf_init(&bytes, 1 << 22);
        snprintf(key, sizeof key, "cut%zu", i);
        OK(cf_objects_get_all(store, "p", 1 << 22, &bytes));
        OK(cf_objects_put(store, key, cf_span_of(bytes.data, cut[i].size), &created));
        OK(cf_objects_open(store, key, &reader));
        FAILS(CF_ERR_FORMAT, cf_pack_frame_read(reader, &frame));
    }
}

static void test_statuses(void **state) {
    (void)state;
    static const struct {
        cf_code code;
        unsigned status;
    } cases[] = {{CF_ERR_DISK_FULL, 507},    {CF_ERR_DATABASE, 500},  {CF_ERR_OBJECT_MISSING, 404},
                 {CF_ERR_SESSION_LOST, 410}, {CF_ERR_TOO_LARGE, 413}, {CF_ERR_VERSION_MISMATCH, 426},
                 {CF_ERR_RATE_LIMITED, 429}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CF_AUTO(cf_err) err = cf_fail(cases[i].code, "x");
        assert_int_equal(cf_status_of(err), cases[i].status);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_routes),
        cmocka_unit_test(test_route_rights),
        cmocka_unit_test(test_rate),
        cmocka_unit_test(test_urls),
        cmocka_unit_test(test_pack_check),
        cmocka_unit_test(test_statuses),
        cmocka_unit_test_setup_teardown(test_init, setup_world, teardown_world),
        cmocka_unit_test_setup_teardown(test_certificate_is_renewed, setup_world, teardown_world),
        cmocka_unit_test_setup_teardown(test_leases_end_by_the_clock, setup_world, teardown_world),
        cmocka_unit_test_setup_teardown(test_journal_goes_on_after_a_crash, setup_world, teardown_world),
        cmocka_unit_test_setup_teardown(test_issue, setup_world, teardown_world),
        cmocka_unit_test_setup_teardown(test_rebuild_of_a_new_vault, setup_world, teardown_world),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
