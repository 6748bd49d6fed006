#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "policy/exclude.h"

static void ok(cf_err *err) {
    if (err) cf_err_print(stderr, err);
    assert_null(err);
}

typedef struct given_rule {
    const char *source, *pattern;
} given_rule;

static cf_exclude *make(const given_rule *rules) {
    cf_exclude *exclude = NULL;
    ok(cf_exclude_new(&exclude));
    for (; rules->pattern || rules->source; rules++) {
        if (rules->pattern)
            ok(cf_exclude_add(exclude, rules->source, rules->pattern));
        else
            ok(cf_exclude_add_source(exclude, rules->source));
    }
    return exclude;
}

static bool out(const cf_exclude *exclude, const char *path) {
    cf_exclude_match match;
    size_t size = strlen(path);
    ok(cf_exclude_test(exclude, cf_span_text(path), path[size - 1] == '/', &match));
    return match.excluded;
}

static void each_list_has_its_base(void **state) {
    (void)state;
    CF_AUTO(cf_exclude)
    exclude = make(
        (given_rule[]){{NULL, "*.log"}, {NULL, "/var/cache/"}, {"/srv", "/tmp/"}, {"/srv", "!keep.log"}, {NULL, NULL}});
    assert_true(out(exclude, "/home/a.log"));
    assert_true(out(exclude, "/var/cache/"));
    assert_true(out(exclude, "/var/cache/apt/x"));
    assert_false(out(exclude, "/srv/var/cache/")); /* the policy's base is "/" */
    assert_true(out(exclude, "/srv/tmp/x"));
    assert_false(out(exclude, "/tmp/x"));
    assert_false(out(exclude, "/srv/a/tmp/"));
    assert_false(out(exclude, "/srv/a/keep.log")); /* a source's rules come after the policy's */
    assert_true(out(exclude, "/home/keep.log"));
}

static void the_rule_that_decides_is_named(void **state) {
    (void)state;
    CF_AUTO(cf_exclude)
    exclude =
        make((given_rule[]){{NULL, "*.log"}, {"/srv", "a"}, {"/srv", "cache/"}, {"/srv", "!cache/x"}, {NULL, NULL}});
    cf_exclude_match match;
    ok(cf_exclude_test(exclude, cf_span_text("/srv/b/cache/deep/x"), false, &match));
    assert_true(match.matched && match.excluded);
    assert_string_equal(match.pattern, "cache/");
    assert_string_equal(match.source, "/srv");
    assert_int_equal(match.index, 1);
    assert_int_equal(match.path_size, strlen("/srv/b/cache"));
    ok(cf_exclude_test(exclude, cf_span_text("/srv/x.log"), false, &match));
    assert_null(match.source);
    assert_int_equal(match.path_size, strlen("/srv/x.log"));
    ok(cf_exclude_test(exclude, cf_span_text("/srv/x.txt"), false, &match));
    assert_false(match.matched || match.excluded);
    ok(cf_exclude_test(exclude, cf_span_text("/"), true, &match));
    assert_false(match.matched);
    cf_err *relative = cf_exclude_test(exclude, cf_span_text("srv"), true, &match);
    assert_int_equal(cf_err_code(relative), CF_ERR_BAD_USAGE);
    cf_err_free(relative);
}

static void a_source_is_never_closed(void **state) {
    (void)state;
    CF_AUTO(cf_exclude)
    exclude = make((given_rule[]){
        {"/", "/var/"}, {NULL, "data"}, {"/var/lib/data", NULL}, {"/var/lib/data", "data"}, {NULL, NULL}});
    assert_true(out(exclude, "/var/log/x"));
    assert_true(out(exclude, "/var/lib/other"));
    assert_false(out(exclude, "/var/lib/data"));
    assert_false(out(exclude, "/var/lib/data/x"));
    assert_true(out(exclude, "/var/lib/data/data"));
    assert_true(out(exclude, "/home/data"));
    cf_exclude_match match;
    ok(cf_exclude_test(exclude, cf_span_text("/var/lib/other"), true, &match));
    assert_string_equal(match.pattern, "/var/");
    assert_int_equal(match.path_size, 4);
}

