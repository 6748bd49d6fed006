/* The client against peers that misbehave, on loopback: each kind of trouble has its own code and reason. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http/client.h"
#include "http/failure.h"

/* A server that reads once, writes these bytes to everybody who connects, and hangs up. */
typedef struct peer {
    int fd;
    uint16_t port;
    const char *answer; /* NULL: say nothing and keep the connection */
    int held;
    pthread_t thread;
} peer;

static void *serve(void *context) {
    peer *p = context;
    for (;;) {
        int connection = accept(p->fd, NULL, NULL);
        if (connection < 0) return NULL;
        char request[4096];
        ssize_t got = recv(connection, request, sizeof request, 0);
        if (p->answer) {
            if (got > 0) (void)!send(connection, p->answer, strlen(p->answer), MSG_NOSIGNAL);
            close(connection);
        } else {
            p->held = connection;
        }
    }
}

static void start(peer *p, const char *answer) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof address;
    *p = (peer){.answer = answer, .held = -1};
    p->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(p->fd >= 0);
    assert_int_equal(bind(p->fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(p->fd, 8), 0);
    assert_int_equal(getsockname(p->fd, (struct sockaddr *)&address, &size), 0);
    p->port = ntohs(address.sin_port);
    assert_int_equal(pthread_create(&p->thread, NULL, serve, p), 0);
}

static void stop(peer *p) {
    shutdown(p->fd, SHUT_RDWR);
    pthread_join(p->thread, NULL);
    close(p->fd);
    if (p->held >= 0) close(p->held);
}

/* A port at which nobody listens. */
static uint16_t free_port(void) {
    peer p;
    start(&p, "");
    stop(&p);
    return p.port;
}

static cf_err *get(const cf_http_options *options, const char *host, uint16_t port) {
    CF_AUTO(cf_http) http = NULL;
    CF_AUTO_HTTP_REPLY cf_http_reply reply;
    char url[128];
    assert_null(cf_http_new(options, &http));
    snprintf(url, sizeof url, "https://%s:%u/v1/version", host, port);
    cf_http_request request = {.method = "GET", .url = url};
    return cf_http_send(http, &request, &reply);
}

static void expect(cf_err *err, cf_code code, const char *reason) {
    assert_non_null(err);
    if (cf_err_code(err) != code || strcmp(cf_err_reason(err), reason) != 0) cf_err_print(stderr, err);
    assert_int_equal(cf_err_code(err), code);
    assert_string_equal(cf_err_reason(err), reason);
    cf_err_free(err);
}

static void nobody_listens(void **state) {
    (void)state;
    const cf_http_options options = {.proxy = ""};
    expect(get(&options, "127.0.0.1", free_port()), CF_ERR_VAULT_UNREACHABLE, "refused");
}

static void the_name_is_not_known(void **state) {
    (void)state;
    const cf_http_options options = {.proxy = ""};
    expect(get(&options, "no-such-host.invalid", 443), CF_ERR_VAULT_UNREACHABLE, "dns");
}

