/* Sets of segments: operations against a plain array, encoding there and back, bad bytes refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "visible/segset.h"

static uint64_t seed = 88172645463325252u;

static uint32_t draw(uint32_t below) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed % below);
}

static void fill(cf_segset *set, bool plain[CF_SEGMENTS_MAX]) {
    cf_segset_clear(set);
    memset(plain, 0, CF_SEGMENTS_MAX);
    for (uint32_t i = 0, count = draw(12); i < count; i++) {
        uint32_t first = draw(CF_SEGMENTS_MAX), length = 1 + draw(i % 3 ? 9 : 700);
        cf_segset_add_range(set, first, length);
        for (uint32_t s = first; s < first + length && s < CF_SEGMENTS_MAX; s++) plain[s] = true;
    }
}

static void assert_same(const cf_segset *set, const bool *plain) {
    uint32_t count = 0;
    for (uint32_t s = 0; s < CF_SEGMENTS_MAX; s++) {
        count += plain[s];
        assert_int_equal(cf_segset_has(set, s), plain[s]);
    }
    assert_int_equal(cf_segset_count(set), count);
    assert_int_equal(cf_segset_empty(set), count == 0);
    uint32_t seen = 0;
    for (uint32_t s = 0; cf_segset_next(set, &s); s++) {
        assert_true(plain[s]);
        seen++;
    }
    assert_int_equal(seen, count);
}

static void test_random(void **state) {
    (void)state;
    static cf_segset a, b, c, again;
    static bool in_a[CF_SEGMENTS_MAX], in_b[CF_SEGMENTS_MAX], want[CF_SEGMENTS_MAX];
    for (int round = 0; round < 60; round++) {
        fill(&a, in_a);
        fill(&b, in_b);
        assert_same(&a, in_a);
        for (int kind = 0; kind < 3; kind++) {
            cf_segset_copy(&c, &a);
            if (kind == 0) cf_segset_unite(&c, &b);
            if (kind == 1) cf_segset_subtract(&c, &b);
            if (kind == 2) cf_segset_intersect(&c, &b);
            for (uint32_t s = 0; s < CF_SEGMENTS_MAX; s++)
                want[s] = kind == 0 ? in_a[s] || in_b[s] : in_a[s] && in_b[s] == (kind == 2);
            assert_same(&c, want);
        }
        CF_AUTO_BUF cf_buf bytes;
        cf_buf_init(&bytes, 1 << 20);
        cf_segset_encode(&c, &bytes);
        assert_null(cf_segset_decode(cf_buf_span(&bytes), &again));
        assert_true(cf_segset_equal(&c, &again));
        if (bytes.size == 0) continue;
        CF_AUTO(cf_err) cut = cf_segset_decode(cf_span_of(bytes.data, bytes.size - 1), &again);
        assert_int_equal(cf_err_code(cut), CF_ERR_FORMAT);
    }
}

static void test_ends(void **state) {
    (void)state;
    static cf_segset set;
    cf_segset_clear(&set);
    cf_segset_add(&set, CF_SEGMENTS_MAX);
    cf_segset_add(&set, UINT32_MAX);
    cf_segset_add_range(&set, UINT32_MAX, UINT32_MAX);
    assert_true(cf_segset_empty(&set));
    cf_segset_add_range(&set, 0, UINT32_MAX);
    assert_int_equal(cf_segset_count(&set), CF_SEGMENTS_MAX);
    CF_AUTO_BUF cf_buf bytes;
    cf_buf_init(&bytes, 100);
    cf_segset_encode(&set, &bytes);
    assert_int_equal(bytes.size, 5); /* one range, gap 0, length in three bytes */
}

static void test_refused(void **state) {
    (void)state;
    static cf_segset set;
    static const struct {
        uint8_t bytes[8];
        size_t size;
    } bad[] = {
        {{0}, 0},                            /* nothing                         */
        {{1, 0, 0}, 3},                      /* an empty range                  */
        {{2, 0, 1, 0, 1}, 5},                /* ranges that touch               */
        {{1, 0, 1, 0}, 4},                   /* bytes left over                 */
        {{1, 0, 0xFF, 0xFF, 3}, 5},          /* longer than any pack            */
        {{1, 0xFE, 0xFF, 3, 1}, 5},          /* behind the last segment         */
        {{0x80, 0}, 2},                      /* not in the shortest form        */
        {{0xFF, 0xFF, 0xFF, 0xFF, 0x0F}, 5}, /* more ranges than segments       */
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CF_AUTO(cf_err) err = cf_segset_decode(cf_span_of(bad[i].bytes, bad[i].size), &set);
        assert_int_equal(cf_err_code(err), CF_ERR_FORMAT);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random), cmocka_unit_test(test_ends),
                                       cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests_name("segset", tests, NULL, NULL);
}
