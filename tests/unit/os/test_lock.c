#include <signal.h>
#include <sys/wait.h>

#include "folder.h"
#include "os/lock.h"

static const cf_time then = {1700000000, 0};

static void an_exclusive_lock_names_its_holder(void **state) {
    folder *in = *state;
    CF_AUTO(cf_lock) first = NULL;
    CF_AUTO(cf_lock) second = NULL;
    cf_lock_holder holder;
    assert_ok(cf_lock_try(in->fd, "lock", CF_LOCK_EXCLUSIVE, "backup\njob 17", then, &first, &holder));
    assert_non_null(first);
    assert_ok(cf_lock_try(in->fd, "lock", CF_LOCK_EXCLUSIVE, "job 18", then, &second, &holder));
    assert_null(second);
    assert_int_equal(holder.pid, getpid());
    assert_int_equal(holder.since.seconds, then.seconds);
    assert_string_equal(holder.note, "backup job 17");
    assert_ok(cf_lock_try(in->fd, "lock", CF_LOCK_SHARED, "reader", then, &second, &holder));
    assert_null(second);
    cf_lock_free(cf_take(first));
    assert_ok(cf_lock_try(in->fd, "lock", CF_LOCK_EXCLUSIVE, "job 18", then, &second, &holder));
    assert_non_null(second);
}

static void shared_locks_go_together(void **state) {
    folder *in = *state;
    CF_AUTO(cf_lock) first = NULL;
    CF_AUTO(cf_lock) second = NULL;
    CF_AUTO(cf_lock) writer = NULL;
    cf_lock_holder holder;
    assert_ok(cf_lock_try(in->fd, "lock", CF_LOCK_SHARED, "one", then, &first, NULL));
    assert_ok(cf_lock_try(in->fd, "lock", CF_LOCK_SHARED, "two", then, &second, NULL));
    assert_non_null(first);
    assert_non_null(second);
    assert_ok(cf_lock_try(in->fd, "lock", CF_LOCK_EXCLUSIVE, "w", then, &writer, &holder));
    assert_null(writer);
    assert_string_equal(holder.note, "one");
    cf_lock_free(cf_take(first)); /* its line stays in the file, but is true no longer */
    assert_ok(cf_lock_try(in->fd, "lock", CF_LOCK_EXCLUSIVE, "w", then, &writer, &holder));
    assert_null(writer);
    assert_string_equal(holder.note, "two");
}

static void a_long_note_is_cut(void **state) {
    folder *in = *state;
    char note[1000];
    memset(note, 'n', sizeof note - 1);
    note[sizeof note - 1] = 0;
    CF_AUTO(cf_lock) lock = NULL;
    cf_lock_holder holder;
    bool held = false;
    assert_ok(cf_lock_try(in->fd, "lock", CF_LOCK_EXCLUSIVE, note, then, &lock, NULL));
    assert_ok(cf_lock_peek(in->fd, "lock", &held, &holder));
    assert_true(held);
    assert_int_equal(strlen(holder.note), CF_LOCK_NOTE_MAX);
}

static void a_killed_holder_holds_nothing(void **state) {
    folder *in = *state;
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        cf_lock *lock = NULL;
        cf_err *err = cf_lock_try(in->fd, "lock", CF_LOCK_EXCLUSIVE, "child", then, &lock, NULL);
        if (err || !lock || write(ready[1], "r", 1) != 1) _exit(1);
        for (;;) pause();
    }
    char byte;
    assert_int_equal(read(ready[0], &byte, 1), 1);
    CF_AUTO(cf_lock) lock = NULL;
    cf_lock_holder holder;
    assert_ok(cf_lock_try(in->fd, "lock", CF_LOCK_EXCLUSIVE, "me", then, &lock, &holder));
    assert_null(lock);
    assert_int_equal(holder.pid, child);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    assert_ok(cf_lock_wait(in->fd, "lock", CF_LOCK_EXCLUSIVE, "me", then, &lock));
    assert_non_null(lock);
    close(ready[0]);
    close(ready[1]);
}

static void peeking_takes_nothing(void **state) {
    folder *in = *state;
    bool held = true;
    cf_lock_holder holder;
    assert_ok(cf_lock_peek(in->fd, "lock", &held, &holder));
    assert_false(held);
    assert_int_equal(folder_count(in), 0);
    CF_AUTO(cf_lock) lock = NULL;
    assert_ok(cf_lock_try(in->fd, "lock", CF_LOCK_SHARED, "x", then, &lock, NULL));
    assert_ok(cf_lock_peek(in->fd, "lock", &held, &holder));
    assert_true(held);
    assert_string_equal(holder.note, "x");
    cf_lock_free(cf_take(lock));
    assert_ok(cf_lock_peek(in->fd, "lock", &held, NULL));
    assert_false(held);
    assert_code(cf_lock_try(in->fd, "none/lock", CF_LOCK_SHARED, "x", then, &lock, NULL), CF_ERR_NOT_FOUND);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_exclusive_lock_names_its_holder, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(shared_locks_go_together, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(a_long_note_is_cut, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(a_killed_holder_holds_nothing, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(peeking_takes_nothing, folder_make, folder_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
