#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/secret.h"
#include "base/text.h"

static void hexadecimal_is_exact(void **state) {
    (void)state;
    uint8_t out[2] = {0};
    char text[CF_HEX_SIZE(2)];
    assert_true(cf_hex_decode("0aFf", out, 2));
    cf_hex_encode(out, 2, text);
    assert_string_equal(text, "0aff");
    assert_false(cf_hex_decode("0af", out, 2));
    assert_false(cf_hex_decode("0aff0", out, 2));
    assert_false(cf_hex_decode("0ag0", out, 2));
}

static void base64_is(const char *plain, const char *coded) {
    CF_AUTO_FREE char *made = cf_base64_encode(cf_span_text(plain));
    assert_string_equal(made, coded);
    CF_AUTO_BUF cf_buf out;
    cf_buf_init(&out, 64);
    assert_true(cf_base64_decode(coded, strlen(coded), &out));
    assert_true(cf_span_equal(cf_buf_span(&out), cf_span_text(plain)));
}

static void base64_round_trips_and_refuses_other_spellings(void **state) {
    (void)state;
    base64_is("", "");
    base64_is("f", "Zg==");
    base64_is("fo", "Zm8=");
    base64_is("foo", "Zm9v");
    base64_is("foobar", "Zm9vYmFy");
    static const char *const bad[] = {"Z", "Zg=", "Zh==", "Zm9=", "Z===", "====", "Zg==Zg==", "Zm 9", "Zm9v\n", "-_-_"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CF_AUTO_BUF cf_buf out;
        cf_buf_init(&out, 64);
        if (cf_base64_decode(bad[i], strlen(bad[i]), &out)) fail_msg("'%s' was taken", bad[i]);
    }
    CF_AUTO_BUF cf_buf small;
    cf_buf_init(&small, 2);
    assert_false(cf_base64_decode("Zm9v", 4, &small));
}

static void utf8_is_judged_by_the_standard(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool valid;
    } cases[] = {{"a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", true},
                 {"\xff", false},
                 {"\xc3", false},
                 {"\xc0\xaf", false},
                 {"\xe0\x9f\xbf", false},
                 {"\xed\xa0\x80", false},
                 {"\xf4\x90\x80\x80", false},
                 {"a\nb", false},
                 {"\x7f", false}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(cf_utf8_valid(cf_span_text(cases[i].text)), cases[i].valid);
    CF_AUTO_FREE char *lossy = cf_utf8_lossy(cf_span_text("a\xff\n\xed\xa0\x80"));
    assert_string_equal(lossy, "a\xef\xbf\xbd\n\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
    CF_AUTO_FREE char *shown = cf_text_printable(cf_span_text("a\xff\033[1m\xc3\xa9"));
    assert_string_equal(shown, "a\\xff\\x1b[1m\xc3\xa9");
}

static void sizes_are_parsed_with_their_units(void **state) {
    (void)state;
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {{"0", 0},
                {"64", 64},
                {"64K", 65536},
                {"1.5M", 1572864},
                {"2GiB", 2147483648},
                {"500 MB", 500000000},
                {"1tb", 1000000000000}};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        uint64_t bytes = 1;
        assert_null(cf_text_parse_size(good[i].text, &bytes));
        assert_int_equal(bytes, good[i].bytes);
    }
    static const char *const bad[] = {"", "-1", "x", "1X", "1 G B", "9999999999T", "nan", "0x10", "1e400"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        uint64_t bytes;
        CF_AUTO(cf_err) err = cf_text_parse_size(bad[i], &bytes);
        if (cf_err_code(err) != CF_ERR_BAD_USAGE) fail_msg("'%s' was taken", bad[i]);
    }
    char text[24];
    cf_text_size(999, text);
    assert_string_equal(text, "999 B");
    cf_text_size(999999, text);
    assert_string_equal(text, "1.0 MB");
    cf_text_size(UINT64_MAX, text);
    assert_string_equal(text, "18.4 EB");
}

static void numbers_are_whole_words_within_bounds(void **state) {
    (void)state;
    uint64_t value = 0;
    assert_true(cf_text_parse_u64("18446744073709551615", UINT64_MAX, &value));
    assert_int_equal(value, UINT64_MAX);
    assert_false(cf_text_parse_u64("18446744073709551616", UINT64_MAX, &value));
    assert_false(cf_text_parse_u64("11", 10, &value));
    assert_false(cf_text_parse_u64("", 10, &value));
    assert_false(cf_text_parse_u64(" 1", 10, &value));
    assert_false(cf_text_parse_u64("+1", 10, &value));
    assert_false(cf_text_parse_u64("1 ", 10, &value));
}

static void the_nearest_word_is_found_or_none(void **state) {
    (void)state;
    static const char *const words[] = {"backup", "restore", "status"};
    assert_string_equal(cf_text_nearest("bakcup", words, 3), "backup");
    assert_string_equal(cf_text_nearest("restroe", words, 3), "restore");
    assert_null(cf_text_nearest("explain", words, 3));
    assert_null(cf_text_nearest("", words, 3));
}

static void times_are_written_and_read_as_rfc_3339(void **state) {
    (void)state;
    char text[40];
    cf_time_format((cf_time){1795213461, 5}, text);
    assert_string_equal(text, "2026-11-20T22:24:21Z");
    cf_time time;
    assert_true(cf_time_parse("2026-11-20T22:24:21Z", &time));
    assert_int_equal(time.seconds, 1795213461);
    assert_true(cf_time_parse("2026-11-20T23:24:21.25+01:00", &time));
    assert_int_equal(time.seconds, 1795213461);
    assert_int_equal(time.nanoseconds, 250000000);
    cf_time_format((cf_time){-1, 0}, text);
    assert_string_equal(text, "1969-12-31T23:59:59Z");
    cf_time_format((cf_time){INT64_MAX, 0}, text);
    assert_string_equal(text, "@9223372036854775807");
    static const char *const bad[] = {"",
                                      "2026-11-20",
                                      "2026-11-20T22:24:21",
                                      "2026-13-20T22:24:21Z",
                                      "2026-11-20T22:24:21Zx",
                                      "2026-11-20T22:24:21+1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (cf_time_parse(bad[i], &time)) fail_msg("'%s' was taken", bad[i]);
}

static void a_secret_shrinks_and_compares(void **state) {
    (void)state;
    CF_AUTO(cf_secret) secret = NULL;
    assert_null(cf_secret_from("abcdef", 6, &secret));
    cf_secret_shrink(secret, 3);
    assert_int_equal(cf_secret_size(secret), 3);
    assert_int_equal(cf_secret_bytes(secret)[3], 0);
    cf_secret_shrink(secret, 9);
    assert_int_equal(cf_secret_size(secret), 3);
    assert_true(cf_equal_secret(cf_secret_bytes(secret), "abc", 3));
    assert_false(cf_equal_secret(cf_secret_bytes(secret), "abd", 3));
    cf_secret *none = NULL;
    CF_AUTO(cf_err) err = cf_secret_new(0, &none);
    assert_int_equal(cf_err_code(err), CF_ERR_INTERNAL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hexadecimal_is_exact),
        cmocka_unit_test(base64_round_trips_and_refuses_other_spellings),
        cmocka_unit_test(utf8_is_judged_by_the_standard),
        cmocka_unit_test(sizes_are_parsed_with_their_units),
        cmocka_unit_test(numbers_are_whole_words_within_bounds),
        cmocka_unit_test(the_nearest_word_is_found_or_none),
        cmocka_unit_test(times_are_written_and_read_as_rfc_3339),
        cmocka_unit_test(a_secret_shrinks_and_compares),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
