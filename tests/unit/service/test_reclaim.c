/* Reclaiming inside one process: what a store that fails does to it at each operation, and a database of before. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"
#include "digest/digest.h"
#include "objects/fault.h"
#include "os/dir.h"
#include "service/reclaim.h"
#include "service/settings.h"
#include "visible/names.h"
#include "visible/point.h"

#define OK(call)                              \
    do {                                      \
        cf_err *err_ = (call);                \
        if (err_) cf_err_print(stderr, err_); \
        assert_null(err_);                    \
    } while (0)

enum { DAY = 86400, SEGMENTS = 5 };

typedef struct world {
    char folder[64], path[80];
    int64_t wall;
    cf_vault *vault;
    cf_id16 server, session;
    cf_id32 newest;
    uint64_t counter;
} world;

static cf_time fake_wall(void *context) {
    return (cf_time){((world *)context)->wall, 0};
}
static uint64_t fake_ms(void *context) {
    (void)context;
    return 1000;
}

static int setup(void **state) {
    world *w = calloc(1, sizeof *w);
    cf_vault_row row;
    assert_non_null(w);
    snprintf(w->folder, sizeof w->folder, "/tmp/coffer-reclaim-XXXXXX");
    assert_non_null(mkdtemp(w->folder));
    snprintf(w->path, sizeof w->path, "%s/vault", w->folder);
    w->wall = 1800000000;
    w->server = (cf_id16){{3}};
    w->session = (cf_id16){{4}};
    cf_clock clock = {fake_wall, fake_ms, w};
    OK(cf_vault_init(&(cf_vault_init_options){w->path, "test", "https://localhost:1", NULL}, clock, &row));
    OK(cf_vault_open(w->path, CF_VAULT_SERVE, clock, &w->vault));
    OK(cf_objects_fault_new(w->vault->objects, &w->vault->objects));
    OK(cf_records_add_server(w->vault->records, &(cf_server_row){.id = w->server, .name = "s", .next_number = 100}));
    OK(cf_setting_change(w->vault, "compact_percent", "0"));
    *state = w;
    return 0;
}

static int teardown(void **state) {
    world *w = *state;
    cf_vault_close(w->vault);
    OK(cf_dir_remove_tree(AT_FDCWD, w->folder));
    free(w);
    return 0;
}

static void add_pack(world *w, uint64_t number) {
    static const uint8_t header[112], tail[40];
    char key[CF_NAME_MAX];
    bool created = false;
    cf_pack_row row = {
        .server = w->server, .session = w->session, .number = number, .size = 1000, .segments = SEGMENTS};
    cf_name_pack(&w->server, number, &w->session, 0, key);
    OK(cf_objects_put(w->vault->objects, key, cf_span_text("a pack"), &created));
    OK(cf_records_add_pack(w->vault->records, &row, cf_span_of(header, 112), cf_span_of(tail, 40)));
}

/* A point that needs all of these packs. */
static cf_id32 add_point(world *w, const uint64_t *packs, size_t count) {
    CF_AUTO_BUF cf_buf encoded, object, summary, list;
    CF_AUTO(cf_map) map = NULL;
    uint8_t junk[200] = {0};
    char key[CF_NAME_MAX];
    bool created = false;
    cf_buf_init(&encoded, CF_POINT_MAP_MAX);
    cf_buf_init(&object, CF_POINT_MAX);
    cf_buf_init(&summary, 4096);
    cf_buf_init(&list, 4096);
    OK(cf_map_new(&map));
    for (size_t i = 0; i < count; i++)
        for (uint16_t s = 0; s < SEGMENTS; s++) OK(cf_map_add(map, packs[i], s));
    OK(cf_map_encode(map, &(cf_map_header){.exact = true}, NULL, NULL, NULL, &encoded));
    cf_summary_encode(&(cf_summary){.files = 1}, &summary);
    cf_pack_list_encode(NULL, 0, &list);
    cf_point_frame frame = {.server = w->server,
                            .session = w->session,
                            .counter = ++w->counter,
                            .previous = w->newest,
                            .key_record = cf_span_of(junk, 132),
                            .summary = cf_buf_span(&summary),
                            .pack_list = cf_buf_span(&list),
                            .map = cf_buf_span(&encoded),
                            .root = cf_span_of(junk, 200)};
    OK(cf_point_encode(&frame, &object));
    cf_point_row row = {.server = w->server,
                        .session = w->session,
                        .counter = w->counter,
                        .previous = w->newest,
                        .size = object.size,
                        .received = w->wall,
                        .summary_size = summary.size};
    memcpy(row.summary, summary.data, summary.size);
    OK(cf_sha256(cf_buf_span(&object), row.id.bytes));
    cf_name_point(&w->server, w->counter, &row.id, key);
    OK(cf_objects_put(w->vault->objects, key, cf_buf_span(&object), &created));
    OK(cf_records_add_point(w->vault->records, &row));
    w->newest = row.id;
    return row.id;
}

