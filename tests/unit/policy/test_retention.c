/* The retention rules on cases made by hand; tests/retention holds them against a model on thousands more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "policy/retention.h"
#include "policy/retention_rule.h"

#define OK(call)                              \
    do {                                      \
        cf_err *err_ = (call);                \
        if (err_) cf_err_print(stderr, err_); \
        assert_null(err_);                    \
    } while (0)

enum { DAY = 86400 };

static int64_t at(const char *text) {
    cf_time time;
    assert_true(cf_time_parse(text, &time));
    return time.seconds;
}

static void parse(const char *zone, const char *schedule, const char *retention, const char *more, cf_policy *policy) {
    char text[1024];
    snprintf(text, sizeof text, "{\"time_zone\":\"%s\",\"schedule\":{%s},\"retention\":{%s}%s}", zone, schedule,
             retention, more);
    OK(cf_policy_parse(cf_span_text(text), "a test", policy));
}

#define DAILY "\"kind\":\"daily\",\"times\":[\"21:00\"]"

static cf_retained_point scheduled(uint64_t counter, const char *received) {
    return (cf_retained_point){.counter = counter, .received = at(received), .scheduled = true, .full = true};
}

static void evaluate(const cf_policy *policy, const char *now, cf_retained_point *points, size_t count) {
    cf_retention_floor floor = CF_RETENTION_FLOOR_DEFAULT;
    OK(cf_retention_evaluate(policy, &floor, at(now), points, count, NULL));
}

static void test_the_run_that_carries_a_tag(void **state) {
    (void)state;
    CF_AUTO_POLICY cf_policy policy;
    parse("UTC", DAILY, "\"days\":7,\"weeks\":4,\"weekly_on\":\"sat\"", "", &policy);
    cf_retained_point points[] = {
        scheduled(1, "2027-01-01T21:05:00Z"), /* a Friday: the first since the Saturday before          */
        scheduled(2, "2027-01-02T20:59:59Z"), /* a second before the slot                               */
        scheduled(3, "2027-01-02T21:00:00Z"), /* at the slot                                            */
        scheduled(4, "2027-01-03T21:05:00Z"),
        /* The run of the 9th fails; by hand, of the full selection, on the 10th: promoted. */
        {.counter = 5, .received = at("2027-01-10T10:00:00Z"), .full = true},
        scheduled(6, "2027-01-10T21:05:00Z"),
        /* Nothing of the full selection from the 16th to the 23rd: the slot of the 16th is carried by nobody. */
        {.counter = 7, .received = at("2027-01-17T10:00:00Z")},
        scheduled(8, "2027-01-23T21:00:00Z"),
    };
    evaluate(&policy, "2027-01-24T00:00:00Z", points, 8);
    static const unsigned tags[] = {CF_TAG_DAILY | CF_TAG_WEEKLY,
                                    CF_TAG_DAILY,
                                    CF_TAG_DAILY | CF_TAG_WEEKLY,
                                    CF_TAG_DAILY,
                                    CF_TAG_ON_DEMAND | CF_TAG_WEEKLY,
                                    CF_TAG_DAILY,
                                    CF_TAG_ON_DEMAND,
                                    CF_TAG_DAILY | CF_TAG_WEEKLY};
    for (size_t i = 0; i < 8; i++) assert_int_equal(points[i].tags, tags[i]);
    assert_int_equal(points[1].expires, at("2027-01-09T20:59:59Z"));
    assert_int_equal(points[2].expires, at("2027-01-30T21:00:00Z"));
    assert_int_equal(points[4].expires, at("2027-02-09T10:00:00Z")); /* 30 days, later than four weeks */
    assert_int_equal(points[6].expires, at("2027-02-16T10:00:00Z"));
    assert_int_equal(points[1].verdict, CF_VERDICT_DUE);
    assert_int_equal(points[2].verdict, CF_VERDICT_KEPT);
}

