#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/dir.h"
#include "os/file.h"
#include "scan/cache.h"

typedef struct fixture {
    char folder[64];
    int fd;
    cf_id16 server, selection;
} fixture;

static int setup(void **state) {
    fixture *f = calloc(1, sizeof *f);
    strcpy(f->folder, "/tmp/coffer-cache-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    f->fd = open(f->folder, O_RDONLY | O_DIRECTORY);
    f->server.bytes[0] = 1;
    f->selection.bytes[0] = 2;
    *state = f;
    return 0;
}

static int teardown(void **state) {
    fixture *f = *state;
    close(f->fd);
    CF_AUTO(cf_err) err = cf_dir_remove_tree(AT_FDCWD, f->folder);
    assert_null(err);
    free(f);
    return 0;
}

static void make_block(cf_buf *block, unsigned entries) {
    cf_cache_folder folder = {
        .node = {.pack = 7, .segment = 3, .length = 100}, .totals = {.files = entries}, .count = entries};
    cf_block_begin(block, &folder);
    for (unsigned i = 0; i < entries; i++) {
        char name[32];
        snprintf(name, sizeof name, "file-%05u", i);
        cf_cache_entry entry = {.name = cf_span_text(name),
                                .stat = {.type = CF_TYPE_FILE,
                                         .mode = 0644,
                                         .size = i,
                                         .inode = 1000 + i,
                                         .nlink = 1,
                                         .mtime = {-5, 17},
                                         .ctime = {1700000000, 5}},
                                .segments = cf_span_text("\x07\x03"),
                                .entry = cf_span_text("encoded")};
        cf_block_add(block, &entry);
    }
    assert_null(cf_block_end(block));
}

static void commit(fixture *f, unsigned entries, cf_cache_root *root) {
    CF_AUTO(cf_cache) cache = NULL;
    CF_AUTO_BUF cf_buf block;
    cf_buf_init(&block, 1 << 24);
    make_block(&block, entries);
    assert_null(cf_cache_open(f->fd, &f->server, &f->selection, &cache));
    if (cf_cache_wants_rewrite(cache)) assert_null(cf_cache_begin_rewrite(cache));
    *root = (cf_cache_root){.point = {{9}}, .scan_started = {1700000001, 2}, .map_chain = 4};
    assert_null(cf_cache_append(cache, cf_buf_span(&block), &root->block));
    root->live_bytes = root->block.length;
    assert_null(cf_cache_commit(cache, root, cf_span_text("map")));
}

static void what_was_committed_is_read_back(void **state) {
    fixture *f = *state;
    cf_cache_root root;
    commit(f, 3, &root);
    CF_AUTO(cf_cache) cache = NULL;
    assert_null(cf_cache_open(f->fd, &f->server, &f->selection, &cache));
    assert_true(cf_cache_has_root(cache));
    const cf_cache_root *read = cf_cache_get_root(cache);
    assert_memory_equal(&read->point, &root.point, sizeof root.point);
    assert_int_equal(read->scan_started.seconds, 1700000001);
    assert_int_equal(read->map_chain, 4);
    assert_true(cf_span_equal(cf_cache_map(cache), cf_span_text("map")));
    CF_AUTO_BUF cf_buf block;
    cf_buf_init(&block, 1 << 24);
    bool ok = false;
    assert_null(cf_cache_read(cache, read->block, &block, &ok));
    assert_true(ok);
    cf_cursor cursor;
    cf_cache_folder folder;
    cf_cache_entry entry;
    assert_true(cf_block_open(cf_buf_span(&block), &cursor, &folder));
    assert_int_equal(folder.count, 3);
    assert_int_equal(folder.node.pack, 7);
    for (unsigned i = 0; i < 3; i++) {
        assert_true(cf_block_next(&cursor, &entry));
        assert_int_equal(entry.stat.inode, 1000 + i);
        assert_int_equal(entry.stat.mtime.seconds, -5);
        assert_int_equal(entry.stat.ctime.nanoseconds, 5);
        assert_true(cf_span_equal(entry.entry, cf_span_text("encoded")));
    }
    assert_false(cf_block_next(&cursor, &entry));
}

/* Another server's or selection's files are not this cache's. */
static void belongs_to_one_server_and_selection(void **state) {
    fixture *f = *state;
    cf_cache_root root;
    commit(f, 1, &root);
    cf_id16 other = {{77}};
    CF_AUTO(cf_cache) foreign = NULL;
    CF_AUTO(cf_cache) unlike = NULL;
    assert_null(cf_cache_open(f->fd, &other, &f->selection, &foreign));
    assert_false(cf_cache_has_root(foreign));
    assert_null(cf_cache_open(f->fd, &f->server, &other, &unlike));
    assert_false(cf_cache_has_root(unlike));
}

static void flip(fixture *f, const char *name, off_t offset) {
    int fd = openat(f->fd, name, O_RDWR);
    uint8_t byte;
    assert_int_equal(pread(fd, &byte, 1, offset), 1);
    byte ^= 0x40;
    assert_int_equal(pwrite(fd, &byte, 1, offset), 1);
    close(fd);
}

/* The name of the root file or of the data file. */
static void find_file(fixture *f, bool root, char out[300]) {
    CF_AUTO(cf_dir) dir = NULL;
    cf_dir_entry entry;
    bool more = true;
    assert_null(cf_dir_new(&dir));
    int fd = open(f->folder, O_RDONLY | O_DIRECTORY);
    assert_null(cf_dir_start(dir, fd, "test"));
    out[0] = '\0';
    while (more) {
        assert_null(cf_dir_next(dir, &entry, &more));
        bool is_root = more && strstr(entry.name, ".root") != NULL;
        if (more && is_root == root) snprintf(out, 300, "%s", entry.name);
    }
    close(fd);
    assert_true(out[0] != '\0');
}

static void any_damage_of_the_root_file_means_no_cache(void **state) {
    fixture *f = *state;
    cf_cache_root root;
    char name[300];
    commit(f, 1, &root);
    find_file(f, true, name);
    struct stat stat;
    assert_int_equal(fstatat(f->fd, name, &stat, 0), 0);
    for (off_t offset = 0; offset < stat.st_size; offset++) {
        flip(f, name, offset);
        CF_AUTO(cf_cache) cache = NULL;
        assert_null(cf_cache_open(f->fd, &f->server, &f->selection, &cache));
        assert_false(cf_cache_has_root(cache));
        cf_cache_close(cf_take(cache));
        commit(f, 1, &root); /* and the next scan replaces it */
        assert_null(cf_cache_open(f->fd, &f->server, &f->selection, &cache));
        assert_true(cf_cache_has_root(cache));
    }
}

static void any_damage_of_a_block_is_noticed(void **state) {
    fixture *f = *state;
    cf_cache_root root;
    char name[300];
    commit(f, 2, &root);
    find_file(f, false, name);
    CF_AUTO_BUF cf_buf block;
    cf_buf_init(&block, 1 << 24);
    for (uint32_t i = 0; i < root.block.length; i++) {
        flip(f, name, (off_t)(root.block.offset + i));
        CF_AUTO(cf_cache) cache = NULL;
        bool ok = true;
        assert_null(cf_cache_open(f->fd, &f->server, &f->selection, &cache));
        assert_null(cf_cache_read(cache, root.block, &block, &ok));
        assert_false(ok);
        flip(f, name, (off_t)(root.block.offset + i));
    }
}

/* What a run that was killed had appended is cut off, and dead blocks do not pile up for ever. */
static void the_file_stays_in_proportion(void **state) {
    fixture *f = *state;
    cf_cache_root root;
    char name[300];
    struct stat stat;
    for (int run = 0; run < 12; run++) commit(f, 20000, &root);
    find_file(f, false, name);
    assert_int_equal(fstatat(f->fd, name, &stat, 0), 0);
    assert_true((uint64_t)stat.st_size < (uint64_t)root.block.length * 6);
    CF_AUTO(cf_cache) cache = NULL;
    assert_null(cf_cache_open(f->fd, &f->server, &f->selection, &cache));
    cf_block_place place;
    assert_null(cf_cache_append(cache, cf_span_text("never committed"), &place));
    cf_cache_close(cf_take(cache));
    assert_null(cf_cache_open(f->fd, &f->server, &f->selection, &cache));
    struct stat after;
    assert_int_equal(fstatat(f->fd, name, &after, 0), 0);
    assert_int_equal(after.st_size, stat.st_size);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_committed_is_read_back, setup, teardown),
        cmocka_unit_test_setup_teardown(belongs_to_one_server_and_selection, setup, teardown),
        cmocka_unit_test_setup_teardown(any_damage_of_the_root_file_means_no_cache, setup, teardown),
        cmocka_unit_test_setup_teardown(any_damage_of_a_block_is_noticed, setup, teardown),
        cmocka_unit_test_setup_teardown(the_file_stays_in_proportion, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