static cf_err *pass(world *w, cf_reclaim_report *report) {
    cf_reclaimer reclaimer = {w->vault, NULL, NULL};
    *report = (cf_reclaim_report){0};
    return cf_reclaim_server(&reclaimer, &w->server, true, report);
}

static size_t count_objects(world *w, const char *kind) {
    char prefix[CF_NAME_MAX], id[CF_HEX_SIZE(16)];
    cf_object_page page = {0};
    cf_hex_encode(w->server.bytes, 16, id);
    snprintf(prefix, sizeof prefix, "servers/%s/%s/", id, kind);
    OK(cf_objects_list(w->vault->objects, prefix, NULL, 1000, &page));
    size_t count = page.count;
    cf_object_page_wipe(&page);
    return count;
}

/* Six packs, three of which only an expired point needed. */
static void make_history(world *w) {
    static const uint64_t old[] = {1, 2, 3, 4}, kept[] = {4, 5, 6};
    for (uint64_t n = 1; n <= 6; n++) add_pack(w, n);
    cf_id32 first = add_point(w, old, 4);
    (void)add_point(w, kept, 3);
    cf_reclaim_report report;
    OK(pass(w, &report));
    assert_int_equal(report.retired_segments, 0);
    OK(cf_records_expire_point(w->vault->records, &first, w->wall, NULL));
}

/* The n-th operation of the store fails, for every n: the pass ends or goes on, and the one after it completes the work;
 * what is needed is there after each. */
static void test_the_store_fails_while_reclaiming(void **state) {
    world *w = *state;
    cf_reclaim_report report;
    make_history(w);
    OK(pass(w, &report));
    assert_int_equal(report.retired_segments, 3 * SEGMENTS);
    w->wall += 8 * DAY;
    unsigned failed = 0;
    for (unsigned n = 0;; n++) {
        static const char *const where[] = {"servers/", "journal/"};
        cf_objects_fault_set(w->vault->objects, CF_FAULT_FAIL, where[n % 2], 1 + n / 8);
        CF_AUTO(cf_err) err = pass(w, &report);
        cf_objects_fault_set(w->vault->objects, CF_FAULT_NONE, "", 0);
        failed += err != NULL;
        bool found = false;
        cf_pack_row row;
        char key[CF_NAME_MAX];
        for (uint64_t number = 1; number <= 6; number++) {
            bool there = false;
            cf_name_pack(&w->server, number, &w->session, 0, key);
            OK(cf_objects_has(w->vault->objects, key, &there, NULL));
            OK(cf_records_find_pack(w->vault->records, &w->server, number, &found, &row));
            if (number >= 4) assert_true(there && found);
            if (found) assert_true(there); /* never a row that promises what is gone */
        }
        if (n > 60) break;
    }
    assert_true(failed > 10);
    OK(pass(w, &report));
    assert_int_equal(count_objects(w, "packs"), 3);
    assert_int_equal(count_objects(w, "points"), 1);
}