static void test_calendar(void **state) {
    (void)state;
    CF_AUTO(cf_zone) berlin = NULL;
    CF_AUTO(cf_zone) utc = NULL;
    OK(cf_zone_open("Europe/Berlin", &berlin));
    OK(cf_zone_open("UTC", &utc));
    static const struct {
        const char *from, *until;
        int64_t months;
    } months[] = {
        {"2027-01-31T12:00:00Z", "2027-02-28T12:00:00Z", 1},    {"2028-01-31T12:00:00Z", "2028-02-29T12:00:00Z", 1},
        {"2028-02-29T23:59:59Z", "2029-02-28T23:59:59Z", 12},   {"2027-12-31T00:00:00Z", "2028-01-31T00:00:00Z", 1},
        {"2027-03-31T00:00:00Z", "2126-03-31T00:00:00Z", 1188}, {"2027-05-31T01:02:03Z", "2027-05-31T01:02:03Z", 0}};
    for (size_t i = 0; i < sizeof months / sizeof *months; i++)
        assert_int_equal(cf_add_months(utc, at(months[i].from), months[i].months), at(months[i].until));
    /* Clocks go forward on 2027-03-28 at 02:00 in Berlin, back on 2027-10-31 at 03:00. */
    assert_int_equal(cf_add_days(berlin, at("2027-03-27T08:00:00Z"), 1), at("2027-03-28T07:00:00Z"));
    assert_int_equal(cf_add_days(berlin, at("2027-03-27T01:30:15Z"), 1), at("2027-03-28T01:00:00Z")); /* skipped */
    assert_int_equal(cf_add_days(berlin, at("2027-10-30T00:30:15Z"), 1), at("2027-10-31T00:30:15Z")); /* the first */
    assert_int_equal(cf_add_months(berlin, at("2027-01-31T22:30:00Z"), 2), at("2027-03-31T21:30:00Z"));
}

static void test_rules(void **state) {
    (void)state;
    static const struct {
        const char *on, *slots[4];
    } cases[] = {
        {"last sat", {"2027-01-30T21:00:00Z", "2027-02-27T21:00:00Z", "2027-03-27T21:00:00Z", "2027-04-24T21:00:00Z"}},
        {"first mon,sun",
         {"2027-01-03T21:00:00Z", "2027-01-04T21:00:00Z", "2027-02-01T21:00:00Z", "2027-02-07T21:00:00Z"}},
        {"31", {"2027-01-31T21:00:00Z", "2027-03-31T21:00:00Z", "2027-05-31T21:00:00Z", "2027-07-31T21:00:00Z"}},
        {"1,last", {"2027-01-01T21:00:00Z", "2027-01-31T21:00:00Z", "2027-02-01T21:00:00Z", "2027-02-28T21:00:00Z"}},
        {"fourth,last fri",
         {"2027-01-22T21:00:00Z", "2027-01-29T21:00:00Z", "2027-02-26T21:00:00Z", "2027-03-26T21:00:00Z"}},
    };
    CF_AUTO(cf_zone) utc = NULL;
    OK(cf_zone_open("UTC", &utc));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CF_AUTO_POLICY cf_policy policy;
        char keep[128];
        snprintf(keep, sizeof keep, "\"months\":3,\"monthly_on\":\"%s\"", cases[i].on);
        parse("UTC", DAILY, keep, "", &policy);
        cf_keep_rule rule = cf_keep_rule_monthly(&policy);
        int64_t when = at("2027-01-01T00:00:00Z"), slot;
        for (size_t j = 0; j < 4; j++) {
            assert_true(cf_keep_rule_next(&rule, utc, when, &slot));
            assert_int_equal(slot, at(cases[i].slots[j]));
            assert_true(cf_keep_rule_last(&rule, utc, slot, &when));
            assert_int_equal(slot, when);
        }
    }
    CF_AUTO_POLICY cf_policy leap;
    parse("UTC", DAILY, "\"years\":3,\"yearly_on\":\"feb 29\"", "", &leap);
    cf_keep_rule rule = cf_keep_rule_yearly(&leap);
    int64_t slot;
    assert_true(cf_keep_rule_next(&rule, utc, at("2096-03-01T00:00:00Z"), &slot)); /* 2100 is no leap year */
    assert_int_equal(slot, at("2104-02-29T21:00:00Z"));
    assert_true(cf_keep_rule_last(&rule, utc, at("2104-02-29T20:59:59Z"), &slot));
    assert_int_equal(slot, at("2096-02-29T21:00:00Z"));
    leap.retention.yearly_on.month_days = 1u << 29; /* February 30th */
    assert_false(cf_keep_rule_next(&rule, utc, 0, &slot) || cf_keep_rule_last(&rule, utc, 0, &slot));
}

