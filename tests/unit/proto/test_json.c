/* Reading JSON within bounds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/json.h"

static cf_err *parse(const char *text, json_t **value) {
    return cf_json_parse(cf_span_text(text), 100000, CF_ERR_BAD_REQUEST, "the test", value);
}

static void test_parse(void **state) {
    (void)state;
    static const char *const bad[] = {"",    "{",    "{}x",         "{\"a\":1,\"a\":2}",    "{\"a\":\"\xff\"}",
                                      "nul", "[1,]", "\"\\ud800\"", "{\"a\":\"x\\u0000y\"}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        json_t *value = NULL;
        CF_AUTO(cf_err) err = parse(bad[i], &value);
        assert_int_equal(cf_err_code(err), CF_ERR_BAD_REQUEST);
        assert_string_equal(cf_err_reason(err), "json");
    }
    char deep[300];
    for (size_t levels = 64; levels <= 65; levels++) {
        memset(deep, '[', levels);
        memset(deep + levels, ']', levels);
        deep[2 * levels] = '\0';
        CF_AUTO(json_t) value = NULL;
        CF_AUTO(cf_err) err = parse(deep, &value);
        assert_int_equal(err != NULL, levels == 65);
    }
    CF_AUTO(json_t) quoted = NULL;
    assert_null(parse("{\"[[[[\\\"[[[\":\"}}}}\"}", &quoted));
    json_t *none = NULL;
    CF_AUTO(cf_err) large = cf_json_parse(cf_span_text("[1,2]"), 4, CF_ERR_BAD_REQUEST, "the test", &none);
    assert_int_equal(cf_err_code(large), CF_ERR_TOO_LARGE);
}

static void test_members(void **state) {
    (void)state;
    CF_AUTO(json_t) value = NULL;
    assert_null(
        parse("{\"t\":\"text\",\"n\":7,\"f\":true,\"h\":\"00ff\",\"b\":\"AQI=\",\"w\":\"two\",\"a\":[1],\"z\":null,"
              "\"d\":\"2026-11-20T10:00:00Z\",\"unknown\":{}}",
              &value));
    static const char *const words[] = {"one", "two"};
    uint8_t bytes[2];
    cf_time time = {0, 0};
    CF_AUTO_BUF cf_buf out;
    cf_buf_init(&out, 10);
    cf_json_reader reader = cf_json_reader_of(value, CF_ERR_BAD_REQUEST, "the test");
    assert_string_equal(cf_json_read_text(&reader, "t", 1, 4), "text");
    assert_int_equal(cf_json_read_number(&reader, "n", 7, 7), 7);
    assert_true(cf_json_read_optional_flag(&reader, "f"));
    assert_false(cf_json_read_optional_flag(&reader, "g"));
    cf_json_read_hex(&reader, "h", bytes, 2);
    assert_memory_equal(bytes, "\x00\xff", 2);
    cf_json_read_base64(&reader, "b", 2, &out);
    assert_int_equal(out.size, 2);
    assert_int_equal(cf_json_read_word(&reader, "w", words, 2), 1);
    assert_int_equal(json_array_size(cf_json_read_array(&reader, "a", 1)), 1);
    assert_null(cf_json_read_optional_text(&reader, "z", 5));
    assert_int_equal(cf_json_read_optional_number(&reader, "z", 5, 42), 42);
    assert_true(cf_json_read_optional_time(&reader, "d", &time));
    assert_false(cf_json_read_optional_time(&reader, "z", &time));
    assert_null(cf_json_done(&reader));
}

typedef void (*reading)(cf_json_reader *reader);

static void read_missing(cf_json_reader *r) {
    (void)cf_json_read_text(r, "no", 0, 5);
}
static void read_null(cf_json_reader *r) {
    (void)cf_json_read_number(r, "z", 0, 5);
}
static void read_long(cf_json_reader *r) {
    (void)cf_json_read_text(r, "t", 0, 3);
}
static void read_short(cf_json_reader *r) {
    (void)cf_json_read_text(r, "t", 5, 9);
}
static void read_control(cf_json_reader *r) {
    (void)cf_json_read_text(r, "c", 0, 9);
}
static void read_wrong_type(cf_json_reader *r) {
    (void)cf_json_read_text(r, "n", 0, 9);
}
static void read_above(cf_json_reader *r) {
    (void)cf_json_read_number(r, "n", 0, 6);
}
static void read_below(cf_json_reader *r) {
    (void)cf_json_read_number(r, "n", 8, 9);
}
static void read_negative(cf_json_reader *r) {
    (void)cf_json_read_number(r, "m", 0, UINT64_MAX);
}
static void read_real(cf_json_reader *r) {
    (void)cf_json_read_number(r, "r", 0, 9);
}
static void read_flag(cf_json_reader *r) {
    (void)cf_json_read_optional_flag(r, "n");
}
static void read_array(cf_json_reader *r) {
    (void)cf_json_read_array(r, "t", 9);
}
static void read_many(cf_json_reader *r) {
    (void)cf_json_read_array(r, "a", 1);
}
static void read_time(cf_json_reader *r) {
    (void)cf_json_read_time(r, "t");
}
static void read_hex(cf_json_reader *r) {
    uint8_t bytes[2] = {1, 1};
    cf_json_read_hex(r, "t", bytes, 2);
    assert_int_equal(bytes[0] | bytes[1], 0);
}
static void read_base64(cf_json_reader *r) {
    CF_AUTO_BUF cf_buf out;
    cf_buf_init(&out, 100);
    cf_json_read_base64(r, "c", 100, &out);
}

static void test_refusals(void **state) {
    (void)state;
    static const reading readings[] = {
        read_missing,  read_null, read_long, read_short, read_control, read_wrong_type, read_above, read_below,
        read_negative, read_real, read_flag, read_array, read_many,    read_time,       read_hex,   read_base64};
    CF_AUTO(json_t) value = NULL;
    assert_null(parse("{\"t\":\"text\",\"n\":7,\"m\":-7,\"r\":7.5,\"c\":\"a\\nb\",\"a\":[1,2],\"z\":null}", &value));
    for (size_t i = 0; i < sizeof readings / sizeof *readings; i++) {
        cf_json_reader reader = cf_json_reader_of(value, CF_ERR_BAD_REQUEST, "the test");
        readings[i](&reader);
        assert_string_equal(cf_json_read_text(&reader, "t", 0, 9), ""); /* sticky */
        CF_AUTO(cf_err) err = cf_json_done(&reader);
        assert_int_equal(cf_err_code(err), CF_ERR_BAD_REQUEST);
        assert_string_equal(cf_err_reason(err), "member");
    }
    CF_AUTO(json_t) list = json_array();
    cf_json_reader reader = cf_json_reader_of(list, CF_ERR_FORMAT, "the test");
    CF_AUTO(cf_err) err = cf_json_done(&reader);
    assert_int_equal(cf_err_code(err), CF_ERR_FORMAT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_members),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
