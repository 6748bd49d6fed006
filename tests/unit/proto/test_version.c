#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "proto/version.h"

static void ranges_are_parsed_strictly(void **state) {
    (void)state;
    cf_protocol_range range;
    assert_true(cf_protocol_range_parse("1", &range));
    assert_true(range.min == 1 && range.max == 1);
    assert_true(cf_protocol_range_parse("2-14", &range));
    assert_true(range.min == 2 && range.max == 14);
    static const char *const bad[] = {"",      "-", "1-", "-1", "0",        "2-1",
                                      "1-2-3", "x", " 1", "1 ", "99999999", "1-99999999999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) assert_false(cf_protocol_range_parse(bad[i], &range));
}

static void versions_compare_by_number(void **state) {
    (void)state;
    assert_int_equal(cf_version_compare("0.1.0", "0.1.0"), 0);
    assert_int_equal(cf_version_compare("0.9", "0.10"), -1);
    assert_int_equal(cf_version_compare("1.0", "1"), 0);
    assert_int_equal(cf_version_compare("1.0.1", "1"), 1);
    assert_int_equal(cf_version_compare("0.2.0-rc1", "0.2.0"), 0);
    assert_int_equal(cf_version_compare("", "0"), 0);
}

static void expect(cf_err *err, const char *reason) {
    if (!reason) {
        assert_null(err);
        return;
    }
    assert_int_equal(cf_err_code(err), CF_ERR_VERSION_MISMATCH);
    assert_string_equal(cf_err_reason(err), reason);
    cf_err_free(err);
}

static void both_sides_say_which_one_to_update(void **state) {
    (void)state;
    const cf_protocol_range ours = {CF_PROTOCOL_MIN, CF_PROTOCOL_MAX},
                            newer = {CF_PROTOCOL_MAX + 1, CF_PROTOCOL_MAX + 3};
    expect(cf_version_check_vault("0.1.0", "0.1.0", ours, "0.1.0"), NULL);
    expect(cf_version_check_vault("0.1.0", "0.1.0", (cf_protocol_range){1, 9}, ""), NULL);
    expect(cf_version_check_vault("0.1.0", "9.0.0", newer, "0.1.0"), "update_agent");
    expect(cf_version_check_vault("0.1.0", "9.0.0", ours, "0.2.0"), "update_agent");
    expect(cf_version_check_vault("0.1.0", "0.0.1", (cf_protocol_range){0, 0}, ""), "update_vault");
    expect(cf_version_check_agent("0.1.0", "0.1.0", ours), NULL);
    expect(cf_version_check_agent("0.1.0", "9.0.0", newer), "update_vault");
    expect(cf_version_check_agent("0.1.0", "0.0.1", ours), "update_agent");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_are_parsed_strictly),
        cmocka_unit_test(versions_compare_by_number),
        cmocka_unit_test(both_sides_say_which_one_to_update),
    };
    return cmocka_run_group_tests_name("version", tests, NULL, NULL);
}
