#include "service/certificate.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "os/file.h"

#define DAY ((int64_t)86400)
enum {
    AUTHORITY_DAYS = 20 * 365 + 5,
    SERVER_DAYS = 365,
    RENEW_DAYS = 30,
    PEM_FILE_MAX = 65536,
    SECRET_MODE = 0600,
    PUBLIC_MODE = 0644
};

/* The host of an https URL, without brackets. */
static bool url_host(const char *url, char *host, size_t size) {
    if (strncmp(url, "https://", 8) != 0 || strlen(url) > CF_URL_MAX) return false;
    const char *start = url + 8;
    bool bracketed = *start == '[';
    if (bracketed) start++;
    size_t length = strcspn(start, bracketed ? "]" : ":/?#");
    if (length == 0 || length >= size) return false;
    memcpy(host, start, length);
    host[length] = '\0';
    if (strpbrk(host, ",;=\\ @\n\r\t\"")) return false;
    const char *rest = start + length + (bracketed ? 1 : 0);
    if (bracketed && start[length] != ']') return false;
    if (*rest == ':') {
        char port[8];
        size_t digits = strcspn(rest + 1, "/");
        uint64_t number = 0;
        if (digits == 0 || digits >= sizeof port) return false;
        memcpy(port, rest + 1, digits);
        port[digits] = '\0';
        if (!cf_text_parse_u64(port, 65535, &number)) return false;
        rest += 1 + digits;
    }
    return *rest == '\0' || strcmp(rest, "/") == 0;
}

cf_err *cf_certificate_check_url(const char *url) {
    char host[256];
    if (url_host(url, host, sizeof host)) return NULL;
    return cf_fail(CF_ERR_BAD_USAGE, "'%s' is no address of a vault: https://HOST:PORT", url);
}

static cf_err *write_pair(cf_vault *vault, const cf_x509_pair *pair, const char *certificate, const char *key) {
    cf_span secret = cf_buf_span(&pair->key), text = cf_buf_span(&pair->certificate);
    CF_TRY(cf_file_write_durable(vault->fd, key, &secret, 1, SECRET_MODE));
    return cf_file_write_durable(vault->fd, certificate, &text, 1, PUBLIC_MODE);
}

static cf_err *read_pair(cf_vault *vault, const char *certificate, const char *key, cf_x509_pair *pair) {
    CF_TRY(cf_file_read(vault->fd, certificate, PEM_FILE_MAX - 1, &pair->certificate));
    return cf_file_read(vault->fd, key, PEM_FILE_MAX - 1, &pair->key);
}

static cf_err *make_server(cf_vault *vault, const cf_x509_pair *authority, cf_x509_pair *out) {
    char host[256];
    if (!url_host(vault->row.url, host, sizeof host))
        return cf_fail(CF_ERR_DATABASE, "the vault's address '%s' is none", vault->row.url);
    const char *hosts[] = {host, "localhost", "127.0.0.1", "::1"};
    int64_t now = cf_vault_now(vault);
    CF_TRY(cf_x509_make_server(authority, hosts, sizeof hosts / sizeof *hosts, now - DAY / 24, now + SERVER_DAYS * DAY,
                               out));
    return write_pair(vault, out, "tls/server.crt", "tls/server.key");
}

cf_err *cf_certificate_make_authority(cf_vault *vault) {
    CF_AUTO_X509 cf_x509_pair authority, server;
    cf_x509_pair_init(&authority);
    cf_x509_pair_init(&server);
    CF_AUTO_FREE char *name = cf_text_format("Coffer vault %s", vault->row.name);
    if (!name) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a certificate");
    int64_t now = cf_vault_now(vault);
    CF_TRY(cf_x509_make_authority(name, now - DAY / 24, now + AUTHORITY_DAYS * DAY, &authority));
    CF_TRY(write_pair(vault, &authority, "tls/ca.crt", "tls/ca.key"));
    return make_server(vault, &authority, &server);
}

static cf_err *renew(cf_vault *vault, cf_x509_pair *out) {
    CF_AUTO_X509 cf_x509_pair authority;
    cf_x509_pair_init(&authority);
    CF_TRY(read_pair(vault, "tls/ca.crt", "tls/ca.key", &authority));
    return make_server(vault, &authority, out);
}

cf_err *cf_certificate_replace(cf_vault *vault) {
    CF_AUTO_X509 cf_x509_pair pair;
    cf_x509_pair_init(&pair);
    return renew(vault, &pair);
}

/* A missing or half-written pair (certificate and key are two files) is made anew as well. */
static bool usable(cf_vault *vault, const cf_x509_pair *pair) {
    int64_t until = 0;
    CF_AUTO(cf_err) err = cf_x509_expiry(cf_buf_span(&pair->certificate), &until);
    return !err && pair->key.size > 0 && until - cf_vault_now(vault) > RENEW_DAYS * DAY && cf_x509_matches(pair);
}

cf_err *cf_vault_certificate(cf_vault *vault, cf_x509_pair *pair, bool *renewed) {
    cf_err *err = read_pair(vault, "tls/server.crt", "tls/server.key", pair);
    if (err && cf_err_code(err) != CF_ERR_NOT_FOUND) return err;
    bool fresh = err || !usable(vault, pair);
    cf_err_free(err);
    if (fresh) {
        cf_x509_pair_wipe(pair);
        CF_TRY(renew(vault, pair));
    }
    cf_buf_put_u8(&pair->certificate, 0); /* the TLS library wants strings */
    cf_buf_put_u8(&pair->key, 0);
    CF_TRY(cf_buf_check(&pair->certificate, "the certificate"));
    CF_TRY(cf_buf_check(&pair->key, "the certificate's key"));
    pair->certificate.size--;
    pair->key.size--;
    if (renewed) *renewed = fresh;
    return NULL;
}

cf_err *cf_vault_authority(cf_vault *vault, cf_buf *out) {
    return cf_file_read(vault->fd, "tls/ca.crt", PEM_FILE_MAX, out);
}
