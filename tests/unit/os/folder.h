/* A temporary folder for each test, removed with all that is in it. It lies in $TMPDIR or /tmp, relative
 * names are used below its descriptor.                                                                */
#ifndef CF_TEST_OS_FOLDER_H
#define CF_TEST_OS_FOLDER_H

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

typedef struct folder {
    char path[256];
    int fd;
} folder;

#define assert_ok(call)                           \
    do {                                          \
        cf_err *assert_ok_err_ = (call);          \
        if (assert_ok_err_) {                     \
            cf_err_print(stderr, assert_ok_err_); \
            cf_err_free(assert_ok_err_);          \
            fail();                               \
        }                                         \
    } while (0)

#define assert_code(call, expected)                               \
    do {                                                          \
        cf_err *assert_code_err_ = (call);                        \
        cf_code assert_code_got_ = cf_err_code(assert_code_err_); \
        cf_err_free(assert_code_err_);                            \
        assert_int_equal(assert_code_got_, expected);             \
    } while (0)

#define assert_reason(call, expected, word)                                                             \
    do {                                                                                                \
        cf_err *assert_code_err_ = (call);                                                              \
        cf_code assert_code_got_ = cf_err_code(assert_code_err_);                                       \
        char assert_reason_got_[64];                                                                    \
        snprintf(assert_reason_got_, sizeof assert_reason_got_, "%s", cf_err_reason(assert_code_err_)); \
        cf_err_free(assert_code_err_);                                                                  \
        assert_int_equal(assert_code_got_, expected);                                                   \
        assert_string_equal(assert_reason_got_, word);                                                  \
    } while (0)

static inline int folder_make(void **state) {
    folder *made = calloc(1, sizeof *made);
    const char *base = getenv("TMPDIR");
    snprintf(made->path, sizeof made->path, "%s/coffer-os-XXXXXX", base ? base : "/tmp");
    if (!mkdtemp(made->path)) return -1;
    made->fd = open(made->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    *state = made;
    return made->fd < 0;
}

static inline int folder_remove(void **state) {
    folder *made = *state;
    close(made->fd);
    cf_err *err = cf_dir_remove_tree(AT_FDCWD, made->path);
    if (err) cf_err_print(stderr, err);
    int failed = err != NULL;
    cf_err_free(err);
    free(made);
    return failed;
}

/* How many entries the folder has. */
static inline size_t folder_count(const folder *in) {
    cf_dir *dir = NULL;
    assert_ok(cf_dir_new(&dir));
    int fd = openat(in->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_ok(cf_dir_start(dir, fd, in->path));
    size_t count = 0;
    for (bool more = true; more;) {
        cf_dir_entry entry;
        assert_ok(cf_dir_next(dir, &entry, &more));
        if (more) count++;
    }
    close(fd);
    cf_dir_free(dir);
    return count;
}

static inline void folder_write(const folder *in, const char *name, const char *text) {
    int fd = openat(in->fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

/* The file's content, at most 255 bytes, as a string. */
static inline const char *folder_read(const folder *in, const char *name) {
    static char text[256];
    int fd = openat(in->fd, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return NULL;
    ssize_t got = read(fd, text, sizeof text - 1);
    close(fd);
    text[got < 0 ? 0 : got] = 0;
    return text;
}

#endif