static void states_end_where_nothing_can_match(void **state) {
    (void)state;
    CF_AUTO(cf_exclude) exclude = make((given_rule[]){{NULL, "/a/b"}, {"/s/t", "x"}, {NULL, NULL}});
    cf_exclude_state *root = NULL, *a = NULL, *s = NULL, *other = NULL, *t = NULL, *deep = NULL;
    ok(cf_exclude_root(exclude, &root));
    ok(cf_exclude_enter(root, cf_span_text("a"), &a));
    assert_non_null(a);
    assert_true(cf_exclude_name(a, cf_span_text("b"), false, NULL));
    assert_false(cf_exclude_name(a, cf_span_text("c"), false, NULL));
    ok(cf_exclude_enter(root, cf_span_text("other"), &other));
    assert_null(other);
    ok(cf_exclude_enter(root, cf_span_text("s"), &s));
    ok(cf_exclude_enter(s, cf_span_text("t"), &t));
    ok(cf_exclude_enter(t, cf_span_text("deep"), &deep));
    assert_true(cf_exclude_name(deep, cf_span_text("x"), false, NULL));
    assert_false(cf_exclude_needs_type(deep));
    cf_exclude_state_free(root);
    cf_exclude_state_free(a);
    cf_exclude_state_free(s);
    cf_exclude_state_free(t);
    cf_exclude_state_free(deep);
    CF_AUTO(cf_exclude) empty = make((given_rule[]){{"/s", NULL}, {NULL, NULL}});
    ok(cf_exclude_root(empty, &root));
    assert_null(root);
}

static void useless_patterns_are_told(void **state) {
    (void)state;
    static const char *const bad[] = {"",    " ",  "# note",    "/",      "!",   "//", "a//b",
                                      "a\\", "[a", "[[:foo:]]", "a/../b", "./a", "!/"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cf_err *err = cf_exclude_check(bad[i]);
        assert_int_equal(cf_err_code(err), CF_ERR_BAD_USAGE);
        cf_err_free(err);
        CF_AUTO(cf_exclude) exclude = make((given_rule[]){{NULL, bad[i]}, {"/s", bad[i]}, {NULL, NULL}});
        assert_false(out(exclude, "/s/a"));
    }
    static const char *const good[] = {"a", "*", "\\#x", "\\ ", "a/", "!a", "**/a", "[]a]", "...", "a b ", "/**"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) ok(cf_exclude_check(good[i]));
}

/* ---- Written down, and read again ---- */

typedef struct lines {
    char text[64][64];
    size_t count;
} lines;

static cf_err *collect(void *context, cf_span pattern) {
    lines *all = context;
    assert_true(all->count < 64 && pattern.size < 64);
    memcpy(all->text[all->count], pattern.data, pattern.size);
    all->text[all->count++][pattern.size] = 0;
    return NULL;
}

static void written_for_the_root(void **state) {
    (void)state;
    CF_AUTO(cf_exclude)
    exclude = make((given_rule[]){{"/s/[x]", "*.o"},
                                  {"/s/[x]", "!/a/b/"},
                                  {"/s/[x]", "**/c"},
                                  {"/s", "a/**"},
                                  {"/", "z/"},
                                  {NULL, "p q "},
                                  {NULL, "#"},
                                  {NULL, NULL}});
    lines all = {0};
    ok(cf_exclude_absolute(exclude, collect, &all));
    static const char *const expected[] = {"p q ",           "/**/z/",       "/s/a/**", "/s/\\[x]/**/*.o",
                                           "!/s/\\[x]/a/b/", "/s/\\[x]/**/c"};
    assert_int_equal(all.count, 6);
    for (size_t i = 0; i < 6; i++) assert_string_equal(all.text[i], expected[i]);
    char long_source[4000] = "/", long_pattern[200];
    memset(long_source + 1, 'x', sizeof long_source - 2);
    long_source[sizeof long_source - 1] = 0;
    memset(long_pattern, 'y', sizeof long_pattern);
    long_pattern[sizeof long_pattern - 1] = 0;
    ok(cf_exclude_add(exclude, long_source, long_pattern));
    all.count = 0;
    cf_err *err = cf_exclude_absolute(exclude, collect, &all);
    assert_int_equal(cf_err_code(err), CF_ERR_TOO_LARGE);
    cf_err_free(err);
}

static unsigned draw(uint32_t *seed, unsigned below) {
    *seed = *seed * 1664525u + 1013904223u;
    return (*seed >> 8) % below;
}

