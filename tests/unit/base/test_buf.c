#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"

static void varints_round_trip_in_shortest_form(void **state) {
    (void)state;
    static const uint64_t values[] = {0, 1, 127, 128, 16383, 16384, UINT32_MAX, UINT64_MAX - 1, UINT64_MAX};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        CF_AUTO_BUF cf_buf buf;
        cf_buf_init(&buf, 64);
        cf_buf_put_varint(&buf, values[i]);
        cf_buf_put_zigzag(&buf, (int64_t)values[i]);
        cf_cursor cursor = cf_cursor_of(cf_buf_span(&buf));
        assert_int_equal(cf_cursor_varint(&cursor), values[i]);
        assert_int_equal(cf_cursor_zigzag(&cursor), (int64_t)values[i]);
        assert_null(cf_cursor_done(&cursor, CF_ERR_FORMAT, "test"));
    }
}

static void overlong_and_too_large_varints_are_refused(void **state) {
    (void)state;
    static const uint8_t overlong[] = {0x80, 0x00};
    static const uint8_t wide[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02};
    static const uint8_t cut[] = {0x80};
    const cf_span bad[] = {cf_span_of(overlong, 2), cf_span_of(wide, 10), cf_span_of(cut, 1)};
    for (size_t i = 0; i < 3; i++) {
        cf_cursor cursor = cf_cursor_of(bad[i]);
        assert_int_equal(cf_cursor_varint(&cursor), 0);
        CF_AUTO(cf_err) err = cf_cursor_check(&cursor, CF_ERR_FORMAT, "test");
        assert_int_equal(cf_err_code(err), CF_ERR_FORMAT);
        assert_string_equal(cf_err_reason(err), "truncated");
    }
}

static void reading_past_the_end_sticks(void **state) {
    (void)state;
    cf_cursor cursor = cf_cursor_of(cf_span_text("abc"));
    assert_int_equal(cf_cursor_u16(&cursor), 'a' | 'b' << 8);
    assert_int_equal(cf_cursor_u32(&cursor), 0);
    assert_int_equal(cf_cursor_u8(&cursor), 0);
    assert_int_equal(cf_cursor_left(&cursor), 0);
}

static void a_full_buffer_fails_at_the_check(void **state) {
    (void)state;
    CF_AUTO_BUF cf_buf buf;
    cf_buf_init(&buf, 4);
    cf_buf_put_u32(&buf, 7);
    assert_null(cf_buf_check(&buf, "test"));
    cf_buf_put_u8(&buf, 1);
    CF_AUTO(cf_err) err = cf_buf_check(&buf, "test");
    assert_int_equal(cf_err_code(err), CF_ERR_TOO_LARGE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(varints_round_trip_in_shortest_form),
        cmocka_unit_test(overlong_and_too_large_varints_are_refused),
        cmocka_unit_test(reading_past_the_end_sticks),
        cmocka_unit_test(a_full_buffer_fails_at_the_check),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
