/* Retention at the vault: settings, what a run lets go and what stops it, the clock, rebuilding. */
#include "retention_world.h"

#include <fcntl.h>

#include "records/reclaim.h"
#include "service/call.h"
#include "service/rebuild.h"

#define DAILY                                                                                                            \
    "{\"sources\":[{\"path\":\"/data\"}],\"schedule\":{\"kind\":\"daily\",\"times\":[\"08:00\"]},\"time_zone\":\"UTC\"," \
    "\"retention\":{\"days\":10}}"
#define PAUSED                                                                                                           \
    "{\"sources\":[{\"path\":\"/data\"}],\"schedule\":{\"kind\":\"daily\",\"times\":[\"08:00\"]},\"time_zone\":\"UTC\"," \
    "\"retention\":{\"days\":10},\"protection\":\"paused\"}"

static int setup(void **state) {
    world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    world_open(w);
    w->clock.context = w;
    w->vault->clock.context = w;
    world_add_server(w, &w->server);
    *state = w;
    return 0;
}

static int teardown(void **state) {
    world_close(*state);
    free(*state);
    return 0;
}

static void add_point(world *w) {
    cf_point_row row = world_point(&w->server, ++w->counter, w->wall);
    OK(cf_records_add_point(w->vault->records, &row));
}

static size_t count_points(world *w) {
    uint64_t count = 0;
    OK(cf_records_count_points(w->vault->records, &w->server, &count));
    return count;
}

static bool is_there(world *w, uint64_t counter) {
    cf_id32 id = world_point_id(&w->server, counter);
    cf_point_row row;
    bool found = false;
    OK(cf_records_find_point(w->vault->records, &w->server, &id, &found, &row));
    assert_true(found); /* the row stays */
    return !row.expired;
}

/* A point each day, and a run. */
static void live(world *w, unsigned days) {
    for (unsigned i = 0; i < days; i++) {
        world_pass(w, DAY);
        add_point(w);
        OK(cf_service_tick(w->vault));
    }
}