static cf_err *nothing(void *context, const cf_reclaim_mark *mark) {
    (void)mark;
    ++*(int *)context;
    return NULL;
}

/* What is committed after the mark was made is folded in before anything changes. */
static void test_the_mark_is_brought_up_to_date(void **state) {
    world *w = *state;
    static const uint64_t late[] = {3};
    cf_reclaimer reclaimer = {w->vault, NULL, NULL};
    CF_AUTO(cf_reclaim_mark) mark = NULL;
    int called = 0;
    cf_segset live;
    make_history(w);
    OK(cf_reclaim_mark_new(&reclaimer, &w->server, &mark));
    assert_false(cf_map_has_pack(cf_reclaim_mark_map(mark), 3));
    cf_id32 point = add_point(w, late, 1);
    assert_false(cf_reclaim_mark_needs(mark, &point));
    OK(cf_reclaim_change(mark, nothing, &called));
    assert_int_equal(called, 1);
    cf_reclaim_mark_live(mark, 3, &live);
    assert_int_equal(cf_segset_count(&live), SEGMENTS);
    assert_true(cf_reclaim_mark_needs(mark, &point));
}

/* A point that cannot be read: nothing of the server is touched. */
static void test_an_unreadable_point(void **state) {
    world *w = *state;
    cf_reclaim_report report;
    make_history(w);
    cf_objects_fault_set(w->vault->objects, CF_FAULT_FLIPPED, "servers/", 1);
    CF_AUTO(cf_err) err = pass(w, &report);
    assert_int_equal(cf_err_code(err), CF_ERR_POINT_DAMAGED);
    cf_pack_row *rows = NULL;
    size_t count = 0;
    CF_AUTO_RETIRED cf_retired_list list;
    cf_retired_list_init(&list);
    OK(cf_records_list_packs(w->vault->records, &w->server, 0, 100, &rows, &count));
    assert_int_equal(count, 6);
    free(rows);
    OK(cf_records_list_retired(w->vault->records, &w->server, 0, 100, &list));
    assert_int_equal(list.count, 0);
}

/* What stands in the store and nobody knows stops everything. */
static void test_ahead_of_the_database(void **state) {
    static const struct {
        const char *key, *why;
    } cases[] = {
        {"servers/03000000000000000000000000000000/packs/0000000000000064-04000000000000000000000000000000", "number"},
        {"servers/03000000000000000000000000000000/points/0000000000000009-"
         "1111111111111111111111111111111111111111111111111111111111111111",
         "recovery point"},
        {"servers/77000000000000000000000000000000/slots/00000001", "a server"},
    };
    world *w = *state;
    cf_reclaimer reclaimer = {w->vault, NULL, NULL};
    bool may = false;
    OK(cf_reclaim_may_delete(&reclaimer, &may, NULL));
    assert_true(may);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bool created = false;
        CF_AUTO_FREE char *why = NULL;
        OK(cf_objects_put(w->vault->objects, cases[i].key, cf_span_text("x"), &created));
        atomic_store(&w->vault->looked, false);
        OK(cf_reclaim_may_delete(&reclaimer, &may, &why));
        assert_false(may);
        assert_non_null(strstr(why, cases[i].why));
        OK(cf_objects_remove(w->vault->objects, cases[i].key, NULL));
        OK(cf_records_set_frozen(w->vault->records, NULL));
    }
    OK(cf_reclaim_may_delete(&reclaimer, &may, NULL));
    assert_true(may);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_the_store_fails_while_reclaiming, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_mark_is_brought_up_to_date, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_unreadable_point, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ahead_of_the_database, setup, teardown),
    };
    return cmocka_run_group_tests_name("reclaim", tests, NULL, NULL);
}
