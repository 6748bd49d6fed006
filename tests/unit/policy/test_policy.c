#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "policy/policy.h"
#include "policy/words.h"

static const char whole[] =
    "{\"number\":7,\"sources\":[{\"path\":\"/etc\",\"exclude\":[]},{\"path\":\"/home\",\"exclude\":[\"*.tmp\",\"!keep.tmp\"]}],"
    "\"system_state\":true,\"one_file_system\":false,\"exclude\":[\".cache/\"],\"exclude_caches\":true,"
    "\"exclude_nodump\":true,\"schedule\":{\"kind\":\"weekly\",\"times\":[\"02:00\",\"22:30\"],\"days\":[\"mon\",\"sat\"],"
    "\"every_weeks\":2,\"phase\":1},\"time_zone\":\"Europe/Berlin\",\"catch_up_minutes\":90,\"random_delay_minutes\":15,"
    "\"retention\":{\"days\":0,\"weeks\":4,\"weekly_on\":\"sat 22:30\",\"months\":12,\"monthly_on\":\"last sat\",\"years\":3,"
    "\"yearly_on\":\"jan,jul 1,15,last 02:00\"},\"protection\":\"paused\",\"drill\":\"weekly\",\"full_every\":10,"
    "\"hooks\":[\"postgres\"]}";

static cf_err *parse(const char *text, cf_policy *policy) {
    return cf_policy_parse(cf_span_text(text), "policy.json", policy);
}

static void format_is(const cf_policy *policy, const char *wanted) {
    CF_AUTO_BUF cf_buf text;
    cf_buf_init(&text, CF_POLICY_SIZE_MAX);
    assert_null(cf_policy_format(policy, &text));
    cf_buf_put_u8(&text, 0);
    assert_string_equal((const char *)text.data, wanted);
}

static void a_document_is_read_and_written(void **state) {
    (void)state;
    CF_AUTO_POLICY cf_policy policy, copy;
    assert_null(parse(whole, &policy));
    assert_null(cf_policy_check(&policy));
    assert_int_equal(policy.number, 7);
    assert_int_equal(policy.source_count, 2);
    assert_int_equal(policy.schedule.weekdays, 1 | 1 << 5);
    assert_int_equal(policy.retention.weekly_on.minute, 22 * 60 + 30);
    assert_int_equal(policy.retention.yearly_on.month_days, 1u | 1u << 14 | 1u << 31);
    assert_int_equal(policy.retention.yearly_on.months, 1 | 1 << 6);
    assert_int_equal(policy.protection, CF_PROTECTION_PAUSED);
    format_is(&policy, whole);
    assert_null(cf_policy_copy(&policy, &copy));
    format_is(&copy, whole);
    assert_true(cf_policy_same_selection(&policy, &copy));
}

static void what_is_not_there_has_its_default(void **state) {
    (void)state;
    CF_AUTO_POLICY cf_policy policy, defaults;
    assert_null(parse("{}", &policy));
    cf_policy_init(&defaults);
    assert_string_equal(policy.zone, "UTC");
    assert_int_equal(policy.catch_up_minutes, defaults.catch_up_minutes);
    assert_true(policy.one_file_system);
    assert_int_equal(policy.schedule.kind, CF_SCHEDULE_NONE);
}

static void refused_parse(const char *text, const char *const *parts) {
    cf_policy policy;
    CF_AUTO(cf_err) err = parse(text, &policy);
    if (!err) fail_msg("taken: %s", text);
    for (; *parts; parts++)
        if (!strstr(cf_err_message(err), *parts)) fail_msg("'%s' lacks '%s'", cf_err_message(err), *parts);
    assert_int_equal(policy.source_count, 0);
}
#define REFUSED(text, ...) refused_parse(text, (const char *const[]){__VA_ARGS__, NULL})

static void every_fault_of_a_document_is_listed(void **state) {
    (void)state;
    REFUSED("{\"sauces\":[],\"schedule\":{\"kind\":\"hourly\",\"times\":[\"25:00\"]},\"system_state\":1,"
            "\"sources\":[{\"exclude\":[3]},\"/etc\"],\"retention\":{\"weekly_on\":\"someday\"},\"drill\":7}",
            "8 faults", "did you mean sources", "schedule.kind is not one of none, daily, weekly", "25:00",
            "system_state", "sources[0].path is missing", "sources[1]", "retention.weekly_on: 'someday'",
            "drill is not a text");
    REFUSED("{", "policy.json:1");
    REFUSED("[]", "not an object");
    REFUSED("{\"exclude\":[],\"exclude\":[]}", "duplicate");
    REFUSED(
        "{\"hooks\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"10\",\"11\",\"12\",\"13\",\"14\",\"15\",\"16\",\"17\"]}",
        "at most 16");
    REFUSED("{\"number\":-1}", "number is not a number");
    REFUSED("{\"time_zone\":\"1234567890123456789012345678901234567890123456789012345678901234\"}", "63 characters");
}

