/* Rates by hours and weekdays, their words, and the bucket. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "policy/throttle.h"

enum { MON, TUE, WED, THU, FRI, SAT, SUN };
#define NS UINT64_C(1000000000)

static void done(cf_err *err) {
    if (err) fail_msg("%s", cf_err_message(err));
}

static void refused(cf_err *err, cf_code code) {
    assert_int_equal(cf_err_code(err), code);
    cf_err_free(err);
}

static void test_hours(void **state) {
    (void)state;
    cf_throttle t = {.enabled = true, .work_bits = 2000000, .other_bits = 0};
    done(cf_throttle_parse_windows("09:00-12:00,13:00-18:00", 0x1f, &t));
    done(cf_throttle_parse_windows("sat 8:00-24:00", 0x1f, &t));
    assert_int_equal(t.window_count, 3);
    assert_int_equal(cf_throttle_bits(&t, MON, 9 * 60), 2000000);
    assert_int_equal(cf_throttle_bits(&t, MON, 9 * 60 - 1), 0);
    assert_int_equal(cf_throttle_bits(&t, MON, 12 * 60 - 1), 2000000);
    assert_int_equal(cf_throttle_bits(&t, MON, 12 * 60), 0);
    assert_int_equal(cf_throttle_bits(&t, FRI, 17 * 60 + 59), 2000000);
    assert_int_equal(cf_throttle_bits(&t, SAT, 9 * 60), 2000000);
    assert_int_equal(cf_throttle_bits(&t, SAT, 1439), 2000000);
    assert_int_equal(cf_throttle_bits(&t, SUN, 0), 0);
    t.enabled = false;
    assert_int_equal(cf_throttle_bits(&t, MON, 9 * 60), 0);
}

static void test_over_night(void **state) {
    (void)state;
    cf_throttle t = {.enabled = true, .work_bits = 64000, .other_bits = 128000};
    done(cf_throttle_parse_windows("sun 22:00-06:00", 0, &t));
    assert_int_equal(cf_throttle_bits(&t, SUN, 21 * 60 + 59), 128000);
    assert_int_equal(cf_throttle_bits(&t, SUN, 22 * 60), 64000);
    assert_int_equal(cf_throttle_bits(&t, MON, 5 * 60 + 59), 64000);
    assert_int_equal(cf_throttle_bits(&t, MON, 6 * 60), 128000);
    assert_int_equal(cf_throttle_bits(&t, SUN, 60), 128000);
    cf_throttle ends = {.enabled = true, .work_bits = 64000};
    done(cf_throttle_parse_windows("mon 18:00-00:00", 0, &ends));
    assert_int_equal(cf_throttle_bits(&ends, MON, 1439), 64000);
    assert_int_equal(cf_throttle_bits(&ends, TUE, 0), 0);
}

static void test_words(void **state) {
    (void)state;
    static const struct {
        const char *text;
        uint64_t bits;
    } rates[] = {{"64kbit", 64000},     {"2Mbit", 2000000},     {"1.5 Mbit/s", 1500000},
                 {"1gbit", 1000000000}, {"50MBIT/S", 50000000}, {"none", 0}};
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
        uint64_t bits = 1;
        done(cf_throttle_parse_rate(rates[i].text, &bits));
        assert_int_equal(bits, rates[i].bits);
    }
    static const char *const bad_rates[] = {"",       "2",         "2M",     "2MB",   "63kbit", "101Gbit",
                                            "-2Mbit", "1.2.3Mbit", "2Mbits", ".Mbit", "1e3Mbit"};
    for (size_t i = 0; i < sizeof bad_rates / sizeof *bad_rates; i++) {
        uint64_t bits = 7;
        refused(cf_throttle_parse_rate(bad_rates[i], &bits), CF_ERR_BAD_USAGE);
        assert_int_equal(bits, 7);
    }
    uint8_t days = 0;
    done(cf_throttle_parse_weekdays("mon-fri", &days));
    assert_int_equal(days, 0x1f);
    done(cf_throttle_parse_weekdays("sat,sun", &days));
    assert_int_equal(days, 0x60);
    done(cf_throttle_parse_weekdays("SAT-Mon,wed", &days));
    assert_int_equal(days, 0x65);
    done(cf_throttle_parse_weekdays("daily", &days));
    assert_int_equal(days, 0x7f);
    static const char *const bad_days[] = {"", "mon-", "monday", "mon,,tue", "mon,", "-fri"};
    for (size_t i = 0; i < sizeof bad_days / sizeof *bad_days; i++)
        refused(cf_throttle_parse_weekdays(bad_days[i], &days), CF_ERR_BAD_USAGE);
    static const char *const bad_hours[] = {"",
                                            "9-17",
                                            "09:00",
                                            "09:00-",
                                            "24:00-25:00",
                                            "09:60-10:00",
                                            "09:00-09:00",
                                            "09:00-10:00,",
                                            "xyz 09:00-10:00",
                                            "09:00-24:01",
                                            "1:0-2:0"};
    for (size_t i = 0; i < sizeof bad_hours / sizeof *bad_hours; i++) {
        cf_throttle t = {0};
        refused(cf_throttle_parse_windows(bad_hours[i], 1, &t), CF_ERR_BAD_USAGE);
    }
    char text[CF_THROTTLE_RATE_TEXT];
    cf_throttle_rate_text(1500000, text);
    assert_string_equal(text, "1.5 Mbit/s");
    cf_throttle_rate_text(CF_THROTTLE_RATE_MAX, text);
    assert_string_equal(text, "100 Gbit/s");
    char names[32];
    cf_throttle_weekdays_text(0x55, names); /* the longest one: none next to another */
    assert_string_equal(names, "mon,wed,fri,sun");
    cf_throttle_weekdays_text(0x6d, names);
    assert_string_equal(names, "mon,wed,thu,sat,sun");
}

