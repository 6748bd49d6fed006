#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include <cmocka.h>

#include "base/err.h"

static void numbers_ascend_and_names_are_unique(void **state) {
    (void)state;
    size_t count;
    const cf_catalogue_row *const *rows = cf_catalogue_rows(&count);
    assert_true(count > 0);
    for (size_t i = 1; i < count; i++) {
        if (rows[i]->code <= rows[i - 1]->code)
            fail_msg("%d stands after %d", (int)rows[i]->code, (int)rows[i - 1]->code);
        for (size_t k = 0; k < i; k++)
            if (strcasecmp(rows[i]->name, rows[k]->name) == 0)
                fail_msg("%d and %d are both called %s", (int)rows[k]->code, (int)rows[i]->code, rows[i]->name);
    }
}

/* A sentence: begins with a capital letter, ends with a full stop, and stays on one line. */
static bool is_sentence(const char *text) {
    size_t size = strlen(text);
    return size > 10 && size < 200 && isupper((unsigned char)text[0]) && text[size - 1] == '.' && !strchr(text, '\n');
}

static bool is_line(const char *text) {
    size_t size = strlen(text);
    if (size < 4 || size >= 200 || strchr(text, '\n')) return false;
    return text[size - 1] != '.' || strcmp(text + size - 3, "...") == 0;
}

static void every_row_says_what_why_and_what_to_do(void **state) {
    (void)state;
    size_t count;
    const cf_catalogue_row *const *rows = cf_catalogue_rows(&count);
    for (size_t i = 0; i < count; i++) {
        const cf_catalogue_row *row = rows[i];
        if (!is_sentence(row->meaning)) fail_msg("%d: meaning is no sentence: %s", (int)row->code, row->meaning);
        if (!row->causes[0]) fail_msg("%d has no cause", (int)row->code);
        if (!row->actions[0]) fail_msg("%d has no action", (int)row->code);
        for (size_t k = 0; row->causes[k]; k++)
            if (!is_line(row->causes[k])) fail_msg("%d: cause '%s'", (int)row->code, row->causes[k]);
        for (size_t k = 0; row->actions[k]; k++)
            if (!is_line(row->actions[k])) fail_msg("%d: action '%s'", (int)row->code, row->actions[k]);
        for (const char *at = row->name; *at; at++)
            if (!isalnum((unsigned char)*at)) fail_msg("%d: name '%s'", (int)row->code, row->name);
    }
}

static void found(const char *text, cf_code code) {
    const cf_catalogue_row *row = cf_catalogue_lookup(text);
    if (!row) fail_msg("'%s' finds nothing", text);
    assert_int_equal(row->code, code);
}

static void rows_are_found_by_number_hexadecimal_form_and_name(void **state) {
    (void)state;
    found("34513", CF_ERR_CREDENTIALS);
    found("0x1FC07", CF_ERR_ACTIVATION);
    found("0X1fbd3", CF_ERR_VERSION_MISMATCH);
    found("salbitmaperror", CF_ERR_BITMAP);
    found("job_running", CF_ERR_JOB_RUNNING);
    found("0x80070005", CF_ERR_FILE_DENIED);
    found("0x8007018B", CF_ERR_CLOUD_FILE);
    found("2147942405", CF_ERR_FILE_DENIED);
    found("407", CF_ERR_PROXY);
    assert_null(cf_catalogue_lookup("1"));
    assert_null(cf_catalogue_lookup(""));
    assert_null(cf_catalogue_lookup("34513x"));
    assert_null(cf_catalogue_lookup("99999999999999999999"));
    assert_null(cf_catalogue_lookup("NoSuchName"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_ascend_and_names_are_unique),
        cmocka_unit_test(every_row_says_what_why_and_what_to_do),
        cmocka_unit_test(rows_are_found_by_number_hexadecimal_form_and_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
