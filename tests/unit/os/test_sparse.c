#include "folder.h"
#include "os/sparse.h"

static int make(const folder *in, const char *name, uint64_t size, const uint64_t *places, size_t count) {
    static uint8_t data[65536];
    memset(data, 'd', sizeof data);
    int fd = openat(in->fd, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    for (size_t i = 0; i < count; i++) assert_int_equal(pwrite(fd, data, sizeof data, (off_t)places[i]), sizeof data);
    assert_int_equal(fsync(fd), 0);
    return fd;
}

static void data_is_found_between_holes(void **state) {
    folder *in = *state;
    const uint64_t places[] = {1 << 20, 3 << 20};
    CF_AUTO_FD int fd = make(in, "file", (5 << 20) + 77, places, 2);
    cf_stat stat;
    cf_sparse_extents extents = {0};
    assert_ok(cf_os_stat(fd, "", &stat));
    if (stat.blocks * 512 >= stat.size) skip(); /* a file system without holes */
    assert_ok(cf_sparse_read(fd, "file", &stat, &extents));
    uint64_t end = 0, data = 0;
    for (size_t i = 0; i < extents.count; i++) {
        assert_true(extents.list[i].offset >= end && extents.list[i].size > 0);
        end = extents.list[i].offset + extents.list[i].size;
        data += extents.list[i].size;
    }
    assert_true(end <= stat.size && data >= 131072 && data < 1 << 20);
    assert_true(extents.count > 0 && extents.list[0].offset <= places[0]);
    cf_sparse_extents_wipe(&extents);
}

static void dense_files_and_empty_ones(void **state) {
    folder *in = *state;
    const uint64_t places[] = {0};
    cf_stat stat;
    cf_sparse_extents extents = {0};
    CF_AUTO_FD int dense = make(in, "dense", 65536, places, 1);
    assert_ok(cf_os_stat(dense, "", &stat));
    assert_ok(cf_sparse_read(dense, "dense", &stat, &extents));
    assert_int_equal(extents.count, 1);
    assert_int_equal(extents.list[0].size, 65536);
    CF_AUTO_FD int empty = make(in, "empty", 0, NULL, 0);
    assert_ok(cf_os_stat(empty, "", &stat));
    assert_ok(cf_sparse_read(empty, "empty", &stat, &extents));
    assert_int_equal(extents.count, 0);
    CF_AUTO_FD int hole = make(in, "hole", 5ull << 30, NULL, 0);
    assert_ok(cf_os_stat(hole, "", &stat));
    assert_ok(cf_sparse_read(hole, "hole", &stat, &extents));
    assert_int_equal(extents.count, 0);
    /* the size that the caller knows is the limit, though the file grew */
    stat.size = 1000;
    stat.blocks = 0;
    assert_ok(cf_sparse_read(dense, "dense", &stat, &extents));
    assert_int_equal(extents.count, 1);
    assert_int_equal(extents.list[0].size, 1000);
    cf_sparse_extents_wipe(&extents);
}

static void punching_makes_zeroes(void **state) {
    folder *in = *state;
    const uint64_t places[] = {0, 65536, 131072};
    CF_AUTO_FD int fd = make(in, "file", 196608, places, 3);
    assert_ok(cf_sparse_punch(fd, "file", 1000, 100000));
    assert_ok(cf_sparse_punch(fd, "file", 190000, 1 << 20));
    assert_ok(cf_sparse_punch(fd, "file", 5, 0));
    static uint8_t back[196608];
    assert_ok(cf_file_read_exact(fd, 0, back, sizeof back, "file"));
    for (size_t i = 0; i < sizeof back; i++)
        assert_int_equal(back[i], (i >= 1000 && i < 101000) || i >= 190000 ? 0 : 'd');
    uint64_t size = 0;
    assert_ok(cf_file_size(fd, "file", &size));
    assert_int_equal(size, 196608);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(data_is_found_between_holes, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(dense_files_and_empty_ones, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(punching_makes_zeroes, folder_make, folder_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
