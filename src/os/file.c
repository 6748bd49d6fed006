#include "os/file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "os/fail.h"
#include "os/hooks.h"
#include "os/path.h"

struct cf_file_writer {
    cf_os_parent parent;
    char *path; /* as the caller gave it; parent.leaf points into it */
    char temporary[CF_FILE_TEMPORARY_SIZE];
    int fd;
    uint64_t size;
    bool named; /* the temporary name exists */
};

void cf_file_temporary_name(char out[CF_FILE_TEMPORARY_SIZE]) {
    uint8_t random[8];
    /* Only to make clashes rare, O_EXCL finds them: so what a failed call leaves behind will do. */
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random) {
        uint64_t seed = (uint64_t)(uintptr_t)out ^ (uint64_t)getpid() << 32;
        memcpy(random, &seed, sizeof random);
    }
    char hex[CF_HEX_SIZE(sizeof random)];
    cf_hex_encode(random, sizeof random, hex);
    snprintf(out, CF_FILE_TEMPORARY_SIZE, "%s%s", CF_FILE_TEMPORARY_PREFIX, hex);
}

/* A new temporary file, locked so that cf_file_remove_leftovers knows that it is in use. */
static cf_err *create_temporary(cf_file_writer *writer) {
    for (int attempt = 0; attempt < 16; attempt++) {
        cf_file_temporary_name(writer->temporary);
        writer->fd = cf_sys_create(writer->parent.fd, writer->temporary, O_RDWR | O_EXCL | O_NOFOLLOW, 0600);
        if (writer->fd < 0 && errno == EEXIST) continue;
        if (writer->fd < 0) return cf_os_fail(errno, "write", writer->path);
        /* Without flock on this file system, leftovers cannot be told from live files: they are kept then. */
        struct stat now;
        bool locked = flock(writer->fd, LOCK_EX) == 0;
        if (!locked || (fstat(writer->fd, &now) == 0 && now.st_nlink > 0)) {
            writer->named = true;
            return NULL;
        }
        close(writer->fd); /* removed as a leftover before the lock was ours */
        writer->fd = -1;
    }
    return cf_os_fail(EEXIST, "find a temporary name for", writer->path);
}

cf_err *cf_file_writer_open(int dirfd, const char *path, mode_t mode, cf_file_writer **out) {
    CF_AUTO(cf_file_writer) writer = calloc(1, sizeof *writer);
    if (!writer) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a file writer");
    writer->fd = -1;
    writer->parent.fd = -1;
    writer->path = strdup(path);
    if (!writer->path) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a file writer");
    CF_TRY(cf_os_parent_open(dirfd, writer->path, &writer->parent));
    CF_TRY(create_temporary(writer));
    if (mode != 0600 && fchmod(writer->fd, mode) < 0) return cf_os_fail(errno, "set the permissions of", path);
    *out = cf_take(writer);
    return NULL;
}

cf_err *cf_file_writer_write(cf_file_writer *writer, cf_span data) {
    CF_TRY(cf_file_write_at(writer->fd, writer->size, data, writer->path));
    writer->size += data.size;
    return NULL;
}

cf_err *cf_file_writer_write_at(cf_file_writer *writer, uint64_t offset, cf_span data) {
    return cf_file_write_at(writer->fd, offset, data, writer->path);
}

uint64_t cf_file_writer_size(const cf_file_writer *writer) {
    return writer->size;
}

int cf_file_writer_fd(const cf_file_writer *writer) {
    return writer->fd;
}

cf_err *cf_file_writer_commit(cf_file_writer *writer) {
    CF_TRY(cf_file_sync(writer->fd, writer->path));
    if (cf_sys_rename(writer->parent.fd, writer->temporary, writer->parent.fd, writer->parent.leaf, 0) < 0)
        return cf_os_fail(errno, "write", writer->path);
    writer->named = false;
    return cf_file_sync_folder(writer->parent.fd, writer->path);
}

