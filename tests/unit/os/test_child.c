/* Starting programs: their end is noticed, their output goes where it is sent, nothing of ours is inherited. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/child.h"

static cf_child start(const char *script, int out) {
    const char *const argv[] = {"/bin/sh", "-c", script, NULL}, *const env[] = {"A=1", NULL};
    cf_child child;
    assert_null(cf_child_start(&(cf_child_options){.argv = argv, .env = env, .out = out, .err = -1}, &child));
    return child;
}

static void its_end_is_noticed(void **state) {
    (void)state;
    int status = 0;
    char text[64];
    cf_child child = start("exit 3", -1);
    assert_true(cf_child_wait(&child, 10000, &status));
    assert_true(child.pid == 0 && child.fd == -1);
    cf_child_text(status, text);
    assert_string_equal(text, "exit status 3");
    child = start("kill -9 $$", -1);
    assert_true(cf_child_wait(&child, UINT64_MAX, &status));
    assert_true(WIFSIGNALED(status));
    cf_child_text(status, text);
    assert_string_equal(text, "ended by signal 9 (Killed)");
}

static void waiting_has_an_end(void **state) {
    (void)state;
    int status = 0;
    cf_child child = start("sleep 60 & wait", -1);
    assert_false(cf_child_poll(&child, &status));
    assert_false(cf_child_wait(&child, 20, &status));
    cf_child_signal(&child, SIGKILL, true);
    assert_true(cf_child_wait(&child, 10000, &status));
    cf_child_signal(&child, SIGKILL, true); /* nobody is hit */
}

static void it_inherits_nothing(void **state) {
    (void)state;
    int ends[2], status = 0;
    char text[512] = "";
    assert_int_equal(pipe(ends), 0);
    int open_one = open("/dev/null", O_RDONLY); /* without O_CLOEXEC */
    assert_true(open_one > 2);
    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    sigprocmask(SIG_BLOCK, &blocked, NULL);
    cf_child child = start("pwd; echo $A$HOME; ls /proc/$$/fd | tr '\\n' ' '; kill $$", ends[1]);
    close(ends[1]);
    assert_true(cf_child_wait(&child, 10000, &status));
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
    assert_true(read(ends[0], text, sizeof text - 1) > 0);
    assert_string_equal(text, "/\n1\n0 1 2 ");
    close(ends[0]);
    close(open_one);
    sigprocmask(SIG_UNBLOCK, &blocked, NULL);
}

static void what_is_missing_is_an_error(void **state) {
    (void)state;
    const char *const argv[] = {"/nonexistent/program", NULL};
    cf_child child;
    CF_AUTO(cf_err) err = cf_child_start(&(cf_child_options){.argv = argv, .out = -1, .err = -1}, &child);
    assert_int_equal(cf_err_code(err), CF_ERR_NOT_FOUND);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(its_end_is_noticed),
        cmocka_unit_test(waiting_has_an_end),
        cmocka_unit_test(it_inherits_nothing),
        cmocka_unit_test(what_is_missing_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
