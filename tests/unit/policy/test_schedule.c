#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "policy/schedule.h"

static int64_t at(const char *text) {
    cf_time time;
    if (!cf_time_parse(text, &time)) fail_msg("%s", text);
    return time.seconds;
}

static void make(cf_policy *policy, const char *schedule, const char *zone) {
    cf_policy_init(policy);
    snprintf(policy->zone, sizeof policy->zone, "%s", zone);
    assert_null(cf_schedule_parse(schedule, at("2026-11-20T00:00:00Z") / 86400, &policy->schedule));
}

static void next_is(cf_policy *policy, const char *after, const char *wanted) {
    bool found = false;
    int64_t next = 0;
    assert_null(cf_schedule_next(policy, at(after), &found, &next));
    assert_true(found);
    char got[40];
    cf_time_format((cf_time){next, 0}, got);
    assert_string_equal(got, wanted);
}

static void last_is(cf_policy *policy, const char *until, const char *wanted) {
    bool found = false;
    int64_t slot = 0;
    assert_null(cf_schedule_last(policy, at(until), &found, &slot));
    assert_true(found);
    char got[40];
    cf_time_format((cf_time){slot, 0}, got);
    assert_string_equal(got, wanted);
}

static void a_skipped_time_runs_at_the_next_that_exists(void **state) {
    (void)state;
    cf_policy policy;
    make(&policy, "daily 02:15,02:45", "Europe/Berlin");
    next_is(&policy, "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z"); /* 02:00 -> 03:00: both, once */
    next_is(&policy, "2026-03-29T01:00:00Z", "2026-03-30T00:15:00Z");
    last_is(&policy, "2026-03-29T23:00:00Z", "2026-03-29T01:00:00Z");
    cf_policy_wipe(&policy);
}

static void a_doubled_time_runs_once(void **state) {
    (void)state;
    cf_policy policy;
    make(&policy, "daily 02:30", "Europe/Berlin");
    next_is(&policy, "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z"); /* the first 02:30 */
    next_is(&policy, "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z");
    last_is(&policy, "2026-10-25T01:30:00Z", "2026-10-25T00:30:00Z");
    cf_policy_wipe(&policy);
}

static void every_n_weeks_begins_with_the_next_of_its_days(void **state) {
    (void)state;
    cf_policy policy;
    make(&policy, "weekly/2 sat 02:00", "UTC"); /* 2026-11-20 is a Friday */
    next_is(&policy, "2026-11-20T00:00:00Z", "2026-11-21T02:00:00Z");
    next_is(&policy, "2026-11-21T02:00:00Z", "2026-12-05T02:00:00Z");
    last_is(&policy, "2026-11-30T00:00:00Z", "2026-11-21T02:00:00Z");
    cf_policy_wipe(&policy);
    make(&policy, "weekly/52 fri 02:00", "UTC");
    next_is(&policy, "2026-11-20T03:00:00Z", "2027-11-19T02:00:00Z");
    last_is(&policy, "2026-11-20T01:00:00Z", "2025-11-21T02:00:00Z");
    cf_policy_wipe(&policy);
}

static void one_missed_run_is_made_up_for_within_the_window(void **state) {
    (void)state;
    cf_policy policy;
    bool found = true;
    int64_t slot = 0;
    make(&policy, "daily 09:00,21:00", "UTC");
    policy.catch_up_minutes = 120;
    assert_null(cf_schedule_missed(&policy, at("2026-11-18T09:00:00Z"), at("2026-11-20T10:00:00Z"), &found, &slot));
    assert_true(found);
    assert_int_equal(slot, at("2026-11-20T09:00:00Z")); /* of four, the newest */
    assert_null(cf_schedule_missed(&policy, at("2026-11-18T09:00:00Z"), at("2026-11-20T11:00:01Z"), &found, &slot));
    assert_false(found); /* too old */
    assert_null(cf_schedule_missed(&policy, at("2026-11-20T09:00:00Z"), at("2026-11-20T10:00:00Z"), &found, &slot));
    assert_false(found); /* it ran */
    policy.catch_up_minutes = 0;
    assert_null(cf_schedule_missed(&policy, at("2026-11-18T09:00:00Z"), at("2026-11-20T09:00:00Z"), &found, &slot));
    assert_false(found);
    cf_policy_wipe(&policy);
}

static void without_a_schedule_there_is_no_slot(void **state) {
    (void)state;
    cf_policy policy;
    bool found = true;
    int64_t slot = 7, slots[3];
    size_t count = 9;
    cf_policy_init(&policy);
    assert_false(cf_schedule_active(&policy));
    assert_null(cf_schedule_next(&policy, 0, &found, &slot));
    assert_false(found);
    assert_null(cf_schedule_last(&policy, 0, &found, &slot));
    assert_false(found);
    assert_null(cf_schedule_list(&policy, 0, 3, slots, &count));
    assert_int_equal(count, 0);
    assert_int_equal(slot, 7);
    cf_policy_wipe(&policy);
}

