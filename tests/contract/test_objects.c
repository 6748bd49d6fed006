/* The contract of object stores, on every implementation. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "objects/fault.h"
#include "objects/folder.h"
#include "objects/memory.h"
#include "os/dir.h"

#define OK(call)                              \
    do {                                      \
        cf_err *err_ = (call);                \
        if (err_) cf_err_print(stderr, err_); \
        assert_null(err_);                    \
    } while (0)
#define FAILS(expected, call)                          \
    do {                                               \
        CF_AUTO(cf_err) err_ = (call);                 \
        assert_int_equal(cf_err_code(err_), expected); \
    } while (0)

typedef struct subject {
    cf_objects *store;
    char folder[64]; /* "" when there is none */
} subject;

static void open_folder(subject *s, bool clean) {
    int fd = open(s->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    OK(cf_objects_folder_open(fd, s->folder, clean, &s->store));
    close(fd);
}

static int setup(void **state, bool folder, bool fault) {
    subject *s = calloc(1, sizeof *s);
    assert_non_null(s);
    if (folder) {
        snprintf(s->folder, sizeof s->folder, "/tmp/coffer-objects-XXXXXX");
        assert_non_null(mkdtemp(s->folder));
        open_folder(s, false);
    } else {
        OK(cf_objects_memory_new(&s->store));
    }
    if (fault) OK(cf_objects_fault_new(s->store, &s->store));
    *state = s;
    return 0;
}

static int setup_folder(void **state) {
    return setup(state, true, false);
}
static int setup_memory(void **state) {
    return setup(state, false, false);
}
static int setup_fault(void **state) {
    return setup(state, false, true);
}
static int setup_fault_folder(void **state) {
    return setup(state, true, true);
}

static int teardown(void **state) {
    subject *s = *state;
    cf_objects_free(s->store);
    if (s->folder[0]) OK(cf_dir_remove_tree(AT_FDCWD, s->folder));
    free(s);
    return 0;
}

static cf_objects *store_of(void **state) {
    return ((subject *)*state)->store;
}

static void put(cf_objects *store, const char *key, const char *text) {
    bool created = false;
    OK(cf_objects_put(store, key, cf_span_text(text), &created));
    assert_true(created);
}

static void assert_content(cf_objects *store, const char *key, const char *text) {
    cf_buf got;
    cf_buf_init(&got, 1 << 20);
    OK(cf_objects_get_all(store, key, 1 << 20, &got));
    assert_int_equal(got.size, strlen(text));
    assert_memory_equal(got.data, text, got.size);
    cf_buf_wipe(&got);
}

static void test_put_is_create_only(void **state) {
    cf_objects *store = store_of(state);
    bool created = true, exists = false;
    uint64_t size = 0;
    OK(cf_objects_has(store, "a/b/c", &exists, &size));
    assert_false(exists);
    put(store, "a/b/c", "first");
    OK(cf_objects_put(store, "a/b/c", cf_span_text("second"), &created));
    assert_false(created);
    assert_content(store, "a/b/c", "first");
    OK(cf_objects_has(store, "a/b/c", &exists, &size));
    assert_true(exists);
    assert_int_equal(size, 5);
    OK(cf_objects_has(store, "a/b", &exists, NULL)); /* a folder is no object */
    assert_false(exists);
}

static void test_streaming(void **state) {
    cf_objects *store = store_of(state);
    bool created = false, exists = true;
    cf_object_writer *writer = NULL, *late = NULL;
    OK(cf_objects_put_open(store, "x/1", &writer));
    for (int i = 0; i < 1000; i++) OK(cf_object_writer_write(writer, cf_span_text("0123456789")));
    OK(cf_objects_has(store, "x/1", &exists, NULL)); /* not before the commit */
    assert_false(exists);
    OK(cf_objects_put_open(store, "x/1", &late));
    OK(cf_object_writer_write(late, cf_span_text("loser")));
    OK(cf_object_writer_commit(writer, &created));
    assert_true(created);
    OK(cf_object_writer_commit(late, &created));
    assert_false(created);
    cf_object_writer_free(writer);
    cf_object_writer_free(late);
    uint64_t size = 0;
    OK(cf_objects_has(store, "x/1", &exists, &size));
    assert_int_equal(size, 10000);
    OK(cf_objects_put_open(store, "x/2", &writer));
    OK(cf_object_writer_write(writer, cf_span_text("given up")));
    cf_object_writer_free(writer);
    OK(cf_objects_has(store, "x/2", &exists, NULL));
    assert_false(exists);
    cf_object_page page;
    OK(cf_objects_list(store, "x/", NULL, 10, &page));
    assert_int_equal(page.count, 1); /* no trace of the one that was given up */
    cf_object_page_wipe(&page);
}

static void test_empty_object(void **state) {
    cf_objects *store = store_of(state);
    put(store, "empty", "");
    assert_content(store, "empty", "");
    uint8_t byte;
    size_t got = 1;
    OK(cf_objects_get(store, "empty", 0, &byte, 1, &got));
    assert_int_equal(got, 0);
}

static void test_ranges(void **state) {
    cf_objects *store = store_of(state);
    char out[16] = {0};
    size_t got = 0;
    put(store, "r", "0123456789");
    OK(cf_objects_get(store, "r", 3, out, 4, &got));
    assert_int_equal(got, 4);
    assert_memory_equal(out, "3456", 4);
    OK(cf_objects_get(store, "r", 8, out, 10, &got));
    assert_int_equal(got, 2);
    OK(cf_objects_get(store, "r", 10, out, 10, &got));
    assert_int_equal(got, 0);
    OK(cf_objects_get(store, "r", UINT64_MAX, out, 10, &got));
    assert_int_equal(got, 0);
    cf_buf small;
    cf_buf_init(&small, 100);
    FAILS(CF_ERR_TOO_LARGE, cf_objects_get_all(store, "r", 9, &small));
    cf_buf_wipe(&small);
}

static void test_missing(void **state) {
    cf_objects *store = store_of(state);
    cf_object_reader *reader = NULL;
    char out[4];
    size_t got = 0;
    bool existed = true;
    FAILS(CF_ERR_OBJECT_MISSING, cf_objects_open(store, "no/such", &reader));
    FAILS(CF_ERR_OBJECT_MISSING, cf_objects_get(store, "no", 0, out, 4, &got));
    OK(cf_objects_remove(store, "no/such", &existed));
    assert_false(existed);
}

static void test_keys_that_are_none(void **state) {
    static const char *const keys[] = {"",  "/a",  "a/",   "a//b", "../a", "a/../b", ".a",       "a/.hidden",
                                       "A", "a b", "a\nb", "a_b",  "a+b",  "a\\b",   "\xc3\xa4", "a/./b"};
    cf_objects *store = store_of(state);
    bool created = false;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        FAILS(CF_ERR_INTERNAL, cf_objects_put(store, keys[i], cf_span_text("x"), &created));
    char longest[CF_OBJECT_KEY_MAX + 2];
    memset(longest, 'a', sizeof longest);
    longest[CF_OBJECT_KEY_MAX + 1] = '\0';
    FAILS(CF_ERR_INTERNAL, cf_objects_put(store, longest, cf_span_text("x"), &created));
}

static void assert_page(cf_objects *store, const char *prefix, const char *after, size_t limit, const char *expected,
                        bool more) {
    cf_object_page page;
    char got[512] = "";
    OK(cf_objects_list(store, prefix, after, limit, &page));
    for (size_t i = 0; i < page.count; i++) {
        strcat(got, page.keys[i]);
        strcat(got, " ");
        assert_int_equal(page.sizes[i], 1);
    }
    assert_string_equal(got, expected);
    assert_int_equal(page.more, more);
    cf_object_page_wipe(&page);
}

static void test_listing(void **state) {
    cf_objects *store = store_of(state);
    /* '-' and '.' come before '/', digits after it: the order is that of the whole keys. */
    static const char *const keys[] = {"b/x", "a/2", "a/1", "a-1/0", "a.b", "a0/z", "a/1.5", "c", "a/1-x/y"};
    assert_page(store, "", NULL, 10, "", false);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) put(store, keys[i], "1");
    assert_page(store, "", NULL, 20, "a-1/0 a.b a/1 a/1-x/y a/1.5 a/2 a0/z b/x c ", false);
    assert_page(store, "", NULL, 9, "a-1/0 a.b a/1 a/1-x/y a/1.5 a/2 a0/z b/x c ", false);
    assert_page(store, "a/", NULL, 2, "a/1 a/1-x/y ", true);
    assert_page(store, "a/", "a/1-x/y", 2, "a/1.5 a/2 ", false);
    assert_page(store, "a/1", NULL, 5, "a/1 a/1-x/y a/1.5 ", false);
    assert_page(store, "a", "a/2", 5, "a0/z ", false);
    assert_page(store, "a/1-", "a/1", 5, "a/1-x/y ", false);
    assert_page(store, "", "b", 5, "b/x c ", false);
    assert_page(store, "zz", NULL, 5, "", false);
    assert_page(store, "", "zz", 5, "", false);
}

