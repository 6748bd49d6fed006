#include "os/record.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { RECORD_MAGIC = 0x534F4643 };

typedef struct recorder {
    int fd;
    cf_os_hooks hooks;
} recorder;

static recorder the_recorder;

_Noreturn static void give_up(const char *what) {
    fprintf(stderr, "COFFER_OS_RECORD: %s: %s\n", what, strerror(errno));
    abort();
}

/* The absolute path of name in dirfd ("" when there is no name). */
static size_t path_of(int dirfd, const char *name, char out[PATH_MAX]) {
    if (!name) return 0;
    if (name[0] == '/') return (size_t)snprintf(out, PATH_MAX, "%s", name);
    char folder[PATH_MAX];
    if (dirfd == AT_FDCWD) {
        if (!getcwd(folder, sizeof folder)) give_up("getcwd");
    } else {
        char link[40];
        snprintf(link, sizeof link, "/proc/self/fd/%d", dirfd);
        ssize_t size = readlink(link, folder, sizeof folder - 1);
        if (size < 0) give_up(link);
        folder[size] = 0;
    }
    if (strcmp(name, ".") == 0) return (size_t)snprintf(out, PATH_MAX, "%s", folder);
    int size = snprintf(out, PATH_MAX, "%s/%s", folder, name);
    if (size >= PATH_MAX) {
        errno = ENAMETOOLONG;
        give_up(name);
    }
    return (size_t)size;
}

static uint64_t inode_of(const cf_os_op *op) {
    struct stat stat_buf;
    if (op->fd >= 0) return fstat(op->fd, &stat_buf) == 0 ? stat_buf.st_ino : 0;
    int dirfd = op->to_name ? op->to_dirfd : op->dirfd;
    const char *name = op->to_name ? op->to_name : op->name;
    return fstatat(dirfd, name, &stat_buf, AT_SYMLINK_NOFOLLOW) == 0 ? stat_buf.st_ino : 0;
}

static void append(const recorder *self, const cf_os_op *op, uint8_t phase) {
    char path[PATH_MAX], second[PATH_MAX];
    size_t path_size = op->kind == CF_OS_SYNC_FOLDER ? path_of(op->fd, ".", path) : path_of(op->dirfd, op->name, path);
    size_t second_size = path_of(op->to_dirfd, op->to_name, second);
    CF_AUTO_BUF cf_buf head;
    cf_buf_init(&head, 64);
    cf_buf_put_u32(&head, RECORD_MAGIC);
    cf_buf_put_u8(&head, (uint8_t)op->kind);
    cf_buf_put_u8(&head, phase);
    cf_buf_put_u16(&head, 0);
    cf_buf_put_u32(&head, (uint32_t)getpid());
    cf_buf_put_u32(&head, (uint32_t)gettid());
    cf_buf_put_u64(&head, inode_of(op));
    cf_buf_put_u64(&head, op->offset);
    cf_buf_put_u32(&head, (uint32_t)path_size);
    cf_buf_put_u32(&head, (uint32_t)second_size);
    cf_buf_put_u64(&head, op->data.size);
    const struct iovec parts[] = {{head.data, head.size},
                                  {path, path_size},
                                  {second, second_size},
                                  {(void *)(uintptr_t)op->data.data, op->data.size}};
    size_t all = head.size + path_size + second_size + op->data.size;
    /* One append-mode call is one uninterrupted record, also between processes. */
    ssize_t wrote = writev(self->fd, parts, 4);
    if (wrote < 0 || (size_t)wrote != all) give_up("write");
}

static int before(void *context, const cf_os_op *op) {
    if (op->kind == CF_OS_SYNC || op->kind == CF_OS_SYNC_FOLDER) append(context, op, 0);
    return 0;
}

static void after(void *context, const cf_os_op *op) {
    append(context, op, 1);
}

const cf_os_hooks *cf_os_record_from_environment(void) {
    const char *path = getenv("COFFER_OS_RECORD");
    if (!path || !*path) return NULL;
    the_recorder.fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (the_recorder.fd < 0) give_up(path);
    the_recorder.hooks = (cf_os_hooks){before, after, &the_recorder};
    return &the_recorder.hooks;
}