/* In Newfoundland the clocks went back at one minute past midnight, from Sunday to Saturday. */
static void test_clocks_put_back_over_midnight(void **state) {
    (void)state;
    CF_AUTO_POLICY cf_policy policy;
    CF_AUTO(cf_zone) zone = NULL;
    int64_t slot;
    OK(cf_zone_open("America/St_Johns", &zone));
    parse("America/St_Johns", "\"kind\":\"daily\",\"times\":[\"00:00\"]", "\"weeks\":4,\"weekly_on\":\"sun\"", "",
          &policy);
    cf_keep_rule rule = cf_keep_rule_weekly(&policy);
    assert_true(cf_keep_rule_last(&rule, zone, at("2010-11-07T02:40:00Z"), &slot));
    assert_int_equal(slot, at("2010-11-07T02:30:00Z"));
    assert_true(cf_keep_rule_next(&rule, zone, at("2010-11-07T02:40:00Z"), &slot));
    assert_int_equal(slot, at("2010-11-14T03:30:00Z"));
}

static void test_dates_that_were_chosen(void **state) {
    (void)state;
    CF_AUTO_POLICY cf_policy policy;
    parse("UTC", DAILY, "\"days\":10", "", &policy);
    cf_retained_point points[] = {
        {.counter = 1,
         .received = at("2027-01-02T00:00:00Z"),
         .full = true,
         .has_until = true,
         .until = at("2027-01-03T00:00:00Z")},
        {.counter = 2,
         .received = at("2027-01-02T00:00:00Z"),
         .full = true,
         .has_until = true,
         .until = at("2040-01-03T00:00:00Z")},
        {.counter = 3, .received = at("2027-01-02T00:00:00Z")},
        scheduled(4, "2027-01-02T21:00:00Z"),
        scheduled(5, "2027-01-03T21:00:00Z"),
        scheduled(6, "2027-01-04T21:00:00Z"),
    };
    evaluate(&policy, "2027-01-05T00:00:00Z", points, 6);
    assert_int_equal(points[0].verdict, CF_VERDICT_DUE); /* no minimum for what somebody chose */
    assert_int_equal(points[1].expires, at("2040-01-03T00:00:00Z"));
    assert_int_equal(points[2].expires, at("2027-02-01T00:00:00Z"));
    assert_int_equal(points[3].expires, at("2027-01-12T21:00:00Z"));
    evaluate(NULL, "2027-01-05T00:00:00Z", points, 6); /* without a policy: the minimum */
    assert_int_equal(points[3].expires, at("2027-01-09T21:00:00Z"));
    assert_int_equal(points[3].tags, 0);
}

static void test_protection(void **state) {
    (void)state;
    static const struct {
        const char *word;
        cf_verdict verdict;
    } cases[] = {{"on", CF_VERDICT_DUE},
                 {"paused", CF_VERDICT_KEPT},
                 {"stopped-until-expiry", CF_VERDICT_DUE},
                 {"stopped-for-ever", CF_VERDICT_KEPT}};
    for (size_t i = 0; i < 4; i++) {
        CF_AUTO_POLICY cf_policy policy;
        char more[64];
        snprintf(more, sizeof more, ",\"protection\":\"%s\"", cases[i].word);
        parse("UTC", DAILY, "\"days\":10", more, &policy);
        cf_retained_point points[3] = {scheduled(1, "2027-01-01T21:00:00Z"), scheduled(2, "2027-01-02T21:00:00Z"),
                                       scheduled(3, "2027-01-03T21:00:00Z")};
        evaluate(&policy, "2029-01-01T00:00:00Z", points, 3);
        assert_int_equal(points[0].verdict, cases[i].verdict);
        /* The last one is never let go, whatever was decided about the others. */
        assert_int_equal(points[2].verdict, cases[i].verdict == CF_VERDICT_DUE ? CF_VERDICT_HELD : CF_VERDICT_KEPT);
    }
}

/* Ten days of backups, then the server is away, wakes up, and what it sends is not what it was. */
static size_t fill(cf_retained_point *points, unsigned before, int64_t wakes, unsigned after, bool flagged) {
    int64_t begin = at("2027-01-01T21:00:00Z");
    for (unsigned i = 0; i < before; i++) {
        points[i] = scheduled(i + 1, "2027-01-01T21:00:00Z");
        points[i].received = begin + (int64_t)i * DAY;
    }
    for (unsigned i = 0; i < after; i++) {
        points[before + i] = scheduled(before + i + 1, "2027-01-01T21:00:00Z");
        points[before + i].received = begin + (wakes + i) * DAY;
        points[before + i].flagged = flagged;
    }
    return before + after;
}

