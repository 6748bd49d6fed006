#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/dir.h"
#include "scan/coverage.h"

typedef struct fixture {
    char top[64], data[96], gone[96], link[96];
    cf_policy policy;
    unsigned missing;
} fixture;

static void ok(cf_err *err) {
    if (err) cf_err_print(stderr, err);
    assert_null(err);
}

static int setup(void **state) {
    fixture *f = calloc(1, sizeof *f);
    char below[128];
    strcpy(f->top, "/tmp/coffer-cover-XXXXXX");
    assert_non_null(mkdtemp(f->top));
    snprintf(f->data, sizeof f->data, "%s/data", f->top);
    snprintf(f->gone, sizeof f->gone, "%s/gone/deep", f->top);
    snprintf(f->link, sizeof f->link, "%s/link", f->top);
    snprintf(below, sizeof below, "%s/sub", f->data);
    assert_int_equal(mkdir(f->data, 0755), 0);
    assert_int_equal(mkdir(below, 0755), 0);
    assert_int_equal(symlink(f->data, f->link), 0);
    cf_policy_init(&f->policy);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    fixture *f = *state;
    cf_policy_wipe(&f->policy);
    CF_AUTO(cf_err) err = cf_dir_remove_tree(AT_FDCWD, f->top);
    assert_null(err);
    free(f);
    return 0;
}

static void source(fixture *f, const char *path, const char *pattern) {
    cf_policy_source *added = NULL;
    ok(cf_policy_add_source(&f->policy, path, &added));
    if (pattern) ok(cf_strings_add(&added->exclude, pattern));
}

static void count_missing(void *context, cf_span path, const cf_err *why) {
    fixture *f = context;
    assert_true(path.size > 0);
    assert_int_equal(cf_err_code(why), CF_ERR_SOURCE_MISSING);
    f->missing++;
}