/* Gives the temporary file its name unless that exists: 0, or an errno (EEXIST: it does). */
static int move_without_replacing(cf_file_writer *writer) {
    const int folder = writer->parent.fd;
    if (cf_sys_rename(folder, writer->temporary, folder, writer->parent.leaf, RENAME_NOREPLACE) == 0) {
        writer->named = false;
        return 0;
    }
    if (errno != EINVAL && errno != ENOSYS) return errno;
    /* A file system without that kind of rename; the temporary name goes away in cf_file_writer_free. */
    return cf_sys_link(folder, writer->temporary, folder, writer->parent.leaf) == 0 ? 0 : errno;
}

cf_err *cf_file_writer_commit_new(cf_file_writer *writer, bool *created) {
    CF_TRY(cf_file_sync(writer->fd, writer->path));
    int err_no = move_without_replacing(writer);
    if (err_no && err_no != EEXIST) return cf_os_fail(err_no, "write", writer->path);
    /* When it exists, whoever made it may not have synced the folder yet: our caller is about to rely on it. */
    CF_TRY(cf_file_sync_folder(writer->parent.fd, writer->path));
    *created = err_no == 0;
    return NULL;
}

void cf_file_writer_free(cf_file_writer *writer) {
    if (!writer) return;
    /* What cannot be removed now is found by cf_file_remove_leftovers. */
    if (writer->named) (void)cf_sys_unlink(writer->parent.fd, writer->temporary);
    if (writer->fd >= 0) close(writer->fd); /* synced before, or given up: close has nothing to report */
    cf_os_parent_close(&writer->parent);
    free(writer->path);
    free(writer);
}

static cf_err *write_spans(cf_file_writer *writer, const cf_span *spans, size_t count) {
    for (size_t i = 0; i < count; i++) CF_TRY(cf_file_writer_write(writer, spans[i]));
    return NULL;
}

cf_err *cf_file_write_durable(int dirfd, const char *path, const cf_span *spans, size_t count, mode_t mode) {
    CF_AUTO(cf_file_writer) writer = NULL;
    CF_TRY(cf_file_writer_open(dirfd, path, mode, &writer));
    CF_TRY(write_spans(writer, spans, count));
    return cf_file_writer_commit(writer);
}

cf_err *cf_file_create_durable(int dirfd, const char *path, const cf_span *spans, size_t count, mode_t mode,
                               bool *created) {
    CF_AUTO(cf_file_writer) writer = NULL;
    CF_TRY(cf_file_writer_open(dirfd, path, mode, &writer));
    CF_TRY(write_spans(writer, spans, count));
    return cf_file_writer_commit_new(writer, created);
}

cf_err *cf_file_open(int dirfd, const char *path, int *fd) {
    int opened;
    do {
        opened = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
    } while (opened < 0 && errno == EINTR);
    if (opened < 0) return cf_os_fail(errno, "open", path);
    *fd = opened;
    return NULL;
}

cf_err *cf_file_read(int dirfd, const char *path, size_t max, cf_buf *out) {
    CF_AUTO_FD int fd = -1;
    CF_TRY(cf_file_open(dirfd, path, &fd));
    const size_t before = out->size;
    uint64_t size = 0;
    CF_TRY(cf_file_size(fd, path, &size));
    size_t got = 0;
    /* The size is a hint only: /proc says 0, and a file may grow. One byte more than max shows that. */
    for (size_t step = size < max ? (size_t)size + 1 : max + 1;; step = 65536) {
        size_t left = max + 1 - (out->size - before);
        if (step > left) step = left;
        uint8_t *room = cf_buf_reserve(out, step);
        if (!room) return cf_note(cf_buf_check(out, path), "reading");
        cf_err *err = cf_file_read_at(fd, out->size - before, room, step, path, &got);
        if (err) out->size = before;
        CF_TRY(err);
        out->size += got;
        if (got < step) return NULL;
        if (out->size - before > max) {
            out->size = before;
            return cf_fail(CF_ERR_TOO_LARGE, "%s has more than %zu bytes", path, max);
        }
    }
}

cf_err *cf_file_read_at(int fd, uint64_t offset, void *out, size_t size, const char *name, size_t *got) {
    size_t done = 0;
    while (done < size) {
        ssize_t count = pread(fd, (uint8_t *)out + done, size - done, (off_t)(offset + done));
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return cf_os_fail(errno, "read", name);
        if (count == 0) break;
        done += (size_t)count;
    }
    *got = done;
    return NULL;
}

