#include "helper.h"

#include "index/ranges.h"

enum { SPACE = 300 };

static void expect_same(const cf_ranges *set, const bool *model) {
    uint64_t total = 0;
    for (uint64_t i = 0; i < SPACE; i++) {
        assert_int_equal(cf_ranges_contains(set, i), model[i]);
        total += model[i];
    }
    assert_int_equal(cf_ranges_total(set), total);
    for (size_t i = 1; i < set->count; i++) assert_true(set->items[i].first > set->items[i - 1].last + 1);
}

static void test_against_a_model(void **state) {
    (void)state;
    srand(42);
    for (int round = 0; round < 200; round++) {
        cf_ranges a = {0}, b = {0}, united = {0}, less = {0}, copy = {0}, back = {0};
        bool in_a[SPACE] = {0}, in_b[SPACE] = {0}, in_both[SPACE], in_less[SPACE];
        for (int i = rand() % 400; i > 0; i--) {
            uint64_t value = (uint64_t)rand() % SPACE;
            expect_ok(cf_ranges_add(&a, value));
            in_a[value] = true;
        }
        for (int i = rand() % 400; i > 0; i--) {
            uint64_t value = (uint64_t)rand() % SPACE;
            expect_ok(cf_ranges_add(&b, value));
            in_b[value] = true;
        }
        for (int i = 0; i < SPACE; i++) {
            in_both[i] = in_a[i] || in_b[i];
            in_less[i] = in_a[i] && !in_b[i];
        }
        expect_ok(cf_ranges_unite(&a, &b, &united));
        expect_ok(cf_ranges_subtract(&a, &b, &less));
        expect_ok(cf_ranges_copy(&a, &copy));
        expect_same(&a, in_a);
        expect_same(&b, in_b);
        expect_same(&united, in_both);
        expect_same(&less, in_less);
        expect_same(&copy, in_a);
        CF_AUTO_BUF cf_buf bytes;
        cf_buf_init(&bytes, 65536);
        cf_ranges_encode(&a, &bytes);
        cf_cursor cursor = cf_cursor_of(cf_buf_span(&bytes));
        expect_ok(cf_ranges_decode(&cursor, &back));
        expect_ok(cf_cursor_done(&cursor, CF_ERR_FORMAT, "ranges"));
        expect_same(&back, in_a);
        cf_ranges_wipe(&a);
        cf_ranges_wipe(&b);
        cf_ranges_wipe(&united);
        cf_ranges_wipe(&less);
        cf_ranges_wipe(&copy);
        cf_ranges_wipe(&back);
    }
}

static void test_ends(void **state) {
    (void)state;
    cf_ranges set = {0}, all = {0}, none = {0};
    expect_ok(cf_ranges_add(&set, UINT64_MAX));
    expect_ok(cf_ranges_add(&set, 0));
    expect_ok(cf_ranges_add(&set, UINT64_MAX - 1));
    assert_int_equal(set.count, 2);
    assert_true(cf_ranges_contains(&set, UINT64_MAX));
    assert_false(cf_ranges_contains(&set, 1));
    expect_ok(cf_ranges_append(&all, 0, UINT64_MAX));
    assert_true(cf_ranges_total(&all) == UINT64_MAX);
    expect_ok(cf_ranges_subtract(&set, &all, &none));
    assert_int_equal(none.count, 0);
    cf_ranges rest = {0};
    expect_ok(cf_ranges_subtract(&all, &set, &rest));
    assert_int_equal(rest.count, 1);
    assert_true(rest.items[0].first == 1 && rest.items[0].last == UINT64_MAX - 2);
    cf_ranges_wipe(&rest);
    cf_ranges_wipe(&set);
    cf_ranges_wipe(&all);
    cf_ranges_wipe(&none);
}

static void expect_bad(const void *data, size_t size) {
    cf_ranges set = {0};
    cf_cursor cursor = cf_cursor_of(cf_span_of(data, size));
    expect_ok(cf_ranges_decode(&cursor, &set));
    assert_true(cursor.failed);
    assert_int_equal(set.count, 0);
    cf_ranges_wipe(&set);
}

static void test_bad_bytes(void **state) {
    (void)state;
    expect_bad("", 0);
    expect_bad("\x05\x01\x01", 3);                                      /* more than the bytes can hold */
    expect_bad("\x02\x00\x00\x01\x00", 5);                              /* touches the one before       */
    expect_bad("\x01\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12); /* ends above 2^64 - 1     */
    expect_bad("\x02\x01\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00", 14);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_a_model),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_bad_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
