#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "remote/identity.h"
#include "remote/retry.h"

static void steps_double_up_to_a_minute_with_jitter(void **state) {
    (void)state;
    CF_AUTO(cf_err) err = cf_fail(CF_ERR_VAULT_UNREACHABLE, "away");
    cf_retry retry = {.total_ms = CF_RETRY_JOB_MS};
    uint64_t wait, now = 5000;
    for (uint64_t step = CF_RETRY_FIRST_MS, i = 0;
         i<12; i++, step = step * 2> CF_RETRY_MOST_MS ? CF_RETRY_MOST_MS : step * 2) {
        cf_retry other = retry;
        assert_true(cf_retry_next(&other, err, now, 0, &wait));
        assert_int_equal(wait, step / 2);
        assert_true(cf_retry_next(&retry, err, now, (uint32_t)(step / 2), &wait));
        assert_int_equal(wait, step);
        now += wait;
    }
}

static void it_gives_up_when_the_total_is_used_up(void **state) {
    (void)state;
    CF_AUTO(cf_err) err = cf_fail(CF_ERR_VAULT_UNREACHABLE, "away");
    cf_retry retry = {.total_ms = CF_RETRY_PERSON_MS};
    uint64_t wait, now = 0;
    uint32_t random = 1;
    while (cf_retry_next(&retry, err, now, random *= 1664525, &wait)) now += wait;
    assert_true(now > CF_RETRY_PERSON_MS / 4 && now <= CF_RETRY_PERSON_MS);
    cf_retry never = {.total_ms = 0};
    assert_false(cf_retry_next(&never, err, 0, 0, &wait));
}

static void retry_after_is_kept_to(void **state) {
    (void)state;
    CF_AUTO(cf_err) err = cf_fail(CF_ERR_VAULT_BUSY, "later");
    cf_err_set_retry_after(err, 20);
    cf_retry retry = {.total_ms = CF_RETRY_PERSON_MS};
    uint64_t wait;
    assert_true(cf_retry_next(&retry, err, 0, 7, &wait));
    assert_true(wait >= 20000 && wait <= 20000 + CF_RETRY_FIRST_MS);
    assert_false(cf_retry_next(&retry, err, wait, 7, &wait)); /* the next would end after 40 s */
}

/* A clock that only sleeping moves. */
static uint64_t now_ms, waits, told;
static cf_time wall(void *context) {
    (void)context;
    return (cf_time){1000000 + (int64_t)(now_ms / 1000), 0};
}
static uint64_t monotonic(void *context) {
    (void)context;
    return now_ms;
}
static void sleep_fake(void *context, uint64_t wait_ms) {
    (void)context;
    now_ms += wait_ms;
    waits++;
}
static void waiting(void *context, const cf_err *why, uint64_t wait_ms) {
    (void)context;
    assert_int_equal(cf_err_code(why), CF_ERR_VAULT_UNREACHABLE);
    assert_true(wait_ms > 0);
    told++;
}

static unsigned closed_port(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    close(fd);
    return ntohs(address.sin_port);
}

static void a_job_waits_an_hour_for_its_vault(void **state) {
    (void)state;
    char url[64];
    snprintf(url, sizeof url, "https://127.0.0.1:%u/", closed_port());
    cf_remote_options options = {.url = url,
                                 .proxy = "",
                                 .retry_total_ms = CF_RETRY_JOB_MS,
                                 .clock = {wall, monotonic, NULL},
                                 .sleep = sleep_fake,
                                 .waiting = waiting};
    CF_AUTO(cf_remote) remote = NULL;
    cf_remote_version version;
    assert_null(cf_remote_open(&options, &remote));
    now_ms = waits = told = 0;
    CF_AUTO(cf_err) err = cf_remote_get_version(remote, &version);
    assert_int_equal(cf_err_code(err), CF_ERR_VAULT_UNREACHABLE);
    assert_string_equal(cf_err_reason(err), "refused");
    assert_true(now_ms > CF_RETRY_JOB_MS - CF_RETRY_MOST_MS && now_ms <= CF_RETRY_JOB_MS);
    assert_true(waits > 60 && waits < 140);
    assert_int_equal(waits, told);
    int64_t offset;
    assert_false(cf_remote_clock_offset(remote, &offset));
}

static void an_address_without_https_is_refused(void **state) {
    (void)state;
    static const char *const bad[] = {"http://vault", "vault:8443", "https://", ""};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cf_remote_options options = {.url = bad[i]};
        cf_remote *remote = NULL;
        CF_AUTO(cf_err) err = cf_remote_open(&options, &remote);
        assert_int_equal(cf_err_code(err), CF_ERR_BAD_USAGE);
        assert_null(remote);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_double_up_to_a_minute_with_jitter),
        cmocka_unit_test(it_gives_up_when_the_total_is_used_up),
        cmocka_unit_test(retry_after_is_kept_to),
        cmocka_unit_test(a_job_waits_an_hour_for_its_vault),
        cmocka_unit_test(an_address_without_https_is_refused),
    };
    return cmocka_run_group_tests_name("retry", tests, NULL, NULL);
}
