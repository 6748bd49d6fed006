#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/error_json.h"

static const char *text_of(const json_t *object, const char *key) {
    return json_string_value(json_object_get(object, key));
}

static void an_error_has_all_fields(void **state) {
    (void)state;
    CF_AUTO(cf_err) err = cf_fail_reason(CF_ERR_CREDENTIALS, "expired", "file %s", "a.json");
    json_t *object = cf_error_to_json(err);
    assert_int_equal(json_integer_value(json_object_get(object, "code")), 34513);
    assert_string_equal(text_of(object, "name"), "InvalidVaultCredentials");
    assert_string_equal(text_of(object, "reason"), "expired");
    assert_string_equal(text_of(object, "message"), "file a.json");
    assert_true(json_array_size(json_object_get(object, "causes")) > 0);
    assert_true(json_array_size(json_object_get(object, "actions")) > 0);
    assert_null(json_object_get(object, "chain"));
    assert_null(json_object_get(object, "retry_after"));
    json_decref(object);
}

static void an_error_crosses_the_wire_whole(void **state) {
    (void)state;
    CF_AUTO(cf_err) err = cf_fail_errno(CF_ERR_IO, 28, "packs/17");
    err = cf_wrap_reason(err, CF_ERR_VAULT_BUSY, "disk", "cannot store pack %d", 17);
    cf_err_set_retry_after(err, 30);
    json_t *document = cf_error_document(err);
    CF_AUTO(cf_err) back = cf_error_from_json(document);
    json_decref(document);
    assert_int_equal(cf_err_code(back), CF_ERR_VAULT_BUSY);
    assert_string_equal(cf_err_reason(back), "disk");
    assert_string_equal(cf_err_message(back), "cannot store pack 17");
    assert_int_equal(cf_err_retry_after(back), 30);
    const cf_err *cause = cf_err_cause(back);
    assert_int_equal(cf_err_code(cause), CF_ERR_IO);
    assert_string_equal(cf_err_message(cause), cf_err_message(cf_err_cause(err)));
    assert_null(cf_err_cause(cause));
}

static void from_text(const char *text, cf_code code, const char *reason) {
    json_t *document = json_loads(text, 0, NULL);
    CF_AUTO(cf_err) err = cf_error_from_json(document);
    json_decref(document);
    assert_int_equal(cf_err_code(err), code);
    assert_string_equal(cf_err_reason(err), reason);
}

static void anything_else_is_an_unknown_error(void **state) {
    (void)state;
    from_text("{}", CF_ERR_UNKNOWN_REMOTE, "malformed");
    from_text("[]", CF_ERR_UNKNOWN_REMOTE, "malformed");
    from_text("{\"error\":7}", CF_ERR_UNKNOWN_REMOTE, "malformed");
    from_text("{\"error\":{\"code\":\"34513\"}}", CF_ERR_UNKNOWN_REMOTE, "malformed");
    from_text("{\"error\":{\"code\":-5}}", CF_ERR_UNKNOWN_REMOTE, "malformed");
    from_text("{\"error\":{\"code\":99999999999}}", CF_ERR_UNKNOWN_REMOTE, "malformed");
    from_text("{\"error\":{\"code\":899999,\"reason\":\"new\"}}", CF_ERR_UNKNOWN_REMOTE, "new");
    from_text(
        "{\"error\":{\"code\":34513,\"reason\":8,\"message\":null,\"chain\":[1,{},{\"code\":2}],\"retry_after\":-1}}",
        CF_ERR_CREDENTIALS, "");
    CF_AUTO(cf_err) none = cf_error_from_json(NULL);
    assert_int_equal(cf_err_code(none), CF_ERR_UNKNOWN_REMOTE);
}

static void texts_cannot_steer_a_terminal(void **state) {
    (void)state;
    json_t *document = json_loads("{\"error\":{\"code\":34513,\"message\":\"a\\u001b[2Jb\"}}", 0, NULL);
    CF_AUTO(cf_err) err = cf_error_from_json(document);
    json_decref(document);
    assert_string_equal(cf_err_message(err), "a\\x1b[2Jb");
}

static void bytes_that_are_not_utf8_are_replaced(void **state) {
    (void)state;
    CF_AUTO(cf_err) err = cf_fail(CF_ERR_IO, "file \xff");
    json_t *object = cf_error_to_json(err);
    assert_string_equal(text_of(object, "message"), "file \xef\xbf\xbd");
    json_decref(object);
}

static void a_row_has_the_fields_of_explain(void **state) {
    (void)state;
    json_t *row = cf_catalogue_to_json(cf_catalogue_find(CF_ERR_JOB_RUNNING));
    assert_string_equal(text_of(row, "name"), "JobRunning");
    assert_non_null(text_of(row, "meaning"));
    assert_true(json_is_array(json_object_get(row, "causes")));
    assert_true(json_is_array(json_object_get(row, "actions")));
    json_decref(row);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_error_has_all_fields),
        cmocka_unit_test(an_error_crosses_the_wire_whole),
        cmocka_unit_test(anything_else_is_an_unknown_error),
        cmocka_unit_test(texts_cannot_steer_a_terminal),
        cmocka_unit_test(bytes_that_are_not_utf8_are_replaced),
        cmocka_unit_test(a_row_has_the_fields_of_explain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
