#include "index/io.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

cf_err *cf_iio_fail(int err_no, const char *call, const char *name) {
    bool full = err_no == ENOSPC || err_no == EDQUOT || err_no == EFBIG;
    return cf_fail_errno(full ? CF_ERR_DISK_FULL : CF_ERR_IO, err_no, "chunk index: %s %s", call, name);
}

cf_err *cf_iio_damaged(const char *name, const char *what) {
    return cf_fail_reason(CF_ERR_INDEX_UNREADABLE, "damaged", "chunk index: %s: %s", name, what);
}

cf_err *cf_iio_read(int fd, void *data, size_t size, uint64_t offset, const char *name, size_t *got) {
    size_t done = 0;
    while (done < size) {
        ssize_t n = pread(fd, (char *)data + done, size - done, (off_t)(offset + done));
        if (n == 0) break;
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return cf_iio_fail(errno, "read", name);
        done += (size_t)n;
    }
    *got = done;
    return NULL;
}

cf_err *cf_iio_read_exact(int fd, void *data, size_t size, uint64_t offset, const char *name) {
    size_t got = 0;
    CF_TRY(cf_iio_read(fd, data, size, offset, name, &got));
    return got == size ? NULL : cf_iio_damaged(name, "the file was cut");
}

cf_err *cf_iio_write(int fd, const void *data, size_t size, uint64_t offset, const char *name) {
    size_t done = 0;
    while (done < size) {
        ssize_t n = pwrite(fd, (const char *)data + done, size - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return cf_iio_fail(errno, "write", name);
        if (n == 0) return cf_iio_fail(EIO, "write", name);
        done += (size_t)n;
    }
    return NULL;
}

cf_err *cf_iio_sync(int fd, const char *name) {
    return fsync(fd) == 0 ? NULL : cf_iio_fail(errno, "sync", name);
}

cf_err *cf_iio_size(int fd, const char *name, uint64_t *size) {
    struct stat st;
    if (fstat(fd, &st) < 0) return cf_iio_fail(errno, "stat", name);
    if (!S_ISREG(st.st_mode)) return cf_iio_damaged(name, "not a regular file");
    *size = (uint64_t)st.st_size;
    return NULL;
}

cf_err *cf_iio_create(int dir, const char *name, int *fd) {
    int made = openat(dir, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (made < 0) return cf_iio_fail(errno, "create", name);
    *fd = made;
    return NULL;
}

cf_err *cf_iio_open(int dir, const char *name, int *fd) {
    int opened = openat(dir, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (opened < 0 && (errno == ENOENT || errno == ELOOP || errno == EISDIR))
        return cf_iio_damaged(name, "the file is gone");
    if (opened < 0) return cf_iio_fail(errno, "open", name);
    *fd = opened;
    return NULL;
}

static cf_err *write_temporary(int dir, const char *name, cf_span content) {
    CF_AUTO_FD int fd = -1;
    CF_TRY(cf_iio_create(dir, name, &fd));
    CF_TRY(cf_iio_write(fd, content.data, content.size, 0, name));
    return cf_iio_sync(fd, name);
}

cf_err *cf_iio_replace(int dir, const char *name, cf_span content, bool *placed) {
    char temporary[CF_IIO_NAME_SIZE + 8];
    snprintf(temporary, sizeof temporary, "%s.new", name);
    cf_err *err = write_temporary(dir, temporary, content);
    *placed = !err; /* a rename that reports an error may have been done */
    if (!err && renameat(dir, temporary, dir, name) < 0) err = cf_iio_fail(errno, "rename", temporary);
    if (err) {
        (void)unlinkat(dir, temporary, 0); /* a leftover is removed by the next open */
        return err;
    }
    return cf_iio_sync(dir, "folder");
}

cf_err *cf_iio_load(int dir, const char *name, cf_buf *out, bool *exists) {
    CF_AUTO_FD int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT) {
        *exists = false;
        return NULL;
    }
    if (fd < 0 && errno == ELOOP) return cf_iio_damaged(name, "not a regular file");
    if (fd < 0) return cf_iio_fail(errno, "open", name);
    uint64_t size = 0;
    CF_TRY(cf_iio_size(fd, name, &size));
    if (size > out->max) return cf_iio_damaged(name, "larger than any that was written");
    uint8_t *room = cf_buf_reserve(out, (size_t)size);
    CF_TRY(cf_buf_check(out, name));
    if (size > 0) CF_TRY(cf_iio_read_exact(fd, room, (size_t)size, 0, name));
    out->size = (size_t)size;
    *exists = true;
    return NULL;
}

void cf_iio_name(char out[CF_IIO_NAME_SIZE], const char *kind, uint64_t number) {
    snprintf(out, CF_IIO_NAME_SIZE, "%s-%016" PRIx64, kind, number);
}

bool cf_iio_parse_name(const char *name, const char *kind, uint64_t *number) {
    static const char digits[] = "0123456789abcdef";
    size_t prefix = strlen(kind);
    if (strncmp(name, kind, prefix) != 0 || name[prefix] != '-' || strlen(name) != prefix + 17) return false;
    uint64_t value = 0;
    for (const char *digit = name + prefix + 1; *digit; digit++) {
        const char *place = strchr(digits, *digit);
        if (!place) return false;
        value = value << 4 | (uint64_t)(place - digits);
    }
    *number = value;
    return true;
}
