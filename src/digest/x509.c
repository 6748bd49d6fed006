#include "digest/x509.h"

#include <arpa/inet.h>
#include <limits.h>
#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <time.h>

#include "base/secret.h"
#include "base/text.h"

enum { PEM_MAX = 65536, NAME_MAX_BYTES = 64 };

void cf_x509_pair_init(cf_x509_pair *pair) {
    cf_buf_init(&pair->certificate, PEM_MAX);
    cf_buf_init(&pair->key, PEM_MAX);
}

void cf_x509_pair_wipe(cf_x509_pair *pair) {
    if (pair->key.data) cf_wipe(pair->key.data, pair->key.size);
    cf_buf_wipe(&pair->key);
    cf_buf_wipe(&pair->certificate);
}

static cf_err *fail_openssl(const char *what) {
    char word[160] = "no reason given";
    unsigned long code = ERR_get_error();
    if (code) ERR_error_string_n(code, word, sizeof word);
    ERR_clear_error();
    return cf_fail(CF_ERR_CRYPTO, "%s: %s", what, word);
}

static bool set_time(ASN1_TIME *field, int64_t seconds) {
    return ASN1_TIME_set(field, (time_t)seconds) != NULL;
}

static bool set_serial(X509 *certificate) {
    uint8_t random[16];
    if (RAND_bytes(random, sizeof random) != 1) return false;
    random[0] &= 0x7f; /* positive */
    BIGNUM *number = BN_bin2bn(random, sizeof random, NULL);
    bool good = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate));
    BN_free(number);
    return good;
}

static bool add_extension(X509 *certificate, X509 *issuer, int nid, const char *value) {
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    bool good = extension && X509_add_ext(certificate, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return good;
}

static X509 *new_certificate(const char *name, EVP_PKEY *key, int64_t not_before, int64_t not_after) {
    char cut[NAME_MAX_BYTES + 1];
    size_t size = strlen(name) < NAME_MAX_BYTES ? strlen(name) : NAME_MAX_BYTES;
    while (size > 0 && size < strlen(name) && ((unsigned char)name[size] & 0xC0) == 0x80) size--; /* UTF-8 */
    memcpy(cut, name, size);
    cut[size] = '\0';
    X509 *certificate = X509_new();
    if (!certificate) return NULL;
    if (X509_set_version(certificate, 2) == 1 && set_serial(certificate) &&
        set_time(X509_getm_notBefore(certificate), not_before) &&
        set_time(X509_getm_notAfter(certificate), not_after) &&
        X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_UTF8, (const uint8_t *)cut, -1,
                                   -1, 0) == 1 &&
        X509_set_pubkey(certificate, key) == 1)
        return certificate;
    X509_free(certificate);
    return NULL;
}

static bool put_bio(BIO *bio, cf_buf *out) {
    char *data = NULL;
    long size = BIO_get_mem_data(bio, &data);
    if (size <= 0) return false;
    cf_buf_put(out, data, (size_t)size);
    return !out->failed;
}

static bool put_pair(X509 *certificate, EVP_PKEY *key, cf_x509_pair *out) {
    BIO *text = BIO_new(BIO_s_mem()), *secret = BIO_new(BIO_s_secmem());
    bool good = text && secret && PEM_write_bio_X509(text, certificate) == 1 && put_bio(text, &out->certificate) &&
                PEM_write_bio_PrivateKey(secret, key, NULL, NULL, 0, NULL, NULL) == 1 && put_bio(secret, &out->key);
    BIO_free(text);
    BIO_free(secret);
    return good;
}