static void it_does_not_speak_tls(void **state) {
    (void)state;
    const cf_http_options options = {.proxy = ""};
    peer p;
    start(&p, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
    expect(get(&options, "127.0.0.1", p.port), CF_ERR_TLS_REFUSED, "handshake");
    stop(&p);
}

static void it_hangs_up(void **state) {
    (void)state;
    const cf_http_options options = {.proxy = ""};
    peer p;
    start(&p, "");
    expect(get(&options, "127.0.0.1", p.port), CF_ERR_VAULT_UNREACHABLE, "cut");
    stop(&p);
}

static void it_says_nothing(void **state) {
    (void)state;
    const cf_http_options options = {.proxy = "", .connect_seconds = 1, .stall_seconds = 1};
    peer p;
    start(&p, NULL);
    expect(get(&options, "127.0.0.1", p.port), CF_ERR_VAULT_UNREACHABLE, "timeout");
    stop(&p);
}

static void the_proxy_wants_a_password(void **state) {
    (void)state;
    peer p;
    start(
        &p,
        "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n");
    char proxy[64];
    snprintf(proxy, sizeof proxy, "http://127.0.0.1:%u", p.port);
    const cf_http_options options = {.proxy = proxy};
    expect(get(&options, "vault.example", 8443), CF_ERR_PROXY, "407");
    stop(&p);
}

static void the_proxy_refuses(void **state) {
    (void)state;
    peer p;
    start(&p, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
    char proxy[64];
    snprintf(proxy, sizeof proxy, "http://user:password@127.0.0.1:%u/", p.port);
    const cf_http_options options = {.proxy = proxy};
    cf_err *err = get(&options, "vault.example", 8443);
    assert_null(strstr(cf_err_message(err), "password"));
    expect(err, CF_ERR_PROXY, "refused");
    stop(&p);
}

static void the_proxy_is_not_there(void **state) {
    (void)state;
    char proxy[64];
    snprintf(proxy, sizeof proxy, "http://127.0.0.1:%u", free_port());
    const cf_http_options options = {.proxy = proxy};
    expect(get(&options, "vault.example", 8443), CF_ERR_PROXY, "unreachable");
    const cf_http_options unknown = {.proxy = "http://no-such-proxy.invalid:3128"};
    expect(get(&unknown, "vault.example", 8443), CF_ERR_PROXY, "dns");
}

static void the_proxy_comes_from_the_environment(void **state) {
    (void)state;
    char proxy[64];
    snprintf(proxy, sizeof proxy, "http://127.0.0.1:%u", free_port());
    assert_int_equal(setenv("https_proxy", proxy, 1), 0);
    const cf_http_options environment = {0}, none = {.proxy = ""};
    expect(get(&environment, "vault.example", 8443), CF_ERR_PROXY, "unreachable");
    expect(get(&none, "127.0.0.1", free_port()), CF_ERR_VAULT_UNREACHABLE, "refused");
    assert_int_equal(unsetenv("https_proxy"), 0);
}

static void a_request_to_stop_is_heard(void **state) {
    (void)state;
    cf_cancel cancel = {0};
    const cf_http_options options = {.proxy = "", .cancel = &cancel};
    cf_cancel_request(&cancel, 15);
    expect(get(&options, "127.0.0.1", 1), CF_ERR_CANCELLED, "");
}

static void plain_http_is_refused(void **state) {
    (void)state;
    CF_AUTO(cf_http) http = NULL;
    CF_AUTO_HTTP_REPLY cf_http_reply reply;
    const cf_http_options options = {.proxy = ""};
    assert_null(cf_http_new(&options, &http));
    cf_http_request request = {.method = "GET", .url = "http://127.0.0.1:1/"};
    expect(cf_http_send(http, &request, &reply), CF_ERR_BAD_REPLY, "not_http");
}

/* What libcurl says with OpenSSL, word for word. */
static void the_words_of_tls_are_understood(void **state) {
    (void)state;
    static const struct {
        CURLcode result;
        const char *words;
        cf_code code;
        const char *reason;
    } cases[] = {
        {CURLE_PEER_FAILED_VERIFICATION, "SSL certificate problem: self-signed certificate", CF_ERR_TLS_REFUSED,
         "certificate"},
        {CURLE_PEER_FAILED_VERIFICATION, "SSL certificate problem: certificate is not yet valid", CF_ERR_CLOCK_SKEW,
         "certificate_time"},
        {CURLE_PEER_FAILED_VERIFICATION, "SSL certificate problem: certificate has expired", CF_ERR_CLOCK_SKEW,
         "certificate_time"},
        {CURLE_PEER_FAILED_VERIFICATION, "SSL: no alternative certificate subject name matches target host name 'x'",
         CF_ERR_TLS_REFUSED, "certificate"},
        {CURLE_SSL_CONNECT_ERROR, "error:0A000102:SSL routines::unsupported protocol", CF_ERR_TLS_REFUSED,
         "tls_version"},
        {CURLE_SSL_CONNECT_ERROR, "error:0A00042E:SSL routines::tlsv1 alert protocol version", CF_ERR_TLS_REFUSED,
         "tls_version"},
        {CURLE_SSL_CONNECT_ERROR, "error:0A00010B:SSL routines::wrong version number", CF_ERR_TLS_REFUSED, "handshake"},
        {CURLE_SSL_CONNECT_ERROR, "OpenSSL SSL_connect: Connection reset by peer in connection to x",
         CF_ERR_VAULT_UNREACHABLE, "cut"},
        {CURLE_WEIRD_SERVER_REPLY, "", CF_ERR_BAD_REPLY, "not_http"},
        {CURLE_GOT_NOTHING, "Empty reply from server", CF_ERR_VAULT_UNREACHABLE, "cut"},
        {CURLE_PARTIAL_FILE, "transfer closed with outstanding read data remaining", CF_ERR_VAULT_UNREACHABLE, "cut"},
        {CURLE_OPERATION_TIMEDOUT, "Operation too slow. Less than 1 bytes/sec transferred the last 60 seconds",
         CF_ERR_VAULT_UNREACHABLE, "stalled"},
        {CURLE_OUT_OF_MEMORY, "", CF_ERR_OUT_OF_MEMORY, ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const cf_http_failure failure = {
            .result = cases[i].result, .url = "https://x", .message = cases[i].words, .proxy = ""};
        expect(cf_http_failure_to_err(&failure), cases[i].code, cases[i].reason);
    }
}

static void headers_and_dates_are_read(void **state) {
    (void)state;
    cf_http_reply reply;
    char value[16];
    int64_t seconds;
    cf_buf_init(&reply.body, 16);
    cf_buf_init(&reply.headers, 1024);
    cf_buf_put_span(
        &reply.headers,
        cf_span_text("HTTP/1.1 200 OK\r\nRetry-After:  7 \r\ndate: x\r\nX-Long: 0123456789abcdefgh\r\nDate: y"));
    assert_true(cf_http_reply_header(&reply, "retry-after", value, sizeof value));
    assert_string_equal(value, "7");
    assert_true(cf_http_reply_header(&reply, "Date", value, sizeof value));
    assert_string_equal(value, "y");
    assert_true(cf_http_reply_header(&reply, "X-Long", value, sizeof value));
    assert_string_equal(value, "0123456789abcde");
    assert_false(cf_http_reply_header(&reply, "Retry", value, sizeof value));
    cf_http_reply_wipe(&reply);
    assert_true(cf_http_date_parse("Fri, 20 Nov 2026 22:57:47 GMT", &seconds));
    assert_int_equal(seconds, 1795215467);
    assert_false(cf_http_date_parse("soon", &seconds));
}

int main(void) {
    static const char *const variables[] = {"https_proxy", "HTTPS_PROXY", "all_proxy",
                                            "ALL_PROXY",   "no_proxy",    "NO_PROXY"};
    for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++) unsetenv(variables[i]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_listens),
        cmocka_unit_test(the_name_is_not_known),
        cmocka_unit_test(it_does_not_speak_tls),
        cmocka_unit_test(it_hangs_up),
        cmocka_unit_test(it_says_nothing),
        cmocka_unit_test(the_proxy_wants_a_password),
        cmocka_unit_test(the_proxy_refuses),
        cmocka_unit_test(the_proxy_is_not_there),
        cmocka_unit_test(the_proxy_comes_from_the_environment),
        cmocka_unit_test(a_request_to_stop_is_heard),
        cmocka_unit_test(plain_http_is_refused),
        cmocka_unit_test(the_words_of_tls_are_understood),
        cmocka_unit_test(headers_and_dates_are_read),
    };
    return cmocka_run_group_tests_name("client", tests, NULL, NULL);
}
