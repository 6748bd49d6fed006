/* Which run is due: on time, missed, merged, after an edit, after the clock was set. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "daemon/slots.h"
#include "policy/schedule.h"

enum { HOUR = 3600, DAY = 86400 };
static const int64_t midnight = 1790000000 / DAY * DAY; /* some day, 00:00 UTC */
static const cf_id16 server = {{7}};

static void make(cf_policy *policy, const char *schedule) {
    cf_policy_init(policy);
    strcpy(policy->zone, "UTC");
    policy->catch_up_minutes = 12 * 60;
    assert_null(cf_schedule_parse(schedule, midnight / DAY, &policy->schedule));
}

static cf_slot_decision decide(const cf_slots *slots, const cf_policy *policy, int64_t now) {
    cf_slot_decision decision;
    assert_null(cf_slots_decide(slots, policy, &server, now, &decision));
    return decision;
}

static void runs_come_when_they_are_due(void **state) {
    (void)state;
    CF_AUTO_POLICY cf_policy policy;
    cf_slots slots = {0};
    make(&policy, "daily 09:00,21:00");
    assert_true(cf_slots_adopt(&slots, &policy, midnight));
    assert_false(cf_slots_adopt(&slots, &policy, midnight + HOUR));
    cf_slot_decision d = decide(&slots, &policy, midnight + HOUR);
    assert_int_equal(d.answer, CF_SLOT_LATER);
    assert_int_equal(d.wake, midnight + 9 * HOUR);
    d = decide(&slots, &policy, midnight + 9 * HOUR);
    assert_int_equal(d.answer, CF_SLOT_RUN);
    assert_int_equal(d.slot, midnight + 9 * HOUR);
    slots.handled = d.slot;
    d = decide(&slots, &policy, midnight + 9 * HOUR + 5);
    assert_int_equal(d.answer, CF_SLOT_LATER);
    assert_int_equal(d.wake, midnight + 21 * HOUR);
}

static void what_was_missed_is_made_up_for_once_within_the_window(void **state) {
    (void)state;
    CF_AUTO_POLICY cf_policy policy;
    cf_slots slots = {0};
    make(&policy, "daily 09:00,21:00");
    assert_true(cf_slots_adopt(&slots, &policy, midnight));
    /* Three days off: one run, for the newest. */
    cf_slot_decision d = decide(&slots, &policy, midnight + 3 * DAY + 12 * HOUR);
    assert_int_equal(d.answer, CF_SLOT_RUN);
    assert_int_equal(d.slot, midnight + 3 * DAY + 9 * HOUR);
    policy.catch_up_minutes = 60;
    d = decide(&slots, &policy, midnight + 3 * DAY + 12 * HOUR);
    assert_int_equal(d.answer, CF_SLOT_MISSED);
    assert_int_equal(d.slot, midnight + 3 * DAY + 9 * HOUR);
    policy.catch_up_minutes = 0; /* never; but a minute late is on time */
    assert_int_equal(decide(&slots, &policy, midnight + 9 * HOUR + 59).answer, CF_SLOT_RUN);
    assert_int_equal(decide(&slots, &policy, midnight + 9 * HOUR + 61).answer, CF_SLOT_MISSED);
}

static void another_schedule_owes_nothing_for_the_time_before(void **state) {
    (void)state;
    CF_AUTO_POLICY cf_policy policy;
    cf_slots slots = {0};
    make(&policy, "daily 21:00");
    assert_true(cf_slots_adopt(&slots, &policy, midnight));
    cf_policy_wipe(&policy);
    make(&policy, "daily 09:00");
    assert_true(cf_slots_adopt(&slots, &policy, midnight + 10 * HOUR));
    cf_slot_decision d = decide(&slots, &policy, midnight + 10 * HOUR);
    assert_int_equal(d.answer, CF_SLOT_LATER);
    assert_int_equal(d.wake, midnight + DAY + 9 * HOUR);
    policy.protection = CF_PROTECTION_PAUSED;
    assert_true(cf_slots_adopt(&slots, &policy, midnight + 11 * HOUR));
    assert_int_equal(decide(&slots, &policy, midnight + 3 * DAY).answer, CF_SLOT_NONE);
    policy.protection = CF_PROTECTION_ON;
    assert_true(cf_slots_adopt(&slots, &policy, midnight + 3 * DAY));
    assert_int_equal(decide(&slots, &policy, midnight + 3 * DAY).answer, CF_SLOT_LATER);
    assert_true(cf_slots_adopt(&slots, NULL, midnight + 3 * DAY));
    assert_int_equal(decide(&slots, NULL, midnight + 3 * DAY).answer, CF_SLOT_NONE);
}

static void a_clock_that_was_wrong_does_not_stop_the_schedule(void **state) {
    (void)state;
    CF_AUTO_POLICY cf_policy policy;
    cf_slots slots = {0};
    make(&policy, "daily 09:00");
    assert_true(cf_slots_adopt(&slots, &policy, midnight + 1000 * DAY)); /* years ahead */
    assert_true(cf_slots_adopt(&slots, &policy, midnight));
    assert_int_equal(decide(&slots, &policy, midnight).wake, midnight + 9 * HOUR);
}

static void a_delay_moves_the_start_and_starves_nothing(void **state) {
    (void)state;
    CF_AUTO_POLICY cf_policy policy;
    cf_slots slots = {0};
    make(&policy, "daily 09:00,09:15,09:30,09:45");
    policy.random_delay_minutes = 60;
    assert_true(cf_slots_adopt(&slots, &policy, midnight));
    int64_t now = midnight + 9 * HOUR - 60;
    unsigned runs = 0;
    for (; now < midnight + 11 * HOUR; now += 30) {
        cf_slot_decision d = decide(&slots, &policy, now);
        if (d.answer == CF_SLOT_LATER) assert_true(d.wake > now);
        if (d.answer != CF_SLOT_RUN) continue;
        assert_true(d.slot <= now && d.slot > slots.handled);
        slots.handled = d.slot;
        runs++;
    }
    assert_true(runs >= 1 && runs <= 4);
    assert_int_equal(slots.handled, midnight + 9 * HOUR + 45 * 60);
}

static void what_is_known_survives_a_restart(void **state) {
    (void)state;
    CF_AUTO_POLICY cf_policy policy;
    cf_slots slots = {0}, again;
    char text[CF_SLOTS_TEXT_MAX + 64];
    make(&policy, "weekly/2 sat 02:00");
    assert_true(cf_slots_adopt(&slots, &policy, midnight));
    slots.stopped = midnight - 5;
    cf_slots_format(&slots, text);
    assert_true(cf_slots_parse(text, &again));
    assert_int_equal(again.handled, midnight);
    assert_int_equal(again.stopped, midnight - 5);
    assert_false(cf_slots_adopt(&again, &policy, midnight + DAY));
    assert_false(cf_slots_parse("x", &again));
    assert_false(cf_slots_parse(NULL, &again));
    assert_int_equal(again.handled, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_come_when_they_are_due),
        cmocka_unit_test(what_was_missed_is_made_up_for_once_within_the_window),
        cmocka_unit_test(another_schedule_owes_nothing_for_the_time_before),
        cmocka_unit_test(a_clock_that_was_wrong_does_not_stop_the_schedule),
        cmocka_unit_test(a_delay_moves_the_start_and_starves_nothing),
        cmocka_unit_test(what_is_known_survives_a_restart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