static void test_the_last_good_point(void **state) {
    (void)state;
    CF_AUTO_POLICY cf_policy policy;
    cf_retention_floor floor = CF_RETENTION_FLOOR_DEFAULT;
    parse("UTC", DAILY, "\"days\":7,\"months\":3,\"monthly_on\":\"1\"", "", &policy);
    int64_t begin = at("2027-01-01T21:00:00Z"), next = 0;
    cf_retained_point points[80];
    static const struct {
        int64_t wakes, day; /* since the first backup */
        unsigned after;
        bool flagged;
        cf_verdict newest, longest; /* of the tenth point, of the first (with the monthly tag) */
    } cases[] = {
        {300, 200, 0, false, CF_VERDICT_HELD, CF_VERDICT_HELD}, /* nothing comes                          */
        {300, 301, 1, false, CF_VERDICT_HELD, CF_VERDICT_HELD}, /* it wakes up                            */
        {300, 302, 3, false, CF_VERDICT_HELD, CF_VERDICT_HELD}, /* three, but not for seven days          */
        {300, 308, 8, false, CF_VERDICT_HELD, CF_VERDICT_HELD},
        {300, 309, 10, false, CF_VERDICT_DUE, CF_VERDICT_DUE},  /* seven days after the third             */
        {300, 330, 30, true, CF_VERDICT_HELD, CF_VERDICT_HELD}, /* flagged ones count for nothing         */
        {15, 17, 3, false, CF_VERDICT_HELD, CF_VERDICT_KEPT},   /* it wakes up a day before the last goes */
        {15, 23, 9, false, CF_VERDICT_HELD, CF_VERDICT_KEPT},
        {15, 25, 11, false, CF_VERDICT_DUE, CF_VERDICT_KEPT},
        {14, 16, 3, false, CF_VERDICT_DUE, CF_VERDICT_KEPT}, /* three by its date                      */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t count = fill(points, 10, cases[i].wakes, cases[i].after, cases[i].flagged);
        OK(cf_retention_evaluate(&policy, &floor, begin + cases[i].day * DAY + 3600, points, count, &next));
        if (points[9].verdict != cases[i].newest || points[0].verdict != cases[i].longest) print_error("case %zu\n", i);
        assert_int_equal(points[9].verdict, cases[i].newest);
        assert_int_equal(points[0].verdict, cases[i].longest);
        assert_int_equal(points[5].verdict, CF_VERDICT_DUE);
    }
    /* To the second. */
    for (int early = 0; early < 2; early++) {
        size_t all = fill(points, 10, 300, 8, false);
        OK(cf_retention_evaluate(&policy, &floor, begin + 309 * DAY - early, points, all, NULL));
        assert_int_equal(points[9].verdict, early ? CF_VERDICT_HELD : CF_VERDICT_DUE);
    }
    /* The moment at which the hold ends is told. */
    size_t count = fill(points, 10, 300, 3, false);
    OK(cf_retention_evaluate(&policy, &floor, begin + 302 * DAY + 3600, points, count, &next));
    assert_int_equal(next, begin + 308 * DAY); /* the first of the new ones is the month's: the second goes first */
}

