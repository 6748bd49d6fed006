#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "digest/digest.h"
#include "proto/credentials.h"

static char *a_file(void) {
    cf_credentials credentials = {.purpose = CF_PURPOSE_REGISTER,
                                  .vault_name = (char *)"v\xc3\xa4ult",
                                  .region = (char *)"eu",
                                  .url = (char *)"https://vault.example:8443",
                                  .ca_pem = (char *)"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
                                  .issued = {1763683200, 0},
                                  .expires = {1763683200 + 10 * 86400, 0}};
    memset(credentials.vault_id.bytes, 0xAB, 16);
    assert_null(cf_secret_from("0123456789abcdef0123456789abcdef", 32, &credentials.secret));
    cf_secret *text = NULL;
    assert_null(cf_credentials_format(&credentials, &text));
    char *copy = cf_span_dup_text(cf_span_of(cf_secret_bytes(text), cf_secret_size(text)));
    assert_non_null(copy);
    cf_secret_free(text);
    cf_secret_free(credentials.secret);
    return copy;
}

/* The file with one member changed (value NULL: removed), and a checksum that fits when mend. */
static char *changed(const char *member, json_t *value, bool mend) {
    CF_AUTO_FREE char *text = a_file();
    json_t *object = json_loads(text, 0, NULL);
    assert_non_null(object);
    if (value) {
        assert_int_equal(json_object_set_new(object, member, value), 0);
    } else {
        assert_int_equal(json_object_del(object, member), 0);
    }
    if (mend) {
        uint8_t digest[32];
        char hex[CF_HEX_SIZE(32)];
        assert_int_equal(json_object_del(object, "checksum"), 0);
        char *bare = json_dumps(object, JSON_COMPACT | JSON_SORT_KEYS);
        assert_null(cf_sha256(cf_span_text(bare), digest));
        cf_hex_encode(digest, 32, hex);
        assert_int_equal(json_object_set_new(object, "checksum", json_string(hex)), 0);
        free(bare);
    }
    char *out = json_dumps(object, JSON_INDENT(2));
    json_decref(object);
    return out;
}

static void expect(cf_span text, const char *reason) {
    cf_credentials *credentials = NULL;
    CF_AUTO(cf_err) err = cf_credentials_parse(text, "file", &credentials);
    assert_null(credentials);
    assert_int_equal(cf_err_code(err), CF_ERR_CREDENTIALS);
    assert_string_equal(cf_err_reason(err), reason);
}

static void a_file_comes_back_as_it_was_written(void **state) {
    (void)state;
    CF_AUTO_FREE char *text = a_file();
    CF_AUTO(cf_credentials) credentials = NULL;
    assert_null(cf_credentials_parse(cf_span_text(text), "file", &credentials));
    assert_int_equal(credentials->purpose, CF_PURPOSE_REGISTER);
    assert_string_equal(credentials->vault_name, "v\xc3\xa4ult");
    assert_string_equal(credentials->url, "https://vault.example:8443");
    assert_int_equal(credentials->vault_id.bytes[15], 0xAB);
    assert_int_equal(credentials->expires.seconds, 1763683200 + 10 * 86400);
    assert_memory_equal(cf_secret_bytes(credentials->secret), "0123456789abcdef0123456789abcdef", 32);
    assert_non_null(strstr(credentials->ca_pem, "MIIB"));
}

static void every_cut_is_called_truncated(void **state) {
    (void)state;
    CF_AUTO_FREE char *text = a_file();
    for (size_t size = 1; size < strlen(text) - 2; size++) expect(cf_span_of(text, size), "truncated");
    expect(cf_span_of(text, 0), "empty");
    expect(cf_span_text(" \n\t "), "empty");
}

static void something_else_is_called_not_json(void **state) {
    (void)state;
    expect(cf_span_text("<html>log in</html>"), "not_json");
    expect(cf_span_text("\x7f"
                        "ELF"),
           "not_json");
    expect(cf_span_text("[1]"), "not_json");
    expect(cf_span_text("{\"format\":\"something\"}"), "not_json");
    expect(cf_span_text("{}"), "not_json");
}

