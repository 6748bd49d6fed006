/* Certificates and signatures: against known vectors and OpenSSL's own verifier. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/pem.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include "base/text.h"
#include "digest/signature.h"
#include "digest/x509.h"

/* RFC 8032, 7.1, test 2. */
static void test_ed25519(void **state) {
    (void)state;
    uint8_t key[32], signature[64], message[1] = {0x72};
    bool valid = false;
    assert_true(cf_hex_decode("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", key, 32));
    assert_true(cf_hex_decode("92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
                              "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
                              signature, 64));
    assert_null(cf_ed25519_verify(key, cf_span_of(message, 1), signature, &valid));
    assert_true(valid);
    message[0] ^= 1;
    assert_null(cf_ed25519_verify(key, cf_span_of(message, 1), signature, &valid));
    assert_false(valid);
    message[0] ^= 1;
    for (size_t i = 0; i < 64; i += 7) {
        signature[i] ^= 1;
        assert_null(cf_ed25519_verify(key, cf_span_of(message, 1), signature, &valid));
        assert_false(valid);
        signature[i] ^= 1;
    }
    memset(key, 0xff, sizeof key);
    assert_null(cf_ed25519_verify(key, cf_span_of(message, 1), signature, &valid));
    assert_false(valid);
}

/* RFC 4231, test case 2. */
static void test_hmac(void **state) {
    (void)state;
    uint8_t expected[32], got[32];
    assert_true(cf_hex_decode("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843", expected, 32));
    assert_null(cf_hmac_sha256(cf_span_text("Jefe"), cf_span_text("what do ya want for nothing?"), got));
    assert_memory_equal(got, expected, 32);
}

static X509 *parse(const cf_x509_pair *pair) {
    BIO *bio = BIO_new_mem_buf(pair->certificate.data, (int)pair->certificate.size);
    X509 *certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    BIO_free(bio);
    assert_non_null(certificate);
    return certificate;
}

static int verify(X509 *certificate, X509 *authority, const char *host, const char *address, int64_t when) {
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *context = X509_STORE_CTX_new();
    assert_int_equal(X509_STORE_add_cert(store, authority), 1);
    assert_int_equal(X509_STORE_CTX_init(context, store, certificate, NULL), 1);
    X509_VERIFY_PARAM *parameters = X509_STORE_CTX_get0_param(context);
    X509_VERIFY_PARAM_set_time(parameters, when);
    X509_VERIFY_PARAM_set_purpose(parameters, X509_PURPOSE_SSL_SERVER);
    if (host) X509_VERIFY_PARAM_set1_host(parameters, host, 0);
    if (address) X509_VERIFY_PARAM_set1_ip_asc(parameters, address);
    int result = X509_verify_cert(context) == 1 ? X509_V_OK : X509_STORE_CTX_get_error(context);
    X509_STORE_CTX_free(context);
    X509_STORE_free(store);
    return result;
}

static void test_certificates(void **state) {
    (void)state;
    static const char *const hosts[] = {"vault.example.org", "localhost", "127.0.0.1", "::1"};
    const int64_t start = 1800000000, end = start + 86400 * 365;
    CF_AUTO_X509 cf_x509_pair ca, other, server;
    cf_x509_pair_init(&ca);
    cf_x509_pair_init(&other);
    cf_x509_pair_init(&server);
    assert_null(cf_x509_make_authority("Coffer vault t\xc3\xa4st", start, start + (int64_t)20 * 365 * 86400, &ca));
    assert_null(cf_x509_make_authority("Another", start, end, &other));
    assert_null(cf_x509_make_server(&ca, hosts, 4, start, end, &server));
    assert_true(cf_x509_matches(&server));
    int64_t until = 0;
    assert_null(cf_x509_expiry((cf_span){server.certificate.data, server.certificate.size}, &until));
    assert_int_equal(until, end);
    X509 *authority = parse(&ca), *stranger = parse(&other), *certificate = parse(&server);
    assert_int_equal(verify(certificate, authority, "vault.example.org", NULL, start + 10), X509_V_OK);
    assert_int_equal(verify(certificate, authority, "localhost", NULL, start + 10), X509_V_OK);
    assert_int_equal(verify(certificate, authority, NULL, "127.0.0.1", start + 10), X509_V_OK);
    assert_int_equal(verify(certificate, authority, NULL, "::1", start + 10), X509_V_OK);
    assert_int_equal(verify(certificate, authority, "example.org", NULL, start + 10), X509_V_ERR_HOSTNAME_MISMATCH);
    assert_int_equal(verify(certificate, authority, NULL, "10.0.0.1", start + 10), X509_V_ERR_IP_ADDRESS_MISMATCH);
    assert_int_equal(verify(certificate, authority, "localhost", NULL, start - 10), X509_V_ERR_CERT_NOT_YET_VALID);
    assert_int_equal(verify(certificate, authority, "localhost", NULL, end + 10), X509_V_ERR_CERT_HAS_EXPIRED);
    assert_int_not_equal(verify(certificate, stranger, "localhost", NULL, start + 10), X509_V_OK);
    /* The server's certificate signs nothing: a certificate made with it is not trusted. */
    CF_AUTO_X509 cf_x509_pair below;
    cf_x509_pair_init(&below);
    assert_null(cf_x509_make_server(&server, hosts, 1, start, end, &below));
    X509 *forged = parse(&below);
    assert_int_not_equal(verify(forged, authority, NULL, NULL, start + 10), X509_V_OK);
    X509_free(forged);
    X509_free(certificate);
    X509_free(stranger);
    X509_free(authority);
}

static void test_bad_hosts(void **state) {
    (void)state;
    static const char *const bad[] = {"", "a,DNS:b", "a b", "a\nb", "a;b"};
    CF_AUTO_X509 cf_x509_pair ca;
    cf_x509_pair_init(&ca);
    assert_null(cf_x509_make_authority("t", 0, 1000, &ca));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CF_AUTO_X509 cf_x509_pair out;
        cf_x509_pair_init(&out);
        CF_AUTO(cf_err) err = cf_x509_make_server(&ca, &bad[i], 1, 0, 1000, &out);
        assert_int_equal(cf_err_code(err), CF_ERR_CRYPTO);
    }
    int64_t until = 0;
    CF_AUTO(cf_err) err = cf_x509_expiry(cf_span_text("-----BEGIN CERTIFICATE-----\nnothing\n"), &until);
    assert_int_equal(cf_err_code(err), CF_ERR_FORMAT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ed25519),
        cmocka_unit_test(test_hmac),
        cmocka_unit_test(test_certificates),
        cmocka_unit_test(test_bad_hosts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
