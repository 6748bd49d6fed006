#include "os/hooks.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef CF_OS_RECORD
#include "os/record.h"
#endif

/* Test support: set before threads start, NULL in production (see the header). */
static const cf_os_hooks *active = NULL;

void cf_os_hooks_set(const cf_os_hooks *hooks) {
    active = hooks;
}

#ifdef CF_OS_RECORD
__attribute__((constructor)) static void record_when_asked(void) {
    active = cf_os_record_from_environment();
}
#endif

static bool refused(const cf_os_op *op) {
    if (!active || !active->before) return false;
    int err_no = active->before(active->context, op);
    if (err_no) errno = err_no;
    return err_no != 0;
}

static void done(const cf_os_op *op) {
    if (!active || !active->after) return;
    int kept = errno;
    active->after(active->context, op);
    errno = kept;
}

static cf_os_op op_on_fd(cf_os_op_kind kind, int fd) {
    return (cf_os_op){.kind = kind, .fd = fd, .dirfd = -1, .to_dirfd = -1};
}

static cf_os_op op_on_name(cf_os_op_kind kind, int dirfd, const char *name) {
    return (cf_os_op){.kind = kind, .fd = -1, .dirfd = dirfd, .name = name, .to_dirfd = -1};
}

int cf_sys_create(int dirfd, const char *name, int flags, mode_t mode) {
    cf_os_op op = op_on_name(CF_OS_CREATE, dirfd, name);
    if (refused(&op)) return -1;
    do {
        op.fd = openat(dirfd, name, O_CREAT | O_CLOEXEC | flags, mode);
    } while (op.fd < 0 && errno == EINTR);
    if (op.fd >= 0) done(&op);
    return op.fd;
}

int cf_sys_create_unnamed(int dirfd, int flags, mode_t mode) {
    cf_os_op op = op_on_name(CF_OS_CREATE, dirfd, NULL);
    if (refused(&op)) return -1;
    do {
        op.fd = openat(dirfd, ".", O_TMPFILE | O_CLOEXEC | flags, mode);
    } while (op.fd < 0 && errno == EINTR);
    if (op.fd >= 0) done(&op);
    return op.fd;
}

ssize_t cf_sys_pwrite(int fd, const void *data, size_t size, uint64_t offset) {
    cf_os_op op = op_on_fd(CF_OS_WRITE, fd);
    op.offset = offset;
    op.data = cf_span_of(data, size);
    if (refused(&op)) return -1;
    ssize_t wrote;
    do {
        wrote = pwrite(fd, data, size, (off_t)offset);
    } while (wrote < 0 && errno == EINTR);
    if (wrote < 0) return -1;
    op.data.size = (size_t)wrote;
    done(&op);
    return wrote;
}

int cf_sys_truncate(int fd, uint64_t size) {
    cf_os_op op = op_on_fd(CF_OS_TRUNCATE, fd);
    op.offset = size;
    if (refused(&op)) return -1;
    int result;
    do {
        result = ftruncate(fd, (off_t)size);
    } while (result < 0 && errno == EINTR);
    if (result == 0) done(&op);
    return result;
}

static int sync_as(cf_os_op_kind kind, int fd) {
    cf_os_op op = op_on_fd(kind, fd);
    if (refused(&op)) return -1;
    if (fsync(fd) < 0) return -1;
    done(&op);
    return 0;
}

int cf_sys_sync(int fd) {
    return sync_as(CF_OS_SYNC, fd);
}

int cf_sys_sync_folder(int fd) {
    return sync_as(CF_OS_SYNC_FOLDER, fd);
}

int cf_sys_rename(int dirfd, const char *name, int to_dirfd, const char *to_name, unsigned flags) {
    cf_os_op op = op_on_name(CF_OS_RENAME, dirfd, name);
    op.to_dirfd = to_dirfd;
    op.to_name = to_name;
    if (refused(&op)) return -1;
    if (renameat2(dirfd, name, to_dirfd, to_name, flags) < 0) return -1;
    done(&op);
    return 0;
}

int cf_sys_link(int dirfd, const char *name, int to_dirfd, const char *to_name) {
    cf_os_op op = op_on_name(CF_OS_LINK, dirfd, name);
    op.to_dirfd = to_dirfd;
    op.to_name = to_name;
    if (refused(&op)) return -1;
    if (linkat(dirfd, name, to_dirfd, to_name, 0) < 0) return -1;
    done(&op);
    return 0;
}

int cf_sys_link_fd(int fd, int to_dirfd, const char *to_name) {
    cf_os_op op = op_on_fd(CF_OS_LINK, fd);
    op.to_dirfd = to_dirfd;
    op.to_name = to_name;
    if (refused(&op)) return -1;
    /* AT_EMPTY_PATH needs CAP_DAC_READ_SEARCH; the way through /proc does not. */
    int result = linkat(fd, "", to_dirfd, to_name, AT_EMPTY_PATH);
    if (result < 0 && (errno == ENOENT || errno == EPERM)) {
        char link[40];
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        result = linkat(AT_FDCWD, link, to_dirfd, to_name, AT_SYMLINK_FOLLOW);
    }
    if (result == 0) done(&op);
    return result;
}

static int name_call(cf_os_op_kind kind, int dirfd, const char *name, int (*call)(int, const char *, unsigned),
                     unsigned argument) {
    cf_os_op op = op_on_name(kind, dirfd, name);
    if (refused(&op)) return -1;
    if (call(dirfd, name, argument) < 0) return -1;
    done(&op);
    return 0;
}

static int call_unlink(int dirfd, const char *name, unsigned flags) {
    return unlinkat(dirfd, name, (int)flags);
}

static int call_mkdir(int dirfd, const char *name, unsigned mode) {
    return mkdirat(dirfd, name, mode);
}

int cf_sys_unlink(int dirfd, const char *name) {
    return name_call(CF_OS_UNLINK, dirfd, name, call_unlink, 0);
}

int cf_sys_rmdir(int dirfd, const char *name) {
    return name_call(CF_OS_RMDIR, dirfd, name, call_unlink, AT_REMOVEDIR);
}

int cf_sys_mkdir(int dirfd, const char *name, mode_t mode) {
    return name_call(CF_OS_MKDIR, dirfd, name, call_mkdir, mode);
}