static void an_unknown_zone_is_named(void **state) {
    (void)state;
    static const char *const bad[] = {"Europe/Berlim", "",          "/etc/passwd",     "../../etc/passwd",
                                      "+02:00",        "CET-1CEST", "Europe/Berlin x", "Europe"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cf_zone *zone = NULL;
        CF_AUTO(cf_err) err = cf_zone_open(bad[i], &zone);
        if (cf_err_code(err) != CF_ERR_ZONE_UNKNOWN) fail_msg("'%s' was taken", bad[i]);
        if (!strstr(cf_err_message(err), bad[i])) fail_msg("'%s' lacks '%s'", cf_err_message(err), bad[i]);
        assert_string_equal(cf_err_reason(err), "unknown");
    }
    setenv("TZDIR", "/nonexistent", 1);
    cf_zone *zone = NULL;
    CF_AUTO(cf_err) err = cf_zone_open("Europe/Berlin", &zone);
    assert_string_equal(cf_err_reason(err), "no_database");
    CF_AUTO(cf_zone) utc = NULL;
    assert_null(cf_zone_open("UTC", &utc));
    unsetenv("TZDIR");
}

static void the_delay_is_fixed_for_a_slot_and_even_over_many(void **state) {
    (void)state;
    cf_policy policy;
    cf_id16 server = {{1, 2, 3}}, other = {{1, 2, 4}};
    uint64_t sum = 0;
    cf_policy_init(&policy);
    assert_int_equal(cf_schedule_delay(&policy, &server, 1000), 0);
    policy.random_delay_minutes = 30;
    assert_int_equal(cf_schedule_delay(&policy, &server, 1000), cf_schedule_delay(&policy, &server, 1000));
    assert_int_not_equal(cf_schedule_delay(&policy, &server, 1000), cf_schedule_delay(&policy, &other, 1000));
    for (int64_t slot = 0; slot < 10000; slot++) {
        uint32_t delay = cf_schedule_delay(&policy, &server, slot * 86400);
        assert_in_range(delay, 0, 1800);
        sum += delay;
    }
    assert_in_range(sum / 10000, 870, 930);
    cf_policy_wipe(&policy);
}

static void schedules_are_read_and_written(void **state) {
    (void)state;
    static const char *const same[] = {"daily 09:00,21:00", "daily 00:00", "weekly mon,thu 22:30", "weekly/2 sat 02:00",
                                       "none"};
    static const char *const other[][2] = {{"daily 9:00,21:00,09:00", "daily 09:00,21:00"},
                                           {"weekly/1 mon-fri 22:30", "weekly mon,tue,wed,thu,fri 22:30"},
                                           {"weekly Sat,SUNDAY 01:00", "weekly sat,sun 01:00"},
                                           {" daily  12:00 ", "daily 12:00"},
                                           {"weekly sat-mon 01:00", "weekly mon,sat,sun 01:00"}};
    static const char *const bad[] = {
        "",           "daily",        "daily 25:00",        "daily 09:60",         "daily 09:00 21:00",
        "weekly sat", "often",        "weekly/0 sat 02:00", "weekly/53 sat 02:00", "weekly xyz 02:00",
        "none daily", "daily 09:00,", "weekly/ sat 02:00",  "weekly mon- 02:00",   "daily 0900",
        "daily -9:00"};
    cf_schedule schedule = {0};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        assert_null(cf_schedule_parse(same[i], 20000, &schedule));
        CF_AUTO_FREE char *text = cf_schedule_text(&schedule);
        assert_string_equal(text, same[i]);
    }
    for (size_t i = 0; i < sizeof other / sizeof *other; i++) {
        assert_null(cf_schedule_parse(other[i][0], 20000, &schedule));
        CF_AUTO_FREE char *text = cf_schedule_text(&schedule);
        assert_string_equal(text, other[i][1]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CF_AUTO(cf_err) err = cf_schedule_parse(bad[i], 20000, &schedule);
        if (cf_err_code(err) != CF_ERR_BAD_USAGE) fail_msg("'%s' was taken", bad[i]);
    }
    free(schedule.minutes);
}

static void dates_and_days(void **state) {
    (void)state;
    assert_int_equal(cf_day_of_date(1970, 1, 1), 0);
    assert_int_equal(cf_day_of_date(2026, 11, 20) * 86400, at("2026-11-20T00:00:00Z"));
    assert_int_equal(cf_weekday_of_day(cf_day_of_date(2026, 11, 20)), 4);
    assert_int_equal(cf_weekday_of_day(-4), 6);
    assert_int_equal(cf_week_of_day(4), 0);
    assert_int_equal(cf_week_of_day(3), -1);
    assert_int_equal(cf_week_of_day(-3), -1);
    assert_int_equal(cf_week_of_day(-4), -2);
    assert_int_equal(cf_days_of_month(2028, 2), 29);
    assert_int_equal(cf_days_of_month(2100, 2), 28);
    assert_int_equal(cf_days_of_month(2026, 12), 31);
    for (int64_t day = -800000; day < 800000; day += 13) {
        cf_date date = cf_date_of_day(day);
        assert_int_equal(cf_day_of_date(date.year, date.month, date.day), day);
        assert_in_range(date.month, 1, 12);
        assert_in_range(date.day, 1, cf_days_of_month(date.year, date.month));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_skipped_time_runs_at_the_next_that_exists),
        cmocka_unit_test(a_doubled_time_runs_once),
        cmocka_unit_test(every_n_weeks_begins_with_the_next_of_its_days),
        cmocka_unit_test(one_missed_run_is_made_up_for_within_the_window),
        cmocka_unit_test(without_a_schedule_there_is_no_slot),
        cmocka_unit_test(an_unknown_zone_is_named),
        cmocka_unit_test(the_delay_is_fixed_for_a_slot_and_even_over_many),
        cmocka_unit_test(schedules_are_read_and_written),
        cmocka_unit_test(dates_and_days),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
