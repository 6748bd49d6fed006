#include <errno.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <linux/filter.h>
#include <linux/seccomp.h>

#include "folder.h"
#include "os/beneath.h"

static cf_beneath *open_root(const folder *in) {
    cf_beneath *root = NULL;
    assert_ok(cf_beneath_open(AT_FDCWD, cf_span_text(in->path), &root));
    return root;
}

static void bad_names_are_refused(void **state) {
    folder *in = *state;
    CF_AUTO(cf_beneath) root = open_root(in);
    static const cf_span bad[] = {
        {(const uint8_t *)"", 0},    {(const uint8_t *)".", 1},    {(const uint8_t *)"..", 2},
        {(const uint8_t *)"a/b", 3}, {(const uint8_t *)"a\0b", 3}, {(const uint8_t *)"/", 1},
    };
    cf_name name;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_reason(cf_name_from(bad[i], &name), CF_ERR_PATH_REFUSED, "name");
    static char huge[2000];
    memset(huge, 'n', sizeof huge);
    assert_reason(cf_name_from(cf_span_of(huge, sizeof huge), &name), CF_ERR_PATH_REFUSED, "name");
    assert_ok(cf_name_from(cf_span_text("...\xff"), &name));
    static const char *const paths[] = {"/etc", "a/../b", "..", "a//b", "a/", "./a", "a/.", "../x"};
    assert_ok(cf_dir_make(in->fd, "a/b", 0700));
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        int fd = -1;
        assert_reason(cf_beneath_openat(root, cf_span_text(paths[i]), O_RDONLY, &fd), CF_ERR_PATH_REFUSED, "name");
        assert_reason(cf_beneath_folder(root, cf_span_text(paths[i]), &fd), CF_ERR_PATH_REFUSED, "name");
        assert_int_equal(fd, -1);
    }
}

static void planted_links(const folder *in) {
    CF_AUTO(cf_beneath) root = open_root(in);
    assert_ok(cf_dir_make(in->fd, "real/sub", 0700));
    folder_write(in, "real/file", "real");
    assert_int_equal(symlinkat("real", in->fd, "link"), 0);
    assert_int_equal(symlinkat("/etc/passwd", in->fd, "real/passwd"), 0);
    static const char *const refused[] = {"link", "link/sub", "link/file", "real/passwd", "link/new/x"};
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        int fd = -1;
        assert_reason(cf_beneath_openat(root, cf_span_text(refused[i]), O_RDONLY, &fd), CF_ERR_PATH_REFUSED, "symlink");
        assert_reason(cf_beneath_folder(root, cf_span_text(refused[i]), &fd), CF_ERR_PATH_REFUSED, "symlink");
    }
    CF_AUTO_FD int fd = -1;
    assert_ok(cf_beneath_openat(root, cf_span_text("real/file"), O_RDONLY, &fd));
    CF_AUTO_FD int sub = -1;
    assert_ok(cf_beneath_folder(root, cf_span_text("real/sub/new/newer"), &sub));
    int none = -1;
    assert_code(cf_beneath_openat(root, cf_span_text("real/none"), O_RDONLY, &none), CF_ERR_NOT_FOUND);
    assert_code(cf_beneath_folder(root, cf_span_text("real/file/x"), &none), CF_ERR_IO);
    CF_AUTO_FD int self = -1;
    assert_ok(cf_beneath_openat(root, (cf_span){0}, O_RDONLY | O_DIRECTORY, &self));
}

static void planted_links_are_not_followed(void **state) {
    planted_links(*state);
}

/* An old kernel: openat2 says ENOSYS. */
static void forbid_openat2(void) {
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {4, rules};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
        _exit(77);
}