static void test_stored(void **state) {
    (void)state;
    cf_throttle t = {.enabled = true, .work_bits = 64000, .other_bits = 0}, back;
    for (unsigned i = 0; i < CF_THROTTLE_WINDOWS_MAX; i++)
        done(cf_throttle_parse_windows("mon,wed,thu,sat,sun 22:00-06:30", 0, &t));
    refused(cf_throttle_parse_windows("09:00-10:00", 1, &t), CF_ERR_BAD_USAGE);
    CF_AUTO_BUF cf_buf text;
    cf_buf_init(&text, CF_THROTTLE_SIZE_MAX);
    done(cf_throttle_format(&t, &text));
    done(cf_throttle_parse(cf_buf_span(&text), "throttle.conf", &back));
    assert_true(back.enabled && back.work_bits == 64000 && back.other_bits == 0 && back.window_count == t.window_count);
    assert_memory_equal(&back.window[63], &t.window[63], sizeof t.window[63]);
    static const char *const bad[] = {"enabled = maybe\n", "work\n",         "work = 63999\n",
                                      "rate = 1\n",        "window = 1-2\n", "work = 64kbit\n"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        refused(cf_throttle_parse(cf_span_text(bad[i]), "throttle.conf", &back), CF_ERR_CONFIG);
    refused(cf_throttle_parse(cf_span_of("a\0b", 3), "throttle.conf", &back), CF_ERR_CONFIG);
    refused(cf_throttle_check(&(cf_throttle){.enabled = true}), CF_ERR_BAD_USAGE);
    refused(cf_throttle_check(&(cf_throttle){.enabled = true, .work_bits = 64000, .other_bits = 64000}),
            CF_ERR_BAD_USAGE);
}

/* Whatever the order and size of the promises, no stretch of time gets more than its rate and the burst. */
static void test_bucket(void **state) {
    (void)state;
    static const uint64_t rates[] = {8000, 125000, 6250000, UINT64_C(12500000000)};
    for (size_t r = 0; r < 4; r++) {
        uint64_t rate = rates[r], paid = 0, now = 1000 * NS, start = now, busy = now, moved = 0, until, random = 7;
        while (now < start + 60 * NS) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            uint64_t size = random >> 33 & (cf_bucket_slice(rate) - 1);
            paid = cf_bucket_take(paid, now, rate, size, &until);
            if (until > now) now = until;
            if (now - busy > NS) { /* elsewhere for a while, each second: made up for */
                now += NS / 10;
                busy = now;
            }
            moved += size;
        }
        double expected = (double)rate * (double)(now - start) / 1e9;
        assert_true((double)moved < expected + (double)rate / 4 + (double)cf_bucket_slice(rate) + 1);
        assert_true((double)moved > expected * 0.99 - (double)cf_bucket_slice(rate));
    }
}

static void test_bucket_edges(void **state) {
    (void)state;
    uint64_t until, rate = 8000;
    /* Long idle: no more than the burst is saved up. */
    assert_int_equal(cf_bucket_take(5, 1000 * NS, rate, 8000, &until), 1000 * NS + NS - NS / 4);
    /* The machine started again: what is far ahead is from before. */
    assert_int_equal(cf_bucket_take(9000 * NS, 10 * NS, rate, 8000, &until), 11 * NS);
    assert_int_equal(cf_bucket_take(UINT64_MAX, 10 * NS, rate, 8000, &until), 11 * NS);
    /* A process that died after its promise costs the others that one slice. */
    uint64_t paid = cf_bucket_take(10 * NS, 10 * NS, rate, 1024, &until);
    assert_int_equal(paid, 10 * NS + 128000000);
    assert_int_equal(cf_bucket_take(paid, 10 * NS, rate, 1024, &until), 10 * NS + 256000000);
    assert_int_equal(cf_bucket_give(paid, rate, 1024), 10 * NS);
    assert_int_equal(cf_bucket_give(5, rate, 1024), 0);
    /* Nothing overflows. */
    paid = cf_bucket_take(10 * NS, 10 * NS, 1, UINT64_MAX, &until);
    assert_int_equal(paid, 70 * NS);
    (void)cf_bucket_take(10 * NS, 10 * NS, UINT64_C(12500000000), UINT64_C(1) << 40, &until);
    assert_true(until > 10 * NS && until <= 98 * NS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hours),  cmocka_unit_test(test_over_night), cmocka_unit_test(test_words),
        cmocka_unit_test(test_stored), cmocka_unit_test(test_bucket),     cmocka_unit_test(test_bucket_edges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
