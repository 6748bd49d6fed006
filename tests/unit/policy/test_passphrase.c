#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "policy/passphrase.h"

static unsigned of(const char *text) {
    return cf_passphrase_violations(cf_span_text(text));
}

static void every_violation_is_named(void **state) {
    (void)state;
    assert_int_equal(of("sixteen chars ok"), 0);
    assert_int_equal(of("fifteen chars !"), CF_PASSPHRASE_TOO_SHORT);
    assert_int_equal(of(""), CF_PASSPHRASE_EMPTY);
    assert_int_equal(of("sixteen chars \xc3\xa9h"), CF_PASSPHRASE_NOT_ASCII);
    assert_int_equal(of("sixteen\tchars ok"), CF_PASSPHRASE_CONTROL);
    assert_int_equal(of("sixteen\nchars ok"), CF_PASSPHRASE_CONTROL);
    assert_int_equal(of("\xc3\xa9\x7f"), CF_PASSPHRASE_TOO_SHORT | CF_PASSPHRASE_NOT_ASCII | CF_PASSPHRASE_CONTROL);
    assert_int_equal(cf_passphrase_violations(cf_span_of("sixteen\0chars ok", 16)), CF_PASSPHRASE_CONTROL);
}

static void the_limits_are_exact(void **state) {
    (void)state;
    char text[CF_PASSPHRASE_MAX + 2];
    memset(text, '~', sizeof text);
    assert_int_equal(cf_passphrase_violations(cf_span_of(text, 15)), CF_PASSPHRASE_TOO_SHORT);
    assert_int_equal(cf_passphrase_violations(cf_span_of(text, 16)), 0);
    assert_int_equal(cf_passphrase_violations(cf_span_of(text, CF_PASSPHRASE_MAX)), 0);
    assert_int_equal(cf_passphrase_violations(cf_span_of(text, CF_PASSPHRASE_MAX + 1)), CF_PASSPHRASE_TOO_LONG);
}

static void the_error_lists_all_reasons_and_never_the_passphrase(void **state) {
    (void)state;
    CF_AUTO(cf_err) err = cf_passphrase_check(cf_span_text("hemlig\xc3\xa9\t"));
    assert_int_equal(cf_err_code(err), CF_ERR_PASSPHRASE_RULE);
    assert_string_equal(cf_err_reason(err), "too_short,not_ascii,control_character");
    assert_null(strstr(cf_err_message(err), "hemlig"));
    assert_non_null(strstr(cf_err_message(err), "fewer than 16"));
    assert_non_null(strstr(cf_err_message(err), "not ASCII"));
    assert_non_null(strstr(cf_err_message(err), "control"));
    assert_null(cf_passphrase_check(cf_span_text("sixteen chars ok")));
}

static void one_newline_at_the_end_is_dropped(void **state) {
    (void)state;
    assert_true(cf_span_equal(cf_passphrase_line(cf_span_text("abc\n")), cf_span_text("abc")));
    assert_true(cf_span_equal(cf_passphrase_line(cf_span_text("abc\r\n")), cf_span_text("abc")));
    assert_true(cf_span_equal(cf_passphrase_line(cf_span_text("abc\n\n")), cf_span_text("abc\n")));
    assert_true(cf_span_equal(cf_passphrase_line(cf_span_text("abc ")), cf_span_text("abc ")));
    assert_true(cf_span_equal(cf_passphrase_line(cf_span_text("\n")), cf_span_text("")));
    assert_true(cf_span_equal(cf_passphrase_line(cf_span_of(NULL, 0)), cf_span_of(NULL, 0)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_violation_is_named),
        cmocka_unit_test(the_limits_are_exact),
        cmocka_unit_test(the_error_lists_all_reasons_and_never_the_passphrase),
        cmocka_unit_test(one_newline_at_the_end_is_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