static void old_kernels_refuse_the_same(void **state) {
    folder *in = *state;
    pid_t child = fork();
    if (child == 0) {
        forbid_openat2();
        const struct CMUnitTest again[] = {cmocka_unit_test_prestate(planted_links_are_not_followed, in)};
        _exit(cmocka_run_group_tests(again, NULL, NULL) == 0 ? 0 : 1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77) skip();
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void paths_longer_than_the_kernels_limit(void **state) {
    folder *in = *state;
    CF_AUTO(cf_beneath) root = open_root(in);
    enum { DEPTH = 60 };
    static char path[DEPTH * 201];
    memset(path, 'd', sizeof path);
    for (size_t i = 1; i < DEPTH; i++) path[i * 201 - 1] = '/';
    const cf_span span = cf_span_of(path, sizeof path - 1);
    int fd = -1;
    cf_name leaf;
    assert_code(cf_beneath_openat(root, span, O_RDONLY, &fd), CF_ERR_NOT_FOUND);
    assert_code(cf_beneath_parent(root, span, false, &fd, &leaf), CF_ERR_NOT_FOUND);
    assert_ok(cf_beneath_parent(root, span, true, &fd, &leaf));
    assert_int_equal(strlen(leaf.text), 200);
    assert_int_equal(symlinkat("x", fd, leaf.text), 0);
    close(fd);
    assert_reason(cf_beneath_openat(root, span, O_RDONLY, &fd), CF_ERR_PATH_REFUSED, "symlink");
    assert_ok(cf_beneath_openat(root, cf_span_of(path, sizeof path - 202), O_RDONLY | O_DIRECTORY, &fd));
    close(fd);
}

static void a_part_is_placed_or_gone(void **state) {
    folder *in = *state;
    cf_partial part;
    cf_name name;
    bool placed = false;
    assert_ok(cf_name_from(cf_span_text("name"), &name));
    assert_ok(cf_partial_open(in->fd, &part));
    assert_ok(cf_file_write_at(part.fd, 0, cf_span_text("one"), "name"));
    assert_ok(cf_partial_place(&part, &name, false, &placed));
    assert_true(placed);
    cf_partial_wipe(&part);
    assert_string_equal(folder_read(in, "name"), "one");

    assert_ok(cf_partial_open(in->fd, &part));
    assert_ok(cf_file_write_at(part.fd, 0, cf_span_text("two"), "name"));
    assert_ok(cf_partial_place(&part, &name, false, &placed));
    assert_false(placed);
    assert_string_equal(folder_read(in, "name"), "one");
    assert_ok(cf_partial_place(&part, &name, true, &placed));
    assert_true(placed);
    cf_partial_wipe(&part);
    assert_string_equal(folder_read(in, "name"), "two");
    assert_int_equal(folder_count(in), 1);

    assert_ok(cf_partial_open(in->fd, &part));
    cf_partial_wipe(&part);
    assert_int_equal(folder_count(in), 1);
}

static void a_planted_link_is_replaced_not_written_through(void **state) {
    folder *in = *state;
    folder_write(in, "victim", "untouched");
    assert_int_equal(symlinkat("victim", in->fd, "name"), 0);
    assert_ok(cf_dir_make(in->fd, "folder", 0700));
    cf_partial part;
    cf_name name, folder_name;
    bool placed = false;
    assert_ok(cf_name_from(cf_span_text("name"), &name));
    assert_ok(cf_name_from(cf_span_text("folder"), &folder_name));
    assert_ok(cf_partial_open(in->fd, &part));
    assert_ok(cf_file_write_at(part.fd, 0, cf_span_text("restored"), "name"));
    assert_ok(cf_partial_place(&part, &name, true, &placed));
    cf_partial_wipe(&part);
    assert_string_equal(folder_read(in, "victim"), "untouched");
    assert_string_equal(folder_read(in, "name"), "restored");
    assert_ok(cf_partial_open(in->fd, &part));
    assert_code(cf_partial_place(&part, &folder_name, true, &placed), CF_ERR_EXISTS);
    cf_partial_wipe(&part);
    assert_int_equal(folder_count(in), 3);
    assert_ok(cf_beneath_link(in->fd, &name, in->fd, &(cf_name){"second"}));
    assert_string_equal(folder_read(in, "second"), "restored");
    assert_code(cf_beneath_link(in->fd, &name, in->fd, &(cf_name){"second"}), CF_ERR_EXISTS);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, folder_make, folder_remove)
int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(bad_names_are_refused),       TEST(planted_links_are_not_followed),
        TEST(old_kernels_refuse_the_same), TEST(paths_longer_than_the_kernels_limit),
        TEST(a_part_is_placed_or_gone),    TEST(a_planted_link_is_replaced_not_written_through),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
