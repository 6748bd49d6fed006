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
#include <time.h>
#include <unistd.h>

#include "local_vault.h"
#include "os/dir.h"
#include "repo/source_folder.h"
#include "repo/tree.h"

typedef struct fixture {
    char folder[64], tree[128];
    local_vault vault;
} fixture;

static void put(const fixture *f, const char *name, const void *data, size_t size) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", f->tree, name);
    int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0644);
    assert_true(fd >= 0);
    while (size) {
        ssize_t n = write(fd, data, size);
        assert_true(n > 0);
        data = (const uint8_t *)data + n;
        size -= (size_t)n;
    }
    close(fd);
}

static void fill(uint8_t *data, size_t size, uint64_t seed) {
    for (size_t i = 0; i < size; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        data[i] = (uint8_t)(seed >> 56);
    }
}

/* ctimes must lie clearly before the next scan's start: otherwise files count as possibly changed. */
static void let_a_tick_pass(void) {
    struct timespec tick = {0, 30 * 1000 * 1000};
    nanosleep(&tick, NULL);
}

static int setup(void **state) {
    fixture *f = calloc(1, sizeof *f);
    strcpy(f->folder, "/tmp/coffer-scan-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->tree, sizeof f->tree, "%s/tree", f->folder);
    assert_int_equal(mkdir(f->tree, 0755), 0);
    local_vault_open(&f->vault, f->folder);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    fixture *f = *state;
    local_vault_close(&f->vault);
    CF_AUTO(cf_err) err = cf_dir_remove_tree(AT_FDCWD, f->folder);
    assert_null(err);
    free(f);
    return 0;
}

static void backup(fixture *f, local_run *run) {
    CF_AUTO(cf_err) err = local_vault_backup(&f->vault, f->tree, NULL, 2, run);
    if (err) cf_err_print(stderr, err);
    assert_null(err);
}

/* What the stored tree has at a path of the fixture's tree, read back through all checks. */
static void assert_stored(fixture *f, const local_run *run, const char *name, const void *data, size_t size) {
    CF_AUTO(cf_source) source = NULL;
    CF_AUTO(cf_reader) reader = NULL;
    CF_AUTO(cf_lane) lane = NULL;
    assert_null(cf_source_folder_open(f->vault.folder, &f->vault.server, &source));
    assert_null(cf_reader_open(source, f->vault.keys, &f->vault.server, CF_READER_CACHE_DEFAULT, &reader));
    assert_null(cf_lane_new(reader, &lane));
    char path[512];
    snprintf(path, sizeof path, "%s/%s", f->tree, name);
    cf_entry_copy entry = {0};
    bool found = false, more = false;
    CF_AUTO(cf_err) err = cf_tree_lookup(lane, run->result.map, &run->result.tree, cf_span_text(path), &entry, &found);
    if (err) cf_err_print(stderr, err);
    assert_null(err);
    assert_true(found);
    assert_int_equal(entry.entry.meta.size, size);
    CF_AUTO(cf_content_reader) content = NULL;
    assert_null(cf_content_reader_open(lane, run->result.map, &entry.entry.content, &content));
    CF_AUTO_BUF cf_buf all, chunk;
    cf_buf_init(&all, size + 1);
    cf_buf_init(&chunk, CF_CHUNK_MAX);
    for (;;) {
        cf_ref ref;
        assert_null(cf_content_reader_next(content, &ref, &more));
        if (!more) break;
        assert_null(cf_lane_chunk(lane, run->result.map, CF_KIND_DATA, &ref, &chunk));
        cf_buf_put_span(&all, cf_buf_span(&chunk));
    }
    assert_int_equal(all.size, size);
    assert_memory_equal(all.data, data, size);
    cf_entry_copy_wipe(&entry);
}

static void stores_a_tree_and_reuses_it(void **state) {
    fixture *f = *state;
    static uint8_t large[5 << 20], small[100];
    fill(large, sizeof large, 1);
    fill(small, sizeof small, 2);
    put(f, "large", large, sizeof large);
    put(f, "small", small, sizeof small);
    put(f, "empty", "", 0);
    char sub[200];
    snprintf(sub, sizeof sub, "%s/sub", f->tree);
    mkdir(sub, 0700);
    put(f, "sub/copy", large, sizeof large);
    let_a_tick_pass();

    local_run first, second;
    backup(f, &first);
    assert_int_equal(first.result.totals.files, 4);
    assert_int_equal(first.result.files_new, 4);
    assert_int_equal(first.warnings, 0);
    assert_true(first.stats.bytes_stored < 6 << 20); /* the copy is not stored twice */
    assert_stored(f, &first, "large", large, sizeof large);
    assert_stored(f, &first, "small", small, sizeof small);
    assert_stored(f, &first, "empty", "", 0);
    assert_stored(f, &first, "sub/copy", large, sizeof large);

    backup(f, &second);
    assert_int_equal(second.result.files_unchanged, 4);
    assert_int_equal(second.result.bytes_read, 0);
    /* Folders above the tree (/tmp) may have changed by other hands: a few nodes, never contents. */
    assert_true(second.stats.bytes_stored < 4096);
    assert_true(cf_map_segment_count(second.result.map) <= cf_map_segment_count(first.result.map) + 1);
    local_run_wipe(&first);
    local_run_wipe(&second);
}

static void stores_only_what_changed(void **state) {
    fixture *f = *state;
    static uint8_t large[8 << 20];
    fill(large, sizeof large, 3);
    put(f, "large", large, sizeof large);
    put(f, "gone", "x", 1);
    let_a_tick_pass();
    local_run first, second;
    backup(f, &first);
    large[4 << 20] ^= 1;
    put(f, "large", large, sizeof large);
    put(f, "new", "y", 1);
    char gone[200];
    snprintf(gone, sizeof gone, "%s/gone", f->tree);
    assert_int_equal(unlink(gone), 0);
    backup(f, &second);
    assert_int_equal(second.result.totals.files, 2);
    assert_int_equal(second.result.files_changed, 1);
    assert_int_equal(second.result.files_new, 1);
    assert_true(second.stats.bytes_stored < 1 << 20);
    assert_stored(f, &second, "large", large, sizeof large);
    assert_stored(f, &second, "new", "y", 1);
    local_run_wipe(&first);
    local_run_wipe(&second);
}

/* More references than an entry holds, and more entries than a node holds. */
static void splits_long_contents_and_large_folders(void **state) {
    fixture *f = *state;
    size_t size = (size_t)200 << 20;
    uint8_t *huge = malloc(size);
    fill(huge, size, 4);
    put(f, "huge", huge, size);
    char name[64];
    for (int i = 0; i < 6000; i++) {
        snprintf(name, sizeof name, "a-file-with-a-name-that-is-rather-long-%06d", i);
        put(f, name, name, strlen(name));
    }
    let_a_tick_pass();
    local_run first, second;
    backup(f, &first);
    assert_stored(f, &first, "huge", huge, size);
    assert_stored(f, &first, "a-file-with-a-name-that-is-rather-long-000000",
                  "a-file-with-a-name-that-is-rather-long-000000", 45);
    assert_stored(f, &first, name, name, strlen(name));
    put(f, "b-new", "b", 1);
    backup(f, &second);
    assert_int_equal(second.result.totals.files, 6002);
    assert_true(second.stats.bytes_stored < 1 << 20);
    assert_stored(f, &second, "huge", huge, size);
    assert_stored(f, &second, "b-new", "b", 1);
    local_run_wipe(&first);
    local_run_wipe(&second);
    free(huge);
}

/* More holes than an entry can tell of: the smallest become zeroes, the content stays. */
static void a_file_of_many_holes_keeps_its_content(void **state) {
    fixture *f = *state;
    char path[200];
    size_t size = (size_t)6000 * 16384;
    uint8_t *data = calloc(1, size);
    snprintf(path, sizeof path, "%s/holes", f->tree);
    int fd = open(path, O_CREAT | O_RDWR, 0644);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    for (size_t i = 0; i < 6000; i++) {
        memset(data + i * 16384, (int)(i | 1) & 255, 4096);
        assert_int_equal(pwrite(fd, data + i * 16384, 4096, (off_t)(i * 16384)), 4096);
    }
    close(fd);
    local_run run;
    backup(f, &run);
    assert_int_equal(run.warnings, 0);
    assert_int_equal(run.result.totals.bytes, size);
    local_run_wipe(&run);
    free(data);
}

/* Segments that the vault lost are stored again although nothing changed. */
static void stores_lost_segments_again(void **state) {
    fixture *f = *state;
    static uint8_t data[1 << 20];
    fill(data, sizeof data, 5);
    put(f, "file", data, sizeof data);
    let_a_tick_pass();
    local_run first, second;
    backup(f, &first);
    /* All of the first run's segments are gone. */
    size_t at = 0, count = 0;
    uint64_t pack;
    cf_index_segment lost[256];
    while (cf_map_next_pack(first.result.map, &at, &pack))
        for (uint32_t segment = 0; cf_map_next_segment(first.result.map, pack, &segment) && count < 256; segment++)
            lost[count++] = (cf_index_segment){pack, (uint16_t)segment};
    uint8_t epoch[16] = {1};
    assert_null(cf_index_apply_feed(f->vault.index, 1, epoch, lost, count));
    CF_AUTO(cf_err) err = local_vault_backup(&f->vault, f->tree, first.result.map, 2, &second);
    assert_null(err);
    assert_true(second.stats.bytes_stored > sizeof data);
    for (size_t i = 0; i < count; i++) assert_false(cf_map_has(second.result.map, lost[i].pack, lost[i].segment));
    assert_stored(f, &second, "file", data, sizeof data);
    local_run_wipe(&first);
    local_run_wipe(&second);
}

static void a_failed_upload_ends_the_scan_with_its_error(void **state) {
    fixture *f = *state;
    size_t size = (size_t)100 << 20;
    uint8_t *data = malloc(size);
    fill(data, size, 6);
    put(f, "file", data, size);
    local_run run;
    f->vault.fail_after = 2;
    CF_AUTO(cf_err) err = local_vault_backup(&f->vault, f->tree, NULL, 2, &run);
    assert_int_equal(cf_err_code(err), CF_ERR_VAULT_UNREACHABLE);
    /* What was stored before is not sent again. */
    f->vault.fail_after = 0;
    backup(f, &run);
    assert_true(run.stats.bytes_stored < (uint64_t)75 << 20);
    assert_stored(f, &run, "file", data, size);
    local_run_wipe(&run);
    free(data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(stores_a_tree_and_reuses_it, setup, teardown),
        cmocka_unit_test_setup_teardown(stores_only_what_changed, setup, teardown),
        cmocka_unit_test_setup_teardown(splits_long_contents_and_large_folders, setup, teardown),
        cmocka_unit_test_setup_teardown(a_file_of_many_holes_keeps_its_content, setup, teardown),
        cmocka_unit_test_setup_teardown(stores_lost_segments_again, setup, teardown),
        cmocka_unit_test_setup_teardown(a_failed_upload_ends_the_scan_with_its_error, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
