#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "agent/point_build.h"

static void ok(cf_err *err) {
    if (err) cf_err_print(stderr, err);
    assert_null(err);
}

static void ids(const cf_server_keys *keys, cf_selection selection, const char *pattern, bool caches, cf_id16 *id,
                cf_id16 *cache) {
    CF_AUTO_COVERAGE cf_coverage coverage = {0};
    ok(cf_coverage_from_paths((const char *const[]){"/usr"}, 1, &pattern, pattern ? 1 : 0, &coverage));
    coverage.exclude_caches = caches;
    ok(cf_selection_id(keys, selection, &coverage, id));
    ok(cf_selection_cache(keys, selection, &coverage, cache));
}

/* Exclusions make another selection, but not another tree cache. */
static void selections_and_their_caches(void **state) {
    (void)state;
    cf_server_keys *keys = NULL;
    ok(cf_server_keys_generate(&keys));
    cf_id16 plain, plain_cache, pattern, pattern_cache, option, option_cache, policy, policy_cache;
    ids(keys, CF_SELECTION_MANUAL, NULL, false, &plain, &plain_cache);
    ids(keys, CF_SELECTION_MANUAL, "*.tmp", false, &pattern, &pattern_cache);
    ids(keys, CF_SELECTION_MANUAL, NULL, true, &option, &option_cache);
    ids(keys, CF_SELECTION_POLICY, NULL, false, &policy, &policy_cache);
    assert_false(cf_id16_equal(&plain, &pattern) || cf_id16_equal(&plain, &option) || cf_id16_equal(&pattern, &option));
    assert_false(cf_id16_equal(&plain, &policy));
    assert_true(cf_id16_equal(&plain_cache, &pattern_cache) && cf_id16_equal(&plain_cache, &option_cache));
    assert_false(cf_id16_equal(&plain_cache, &policy_cache));
    CF_AUTO_COVERAGE cf_coverage other = {0};
    cf_id16 other_cache;
    ok(cf_coverage_from_paths((const char *const[]){"/etc"}, 1, NULL, 0, &other));
    ok(cf_selection_cache(keys, CF_SELECTION_POLICY, &other, &other_cache));
    assert_true(cf_id16_equal(&policy_cache, &other_cache)); /* whatever the policy's sources are */
    ok(cf_selection_cache(keys, CF_SELECTION_MANUAL, &other, &other_cache));
    assert_false(cf_id16_equal(&plain_cache, &other_cache));
    cf_server_keys_free(keys);
}

/* What would not fit into a point's root is refused before anything is read. */
static void too_many_exclusions_are_refused_first(void **state) {
    (void)state;
    cf_server_keys *keys = NULL;
    CF_AUTO_COVERAGE cf_coverage coverage = {0};
    static char pattern[4001];
    cf_id16 id;
    ok(cf_server_keys_generate(&keys));
    ok(cf_coverage_from_paths((const char *const[]){"/usr"}, 1, NULL, 0, &coverage));
    memset(pattern, 'x', sizeof pattern - 1);
    for (int i = 0; i < 300; i++) ok(cf_exclude_add(coverage.exclude, NULL, pattern));
    CF_AUTO(cf_err) err = cf_selection_id(keys, CF_SELECTION_POLICY, &coverage, &id);
    assert_int_equal(cf_err_code(err), CF_ERR_TOO_LARGE);
    cf_server_keys_free(keys);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(selections_and_their_caches),
        cmocka_unit_test(too_many_exclusions_are_refused_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