cf_err *cf_x509_make_authority(const char *name, int64_t not_before, int64_t not_after, cf_x509_pair *out) {
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = key ? new_certificate(name, key, not_before, not_after) : NULL;
    bool good = certificate && X509_set_issuer_name(certificate, X509_get_subject_name(certificate)) == 1 &&
                add_extension(certificate, certificate, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
                add_extension(certificate, certificate, NID_key_usage, "critical,keyCertSign,cRLSign") &&
                add_extension(certificate, certificate, NID_subject_key_identifier, "hash") &&
                X509_sign(certificate, key, EVP_sha256()) > 0 && put_pair(certificate, key, out);
    X509_free(certificate);
    EVP_PKEY_free(key);
    return good ? NULL : fail_openssl("cannot make a certificate authority");
}

static bool is_address(const char *host) {
    uint8_t bytes[16];
    return inet_pton(AF_INET, host, bytes) == 1 || inet_pton(AF_INET6, host, bytes) == 1;
}

/* "DNS:a,IP:1.2.3.4". Hosts come from the operator's URL; what could break the list apart is refused. */
static bool format_hosts(const char *const *hosts, size_t count, cf_buf *out) {
    for (size_t i = 0; i < count; i++) {
        if (hosts[i][0] == '\0' || strpbrk(hosts[i], ",;=\\ \n\r\t")) return false;
        if (i) cf_buf_put(out, ",", 1);
        cf_buf_put_span(out, cf_span_text(is_address(hosts[i]) ? "IP:" : "DNS:"));
        cf_buf_put_span(out, cf_span_text(hosts[i]));
    }
    cf_buf_put_u8(out, 0);
    return !out->failed;
}

static bool sign_server(X509 *certificate, X509 *issuer, EVP_PKEY *issuer_key, const char *names) {
    return X509_set_issuer_name(certificate, X509_get_subject_name(issuer)) == 1 &&
           add_extension(certificate, issuer, NID_basic_constraints, "critical,CA:FALSE") &&
           add_extension(certificate, issuer, NID_key_usage, "critical,digitalSignature") &&
           add_extension(certificate, issuer, NID_ext_key_usage, "serverAuth") &&
           add_extension(certificate, issuer, NID_subject_key_identifier, "hash") &&
           add_extension(certificate, issuer, NID_authority_key_identifier, "keyid") &&
           add_extension(certificate, issuer, NID_subject_alt_name, names) &&
           X509_sign(certificate, issuer_key, EVP_sha256()) > 0;
}

static BIO *borrow_bio(const cf_buf *buf) {
    return buf->size <= INT_MAX ? BIO_new_mem_buf(buf->data, (int)buf->size) : NULL;
}

cf_err *cf_x509_make_server(const cf_x509_pair *authority, const char *const *hosts, size_t count, int64_t not_before,
                            int64_t not_after, cf_x509_pair *out) {
    CF_AUTO_BUF cf_buf names;
    cf_buf_init(&names, 16384);
    if (count == 0 || !format_hosts(hosts, count, &names))
        return cf_fail(CF_ERR_CRYPTO, "the certificate's host names are not valid");
    BIO *issuer_text = borrow_bio(&authority->certificate), *key_text = borrow_bio(&authority->key);
    X509 *issuer = issuer_text ? PEM_read_bio_X509(issuer_text, NULL, NULL, NULL) : NULL;
    EVP_PKEY *issuer_key = key_text ? PEM_read_bio_PrivateKey(key_text, NULL, NULL, NULL) : NULL;
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = key ? new_certificate(hosts[0], key, not_before, not_after) : NULL;
    bool good = issuer && issuer_key && certificate &&
                sign_server(certificate, issuer, issuer_key, (const char *)names.data) &&
                put_pair(certificate, key, out);
    X509_free(certificate);
    X509_free(issuer);
    EVP_PKEY_free(key);
    EVP_PKEY_free(issuer_key);
    BIO_free(issuer_text);
    BIO_free(key_text);
    return good ? NULL : fail_openssl("cannot make the server's certificate");
}

cf_err *cf_x509_expiry(cf_span certificate, int64_t *not_after) {
    BIO *text = certificate.size <= INT_MAX ? BIO_new_mem_buf(certificate.data, (int)certificate.size) : NULL;
    X509 *parsed = text ? PEM_read_bio_X509(text, NULL, NULL, NULL) : NULL;
    struct tm when;
    bool good = parsed && ASN1_TIME_to_tm(X509_get0_notAfter(parsed), &when) == 1;
    if (good) *not_after = (int64_t)timegm(&when);
    X509_free(parsed);
    BIO_free(text);
    ERR_clear_error();
    return good ? NULL : cf_fail(CF_ERR_FORMAT, "this is no certificate");
}

bool cf_x509_matches(const cf_x509_pair *pair) {
    BIO *text = borrow_bio(&pair->certificate), *secret = borrow_bio(&pair->key);
    X509 *certificate = text ? PEM_read_bio_X509(text, NULL, NULL, NULL) : NULL;
    EVP_PKEY *key = secret ? PEM_read_bio_PrivateKey(secret, NULL, NULL, NULL) : NULL;
    bool matches = certificate && key && X509_check_private_key(certificate, key) == 1;
    EVP_PKEY_free(key);
    X509_free(certificate);
    BIO_free(secret);
    BIO_free(text);
    ERR_clear_error();
    return matches;
}