static cf_covered of(const cf_coverage *coverage, const char *format, ...) {
    char path[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(path, sizeof path, format, arguments);
    va_end(arguments);
    cf_coverage_verdict verdict;
    ok(cf_coverage_test(coverage, cf_span_text(path), false, &verdict));
    return verdict.covered;
}

static void a_missing_source_stays_in_the_selection(void **state) {
    fixture *f = *state;
    CF_AUTO_COVERAGE cf_coverage coverage = {0};
    source(f, f->data, NULL);
    source(f, f->gone, "*.o");
    ok(cf_coverage_from_policy(&f->policy, count_missing, f, &coverage));
    ok(cf_coverage_check(&coverage));
    assert_int_equal(f->missing, 1);
    size_t count = 0;
    const char *const *paths = cf_sources_paths(coverage.sources, &count);
    assert_int_equal(count, 2);
    assert_string_equal(paths[1], f->gone);
    assert_int_equal(of(&coverage, "%s/file", f->gone), CF_COVERED);
    assert_int_equal(of(&coverage, "%s/file.o", f->gone), CF_NOT_BY_RULE);
    const cf_source_node *top = cf_source_child(cf_source_child(cf_sources_root(coverage.sources), "tmp"), f->top + 5);
    assert_false(top->missing);
    assert_true(cf_source_child(top, "gone")->missing); /* nobody looks for it */
    assert_false(cf_source_child(top, "data")->missing);
}

static void nothing_there_is_a_failure(void **state) {
    fixture *f = *state;
    CF_AUTO_COVERAGE cf_coverage coverage = {0};
    CF_AUTO_COVERAGE cf_coverage empty = {0};
    ok(cf_coverage_from_policy(&f->policy, NULL, NULL, &empty));
    CF_AUTO(cf_err) none = cf_coverage_check(&empty);
    assert_int_equal(cf_err_code(none), CF_ERR_SOURCE_MISSING);
    source(f, f->gone, NULL);
    ok(cf_coverage_from_policy(&f->policy, NULL, NULL, &coverage));
    CF_AUTO(cf_err) err = cf_coverage_check(&coverage);
    assert_int_equal(cf_err_code(err), CF_ERR_SOURCE_MISSING);
    assert_string_equal(cf_err_reason(err), "missing");
    CF_AUTO_COVERAGE cf_coverage paths = {0};
    CF_AUTO(cf_err) by_hand = cf_coverage_from_paths((const char *const[]){f->gone}, 1, NULL, 0, &paths);
    assert_int_equal(cf_err_code(by_hand), CF_ERR_SOURCE_MISSING);
}

static void a_source_is_where_its_link_leads(void **state) {
    fixture *f = *state;
    CF_AUTO_COVERAGE cf_coverage coverage = {0};
    source(f, f->link, "/sub/");
    ok(cf_coverage_from_policy(&f->policy, NULL, NULL, &coverage));
    assert_int_equal(of(&coverage, "%s/sub/x", f->data), CF_NOT_BY_RULE);
    assert_int_equal(of(&coverage, "%s/x", f->data), CF_COVERED);
    assert_int_equal(of(&coverage, "%s", f->top), CF_COVERED_WAY);
    assert_int_equal(of(&coverage, "%s", f->link), CF_NOT_IN_SOURCES);
    assert_int_equal(of(&coverage, "/"), CF_COVERED_WAY);
}

static void the_system_state_is_a_source(void **state) {
    fixture *f = *state;
    CF_AUTO_COVERAGE cf_coverage coverage = {0};
    f->policy.system_state = true;
    ok(cf_strings_add(&f->policy.exclude, "/etc/"));
    ok(cf_coverage_from_policy(&f->policy, NULL, NULL, &coverage));
    ok(cf_coverage_check(&coverage));
    assert_int_equal(of(&coverage, CF_SYSTEM_STATE_PATH "/RECOVER.md"), CF_COVERED);
    assert_int_equal(of(&coverage, "/etc/passwd"), CF_COVERED); /* a source is not excluded by its name */
    assert_int_equal(of(&coverage, "/home/x"), CF_NOT_IN_SOURCES);
    source(f, f->gone, NULL);
    CF_AUTO_COVERAGE cf_coverage half = {0};
    ok(cf_coverage_from_policy(&f->policy, NULL, NULL, &half));
    CF_AUTO(cf_err) err = cf_coverage_check(&half); /* the state alone is not what was asked for */
    assert_int_equal(cf_err_code(err), CF_ERR_SOURCE_MISSING);
}

static void pseudo_file_systems_are_never_entered(void **state) {
    fixture *f = *state;
    CF_AUTO_COVERAGE cf_coverage coverage = {0};
    f->policy.one_file_system = false;
    source(f, "/", NULL);
    ok(cf_coverage_from_policy(&f->policy, NULL, NULL, &coverage));
    assert_int_equal(of(&coverage, "/proc"), CF_COVERED);
    assert_int_equal(of(&coverage, "/proc/self/status"), CF_NOT_FILE_SYSTEM);
    assert_int_equal(of(&coverage, "%s/sub", f->data), CF_COVERED);
}

static cf_err *join(void *context, cf_span pattern) {
    cf_buf_put_span(context, pattern);
    cf_buf_put_u8(context, '|');
    return NULL;
}

static void the_root_names_all_of_it(void **state) {
    fixture *f = *state;
    CF_AUTO_COVERAGE cf_coverage coverage = {0};
    source(f, f->data, "*.o");
    ok(cf_strings_add(&f->policy.exclude, "*.tmp"));
    f->policy.exclude_caches = f->policy.exclude_nodump = true;
    ok(cf_coverage_from_policy(&f->policy, NULL, NULL, &coverage));
    CF_AUTO_BUF cf_buf text;
    char expected[256];
    cf_buf_init(&text, 4096);
    ok(cf_coverage_exclusions(&coverage, join, &text));
    cf_buf_put_u8(&text, 0);
    snprintf(expected, sizeof expected, "#caches|#nodump|*.tmp|%s/**/*.o|", f->data);
    assert_string_equal((const char *)text.data, expected);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_missing_source_stays_in_the_selection, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_there_is_a_failure, setup, teardown),
        cmocka_unit_test_setup_teardown(a_source_is_where_its_link_leads, setup, teardown),
        cmocka_unit_test_setup_teardown(the_system_state_is_a_source, setup, teardown),
        cmocka_unit_test_setup_teardown(pseudo_file_systems_are_never_entered, setup, teardown),
        cmocka_unit_test_setup_teardown(the_root_names_all_of_it, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
