#include <errno.h>
#include <sys/wait.h>

#include "folder.h"
#include "os/hooks.h"

static cf_span text(const char *of) {
    return cf_span_text(of);
}

static void a_durable_file_has_all_spans_and_its_mode(void **state) {
    folder *in = *state;
    const cf_span spans[] = {text("one "), {NULL, 0}, text("two")};
    mode_t old = umask(077);
    assert_ok(cf_file_write_durable(in->fd, "name", spans, 3, 0644));
    umask(old);
    assert_string_equal(folder_read(in, "name"), "one two");
    struct stat now;
    assert_int_equal(fstatat(in->fd, "name", &now, 0), 0);
    assert_int_equal(now.st_mode & 07777, 0644);
    assert_ok(cf_file_write_durable(in->fd, "name", spans, 1, 0600));
    assert_string_equal(folder_read(in, "name"), "one ");
    assert_int_equal(folder_count(in), 1);
}

static void create_only_never_replaces(void **state) {
    folder *in = *state;
    bool created = false;
    const cf_span first = text("first"), second = text("second");
    assert_ok(cf_file_create_durable(in->fd, "name", &first, 1, 0600, &created));
    assert_true(created);
    assert_ok(cf_file_create_durable(in->fd, "name", &second, 1, 0600, &created));
    assert_false(created);
    assert_string_equal(folder_read(in, "name"), "first");
    assert_int_equal(folder_count(in), 1);
}

static void a_path_with_parts_is_written_in_its_own_folder(void **state) {
    folder *in = *state;
    assert_ok(cf_dir_make_durable(in->fd, "a//b/c/", 0700));
    const cf_span data = text("deep");
    assert_ok(cf_file_write_durable(in->fd, "a/b/c/name", &data, 1, 0600));
    assert_string_equal(folder_read(in, "a/b/c/name"), "deep");
    char path[512];
    snprintf(path, sizeof path, "%s/a/absolute", in->path);
    assert_ok(cf_file_write_durable(AT_FDCWD, path, &data, 1, 0600));
    assert_string_equal(folder_read(in, "a/absolute"), "deep");
    assert_code(cf_file_write_durable(in->fd, "a/none/name", &data, 1, 0600), CF_ERR_NOT_FOUND);
    assert_code(cf_file_write_durable(in->fd, "a/b/", &data, 1, 0600), CF_ERR_IO);
    assert_code(cf_dir_make(in->fd, "a/absolute/x", 0700), CF_ERR_IO);
}

static void a_stream_is_there_only_after_its_commit(void **state) {
    folder *in = *state;
    cf_file_writer *writer = NULL;
    assert_ok(cf_file_writer_open(in->fd, "name", 0600, &writer));
    assert_ok(cf_file_writer_write(writer, text("....one ")));
    assert_ok(cf_file_writer_write(writer, text("two")));
    assert_ok(cf_file_writer_write_at(writer, 0, text("HEAD")));
    assert_int_equal(cf_file_writer_size(writer), 11);
    char start[4];
    assert_ok(cf_file_read_exact(cf_file_writer_fd(writer), 0, start, 4, "name"));
    assert_memory_equal(start, "HEAD", 4);
    assert_null(folder_read(in, "name"));
    assert_ok(cf_file_writer_commit(writer));
    cf_file_writer_free(writer);
    assert_string_equal(folder_read(in, "name"), "HEADone two");
    assert_ok(cf_file_writer_open(in->fd, "other", 0600, &writer));
    assert_ok(cf_file_writer_write(writer, text("given up")));
    assert_int_equal(folder_count(in), 2);
    cf_file_writer_free(writer);
    assert_int_equal(folder_count(in), 1);
}

static void reading_is_bounded(void **state) {
    folder *in = *state;
    folder_write(in, "name", "0123456789");
    CF_AUTO_BUF cf_buf buf;
    cf_buf_init(&buf, 1000);
    cf_buf_put_u8(&buf, 'x');
    assert_ok(cf_file_read(in->fd, "name", 10, &buf));
    assert_int_equal(buf.size, 11);
    assert_memory_equal(buf.data, "x0123456789", 11);
    assert_code(cf_file_read(in->fd, "name", 9, &buf), CF_ERR_TOO_LARGE);
    assert_int_equal(buf.size, 11);
    assert_code(cf_file_read(in->fd, "none", 9, &buf), CF_ERR_NOT_FOUND);
    CF_AUTO_BUF cf_buf proc; /* says that its size is 0 */
    cf_buf_init(&proc, 1 << 20);
    assert_ok(cf_file_read(AT_FDCWD, "/proc/self/status", 1 << 16, &proc));
    assert_true(proc.size > 100);
}