static void text_of(uint32_t *seed, bool pattern, char *out_text) {
    static const char *const words[] = {"a", "b", "ab", "a.o", "**", "*", "?b", "[ab]", "*.o", "a*b"};
    *out_text = 0;
    if (pattern && draw(seed, 4) == 0) strcat(out_text, "!");
    if (!pattern || draw(seed, 3) == 0) strcat(out_text, "/");
    for (unsigned parts = 1 + draw(seed, 4); parts > 0; parts--) {
        strcat(out_text, words[draw(seed, pattern ? 10 : 4)]);
        if (parts > 1 || (pattern && draw(seed, 4) == 0)) strcat(out_text, "/");
    }
}

/* What stands in a point's root means the same as the lists it was made from. */
static void written_rules_mean_the_same(void **state) {
    (void)state;
    static const char *const sources[] = {"/", "/a", "/a/b", "/b"};
    uint32_t seed = 7;
    for (int round = 0; round < 400; round++) {
        CF_AUTO(cf_exclude) exclude = NULL;
        CF_AUTO(cf_exclude) again = NULL;
        ok(cf_exclude_new(&exclude));
        ok(cf_exclude_new(&again));
        char text[128];
        for (int i = 0; i < 4; i++) {
            unsigned which = draw(&seed, 6);
            const char *source = which < 4 ? sources[which] : NULL;
            text_of(&seed, true, text);
            ok(cf_exclude_add(exclude, source, text));
            if (source) ok(cf_exclude_add_source(again, source));
        }
        lines all = {0};
        ok(cf_exclude_absolute(exclude, collect, &all));
        for (size_t i = 0; i < all.count; i++) ok(cf_exclude_add(again, NULL, all.text[i]));
        for (int i = 0; i < 60; i++) {
            text_of(&seed, false, text);
            cf_exclude_match one, two;
            bool folder = draw(&seed, 2) == 0;
            ok(cf_exclude_test(exclude, cf_span_text(text), folder, &one));
            ok(cf_exclude_test(again, cf_span_text(text), folder, &two));
            assert_true(one.excluded == two.excluded && one.matched == two.matched && one.path_size == two.path_size);
        }
    }
}

static void many_rules_stay_quick(void **state) {
    (void)state;
    CF_AUTO(cf_exclude) exclude = NULL;
    ok(cf_exclude_new(&exclude));
    char text[64];
    for (int i = 0; i < CF_POLICY_PATTERNS_MAX; i++) {
        snprintf(text, sizeof text, "name-%d", i);
        ok(cf_exclude_add(exclude, NULL, text));
    }
    cf_err *err = cf_exclude_add(exclude, NULL, "one more");
    assert_int_equal(cf_err_code(err), CF_ERR_TOO_LARGE);
    cf_err_free(err);
    for (int i = 0; i < 100000; i++) {
        snprintf(text, sizeof text, "/home/name-%d", i);
        assert_true(out(exclude, text) == (i < CF_POLICY_PATTERNS_MAX));
    }
}

/* The vault's policy must not be able to keep an agent busy. */
static void no_pattern_takes_for_ever(void **state) {
    (void)state;
    char pattern[512] = "", path[1024] = "";
    for (int i = 0; i < 60; i++) strcat(pattern, "**/a*/");
    strcat(pattern, "z");
    for (int i = 0; i < 300; i++) strcat(path, "/aa");
    CF_AUTO(cf_exclude)
    exclude = make((given_rule[]){
        {NULL, pattern}, {NULL, "*a*a*a*a*a*a*a*a*a*a*b"}, {NULL, "**/**/**/**/**/**/x/**"}, {NULL, NULL}});
    assert_false(out(exclude, path));
    char name[300] = "/";
    memset(name + 1, 'a', 255);
    assert_false(out(exclude, name));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_list_has_its_base),      cmocka_unit_test(the_rule_that_decides_is_named),
        cmocka_unit_test(a_source_is_never_closed),    cmocka_unit_test(states_end_where_nothing_can_match),
        cmocka_unit_test(useless_patterns_are_told),   cmocka_unit_test(written_for_the_root),
        cmocka_unit_test(written_rules_mean_the_same), cmocka_unit_test(many_rules_stay_quick),
        cmocka_unit_test(no_pattern_takes_for_ever),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