static void refused_check(const cf_policy *policy, cf_code code, const char *const *parts) {
    CF_AUTO(cf_err) err = cf_policy_check(policy);
    if (!err) fail_msg("taken, instead of '%s'", parts[0]);
    for (; *parts; parts++)
        if (!strstr(cf_err_message(err), *parts)) fail_msg("'%s' lacks '%s'", cf_err_message(err), *parts);
    if (cf_err_code(err) != code) fail_msg("%d, not %d: %s", cf_err_code(err), code, cf_err_message(err));
}
#define UNSOUND(policy, code, ...) refused_check(policy, code, (const char *const[]){__VA_ARGS__, NULL})

static void every_fault_of_a_policy_is_listed(void **state) {
    (void)state;
    CF_AUTO_POLICY cf_policy policy;
    assert_null(parse(
        "{\"sources\":[{\"path\":\"etc\"},{\"path\":\"/a/../b\"},{\"path\":\"/x/\"},{\"path\":\"/c\"},{\"path\":\"/c\"}],"
        "\"exclude\":[\"\"],\"schedule\":{\"kind\":\"weekly\",\"times\":[],\"days\":[\"mon\"],\"every_weeks\":99},"
        "\"time_zone\":\"Mars/Base\",\"catch_up_minutes\":99999,\"random_delay_minutes\":1441,"
        "\"retention\":{\"days\":10000,\"weeks\":6000,\"weekly_on\":\"tue 09:00\",\"months\":1200,\"years\":100},"
        "\"hooks\":[\"../x\"]}",
        &policy));
    UNSOUND(&policy, CF_ERR_POLICY_INVALID, "'etc' is relative", "'/a/../b' has . or ..", "'/x/' ends in a slash",
            "'/c' stands twice", "exclusion ''", "no time of the day", "not every 99", "Mars/Base", "44640", "1440",
            "10000 days", "6000 weeks", "1200 months", "100 years", "needs a daily schedule", "names 09:00",
            "day of the week on which", "monthly rule does not say", "yearly rule does not say", "hook '../x'");
}

