#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cli/options.h"

struct given {
    bool dry;
    const char *name, *conflict;
    cf_words include;
    uint64_t percent, size;
};

static const cf_option options[] = {
    CF_OPTION_FLAG(struct given, dry, "dry-run", "do nothing"),
    CF_OPTION_TEXT(struct given, name, "name", "NAME", "a name"),
    CF_OPTION_CHOICE(struct given, conflict, "on-conflict", "copy|overwrite|skip", "what to do"),
    CF_OPTION_LIST(struct given, include, "include", "PATTERN", "more"),
    CF_OPTION_NUMBER(struct given, percent, "sample", "PERCENT", 100, "how much"),
    CF_OPTION_SIZE(struct given, size, "larger", "N", 7, "how large"),
    CF_OPTION_END};

static const cf_command command = {.name = "try",
                                   .arguments = "[PATH...]",
                                   .options = options,
                                   .options_size = sizeof(struct given),
                                   .max_arguments = 2};
static const cf_command *const commands[] = {&command, NULL};
static const cf_program program = {.name = "coffer", .commands = commands, .has_home = true};

static cf_globals globals;
static cf_parsed parsed;

static cf_err *parse(const char *line) {
    static char copy[256];
    char *argv[16];
    int argc = 0, used = 0;
    snprintf(copy, sizeof copy, "%s", line);
    for (char *word = strtok(copy, " "); word; word = strtok(NULL, " ")) argv[argc++] = word;
    argv[argc] = NULL;
    globals = (cf_globals){0};
    return cf_options_parse(&program, &command, argc, argv, &globals, &parsed, &used);
}

static void refused(const char *line, const char *part) {
    CF_AUTO(cf_err) err = parse(line);
    cf_parsed_wipe(&command, &parsed);
    assert_int_equal(cf_err_code(err), CF_ERR_BAD_USAGE);
    if (!strstr(cf_err_message(err), part)) fail_msg("'%s': '%s' lacks '%s'", line, cf_err_message(err), part);
}

static void options_and_arguments_mix(void **state) {
    (void)state;
    assert_null(
        parse("try /a --name=x --include a --json /b --include=b --dry-run --on-conflict skip --larger 2KiB --home=h"));
    const struct given *given = parsed.options;
    assert_true(given->dry);
    assert_string_equal(given->name, "x");
    assert_string_equal(given->conflict, "skip");
    assert_int_equal(given->include.count, 2);
    assert_string_equal(given->include.item[1], "b");
    assert_int_equal(given->percent, 100);
    assert_int_equal(given->size, 2048);
    assert_true(globals.json);
    assert_string_equal(globals.home, "h");
    assert_int_equal(parsed.arguments.count, 2);
    assert_string_equal(parsed.arguments.item[0], "/a");
    assert_string_equal(parsed.arguments.item[1], "/b");
    cf_parsed_wipe(&command, &parsed);
}

static void what_is_not_given_has_its_standard(void **state) {
    (void)state;
    assert_null(parse("try"));
    const struct given *given = parsed.options;
    assert_false(given->dry);
    assert_null(given->name);
    assert_int_equal(given->include.count, 0);
    assert_int_equal(given->percent, 100);
    assert_int_equal(given->size, 7);
    cf_parsed_wipe(&command, &parsed);
}

static void after_two_dashes_everything_is_an_argument(void **state) {
    (void)state;
    assert_null(parse("try -- --name -q"));
    assert_string_equal(parsed.arguments.item[0], "--name");
    assert_false(globals.quiet);
    cf_parsed_wipe(&command, &parsed);
}

static void wrong_words_are_named(void **state) {
    (void)state;
    refused("try --nam x", "did you mean --name?");
    refused("try --dry", "--dry"); /* no abbreviations */
    refused("try --dry-rum", "did you mean --dry-run?");
    refused("try --zzzzzzzzzzzz", "unknown option --zzzzzzzzzzzz");
    refused("try --name", "needs a value: --name NAME");
    refused("try --dry-run=yes", "takes no value");
    refused("try --on-conflict rename", "none of copy|overwrite|skip");
    refused("try --on-conflict cop", "none of");
    refused("try --on-conflict=", "none of");
    refused("try --sample many", "not a number");
    refused("try --larger much", "not a size");
    refused("try -x", "-x");
    refused("try a b c", "at most 2");
}

static void a_cancelled_job_exits_by_its_signal(void **state) {
    (void)state;
    static const struct {
        cf_code code;
        bool warnings;
        int signal, status;
    } cases[] = {
        {CF_OK, false, 0, 0},
        {CF_OK, true, 0, 3},
        {CF_ERR_IO, true, 0, 1},
        {CF_ERR_BAD_USAGE, false, 0, 2},
        {CF_ERR_JOB_RUNNING, false, 0, 4},
        {CF_ERR_CANCELLED, false, 2, 130},
        {CF_ERR_CANCELLED, false, 15, 143},
        {CF_ERR_CANCELLED, false, 0, 130},
        {CF_ERR_IO, false, 15, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CF_AUTO(cf_err) err = cases[i].code ? cf_fail(cases[i].code, "x") : NULL;
        assert_int_equal(cf_exit_status(err, cases[i].warnings, cases[i].signal), cases[i].status);
    }
    CF_AUTO(cf_err) wrapped = cf_wrap(cf_fail(CF_ERR_CANCELLED, "x"), CF_ERR_IO, "y");
    assert_int_equal(cf_exit_status(wrapped, false, 15), 143);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_and_arguments_mix),
        cmocka_unit_test(what_is_not_given_has_its_standard),
        cmocka_unit_test(after_two_dashes_everything_is_an_argument),
        cmocka_unit_test(wrong_words_are_named),
        cmocka_unit_test(a_cancelled_job_exits_by_its_signal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