static void test_settings(void **state) {
    world *w = *state;
    uint64_t value = 0;
    bool set = true;
    cf_retention_floor floor;
    OK(cf_setting_get(w->vault, "minimum_days", &value, &set));
    assert_true(value == 7 && !set);
    OK(cf_setting_change(w->vault, "minimum_days", "14"));
    OK(cf_setting_get(w->vault, "minimum_days", &value, &set));
    assert_true(value == 14 && set);
    OK(cf_settings_floor(w->vault, &floor));
    assert_true(floor.days == 14 && floor.weeks == 4 && floor.months == 3 && floor.years == 1);
    static const char *const bad[] = {"0", "-1", "", "x", "7 ", " 7", "10000", "99999999999999999999", "0x10", "7.5"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        FAILS(CF_ERR_BAD_USAGE, cf_setting_change(w->vault, "minimum_days", bad[i]));
    FAILS(CF_ERR_BAD_USAGE, cf_setting_change(w->vault, "minimum_day", "9"));
    FAILS(CF_ERR_BAD_USAGE, cf_setting_change(w->vault, "state.clock_seen", "9"));
    FAILS(CF_ERR_BAD_USAGE, cf_setting_get(w->vault, "nothing", &value, NULL));
    OK(cf_setting_change(w->vault, "minimum_days", NULL));
    OK(cf_setting_get(w->vault, "minimum_days", &value, &set));
    assert_true(value == 7 && !set);
    /* One that another version wrote is not trusted. */
    OK(cf_records_set_setting(w->vault->records, "minimum_days", "0"));
    OK(cf_setting_get(w->vault, "minimum_days", &value, &set));
    assert_true(value == 7 && !set);
    size_t count = 0;
    const cf_setting_info *info = cf_settings(&count);
    for (size_t i = 0; i < count; i++)
        assert_true(info[i].min <= info[i].otherwise && info[i].otherwise <= info[i].max);
}

static void test_points_go_by_their_dates(void **state) {
    world *w = *state;
    world_set_policy(w, &w->server, 1, DAILY);
    live(w, 40);
    assert_int_equal(count_points(w), 10);
    assert_false(is_there(w, 30));
    assert_true(is_there(w, 31));
    /* A longer rule takes effect for those that are there, a shorter one too, a fifth of them a day. */
    world_set_policy(w, &w->server, 2,
                     "{\"sources\":[{\"path\":\"/data\"}],\"schedule\":{\"kind\":\"daily\",\"times\":"
                     "[\"08:00\"]},\"time_zone\":\"UTC\",\"retention\":{\"days\":30}}");
    live(w, 20);
    assert_int_equal(count_points(w), 30);
    world_set_policy(w, &w->server, 3, DAILY);
    OK(cf_service_tick(w->vault));
    assert_int_equal(count_points(w), 24); /* a fifth of them in a day */
    world_pass(w, 3600);
    OK(cf_service_tick(w->vault));
    assert_int_equal(count_points(w), 24);
    uint64_t expired = 0;
    OK(cf_retention_confirm(w->vault, &expired));
    assert_int_equal(expired, 14);
    assert_int_equal(count_points(w), 10);
}

static void test_paused(void **state) {
    world *w = *state;
    world_set_policy(w, &w->server, 1, DAILY);
    live(w, 10);
    world_set_policy(w, &w->server, 2, PAUSED);
    live(w, 60);
    assert_int_equal(count_points(w), 70);
    world_set_policy(w, &w->server, 3, DAILY);
    OK(cf_service_tick(w->vault));
    assert_int_equal(count_points(w), 70 - 70 / 5);
}

static void test_a_server_that_is_away(void **state) {
    world *w = *state;
    world_set_policy(w, &w->server, 1, DAILY);
    live(w, 15);
    for (int i = 0; i < 60; i++) {
        world_pass(w, DAY);
        OK(cf_service_tick(w->vault));
    }
    /* The newest is the longest-dated as well. Without new points at most a fifth go in a day: of four, none. */
    assert_int_equal(count_points(w), 4);
    assert_true(is_there(w, 15));
    live(w, 8); /* wakes up: three fresh ones, and then the minimum of seven days */
    assert_true(is_there(w, 15));
    live(w, 1);
    assert_true(is_there(w, 15));
    live(w, 1);
    assert_false(is_there(w, 15));
    assert_int_equal(count_points(w), 10);
}

static void test_what_is_used_stays(void **state) {
    world *w = *state;
    world_set_policy(w, &w->server, 1, DAILY);
    live(w, 10);
    cf_id32 leased = world_point_id(&w->server, 1), pinned = world_point_id(&w->server, 2);
    cf_lease_row lease = {.server = w->server, .id = {{1}}, .kind = "mount", .expires = w->wall + 5 * DAY};
    OK(cf_records_put_lease(w->vault->records, &lease, cf_span_of(leased.bytes, 32)));
    cf_session_row session = {.server = w->server, .id = {{2}}, .lease_until = w->wall + 4 * DAY, .state = "open"};
    OK(cf_records_add_session(w->vault->records, &session));
    OK(cf_records_pin_session(w->vault->records, &w->server, &session.id, cf_span_of(pinned.bytes, 32)));
    live(w, 3);
    assert_true(is_there(w, 1) && is_there(w, 2));
    assert_false(is_there(w, 3));
    live(w, 3); /* the session's lease is over */
    assert_false(is_there(w, 2));
    live(w, 1);
    assert_false(is_there(w, 1));
}

static void expect_stop(world *w, const char *reason) {
    cf_expiry_stop stop;
    OK(cf_expiry_stopped(w->vault, &stop));
    assert_string_equal(stop.reason, reason);
}

static void test_the_clock(void **state) {
    world *w = *state;
    world_set_policy(w, &w->server, 1, DAILY);
    live(w, 20);
    assert_int_equal(count_points(w), 10);
    /* While it runs: small steps are nothing, a jump stops everything. */
    w->wall += 50;
    OK(cf_service_tick(w->vault));
    expect_stop(w, "");
    w->wall -= 100;
    OK(cf_service_tick(w->vault));
    expect_stop(w, "");
    w->wall += 50;
    w->wall += (int64_t)2 * DAY;
    OK(cf_service_tick(w->vault));
    expect_stop(w, "clock");
    assert_int_equal(count_points(w), 10);
    w->wall -= (int64_t)2 * DAY; /* right again, but only a person knows that */
    OK(cf_service_tick(w->vault));
    expect_stop(w, "clock");
    live(w, 5);
    assert_int_equal(count_points(w), 15);
    uint64_t expired = 0;
    OK(cf_retention_confirm(w->vault, &expired));
    assert_int_equal(expired, 5);
    live(w, 2);
    expect_stop(w, "");
    assert_int_equal(count_points(w), 10);
    w->wall -= 7200;
    OK(cf_service_tick(w->vault));
    expect_stop(w, "clock");
    OK(cf_retention_confirm(w->vault, &expired));
    OK(cf_service_tick(w->vault));
    expect_stop(w, "");
}

static void test_the_clock_across_restarts(void **state) {
    world *w = *state;
    uint64_t expired = 0;
    static const struct {
        int64_t away;
        const char *reason;
    } cases[] = {{-50, ""},
                 {3600, ""},
                 {(int64_t)30 * DAY - 10, ""},
                 {(int64_t)30 * DAY + 10, "clock"},
                 {-3600, "clock"},
                 {(int64_t)400 * DAY, "clock"}};
    world_set_policy(w, &w->server, 1, DAILY);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        live(w, 2);
        w->wall += cases[i].away;
        w->ms = 77; /* another boot */
        world_reopen(w);
        OK(cf_service_tick(w->vault));
        expect_stop(w, cases[i].reason);
        world_reopen(w);
        OK(cf_service_tick(w->vault));
        expect_stop(w, cases[i].reason);
        OK(cf_retention_confirm(w->vault, &expired));
        OK(cf_service_tick(w->vault));
        expect_stop(w, "");
    }
}

