/* What of segments is used, which are stored again, and how much in a run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "agent/refresh.h"

#define OK(call)                              \
    do {                                      \
        cf_err *err_ = (call);                \
        if (err_) cf_err_print(stderr, err_); \
        assert_null(err_);                    \
    } while (0)

/* A map with the segments of all tests. */
static cf_map *all_segments(void) {
    cf_map *map = NULL;
    OK(cf_map_new(&map));
    for (uint16_t i = 0; i < 4; i++) OK(cf_map_add(map, 1, i));
    for (uint16_t i = 0; i < 100; i++) OK(cf_map_add(map, 10, i));
    for (uint64_t pack = 20; pack < 23; pack++)
        for (uint16_t i = 0; i < 1000; i++) OK(cf_map_add(map, pack, i));
    return map;
}

static void test_classes(void **state) {
    (void)state;
    CF_AUTO(cf_map) map = all_segments();
    CF_AUTO(cf_usage) usage = NULL;
    OK(cf_usage_new(map, &usage));
    cf_usage_add(usage, 1, 0, 0, 524288);
    cf_usage_add(usage, 1, 1, 0, 100000);
    cf_usage_add(usage, 1, 1, 424288, 100000);
    cf_usage_add(usage, 1, 2, 500000, 8000);
    cf_usage_add(usage, 1, 3, 0, 200000);
    cf_usage_add(usage, 1, 3, 0, 200000); /* the same chunk, named twice */
    cf_usage_add(usage, 1, 3, 425984, 98304);
    assert_int_equal(cf_usage_class(usage, 1, 0), 3);
    assert_int_equal(cf_usage_class(usage, 1, 1), 1);
    assert_int_equal(cf_usage_class(usage, 1, 2), 0);
    assert_int_equal(cf_usage_class(usage, 1, 3), 2);
    assert_int_equal(cf_usage_class(usage, 2, 0), 3); /* nothing is known */
    cf_usage_add(usage, 1, 4, 524288, 1);             /* not a place in a segment */
    cf_usage_add(usage, 1, 4, 0, 0);
    assert_int_equal(cf_usage_class(usage, 1, 4), 3);
}

/* Dense segments, and sparse ones with a hundredth in use each. */
static void fill(cf_usage *usage, unsigned dense, unsigned sparse) {
    for (unsigned i = 0; i < dense; i++) cf_usage_add(usage, 10, (uint16_t)i, 0, 524288);
    for (unsigned i = 0; i < sparse; i++) cf_usage_add(usage, 20 + i / 1000, (uint16_t)(i % 1000), 519000, 5000);
}

/* Of a file of many chunks only sums are known. */
static void test_sums(void **state) {
    (void)state;
    CF_AUTO(cf_map) map = all_segments();
    CF_AUTO(cf_usage) usage = NULL;
    OK(cf_usage_new(map, &usage));
    cf_usage_add_between(usage, 1, 0, 0, 524288, 524288);
    cf_usage_add_between(usage, 1, 1, 0, 524288, 100000);
    cf_usage_add_between(usage, 1, 1, 1000, 500000, 50000);
    cf_usage_add_between(usage, 1, 2, 0, 524289, 7); /* not in a segment */
    assert_int_equal(cf_usage_class(usage, 1, 0), 3);
    assert_int_equal(cf_usage_class(usage, 1, 1), 1);
    assert_int_equal(cf_usage_class(usage, 1, 2), 3);
}

static void test_share(void **state) {
    (void)state;
    CF_AUTO(cf_map) map = all_segments();
    CF_AUTO(cf_usage) usage = NULL;
    CF_AUTO(cf_map) chosen = NULL;
    OK(cf_usage_new(map, &usage));
    fill(usage, 100, 3000);
    assert_true(cf_usage_amplification(usage) > 1000);
    OK(cf_usage_sparse(usage, &chosen));
    assert_non_null(chosen);
    uint64_t live = 100ull * 524288 + 3000ull * 5000, count = cf_map_segment_count(chosen);
    assert_true(count * 5000 * 100 <= live * 2);
    assert_true((count + 2) * 5000 * 100 > live * 2);
    assert_false(cf_map_has_pack(chosen, 10));
}

static void test_dense_is_left_alone(void **state) {
    (void)state;
    CF_AUTO(cf_map) map = all_segments();
    CF_AUTO(cf_usage) usage = NULL;
    CF_AUTO(cf_map) chosen = NULL;
    OK(cf_usage_new(map, &usage));
    fill(usage, 100, 20); /* 1.2 times */
    assert_true(cf_usage_amplification(usage) < 150);
    OK(cf_usage_sparse(usage, &chosen));
    assert_null(chosen);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_classes),
        cmocka_unit_test(test_sums),
        cmocka_unit_test(test_share),
        cmocka_unit_test(test_dense_is_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