static void every_changed_byte_is_noticed(void **state) {
    (void)state;
    CF_AUTO_FREE char *text = a_file();
    size_t size = strlen(text);
    for (size_t i = 0; i < size; i++) {
        char before = text[i];
        text[i] = (char)(before ^ 1);
        cf_credentials *credentials = NULL;
        cf_err *err = cf_credentials_parse(cf_span_of(text, size), "file", &credentials);
        /* White space that stays white space changes nothing that counts; anything else must fail. */
        if (!err) assert_true(before == ' ' || before == '\n');
        cf_err_free(err);
        cf_credentials_free(credentials);
        text[i] = before;
    }
}

static void members_are_checked_behind_a_right_sum_too(void **state) {
    (void)state;
    CF_AUTO_FREE char *unsummed = changed("vault_name", json_string("other"), false);
    expect(cf_span_text(unsummed), "tampered");
    CF_AUTO_FREE char *no_sum = changed("checksum", NULL, false);
    expect(cf_span_text(no_sum), "tampered");
    CF_AUTO_FREE char *no_secret = changed("secret", NULL, true);
    expect(cf_span_text(no_secret), "tampered");
    CF_AUTO_FREE char *short_secret = changed("secret", json_string("00ff"), true);
    expect(cf_span_text(short_secret), "tampered");
    CF_AUTO_FREE char *plain = changed("url", json_string("http://vault.example"), true);
    expect(cf_span_text(plain), "tampered");
    CF_AUTO_FREE char *purpose = changed("purpose", json_string("destroy"), true);
    expect(cf_span_text(purpose), "tampered");
    CF_AUTO_FREE char *ca = changed("ca", json_string("not a certificate"), true);
    expect(cf_span_text(ca), "tampered");
}

static void a_newer_version_is_named(void **state) {
    (void)state;
    CF_AUTO_FREE char *newer = changed("version", json_integer(2), false);
    expect(cf_span_text(newer), "too_new");
    CF_AUTO_FREE char *none = changed("version", json_string("x"), true);
    expect(cf_span_text(none), "tampered");
}

static void a_public_certificate_needs_no_ca(void **state) {
    (void)state;
    CF_AUTO_FREE char *text = changed("ca", json_null(), true);
    CF_AUTO(cf_credentials) credentials = NULL;
    assert_null(cf_credentials_parse(cf_span_text(text), "file", &credentials));
    assert_null(credentials->ca_pem);
}

static void check(cf_purpose purpose, int64_t now, const char *reason) {
    CF_AUTO_FREE char *text = a_file();
    CF_AUTO(cf_credentials) credentials = NULL;
    assert_null(cf_credentials_parse(cf_span_text(text), "file", &credentials));
    CF_AUTO(cf_err) err = cf_credentials_check(credentials, purpose, (cf_time){now, 0}, "file");
    if (!*reason) {
        assert_null(err);
        return;
    }
    assert_int_equal(cf_err_code(err), CF_ERR_CREDENTIALS);
    assert_string_equal(cf_err_reason(err), reason);
}

static void purpose_and_time_are_checked(void **state) {
    (void)state;
    check(CF_PURPOSE_REGISTER, 1763683200, "");
    check(CF_PURPOSE_RESTORE, 1763683200, "");
    check(CF_PURPOSE_SECONDARY, 1763683200, "wrong_purpose");
    check(CF_PURPOSE_REGISTER, 1763683200 + 10 * 86400 - 1, "");
    check(CF_PURPOSE_REGISTER, 1763683200 + 10 * 86400, "expired");
    check(CF_PURPOSE_REGISTER, 1763683200 - 86400, "");
    check(CF_PURPOSE_REGISTER, 1763683200 - 86401, "clock");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_comes_back_as_it_was_written),        cmocka_unit_test(every_cut_is_called_truncated),
        cmocka_unit_test(something_else_is_called_not_json),          cmocka_unit_test(every_changed_byte_is_noticed),
        cmocka_unit_test(members_are_checked_behind_a_right_sum_too), cmocka_unit_test(a_newer_version_is_named),
        cmocka_unit_test(a_public_certificate_needs_no_ca),           cmocka_unit_test(purpose_and_time_are_checked),
    };
    return cmocka_run_group_tests_name("credentials", tests, NULL, NULL);
}