static void test_remove(void **state) {
    cf_objects *store = store_of(state);
    cf_object_reader *reader = NULL;
    bool existed = false, exists = true;
    char out[3];
    size_t got = 0;
    put(store, "gone/1", "abc");
    OK(cf_objects_open(store, "gone/1", &reader));
    OK(cf_objects_remove(store, "gone/1", &existed));
    assert_true(existed);
    OK(cf_objects_has(store, "gone/1", &exists, NULL));
    assert_false(exists);
    OK(cf_object_reader_read(reader, 0, out, 3, &got)); /* who has it open reads on */
    assert_memory_equal(out, "abc", 3);
    assert_int_equal(cf_object_reader_size(reader), 3);
    cf_object_reader_free(reader);
    put(store, "gone/1", "again");
    assert_content(store, "gone/1", "again");
}

static void test_presign(void **state) {
    char *url = (char *)1;
    cf_object_presign request = {.key = "a", .size = 1};
    OK(cf_objects_presign(store_of(state), &request, &url));
    assert_null(url); /* none of these has addresses of its own */
}

/* Only the folder: what a crash leaves behind is not seen, and is cleaned up. */
static void test_leftovers(void **state) {
    subject *s = *state;
    char path[128];
    struct stat there;
    put(s->store, "d/e/1", "1");
    snprintf(path, sizeof path, "%s/d/e/.coffer-0011223344556677", s->folder);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
    assert_page(s->store, "", NULL, 5, "d/e/1 ", false);
    cf_objects_free(s->store);
    open_folder(s, true);
    assert_int_equal(stat(path, &there), -1);
    assert_content(s->store, "d/e/1", "1");
    snprintf(path, sizeof path, "%s/d/e/1", s->folder);
    assert_int_equal(stat(path, &there), 0);
    assert_int_equal(there.st_mode & 07777, 0600);
}