cf_err *cf_file_read_exact(int fd, uint64_t offset, void *out, size_t size, const char *name) {
    size_t got = 0;
    CF_TRY(cf_file_read_at(fd, offset, out, size, name, &got));
    if (got == size) return NULL;
    CF_AUTO_FREE char *printable = cf_text_printable(cf_span_text(name));
    return cf_fail_reason(CF_ERR_IO, "short", "%s ends after %llu bytes, %llu were expected",
                          printable ? printable : "a file", (unsigned long long)(offset + got),
                          (unsigned long long)(offset + size));
}

cf_err *cf_file_write_at(int fd, uint64_t offset, cf_span data, const char *name) {
    for (size_t done = 0; done < data.size;) {
        ssize_t count = cf_sys_pwrite(fd, data.data + done, data.size - done, offset + done);
        if (count < 0) return cf_os_fail(errno, "write", name);
        if (count == 0) return cf_os_fail(EIO, "write", name);
        done += (size_t)count;
    }
    return NULL;
}

cf_err *cf_file_truncate(int fd, uint64_t size, const char *name) {
    if (cf_sys_truncate(fd, size) < 0) return cf_os_fail(errno, "set the size of", name);
    return NULL;
}

cf_err *cf_file_sync(int fd, const char *name) {
    if (cf_sys_sync(fd) < 0) return cf_os_fail(errno, "bring to the disk", name);
    return NULL;
}

cf_err *cf_file_sync_folder(int fd, const char *name) {
    if (cf_sys_sync_folder(fd) < 0) return cf_os_fail(errno, "bring to the disk the folder of", name);
    return NULL;
}

cf_err *cf_file_size(int fd, const char *name, uint64_t *size) {
    struct stat now;
    if (fstat(fd, &now) < 0) return cf_os_fail(errno, "examine", name);
    *size = (uint64_t)now.st_size;
    return NULL;
}

cf_err *cf_file_exists(int dirfd, const char *path, bool *exists) {
    struct stat now;
    if (fstatat(dirfd, path, &now, AT_SYMLINK_NOFOLLOW) == 0) {
        *exists = true;
        return NULL;
    }
    if (errno != ENOENT && errno != ENOTDIR) return cf_os_fail(errno, "examine", path);
    *exists = false;
    return NULL;
}

cf_err *cf_file_remove(int dirfd, const char *path, bool *existed) {
    bool there = cf_sys_unlink(dirfd, path) == 0;
    if (!there && errno != ENOENT) return cf_os_fail(errno, "remove", path);
    if (existed) *existed = there;
    return NULL;
}

cf_err *cf_file_remove_durable(int dirfd, const char *path, bool *existed) {
    cf_os_parent parent;
    CF_TRY(cf_os_parent_open(dirfd, path, &parent));
    cf_err *err = cf_file_remove(parent.fd, parent.leaf, existed);
    /* Also when it was gone already: an earlier removal may not have reached the disk. */
    if (!err) err = cf_file_sync_folder(parent.fd, path);
    cf_os_parent_close(&parent);
    return err;
}

static cf_err *rename_between(const cf_os_parent *from, const char *path, const cf_os_parent *to, const char *to_path) {
    if (cf_sys_rename(from->fd, from->leaf, to->fd, to->leaf, 0) < 0) return cf_os_fail(errno, "rename", path);
    CF_TRY(cf_file_sync_folder(to->fd, to_path));
    return from->fd == to->fd ? NULL : cf_file_sync_folder(from->fd, path);
}

cf_err *cf_file_rename_durable(int dirfd, const char *path, int to_dirfd, const char *to_path) {
    cf_os_parent from, to;
    CF_TRY(cf_os_parent_open(dirfd, path, &from));
    cf_err *err = cf_os_parent_open(to_dirfd, to_path, &to);
    if (!err) {
        err = rename_between(&from, path, &to, to_path);
        cf_os_parent_close(&to);
    }
    cf_os_parent_close(&from);
    return err;
}
