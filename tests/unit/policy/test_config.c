#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "policy/config.h"

static cf_err *parse(const char *text, cf_config *config) {
    cf_config_defaults(config);
    return cf_config_parse(cf_span_text(text), "agent.conf", config);
}

static void refused(const char *text, const char *reason, const char *part) {
    cf_config config;
    CF_AUTO(cf_err) err = parse(text, &config);
    assert_int_equal(cf_err_code(err), CF_ERR_CONFIG);
    assert_string_equal(cf_err_reason(err), reason);
    if (!strstr(cf_err_message(err), part)) fail_msg("'%s' lacks '%s'", cf_err_message(err), part);
}

static void an_empty_file_gives_the_defaults(void **state) {
    (void)state;
    cf_config config;
    assert_null(parse("", &config));
    assert_int_equal(config.compression, CF_COMPRESSION_DEFAULT);
    assert_int_equal(config.lanes, 0);
    assert_true(config.verify_uploads);
    assert_int_equal(config.pack_size_bytes, 16 << 20);
    assert_int_equal(config.memory_bytes, 150 << 20);
    assert_int_equal(config.kdf_memory_bytes, 256 << 20);
    assert_int_equal(config.kdf_passes, 3);
    assert_string_equal(config.proxy_url, "");
}

static void every_key_is_read(void **state) {
    (void)state;
    cf_config config;
    assert_null(parse("# all of them\r\n"
                      "[agent]\r\n"
                      "compression=max\n pack_size = 2 MiB \n\nlanes = 3\nverify_uploads = no\nkdf_memory = 64MiB\n"
                      "kdf_passes = 16\n; another\n[ proxy ]\nurl = http://proxy:3128\nuser = a=b\n"
                      "password_file = /etc/coffer/proxy",
                      &config));
    assert_int_equal(config.compression, CF_COMPRESSION_MAX);
    assert_int_equal(config.lanes, 3);
    assert_false(config.verify_uploads);
    assert_int_equal(config.pack_size_bytes, 2 << 20);
    assert_int_equal(config.kdf_memory_bytes, 64 << 20);
    assert_int_equal(config.kdf_passes, 16);
    assert_string_equal(config.proxy_url, "http://proxy:3128");
    assert_string_equal(config.proxy_user, "a=b");
    assert_string_equal(config.proxy_password_file, "/etc/coffer/proxy");
}

static void unknown_names_come_with_the_nearest_and_the_line(void **state) {
    (void)state;
    refused("[agent]\n\ncompresion = max\n", "unknown_key", "agent.conf:3");
    refused("[agent]\ncompresion = max\n", "unknown_key", "'compression'");
    refused("[agnt]\n", "unknown_section", "[agent]");
    refused("[proxy]\nlanes = 3\n", "unknown_key", "in [proxy]");
    refused("[zzzzzzzzzz]\n", "unknown_section", "zzzz");
    refused("[agent]\n\x1b[31m = 1\n", "unknown_key", "\\x1b");
}

static void bad_values_are_refused_with_what_is_wanted(void **state) {
    (void)state;
    refused("[agent]\ncompression = best\n", "bad_value", "fast, default or max");
    refused("[agent]\npack_size = 65M\n", "bad_value", "64 MiB");
    refused("[agent]\npack_size = lots\n", "bad_value", "64 MiB");
    refused("[agent]\nmemory = 1M\n", "bad_value", "64 MiB");
    refused("[agent]\nlanes = 0\n", "bad_value", "1 to 64");
    refused("[agent]\nlanes = 65\n", "bad_value", "1 to 64");
    refused("[agent]\nlanes = -1\n", "bad_value", "1 to 64");
    refused("[agent]\nverify_uploads = maybe\n", "bad_value", "yes or no");
    refused("[agent]\nkdf_memory = 2GiB\n", "bad_value", "1 GiB");
    refused("[agent]\nkdf_passes = 1\n", "bad_value", "2 to 16");
    refused("[agent]\nlanes =\n", "bad_value", "no value");
    refused("[proxy]\nurl = proxy:3128\n", "bad_value", "http://");
    refused("[proxy]\npassword_file = secret\n", "bad_value", "absolute");
    refused("[proxy]\nuser = a\tb\n", "bad_value", "control");
}

static void broken_files_are_refused(void **state) {
    (void)state;
    refused("lanes = 3\n", "syntax", ":1:");
    refused("[agent\n", "syntax", "[NAME]");
    refused("[", "syntax", "[NAME]");
    refused("[agent]\nlanes\n", "syntax", "KEY = VALUE");
    refused("[agent]\nlanes = 1\nlanes = 2\n", "duplicate", "lanes");
    cf_config config;
    cf_config_defaults(&config);
    CF_AUTO(cf_err) nul = cf_config_parse(cf_span_of("[agent]\0", 8), "x", &config);
    assert_string_equal(cf_err_reason(nul), "syntax");
    static char large[CF_CONFIG_SIZE_MAX + 1];
    memset(large, '\n', sizeof large);
    CF_AUTO(cf_err) much = cf_config_parse(cf_span_of(large, sizeof large), "x", &config);
    assert_string_equal(cf_err_reason(much), "too_large");
    assert_null(cf_config_parse(cf_span_of(large, sizeof large - 1), "x", &config));
    assert_null(cf_config_parse(cf_span_of(NULL, 0), "x", &config));
}

/* man/coffer.conf.5 must describe exactly the keys that exist. */
static void the_manual_page_names_every_key(void **state) {
    (void)state;
    static char page[65536];
    FILE *file = fopen(CF_SOURCE "/man/coffer.conf.5", "r");
    assert_non_null(file);
    page[fread(page, 1, sizeof page - 1, file)] = '\0';
    fclose(file);
    size_t count;
    const cf_config_key *keys = cf_config_keys(&count);
    for (size_t i = 0; i < count; i++) {
        char item[128];
        snprintf(item, sizeof item, ".It Cm %s", keys[i].key);
        if (!strstr(page, item)) fail_msg("coffer.conf.5 lacks '%s'", item);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_file_gives_the_defaults),
        cmocka_unit_test(every_key_is_read),
        cmocka_unit_test(unknown_names_come_with_the_nearest_and_the_line),
        cmocka_unit_test(bad_values_are_refused_with_what_is_wanted),
        cmocka_unit_test(broken_files_are_refused),
        cmocka_unit_test(the_manual_page_names_every_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
