#include "http/failure.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

/* The proxy's "host" and "port N" as they appear in libcurl's messages; false when none is used. */
static bool proxy_of(const cf_http_failure *failure, char *host, size_t size) {
    const char *proxy = failure->proxy;
    static const char *const variables[] = {"https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"};
    for (size_t i = 0; !proxy && i < 4; i++) proxy = getenv(variables[i]);
    if (!proxy || !*proxy) return false;
    const char *start = strstr(proxy, "://");
    start = start ? start + 3 : proxy;
    const char *at = strrchr(start, '@');
    if (at) start = at + 1;
    snprintf(host, size, "%.*s", (int)strcspn(start, "/"), start);
    return true;
}

/* "Failed to connect to HOST port PORT": is it the proxy's? */
static bool names_proxy(const char *message, const char *proxy) {
    const char *colon = strrchr(proxy, ':');
    size_t length = colon ? (size_t)(colon - proxy) : strlen(proxy);
    const char *start = proxy;
    if (length >= 2 && *start == '[' && start[length - 1] == ']') {
        start++;
        length -= 2;
    }
    CF_AUTO_FREE char *port = cf_text_format("port %s", colon ? colon + 1 : "1080");
    CF_AUTO_FREE char *host = cf_text_format("%.*s", (int)length, start);
    return port && host && strstr(message, host) && strstr(message, port);
}

static cf_err *proxy_failure(const cf_http_failure *failure, const char *proxy) {
    long status = failure->connect_status;
    if (status == 407)
        return cf_fail_reason(CF_ERR_PROXY, "407", "the proxy %s wants a user and password (407) for %s", proxy,
                              failure->url);
    if (status >= 300)
        return cf_fail_reason(CF_ERR_PROXY, "refused", "the proxy %s answers %ld instead of connecting to %s", proxy,
                              status, failure->url);
    return NULL;
}

static const char *word_for_errno(long number) {
    switch (number) {
    case ECONNREFUSED:
        return "refused";
    case ETIMEDOUT:
        return "timeout";
    case ENETUNREACH:
    case EHOSTUNREACH:
    case ENETDOWN:
        return "unreachable";
    case ECONNRESET:
    case EPIPE:
        return "cut";
    default:
        return "unreachable";
    }
}

static cf_err *unreachable(const cf_http_failure *failure, const char *reason) {
    return cf_fail_reason(CF_ERR_VAULT_UNREACHABLE, reason, "%s: %s", failure->url,
                          *failure->message ? failure->message : curl_easy_strerror(failure->result));
}

static bool has(const char *text, const char *part) {
    return strstr(text, part) != NULL;
}

/* libcurl tells the kinds of TLS trouble apart only in its words, which are OpenSSL's. */
static cf_err *tls_failure(const cf_http_failure *failure) {
    const char *words = failure->message;
    if (has(words, "not yet valid") || has(words, "has expired"))
        return cf_fail_reason(CF_ERR_CLOCK_SKEW, "certificate_time",
                              "the certificate of %s is not valid at this machine's time: %s", failure->url, words);
    if (failure->result == CURLE_PEER_FAILED_VERIFICATION || has(words, "certificate"))
        return cf_fail_reason(CF_ERR_TLS_REFUSED, "certificate", "the certificate of %s is not trusted: %s",
                              failure->url, words);
    if (has(words, "unsupported protocol") || has(words, "protocol version") || has(words, "no protocols available"))
        return cf_fail_reason(CF_ERR_TLS_REFUSED, "tls_version", "%s offers no TLS version from 1.2 up: %s",
                              failure->url, words);
    /* The connection ended within the handshake, without a word of TLS: a network's doing, which may pass. */
    if (has(words, "SSL_ERROR_SYSCALL") || has(words, "Connection reset") || has(words, "unexpected eof"))
        return unreachable(failure, "cut");
    return cf_fail_reason(CF_ERR_TLS_REFUSED, "handshake", "no TLS connection to %s: %s", failure->url, words);
}

static cf_err *connect_failure(const cf_http_failure *failure, const char *proxy) {
    if (proxy && names_proxy(failure->message, proxy))
        return cf_fail_reason(CF_ERR_PROXY, "unreachable", "the proxy %s: %s", proxy, failure->message);
    return unreachable(failure, word_for_errno(failure->os_errno));
}

static cf_err *by_result(const cf_http_failure *failure, const char *proxy) {
    switch (failure->result) {
    case CURLE_ABORTED_BY_CALLBACK:
        return cf_fail(CF_ERR_CANCELLED, "cancelled on request");
    case CURLE_OUT_OF_MEMORY:
        return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a request to %s", failure->url);
    case CURLE_COULDNT_RESOLVE_PROXY:
        return cf_fail_reason(CF_ERR_PROXY, "dns", "the proxy's name is not known: %s", failure->message);
    case CURLE_PROXY:
        return cf_fail_reason(CF_ERR_PROXY, "refused", "%s", failure->message);
    case CURLE_COULDNT_RESOLVE_HOST:
        return unreachable(failure, "dns");
    case CURLE_COULDNT_CONNECT:
        return connect_failure(failure, proxy);
    case CURLE_OPERATION_TIMEDOUT:
        return unreachable(failure, has(failure->message, "too slow") ? "stalled" : "timeout");
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_ISSUER_ERROR:
        return tls_failure(failure);
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_HTTP2:
        return cf_fail_reason(CF_ERR_BAD_REPLY, "not_http", "%s does not answer in HTTP: %s", failure->url,
                              failure->message);
    case CURLE_URL_MALFORMAT:
        return cf_fail_reason(CF_ERR_BAD_REPLY, "malformed", "not a usable address: %s", failure->url);
    default:
        return unreachable(failure, "cut"); /* GOT_NOTHING, SEND_ERROR, RECV_ERROR, PARTIAL_FILE, SSL_SHUTDOWN... */
    }
}

cf_err *cf_http_failure_to_err(const cf_http_failure *failure) {
    char host[256];
    const char *proxy = proxy_of(failure, host, sizeof host) ? host : NULL;
    cf_err *err = proxy ? proxy_failure(failure, proxy) : NULL;
    return err ? err : by_result(failure, proxy);
}
