#include <errno.h>
#include <sys/mount.h>

#include "folder.h"
#include "os/stat.h"

static void many_names_come_once_each(void **state) {
    folder *in = *state;
    enum { COUNT = 6000 };
    static bool seen[COUNT];
    memset(seen, 0, sizeof seen);
    char name[300];
    for (int i = 0; i < COUNT; i++) {
        snprintf(name, sizeof name, "%0*d", i % 50 + 5, i);
        folder_write(in, name, "");
    }
    cf_dir *dir = NULL;
    assert_ok(cf_dir_new(&dir));
    for (int round = 0; round < 2; round++) { /* the reader is reused */
        assert_ok(cf_dir_start(dir, in->fd, in->path));
        int count = 0;
        for (bool more = true; more;) {
            cf_dir_entry entry;
            assert_ok(cf_dir_next(dir, &entry, &more));
            if (!more) break;
            assert_int_equal(entry.size, strlen(entry.name));
            assert_true(entry.type == CF_TYPE_FILE || entry.type == 0);
            assert_true(entry.inode != 0);
            int number = atoi(entry.name);
            assert_int_equal(seen[number], round == 1);
            seen[number] = round == 0;
            count++;
        }
        assert_int_equal(count, COUNT);
    }
    cf_dir_free(dir);
}

static void emptiness(void **state) {
    folder *in = *state;
    bool empty = false;
    assert_ok(cf_dir_empty(in->fd, in->path, &empty));
    assert_true(empty);
    folder_write(in, ".hidden", "");
    assert_ok(cf_dir_empty(in->fd, in->path, &empty));
    assert_false(empty);
}

/* A tree of depth levels with names of 200 bytes; its path is far over PATH_MAX. */
static void make_deep(const folder *in, const char *top, int depth) {
    char name[201];
    memset(name, 'd', 200);
    name[200] = 0;
    assert_int_equal(mkdirat(in->fd, top, 0700), 0);
    int at = openat(in->fd, top, O_RDONLY | O_DIRECTORY);
    for (int i = 0; i < depth; i++) {
        int file = openat(at, "file", O_CREAT | O_WRONLY, 0600);
        assert_true(file >= 0);
        close(file);
        assert_int_equal(mkdirat(at, name, 0700), 0);
        assert_int_equal(mkdirat(at, "beside", 0700), 0);
        int next = openat(at, name, O_RDONLY | O_DIRECTORY);
        assert_true(next >= 0);
        close(at);
        at = next;
    }
    close(at);
}

static void a_deep_tree_is_opened_and_removed(void **state) {
    folder *in = *state;
    enum { DEPTH = 1500 }; /* more levels than descriptors, 300,000 bytes of path */
    make_deep(in, "top", DEPTH);
    size_t size = 3 + (size_t)DEPTH * 201;
    char *path = malloc(size + 1);
    memcpy(path, "top", 3);
    memset(path + 3, 'd', size - 3);
    for (size_t i = 0; i < DEPTH; i++) path[3 + i * 201] = '/';
    int fd = -1;
    assert_ok(cf_dir_open_path(in->fd, cf_span_of(path, size), &fd));
    close(fd);
    path[size - 1] = 'e';
    assert_code(cf_dir_open_path(in->fd, cf_span_of(path, size), &fd), CF_ERR_NOT_FOUND);
    free(path);
    assert_ok(cf_dir_remove_tree(in->fd, "top"));
    assert_int_equal(folder_count(in), 0);
    assert_ok(cf_dir_remove_tree(in->fd, "top"));
}

static void removing_does_not_follow_links(void **state) {
    folder *in = *state;
    assert_ok(cf_dir_make(in->fd, "kept/sub", 0700));
    folder_write(in, "kept/sub/file", "kept");
    assert_ok(cf_dir_make(in->fd, "gone/sub", 0700));
    assert_int_equal(symlinkat("../../kept", in->fd, "gone/sub/link"), 0);
    assert_int_equal(symlinkat("kept", in->fd, "link"), 0);
    assert_ok(cf_dir_remove_tree(in->fd, "gone"));
    assert_ok(cf_dir_remove_tree(in->fd, "link"));
    assert_string_equal(folder_read(in, "kept/sub/file"), "kept");
    assert_int_equal(folder_count(in), 1);
}

/* The current folder may be on another file system. */
static void removing_by_absolute_path(void **state) {
    folder *in = *state;
    assert_ok(cf_dir_make(in->fd, "tree/sub/sub", 0700));
    folder_write(in, "tree/sub/file", "x");
    char path[300], old[512];
    snprintf(path, sizeof path, "%s/tree", in->path);
    assert_non_null(getcwd(old, sizeof old));
    assert_int_equal(chdir("/proc"), 0);
    cf_err *err = cf_dir_remove_tree(AT_FDCWD, path);
    assert_int_equal(chdir(old), 0);
    assert_ok(err);
    assert_int_equal(folder_count(in), 0);
    assert_ok(cf_dir_remove_tree(in->fd, "none/tree"));
}

static void removing_stops_at_a_mount(void **state) {
    folder *in = *state;
    assert_ok(cf_dir_make(in->fd, "tree/sub/point", 0700));
    assert_ok(cf_dir_make(in->fd, "other", 0700));
    folder_write(in, "other/file", "kept");
    char from[300], to[300];
    snprintf(from, sizeof from, "%s/other", in->path);
    snprintf(to, sizeof to, "%s/tree/sub/point", in->path);
    if (mount(from, to, NULL, MS_BIND, NULL) < 0) skip();
    cf_err *err = cf_dir_remove_tree(in->fd, "tree");
    cf_err *point_err = cf_dir_remove_tree(AT_FDCWD, to);
    int unmounted = umount2(to, MNT_DETACH);
    assert_int_equal(unmounted, 0);
    assert_reason(err, CF_ERR_IO, "mounted");
    assert_reason(point_err, CF_ERR_IO, "mounted");
    assert_string_equal(folder_read(in, "other/file"), "kept");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(many_names_come_once_each, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(emptiness, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(a_deep_tree_is_opened_and_removed, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(removing_does_not_follow_links, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(removing_by_absolute_path, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(removing_stops_at_a_mount, folder_make, folder_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
