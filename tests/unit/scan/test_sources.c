#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <unistd.h>

#include "scan/sources.h"

static void paths_inside_others_add_no_source(void **state) {
    (void)state;
    CF_AUTO(cf_sources) sources = NULL;
    size_t count = 0;
    assert_null(cf_sources_new(&sources));
    assert_null(cf_sources_add(sources, "/usr/bin"));
    assert_null(cf_sources_add(sources, "/etc"));
    assert_null(cf_sources_add(sources, "/usr"));
    assert_null(cf_sources_add(sources, "/etc/../etc/"));
    const char *const *paths = cf_sources_paths(sources, &count);
    assert_int_equal(count, 2);
    assert_string_equal(paths[0], "/etc");
    assert_string_equal(paths[1], "/usr");
    const cf_source_node *usr = cf_source_child(cf_sources_root(sources), "usr");
    assert_non_null(usr);
    assert_true(usr->is_source);
    assert_true(cf_source_child(usr, "bin")->is_source); /* named: its file system may be entered */
    assert_null(cf_source_child(usr, "lib"));
}

static void a_missing_path_is_named(void **state) {
    (void)state;
    CF_AUTO(cf_sources) sources = NULL;
    assert_null(cf_sources_new(&sources));
    CF_AUTO(cf_err) err = cf_sources_add(sources, "/no/such/path");
    assert_int_equal(cf_err_code(err), CF_ERR_SOURCE_MISSING);
    assert_string_equal(cf_err_reason(err), "missing");
    assert_non_null(strstr(cf_err_message(err), "/no/such/path"));
    CF_AUTO(cf_err) empty = cf_sources_add(sources, "");
    assert_int_equal(cf_err_code(empty), CF_ERR_BAD_USAGE);
}

static void the_root_is_a_source_too(void **state) {
    (void)state;
    CF_AUTO(cf_sources) sources = NULL;
    size_t count = 0;
    assert_null(cf_sources_new(&sources));
    assert_null(cf_sources_add(sources, "/etc"));
    assert_null(cf_sources_add(sources, "/"));
    assert_string_equal(cf_sources_paths(sources, &count)[0], "/");
    assert_int_equal(count, 1);
    assert_true(cf_sources_root(sources)->is_source);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_inside_others_add_no_source),
        cmocka_unit_test(a_missing_path_is_named),
        cmocka_unit_test(the_root_is_a_source_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