static void test_faults(void **state) {
    cf_objects *store = store_of(state);
    bool created = false, exists = true;
    put(store, "k/0", "0123456789");
    cf_objects_fault_set(store, CF_FAULT_LOST, "k/", 1);
    put(store, "other", "x"); /* not its business */
    put(store, "k/lost", "x");
    OK(cf_objects_has(store, "k/lost", &exists, NULL));
    assert_false(exists);
    cf_objects_fault_set(store, CF_FAULT_LATE, "k/", 1);
    put(store, "k/late", "late");
    OK(cf_objects_has(store, "k/late", &exists, NULL));
    assert_false(exists);
    OK(cf_objects_fault_settle(store));
    assert_content(store, "k/late", "late");
    cf_objects_fault_set(store, CF_FAULT_TORN, "k/", 1);
    put(store, "k/torn", "0123456789");
    assert_content(store, "k/torn", "01234");
    cf_objects_fault_set(store, CF_FAULT_FLIPPED, "k/0", 1);
    assert_content(store, "k/late", "late");
    assert_content(store, "k/0", "0123446789");
    assert_content(store, "k/0", "0123456789");
    cf_objects_fault_set(store, CF_FAULT_FULL, "", 1);
    FAILS(CF_ERR_DISK_FULL, cf_objects_put(store, "k/full", cf_span_text("x"), &created));
    OK(cf_objects_has(store, "k/full", &exists, NULL));
    assert_false(exists);
    put(store, "k/full", "x");
    cf_objects_fault_set(store, CF_FAULT_FAIL, "k", 3);
    FAILS(CF_ERR_IO, cf_objects_has(store, "k/full", &exists, NULL));
    FAILS(CF_ERR_IO, cf_objects_put(store, "k/fail", cf_span_text("x"), &created));
    FAILS(CF_ERR_IO, cf_objects_remove(store, "k/full", &exists));
    assert_content(store, "k/full", "x");
}

#define CONTRACT(setup_)                                                            \
    cmocka_unit_test_setup_teardown(test_put_is_create_only, setup_, teardown),     \
        cmocka_unit_test_setup_teardown(test_streaming, setup_, teardown),          \
        cmocka_unit_test_setup_teardown(test_empty_object, setup_, teardown),       \
        cmocka_unit_test_setup_teardown(test_ranges, setup_, teardown),             \
        cmocka_unit_test_setup_teardown(test_missing, setup_, teardown),            \
        cmocka_unit_test_setup_teardown(test_keys_that_are_none, setup_, teardown), \
        cmocka_unit_test_setup_teardown(test_listing, setup_, teardown),            \
        cmocka_unit_test_setup_teardown(test_remove, setup_, teardown),             \
        cmocka_unit_test_setup_teardown(test_presign, setup_, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        CONTRACT(setup_folder),
        CONTRACT(setup_memory),
        CONTRACT(setup_fault),
        CONTRACT(setup_fault_folder),
        cmocka_unit_test_setup_teardown(test_leftovers, setup_folder, teardown),
        cmocka_unit_test_setup_teardown(test_faults, setup_fault, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
