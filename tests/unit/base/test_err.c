#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cancel.h"
#include "base/err.h"

static char *printed(const cf_err *err) {
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    cf_err_print(out, err);
    fclose(out);
    return text;
}

static void an_error_prints_what_why_and_what_to_do(void **state) {
    (void)state;
    CF_AUTO(cf_err) err = cf_fail_reason(CF_ERR_CREDENTIALS, "expired", "%s expired", "a.json");
    CF_AUTO_FREE char *text = printed(err);
    assert_ptr_equal(strstr(text, "error 34513 InvalidVaultCredentials (expired): a.json expired\n"), text);
    assert_non_null(strstr(text, "\n  cause: usually "));
    assert_non_null(strstr(text, "\n  do: issue a new file"));
}

static void a_chain_prints_every_cause(void **state) {
    (void)state;
    CF_AUTO(cf_err) err = cf_wrap(cf_fail_errno(CF_ERR_IO, 13, "open x"), CF_ERR_KEYS_NOT_CONFIGURED, "slot");
    err = cf_note(err, "server %d", 7);
    assert_string_equal(cf_err_message(err), "server 7: slot");
    assert_int_equal(cf_err_errno(err), 13);
    assert_true(cf_err_is(err, CF_ERR_IO));
    assert_true(cf_err_is(err, CF_ERR_KEYS_NOT_CONFIGURED));
    assert_false(cf_err_is(err, CF_ERR_CANCELLED));
    CF_AUTO_FREE char *text = printed(err);
    assert_non_null(strstr(text, "  cause: 900101 FileError: open x: Permission denied\n"));
    assert_null(strstr(text, "usually"));
}

static void nothing_happens_to_no_error(void **state) {
    (void)state;
    assert_null(cf_note(NULL, "x"));
    assert_int_equal(cf_err_code(NULL), CF_OK);
    assert_string_equal(cf_err_reason(NULL), "");
    assert_string_equal(cf_err_message(NULL), "");
    assert_null(cf_err_cause(NULL));
    assert_false(cf_err_has(NULL, CF_F_RETRY));
    cf_err_set_reason(NULL, "x");
    cf_err_set_retry_after(NULL, 1);
    cf_err_free(NULL);
}

static void flags_come_from_the_catalogue(void **state) {
    (void)state;
    CF_AUTO(cf_err) busy = cf_fail(CF_ERR_JOB_RUNNING, "x");
    CF_AUTO(cf_err) usage = cf_fail(CF_ERR_BAD_USAGE, "x");
    assert_true(cf_err_has(busy, CF_F_BUSY));
    assert_false(cf_err_has(busy, CF_F_USAGE));
    assert_true(cf_err_has(usage, CF_F_USAGE));
}

static void an_unknown_remote_code_keeps_its_number(void **state) {
    (void)state;
    CF_AUTO(cf_err) err = cf_fail_parsed(899999, "new", "what");
    assert_int_equal(cf_err_code(err), CF_ERR_UNKNOWN_REMOTE);
    assert_string_equal(cf_err_message(err), "error 899999: what");
    CF_AUTO(cf_err) none = cf_fail_parsed(-1, NULL, NULL);
    assert_int_equal(cf_err_code(none), CF_ERR_UNKNOWN_REMOTE);
}

static void a_long_reason_is_cut_and_a_later_one_replaces_it(void **state) {
    (void)state;
    CF_AUTO(cf_err) err = cf_fail_reason(CF_ERR_IO, "a_reason_that_is_longer_than_any_reason_should_ever_be", "x");
    assert_int_equal(strlen(cf_err_reason(err)), 47);
    cf_err_set_reason(err, "short");
    assert_string_equal(cf_err_reason(err), "short");
    cf_err_set_retry_after(err, 5);
    err = cf_wrap(err, CF_ERR_VAULT_BUSY, "y");
    assert_int_equal(cf_err_retry_after(err), 5);
}

static void the_first_signal_that_asks_counts(void **state) {
    (void)state;
    cf_cancel cancel = {0};
    assert_null(cf_cancel_check(&cancel));
    assert_null(cf_cancel_check(NULL));
    cf_cancel_request(&cancel, 15);
    cf_cancel_request(&cancel, 2);
    assert_int_equal(cf_cancel_signal(&cancel), 15);
    CF_AUTO(cf_err) err = cf_cancel_check(&cancel);
    assert_int_equal(cf_err_code(err), CF_ERR_CANCELLED);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_error_prints_what_why_and_what_to_do),
        cmocka_unit_test(a_chain_prints_every_cause),
        cmocka_unit_test(nothing_happens_to_no_error),
        cmocka_unit_test(flags_come_from_the_catalogue),
        cmocka_unit_test(an_unknown_remote_code_keeps_its_number),
        cmocka_unit_test(a_long_reason_is_cut_and_a_later_one_replaces_it),
        cmocka_unit_test(the_first_signal_that_asks_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