static void test_counting(void **state) {
    (void)state;
    static const struct {
        const char *schedule, *keep;
        uint64_t count;
    } cases[] = {
        {"\"kind\":\"daily\",\"times\":[\"00:00\",\"18:00\"]",
         "\"days\":7,\"weeks\":4,\"weekly_on\":\"sat\",\"months\":12,\"monthly_on\":\"last sat\",\"years\":10,"
         "\"yearly_on\":\"mar last sat 00:00\"",
         14 + 4 + 12 + 10},
        {DAILY, "\"days\":9999", 9999},
        {DAILY, "\"days\":3", 7}, /* the vault's minimum */
        {DAILY, "\"weeks\":4,\"weekly_on\":\"sat\"", 6 + 4},
        {"\"kind\":\"weekly\",\"days\":[\"mon\",\"thu\"],\"times\":[\"22:30\"]", "\"weeks\":10,\"weekly_on\":\"thu\"",
         1 + 10},
        {"\"kind\":\"weekly\",\"days\":[\"thu\"],\"times\":[\"22:30\"]", "\"weeks\":10,\"weekly_on\":\"thu\"", 10},
        {DAILY, "\"days\":10,\"years\":5,\"yearly_on\":\"jan,jul 1,last\"", 10 + 5 * 4},
        {"\"kind\":\"none\"", "", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CF_AUTO_POLICY cf_policy policy;
        parse("UTC", cases[i].schedule, cases[i].keep, "", &policy);
        assert_int_equal(cf_retention_count(&policy, NULL), cases[i].count);
    }
}

static void expect_admitted(const cf_policy *policy, cf_retained_point *points, size_t count, bool is_scheduled,
                            const char *reason) {
    cf_retention_floor floor = CF_RETENTION_FLOOR_DEFAULT;
    CF_AUTO(cf_err) err = cf_retention_admit(policy, &floor, points, count, is_scheduled);
    if (!reason) {
        assert_null(err);
        return;
    }
    assert_int_equal(cf_err_code(err), CF_ERR_TOO_MANY_POINTS);
    assert_string_equal(cf_err_reason(err), reason);
}

static void test_the_limit(void **state) {
    (void)state;
    CF_AUTO_POLICY cf_policy policy;
    parse("UTC", DAILY, "\"days\":1000", "", &policy);
    cf_retained_point *points = calloc(CF_POINTS_MAX + 1, sizeof *points);
    assert_non_null(points);
    for (size_t i = 0; i < CF_POINTS_MAX; i++) points[i].tags = CF_TAG_ON_DEMAND;
    expect_admitted(&policy, points, 8998, false, NULL); /* the last for which there is room beside a thousand */
    expect_admitted(&policy, points, 8999, false, "reserve");
    expect_admitted(&policy, points, 8999, true, NULL);
    expect_admitted(&policy, points, 9998, true, NULL);
    expect_admitted(&policy, points, 9999, true, "limit");
    expect_admitted(NULL, points, 9898, false, NULL);
    expect_admitted(NULL, points, 9899, false, "reserve");
    for (size_t i = 0; i < 500; i++) points[i].scheduled = true; /* half of the thousand are there */
    expect_admitted(&policy, points, 9498, false, NULL);
    expect_admitted(&policy, points, 9499, false, "reserve");
    points[600].gone = true;
    expect_admitted(&policy, points, 9499, false, NULL);
    free(points);
}

static void test_allowance(void **state) {
    (void)state;
    cf_retained_point points[100] = {0};
    int64_t now = at("2027-06-01T00:00:00Z");
    for (size_t i = 0; i < 100; i++) points[i].received = now - 100 * DAY;
    assert_int_equal(cf_retention_allowance(points, 100, now), 20);
    assert_int_equal(cf_retention_allowance(points, 4, now), 0);
    for (size_t i = 0; i < 20; i++) {
        points[i].gone = true;
        points[i].gone_at = now - 3600;
    }
    assert_int_equal(cf_retention_allowance(points, 100, now), 0);
    assert_int_equal(cf_retention_allowance(points, 100, now + DAY - 3600), 16); /* the next day: of 80 */
    for (size_t i = 60; i < 90; i++) points[i].received = now - 60;
    assert_int_equal(cf_retention_allowance(points, 100, now), 10); /* 30 came, 20 went */
}

static void test_below_the_minimum(void **state) {
    (void)state;
    CF_AUTO_POLICY cf_policy policy;
    CF_AUTO_STRINGS cf_strings lines = {0};
    cf_retention_floor floor = CF_RETENTION_FLOOR_DEFAULT;
    parse("UTC", DAILY, "\"days\":3,\"weeks\":4,\"weekly_on\":\"sat\",\"months\":1,\"monthly_on\":\"1\"", "", &policy);
    OK(cf_retention_below(&policy, &floor, &lines));
    assert_int_equal(lines.count, 2);
    assert_string_equal(lines.item[0], "the vault keeps at least 7 days, not 3");
    assert_string_equal(lines.item[1], "the vault keeps at least 3 months, not 1");
}

static void test_a_zone_that_is_not_known(void **state) {
    (void)state;
    CF_AUTO_POLICY cf_policy policy;
    cf_retention_floor floor = CF_RETENTION_FLOOR_DEFAULT;
    parse("Mars/Olympus", DAILY, "\"days\":7", "", &policy);
    cf_retained_point point = scheduled(1, "2027-01-01T21:00:00Z");
    CF_AUTO(cf_err) err = cf_retention_evaluate(&policy, &floor, at("2028-01-01T00:00:00Z"), &point, 1, NULL);
    assert_int_equal(cf_err_code(err), CF_ERR_ZONE_UNKNOWN);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_run_that_carries_a_tag),
        cmocka_unit_test(test_calendar),
        cmocka_unit_test(test_clocks_put_back_over_midnight),
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_dates_that_were_chosen),
        cmocka_unit_test(test_protection),
        cmocka_unit_test(test_the_last_good_point),
        cmocka_unit_test(test_counting),
        cmocka_unit_test(test_the_limit),
        cmocka_unit_test(test_allowance),
        cmocka_unit_test(test_below_the_minimum),
        cmocka_unit_test(test_a_zone_that_is_not_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
