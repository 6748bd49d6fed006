/* One rate for several processes, whatever happens to them. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/pace.h"

static void good(cf_err *err) {
    if (!err) return;
    cf_err_print(stderr, err);
    cf_err_free(err);
    fail_msg("unexpected error");
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

typedef struct folder {
    char path[64];
    int fd;
} folder;

static folder make_folder(void) {
    folder f = {.path = "/tmp/coffer-pace-XXXXXX"};
    assert_non_null(mkdtemp(f.path));
    f.fd = open(f.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(f.fd >= 0);
    return f;
}

static void remove_folder(folder *f) {
    (void)unlinkat(f->fd, "throttle.conf", 0);
    (void)unlinkat(f->fd, "throttle.bucket", 0);
    close(f->fd);
    assert_int_equal(rmdir(f->path), 0);
}

static cf_agent_pace *open_pace(const folder *f) {
    cf_agent_pace *pace;
    cf_clock clock = cf_clock_system();
    good(cf_agent_pace_open(f->fd, &clock, &pace));
    return pace;
}

/* Moves bytes until it is killed, and counts them. */
static pid_t start_mover(const folder *f, _Atomic uint64_t *moved) {
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid) return pid;
    cf_agent_pace *pace = open_pace(f);
    const cf_http_pace *http = cf_agent_pace_http(pace);
    for (;;) {
        if (!http->take(http->context, 3000, true, NULL)) _exit(1);
        *moved += 3000;
    }
}

static void end_mover(pid_t pid) {
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void wait_seconds(double seconds) {
    struct timespec t = {.tv_sec = (time_t)seconds, .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};
    while (nanosleep(&t, &t) < 0) {
    }
}

static double rate_over(_Atomic uint64_t *moved, double seconds) {
    uint64_t before = *moved;
    double start = now();
    wait_seconds(seconds);
    return (double)(*moved - before) / (now() - start);
}

static void near(double got, double wanted) {
    if (got < wanted * 0.85 || got > wanted * 1.15) fail_msg("%.0f bytes a second instead of %.0f", got, wanted);
}

static void test_processes(void **state) {
    (void)state;
    folder f = make_folder();
    _Atomic uint64_t *moved = mmap(NULL, sizeof *moved, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(moved != MAP_FAILED);
    cf_throttle throttle = {.enabled = true, .other_bits = 8000000};
    good(cf_throttle_save(f.fd, &throttle));
    pid_t movers[4];
    for (int i = 0; i < 4; i++) movers[i] = start_mover(&f, moved);
    wait_seconds(0.4);
    near(rate_over(moved, 1.0), 1e6);
    end_mover(movers[0]); /* in the middle of whatever it does: the others get what it had */
    end_mover(movers[1]);
    near(rate_over(moved, 1.0), 1e6);
    throttle.other_bits = 4000000;
    good(cf_throttle_save(f.fd, &throttle));
    wait_seconds(0.8);
    near(rate_over(moved, 1.0), 5e5);
    throttle.enabled = false;
    good(cf_throttle_save(f.fd, &throttle));
    wait_seconds(0.8);
    assert_true(rate_over(moved, 0.1) > 1e7);
    end_mover(movers[2]);
    end_mover(movers[3]);
    (void)munmap(moved, sizeof *moved);
    remove_folder(&f);
}

static void test_odd_files(void **state) {
    (void)state;
    folder f = make_folder();
    cf_throttle throttle = {.enabled = true, .other_bits = 800000000};
    good(cf_throttle_save(f.fd, &throttle));
    /* A bucket with anything in it, of any length. */
    for (size_t size = 0; size <= 100; size += 50) {
        int fd = openat(f.fd, "throttle.bucket", O_RDWR | O_CREAT | O_TRUNC, 0600);
        static uint8_t noise[100];
        memset(noise, 0xff, sizeof noise);
        assert_int_equal(write(fd, noise, size), size);
        close(fd);
        cf_agent_pace *pace = open_pace(&f);
        const cf_http_pace *http = cf_agent_pace_http(pace);
        double start = now();
        assert_int_equal(http->rate(http->context), 100000000);
        assert_true(http->take(http->context, 1 << 20, true, NULL));
        assert_true(now() - start < 2);
        cf_agent_pace_free(pace);
    }
    /* None at all: the process keeps to the rate by itself. Rules that cannot be read are none. */
    assert_int_equal(unlinkat(f.fd, "throttle.bucket", 0), 0);
    assert_int_equal(mkdirat(f.fd, "throttle.bucket", 0700), 0);
    cf_agent_pace *pace = open_pace(&f);
    assert_int_equal(cf_agent_pace_http(pace)->rate(pace), 100000000);
    cf_agent_pace_free(pace);
    assert_int_equal(unlinkat(f.fd, "throttle.bucket", AT_REMOVEDIR), 0);
    int fd = openat(f.fd, "throttle.conf", O_WRONLY | O_TRUNC);
    assert_int_equal(write(fd, "nonsense\n", 9), 9);
    close(fd);
    pace = open_pace(&f);
    assert_int_equal(cf_agent_pace_http(pace)->rate(pace), 0);
    cf_agent_pace_free(pace);
    remove_folder(&f);
}

static void test_cancel(void **state) {
    (void)state;
    folder f = make_folder();
    cf_throttle throttle = {.enabled = true, .other_bits = 64000};
    good(cf_throttle_save(f.fd, &throttle));
    cf_agent_pace *pace = open_pace(&f);
    const cf_http_pace *http = cf_agent_pace_http(pace);
    cf_cancel cancel = {0};
    cf_cancel_request(&cancel, 15);
    double start = now();
    assert_false(http->take(http->context, 1 << 20, true, &cancel));
    assert_true(http->take(http->context, 4096, false, &cancel)); /* it has moved already */
    assert_true(now() - start < 1);
    cf_agent_pace_free(pace);
    remove_folder(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_processes),
        cmocka_unit_test(test_odd_files),
        cmocka_unit_test(test_cancel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