static void ignore_problem(void *context, const char *object, const cf_err *err) {
    (void)context;
    (void)object;
    (void)err;
}

static void rebuild(world *w) {
    cf_rebuild_report report;
    cf_vault_close(w->vault);
    w->vault = NULL;
    OK(cf_vault_rebuild(w->path, w->clock, NULL, ignore_problem, NULL, &report));
    assert_int_equal(report.problems, 0);
    world_reopen(w);
}

/* The points of these tests have no objects, so after a rebuild only those are known that the journal tells of. */
static void test_rebuild(void **state) {
    world *w = *state;
    char id[33], key[65] = "";
    cf_hex_encode(w->server.bytes, 16, id);
    while (strlen(key) < 64) strcat(key, "0");
    OK(cf_records_begin(w->vault->records));
    OK(cf_records_finish(w->vault->records,
                         cf_vault_journal(w->vault, CF_JOURNAL_SERVER_REGISTERED,
                                          json_pack("{ssssss}", "server_id", id, "name", "s", "auth_key", key), NULL)));
    OK(cf_setting_change(w->vault, "minimum_days", "9"));
    OK(cf_setting_change(w->vault, "scrub_days", "5"));
    OK(cf_setting_change(w->vault, "scrub_days", NULL));
    world_set_policy(w, &w->server, 1, DAILY);
    live(w, 25);
    cf_history_row *before = NULL, *after = NULL;
    size_t count = 0, later = 0;
    OK(cf_records_list_history(w->vault->records, &w->server, &before, &count));
    rebuild(w);
    uint64_t value = 0;
    bool set = false;
    OK(cf_setting_get(w->vault, "minimum_days", &value, &set));
    assert_true(value == 9 && set);
    OK(cf_setting_get(w->vault, "scrub_days", &value, &set));
    assert_true(value == 30 && !set);
    OK(cf_records_list_history(w->vault->records, &w->server, &after, &later));
    assert_int_equal(later, 15);
    for (size_t i = 0; i < later; i++) {
        assert_true(after[i].expired && cf_id32_equal(&after[i].id, &before[i].id));
        assert_true(after[i].received == before[i].received && after[i].expired_at == before[i].expired_at);
        assert_true(after[i].scheduled && after[i].slot == before[i].slot && !after[i].manual && !after[i].flagged);
    }
    free(before);
    free(after);
    expect_stop(w, "rebuild");
    w->counter = 100;
    world_set_policy(w, &w->server, 2, DAILY);
    live(w, 20);
    assert_int_equal(count_points(w), 20);
    uint64_t expired = 0;
    OK(cf_retention_confirm(w->vault, &expired));
    assert_int_equal(expired, 10);
}

static void test_what_cannot_be_understood(void **state) {
    world *w = *state;
    static const char *const policies[] = {
        ("{\"sources\":[{\"path\":\"/data\"}],\"schedule\":{\"kind\":\"daily\",\"times\":[\"08:00\"]},\"time_zone\":"
         "\"Mars/Olympus\",\"retention\":{\"days\":10}}"),
        "{\"sources\":[],\"keep\":\"a newer version's\"}", "no JSON"};
    for (size_t i = 0; i < 3; i++) {
        world_set_policy(w, &w->server, i + 1, policies[i]);
        live(w, 20);
        cf_retention_waiting *rows = NULL;
        size_t count = 0;
        OK(cf_retention_show(w->vault, &rows, &count));
        assert_int_equal(count, 1);
        assert_true(rows[0].problem[0] != '\0');
        free(rows);
    }
    assert_int_equal(count_points(w), 60);
}

static void test_show(void **state) {
    world *w = *state;
    world_set_policy(w, &w->server, 1, DAILY);
    live(w, 10);
    OK(cf_expiry_stop_now(w->vault, "clock", "a test", false));
    live(w, 5);
    cf_retention_waiting *rows = NULL;
    size_t count = 0;
    OK(cf_retention_show(w->vault, &rows, &count));
    assert_int_equal(count, 1);
    assert_true(rows[0].current == 15 && rows[0].due == 5 && rows[0].allowed == 3 && rows[0].held == 0);
    free(rows);
    OK(cf_records_set_frozen(w->vault->records, &(cf_frozen_row){.why = "a test"}));
    uint64_t expired = 0;
    expect_stop(w, "frozen");
    FAILS(CF_ERR_EXPIRY_STOPPED, cf_retention_confirm(w->vault, &expired));
    OK(cf_service_tick(w->vault));
    assert_int_equal(count_points(w), 15);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_settings, setup, teardown),
        cmocka_unit_test_setup_teardown(test_points_go_by_their_dates, setup, teardown),
        cmocka_unit_test_setup_teardown(test_paused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_server_that_is_away, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_used_stays, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_clock, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_clock_across_restarts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rebuild, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_cannot_be_understood, setup, teardown),
        cmocka_unit_test_setup_teardown(test_show, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