static void a_fault_of_one_kind_has_its_number(void **state) {
    (void)state;
    static const struct {
        const char *text;
        cf_code code;
        const char *part;
    } cases[] = {
        {"{}", CF_ERR_POLICY_INVALID, "nothing to back up"},
        {"{\"sources\":[{\"path\":\"x\"}]}", CF_ERR_BAD_SOURCE_PATH, "relative"},
        {"{\"system_state\":true,\"time_zone\":\"Nowhere\"}", CF_ERR_ZONE_UNKNOWN, "Nowhere"},
        {"{\"system_state\":true,\"schedule\":{\"kind\":\"daily\",\"times\":[\"09:00\"]}}", CF_ERR_RETENTION_INVALID,
         "no rule"},
        {"{\"system_state\":true,\"retention\":{\"days\":3}}", CF_ERR_RETENTION_INVALID, "there is none"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CF_AUTO_POLICY cf_policy policy;
        assert_null(parse(cases[i].text, &policy));
        UNSOUND(&policy, cases[i].code, cases[i].part);
    }
}

static void ten_thousand_points_are_too_many(void **state) {
    (void)state;
    CF_AUTO_POLICY cf_policy policy;
    assert_null(parse("{\"system_state\":true,\"schedule\":{\"kind\":\"daily\",\"times\":[\"09:00\",\"21:00\"]},"
                      "\"retention\":{\"days\":5000}}",
                      &policy));
    UNSOUND(&policy, CF_ERR_TOO_MANY_POINTS, "10000");
    policy.retention.days = 4999;
    assert_null(cf_policy_check(&policy));
}

static void rules_are_read_and_written(void **state) {
    (void)state;
    static const struct {
        cf_rule rule;
        const char *text, *wanted; /* NULL: refused */
    } cases[] = {
        {CF_RULE_WEEKLY, "sat", "sat"},
        {CF_RULE_WEEKLY, "sun,sat 21:00", "sat,sun 21:00"},
        {CF_RULE_WEEKLY, "last sat", NULL},
        {CF_RULE_WEEKLY, "", NULL},
        {CF_RULE_MONTHLY, "last sat", "last sat"},
        {CF_RULE_MONTHLY, "First,third Sunday 9:30", "first,third sun 09:30"},
        {CF_RULE_MONTHLY, "15,1", "1,15"},
        {CF_RULE_MONTHLY, "last", "last"},
        {CF_RULE_MONTHLY, "31,last 00:00", "31,last 00:00"},
        {CF_RULE_MONTHLY, "32", NULL},
        {CF_RULE_MONTHLY, "0", NULL},
        {CF_RULE_MONTHLY, "sat", NULL},
        {CF_RULE_MONTHLY, "fifth sat", NULL},
        {CF_RULE_MONTHLY, "last sat 24:00", NULL},
        {CF_RULE_YEARLY, "jan last sun", "jan last sun"},
        {CF_RULE_YEARLY, "sep,mar 1", "mar,sep 1"},
        {CF_RULE_YEARLY, "december first mon 01:00", "dec first mon 01:00"},
        {CF_RULE_YEARLY, "jan", NULL},
        {CF_RULE_YEARLY, "last sun", NULL},
        {CF_RULE_YEARLY, "jan last sun 01:00 x", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cf_keep_days days = {0};
        CF_AUTO(cf_err) err = cf_keep_days_parse(cases[i].rule, cases[i].text, &days);
        if (!cases[i].wanted != !!err) fail_msg("'%s': %s", cases[i].text, err ? cf_err_message(err) : "taken");
        if (err) continue;
        CF_AUTO_BUF cf_buf text;
        cf_buf_init(&text, 1024);
        cf_keep_days_put(cases[i].rule, &days, &text);
        cf_buf_put_u8(&text, 0);
        assert_string_equal((const char *)text.data, cases[i].wanted);
    }
}

static void lines_are(const cf_strings *lines, const char *const *wanted) {
    size_t count = 0;
    for (; wanted[count]; count++)
        if (!cf_strings_has(lines, wanted[count])) fail_msg("lacks '%s'", wanted[count]);
    if (lines->count != count)
        for (size_t i = 0; i < lines->count; i++) print_message("%s\n", lines->item[i]);
    assert_int_equal(lines->count, count);
}

static void a_cut_is_told_from_other_changes(void **state) {
    (void)state;
    CF_AUTO_POLICY cf_policy before, after;
    CF_AUTO_STRINGS cf_strings lines = {0}, back = {0};
    assert_null(parse(
        "{\"sources\":[{\"path\":\"/etc\"},{\"path\":\"/home\",\"exclude\":[\"a\",\"!b\"]}],\"system_state\":true,"
        "\"exclude\":[\"x\"]}",
        &before));
    assert_null(
        parse("{\"sources\":[{\"path\":\"/home\",\"exclude\":[\"a\",\"c\"]},{\"path\":\"/new\",\"exclude\":[\"z\"]}],"
              "\"exclude\":[\"!y\"],\"exclude_caches\":true,\"drill\":\"weekly\"}",
              &after));
    assert_null(cf_policy_cut(&before, &after, &lines));
    lines_are(&lines,
              (const char *const[]){"source '/etc' was removed", "the system state was removed",
                                    "exclusion 'c' of /home was added", "exclusion '!b' of /home was removed",
                                    "exclusion 'z' of /new was added", "caches (CACHEDIR.TAG) were excluded", NULL});
    assert_null(cf_policy_cut(&after, &after, &back));
    assert_int_equal(back.count, 0);
    assert_false(cf_policy_same_selection(&before, &after));
}

static void differences_are_told(void **state) {
    (void)state;
    CF_AUTO_POLICY cf_policy before, after;
    CF_AUTO_STRINGS cf_strings lines = {0};
    assert_null(
        parse("{\"sources\":[{\"path\":\"/etc\"}],\"retention\":{\"weeks\":4,\"weekly_on\":\"sat\"}}", &before));
    assert_null(parse("{\"sources\":[{\"path\":\"/srv\"}],\"schedule\":{\"kind\":\"daily\",\"times\":[\"09:00\"]},"
                      "\"retention\":{\"days\":30,\"weeks\":4,\"weekly_on\":\"sun\"},\"protection\":\"paused\"}",
                      &after));
    assert_null(cf_policy_differences(&before, &after, &lines));
    lines_are(&lines,
              (const char *const[]){"source '/srv' was added", "source '/etc' was removed",
                                    "schedule: daily 09:00, was none", "daily points: 30, was 0",
                                    "weekly points: 4 on sun, was 4 on sat", "protection: paused, was on", NULL});
}

static void lists_of_texts(void **state) {
    (void)state;
    CF_AUTO_STRINGS cf_strings list = {0};
    for (int i = 0; i < 100; i++) assert_null(cf_strings_addf(&list, "%d", i % 10));
    assert_int_equal(list.count, 100);
    assert_true(cf_strings_remove(&list, "3"));
    assert_false(cf_strings_remove(&list, "3"));
    assert_int_equal(list.count, 90);
    for (int i = 0; i < 100; i++) assert_null(cf_strings_add(&list, "more"));
    assert_int_equal(list.count, 190);
    assert_true(cf_strings_has(&list, "9"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_document_is_read_and_written),
        cmocka_unit_test(what_is_not_there_has_its_default),
        cmocka_unit_test(every_fault_of_a_document_is_listed),
        cmocka_unit_test(every_fault_of_a_policy_is_listed),
        cmocka_unit_test(a_fault_of_one_kind_has_its_number),
        cmocka_unit_test(ten_thousand_points_are_too_many),
        cmocka_unit_test(rules_are_read_and_written),
        cmocka_unit_test(a_cut_is_told_from_other_changes),
        cmocka_unit_test(differences_are_told),
        cmocka_unit_test(lists_of_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
