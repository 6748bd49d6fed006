#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "cli/home.h"
#include "cli/output.h"
#include "cli/passphrase.h"
#include "cli/progress.h"
#include "policy/passphrase.h"

static void line_is(const cf_progress_moment *moment, size_t width, const char *expected) {
    CF_AUTO_BUF cf_buf line;
    cf_buf_init(&line, 4096);
    cf_progress_line(moment, width, false, &line);
    cf_buf_put_u8(&line, 0);
    assert_false(line.failed);
    assert_string_equal((const char *)line.data, expected);
}

static void the_progress_line_keeps_within_the_terminal(void **state) {
    (void)state;
    cf_progress_moment moment = {.bytes_total = 1000000,
                                 .bytes_done = 250000,
                                 .files_total = 40,
                                 .files_done = 10,
                                 .rate = 50000,
                                 .item = cf_span_text("/usr/share/doc/coffer/README")};
    line_is(&moment, 200,
            " 25 %  250.0 kB of 1.0 MB  50.0 kB/s  10 of 40 files  15 s left  /usr/share/doc/coffer/README");
    line_is(&moment, 83, " 25 %  250.0 kB of 1.0 MB  50.0 kB/s  10 of 40 files  15 s left  doc/coffer/README");
    line_is(&moment, 70, " 25 %  250.0 kB of 1.0 MB  50.0 kB/s  10 of 40 files  15 s left");
    line_is(&moment, 20, " 25 %  250.0 kB of ");
    line_is(&moment, 4, " 25");
    line_is(&moment, 0, "");
}

static void the_progress_line_without_totals(void **state) {
    (void)state;
    cf_progress_moment moment = {.bytes_done = 999, .files_done = 3, .phase = "scanning", .item = cf_span_text("a\nb")};
    line_is(&moment, 200, "scanning  999 B  0 B/s  3 files  a\\x0ab");
    moment = (cf_progress_moment){.bytes_total = 5, .bytes_done = 9, .files_done = 1}; /* the total was too low */
    line_is(&moment, 200, "9 B  0 B/s  1 files");
}

static void a_path_that_is_not_utf8_is_also_given_exactly(void **state) {
    (void)state;
    json_t *object = json_object();
    assert_int_equal(cf_json_set_path(object, "path", cf_span_text("/a\n\xc3\xa9")), 0);
    assert_int_equal(cf_json_set_path(object, "target", cf_span_text("/a\xff")), 0);
    assert_string_equal(json_string_value(json_object_get(object, "path")), "/a\n\xc3\xa9");
    assert_null(json_object_get(object, "path_b64"));
    assert_string_equal(json_string_value(json_object_get(object, "target")), "/a\xef\xbf\xbd");
    assert_string_equal(json_string_value(json_object_get(object, "target_b64")), "L2H/");
    json_decref(object);
}

static void durations_are_short(void **state) {
    (void)state;
    char text[32];
    cf_duration_text(7, text);
    assert_string_equal(text, "7 s");
    cf_duration_text(245, text);
    assert_string_equal(text, "4 min 05 s");
    cf_duration_text(11520, text);
    assert_string_equal(text, "3 h 12 min");
    cf_duration_text(UINT64_MAX, text);
}

static void a_table_lines_up(void **state) {
    (void)state;
    static const cf_column columns[] = {{"ID", 0}, {"SIZE", CF_COLUMN_RIGHT}, {NULL, 0}};
    CF_AUTO(cf_table) table = NULL;
    assert_null(cf_table_new(columns, &table));
    assert_null(cf_table_row(table, (const char *const[]){"a\033[1m", "1"}));
    assert_null(cf_table_row(table, (const char *const[]){"b", "1234567"}));
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert_null(cf_table_print(table, out));
    fclose(out);
    assert_string_equal(text, "ID          SIZE\na\\x1b[1m       1\nb        1234567\n");
    free(text);
}

static void homes_lie_below_one_folder(void **state) {
    (void)state;
    CF_AUTO_HOME cf_home home = {0};
    assert_null(cf_home_resolve("/srv/x", &home));
    assert_string_equal(home.etc, "/srv/x/etc");
    assert_string_equal(home.state, "/srv/x/state");
    assert_string_equal(home.scratch, "/srv/x/scratch");
    assert_string_equal(home.config, "/srv/x/etc/agent.conf");
    CF_AUTO_HOME cf_home here = {0};
    assert_null(cf_home_resolve("rel", &here));
    assert_int_equal(here.etc[0], '/');
    CF_AUTO(cf_err) err = cf_home_resolve("", &here);
    assert_int_equal(cf_err_code(err), CF_ERR_BAD_USAGE);
}

static void a_generated_passphrase_is_private_good_and_never_overwrites(void **state) {
    (void)state;
    char folder[] = "/tmp/cf-cli-XXXXXX", file[64];
    assert_non_null(mkdtemp(folder));
    snprintf(file, sizeof file, "%s/pass", folder);
    CF_AUTO(cf_secret) made = NULL;
    assert_null(cf_passphrase_generate(file, &made));
    struct stat info;
    assert_int_equal(stat(file, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    cf_span bytes = cf_span_of(cf_secret_bytes(made), cf_secret_size(made));
    assert_int_equal(cf_passphrase_violations(bytes), 0);
    assert_int_equal(bytes.size, 39);
    cf_cancel cancel = {0};
    cf_cli cli = {.quiet = true, .cancel = &cancel};
    CF_AUTO(cf_secret) read_back = NULL;
    assert_null(cf_passphrase_get_new(&cli, file, &read_back));
    assert_int_equal(cf_secret_size(read_back), bytes.size);
    assert_memory_equal(cf_secret_bytes(read_back), bytes.data, bytes.size);
    CF_AUTO(cf_secret) second = NULL;
    CF_AUTO(cf_err) err = cf_passphrase_generate(file, &second);
    assert_int_equal(cf_err_code(err), CF_ERR_EXISTS);
    assert_null(second);
    unlink(file);
    CF_AUTO(cf_err) missing = cf_passphrase_get(&cli, file, &second);
    assert_int_equal(cf_err_code(missing), CF_ERR_NOT_FOUND);
    rmdir(folder);
}

static void passphrase_files_of_two_lines_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *text, *reason;
    } cases[] = {{"", "empty"}, {"\n", "empty"}, {"first line is long\nsecond\n", "control_character"}};
    cf_cancel cancel = {0};
    cf_cli cli = {.quiet = true, .cancel = &cancel};
    char file[] = "/tmp/cf-pass-XXXXXX";
    int fd = mkstemp(file);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(ftruncate(fd, 0), 0);
        assert_int_equal(pwrite(fd, cases[i].text, strlen(cases[i].text), 0), strlen(cases[i].text));
        CF_AUTO(cf_secret) secret = NULL;
        CF_AUTO(cf_err) err = cf_passphrase_get(&cli, file, &secret);
        assert_int_equal(cf_err_code(err), CF_ERR_PASSPHRASE_RULE);
        assert_string_equal(cf_err_reason(err), cases[i].reason);
    }
    close(fd);
    unlink(file);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_progress_line_keeps_within_the_terminal),
        cmocka_unit_test(the_progress_line_without_totals),
        cmocka_unit_test(a_path_that_is_not_utf8_is_also_given_exactly),
        cmocka_unit_test(durations_are_short),
        cmocka_unit_test(a_table_lines_up),
        cmocka_unit_test(homes_lie_below_one_folder),
        cmocka_unit_test(a_generated_passphrase_is_private_good_and_never_overwrites),
        cmocka_unit_test(passphrase_files_of_two_lines_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