static void ranges_are_read_whole_or_reported_short(void **state) {
    folder *in = *state;
    folder_write(in, "name", "0123456789");
    CF_AUTO_FD int fd = -1;
    assert_ok(cf_file_open(in->fd, "name", &fd));
    char out[8];
    size_t got = 0;
    assert_ok(cf_file_read_at(fd, 6, out, sizeof out, "name", &got));
    assert_int_equal(got, 4);
    assert_ok(cf_file_read_exact(fd, 2, out, 8, "name"));
    assert_memory_equal(out, "23456789", 8);
    assert_reason(cf_file_read_exact(fd, 3, out, 8, "name"), CF_ERR_IO, "short");
}

static void removing_and_renaming(void **state) {
    folder *in = *state;
    folder_write(in, "a", "a");
    bool there = false;
    assert_ok(cf_dir_make(in->fd, "sub", 0700));
    assert_ok(cf_file_rename_durable(in->fd, "a", in->fd, "sub/b"));
    assert_ok(cf_file_exists(in->fd, "sub/b", &there));
    assert_true(there);
    assert_ok(cf_file_exists(in->fd, "a", &there));
    assert_false(there);
    assert_ok(cf_file_remove_durable(in->fd, "sub/b", &there));
    assert_true(there);
    assert_ok(cf_file_remove(in->fd, "sub/b", &there));
    assert_false(there);
    assert_code(cf_file_rename_durable(in->fd, "a", in->fd, "c"), CF_ERR_NOT_FOUND);
}

typedef struct failing {
    int left;
    int err_no;
} failing;

static int fail_nth(void *context, const cf_os_op *op) {
    (void)op;
    failing *self = context;
    return self->left-- == 0 ? self->err_no : 0;
}

/* Whichever call fails: the name has the old content or the new one, and no temporary file stays. */
static void every_failing_call_leaves_old_or_new(void **state) {
    folder *in = *state;
    const cf_span old = text("old"), new_data[] = {text("new"), text("er")};
    bool finished = false;
    for (int nth = 0; !finished; nth++) {
        assert_ok(cf_file_write_durable(in->fd, "name", &old, 1, 0600));
        failing context = {nth, ENOSPC};
        cf_os_hooks hooks = {fail_nth, NULL, &context};
        cf_os_hooks_set(&hooks);
        CF_AUTO(cf_err) err = cf_file_write_durable(in->fd, "name", new_data, 2, 0600);
        cf_os_hooks_set(NULL);
        finished = err == NULL;
        if (err) assert_int_equal(cf_err_code(err), CF_ERR_DISK_FULL);
        if (err) assert_non_null(strstr(cf_err_message(err), "name"));
        const char *now = folder_read(in, "name");
        assert_true(strcmp(now, "old") == 0 || strcmp(now, "newer") == 0);
        if (finished) assert_string_equal(now, "newer");
        assert_int_equal(folder_count(in), 1);
        assert_true(nth < 20);
    }
}

static void leftovers_go_unless_somebody_is_writing(void **state) {
    folder *in = *state;
    folder_write(in, ".coffer-0123456789abcdef", "of a crashed process");
    folder_write(in, "other", "kept");
    cf_file_writer *writer = NULL;
    assert_ok(cf_file_writer_open(in->fd, "live", 0600, &writer));
    assert_int_equal(folder_count(in), 3);
    unsigned removed = 0;
    assert_ok(cf_file_remove_leftovers(in->fd, in->path, &removed));
    assert_int_equal(removed, 1);
    assert_ok(cf_file_writer_commit(writer));
    cf_file_writer_free(writer);
    assert_int_equal(folder_count(in), 2);
}

static void exclusive_creation_is_decided_once(void **state) {
    folder *in = *state;
    enum { PROCESSES = 8 };
    for (int i = 0; i < PROCESSES; i++) {
        if (fork() != 0) continue;
        bool created = false;
        const cf_span data = text("mine");
        cf_err *err = cf_file_create_durable(in->fd, "name", &data, 1, 0600, &created);
        _exit(err ? 2 : created ? 1 : 0);
    }
    int won = 0;
    for (int i = 0; i < PROCESSES; i++) {
        int status = 0;
        wait(&status);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) < 2);
        won += WEXITSTATUS(status);
    }
    assert_int_equal(won, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_durable_file_has_all_spans_and_its_mode, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(create_only_never_replaces, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(a_path_with_parts_is_written_in_its_own_folder, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(a_stream_is_there_only_after_its_commit, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(reading_is_bounded, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(ranges_are_read_whole_or_reported_short, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(removing_and_renaming, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(every_failing_call_leaves_old_or_new, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(leftovers_go_unless_somebody_is_writing, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(exclusive_creation_is_decided_once, folder_make, folder_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
