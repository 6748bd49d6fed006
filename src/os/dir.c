#include "os/dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "os/fail.h"
#include "os/file.h"
#include "os/hooks.h"
#include "os/path.h"

enum { READ_SIZE = 128 * 1024 };

struct cf_dir {
    int fd;
    const char *name;
    size_t filled, offset;
    bool ended;
    /* getdents64 lays out records with an alignment of 8 */
    _Alignas(8) uint8_t records[READ_SIZE];
};

cf_err *cf_dir_new(cf_dir **dir) {
    cf_dir *made = malloc(sizeof *made);
    if (!made) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a buffer for reading folders");
    made->fd = -1;
    made->name = "";
    made->filled = made->offset = 0;
    made->ended = true;
    *dir = made;
    return NULL;
}

void cf_dir_free(cf_dir *dir) {
    free(dir);
}

cf_err *cf_dir_start(cf_dir *dir, int fd, const char *name) {
    if (lseek(fd, 0, SEEK_SET) < 0) return cf_os_fail(errno, "read folder", name);
    dir->fd = fd;
    dir->name = name;
    dir->filled = dir->offset = 0;
    dir->ended = false;
    return NULL;
}

static cf_file_type type_of(uint8_t d_type) {
    switch (d_type) {
    case DT_REG:
        return CF_TYPE_FILE;
    case DT_DIR:
        return CF_TYPE_DIRECTORY;
    case DT_LNK:
        return CF_TYPE_SYMLINK;
    case DT_FIFO:
        return CF_TYPE_FIFO;
    case DT_CHR:
        return CF_TYPE_CHARACTER;
    case DT_BLK:
        return CF_TYPE_BLOCK;
    case DT_SOCK:
        return CF_TYPE_SOCKET;
    default:
        return (cf_file_type)0;
    }
}

static cf_err *fill(cf_dir *dir) {
    ssize_t got;
    do {
        got = getdents64(dir->fd, dir->records, sizeof dir->records);
    } while (got < 0 && errno == EINTR);
    if (got < 0 && errno == ENOENT) got = 0; /* the folder was removed while it was read */
    if (got < 0) return cf_os_fail(errno, "read folder", dir->name);
    dir->filled = (size_t)got;
    dir->offset = 0;
    dir->ended = got == 0;
    return NULL;
}

cf_err *cf_dir_next(cf_dir *dir, cf_dir_entry *entry, bool *more) {
    for (;;) {
        if (dir->offset >= dir->filled && !dir->ended) CF_TRY(fill(dir));
        if (dir->ended) {
            *more = false;
            return NULL;
        }
        const struct dirent64 *record = (const struct dirent64 *)(const void *)(dir->records + dir->offset);
        dir->offset += record->d_reclen;
        const char *name = record->d_name;
        if (name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]))) continue;
        *entry = (cf_dir_entry){name, strlen(name), record->d_ino, type_of(record->d_type)};
        *more = true;
        return NULL;
    }
}

static cf_err *sync_parent(int dirfd, const char *path) {
    cf_os_parent parent;
    CF_TRY(cf_os_parent_open(dirfd, path, &parent));
    cf_err *err = cf_file_sync_folder(parent.fd, path);
    cf_os_parent_close(&parent);
    return err;
}

static cf_err *make_one(int dirfd, const char *path, mode_t mode, bool durable) {
    const bool made = cf_sys_mkdir(dirfd, path, mode) == 0;
    if (!made && errno != EEXIST) return cf_os_fail(errno, "make folder", path);
    /* Below dirfd also when it is there already: whoever made it may have crashed before the sync. Of an
     * absolute path, the upper folders are the machine's own. */
    return durable && (made || path[0] != '/') ? sync_parent(dirfd, path) : NULL;
}

static cf_err *make_path(int dirfd, const char *path, mode_t mode, bool durable) {
    CF_AUTO_FREE char *copy = strdup(path);
    if (!copy) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a path");
    size_t size = strlen(copy);
    while (size > 1 && copy[size - 1] == '/') copy[--size] = 0;
    for (char *at = copy + 1; *copy && *at; at++) {
        if (*at != '/' || at[-1] == '/') continue;
        *at = 0;
        CF_TRY(make_one(dirfd, copy, mode, durable));
        *at = '/';
    }
    if (strcmp(copy, "/") != 0) CF_TRY(make_one(dirfd, copy, mode, durable));
    int fd = openat(dirfd, copy, O_PATH | O_DIRECTORY | O_CLOEXEC); /* EEXIST may have been a file */
    if (fd < 0) return cf_os_fail(errno, "make folder", path);
    close(fd);
    return NULL;
}

cf_err *cf_dir_make(int dirfd, const char *path, mode_t mode) {
    return make_path(dirfd, path, mode, false);
}

cf_err *cf_dir_make_durable(int dirfd, const char *path, mode_t mode) {
    return make_path(dirfd, path, mode, true);
}

cf_err *cf_dir_open_path(int dirfd, cf_span path, int *fd) {
    if (path.size == 0 || memchr(path.data, 0, path.size)) return cf_os_fail_span(EINVAL, "open folder", path);
    CF_AUTO_FD int at = path.data[0] == '/' ? open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
                                            : openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (at < 0) return cf_os_fail_span(errno, "open folder", path);
    for (size_t offset = 0; offset < path.size;) {
        const uint8_t *slash = memchr(path.data + offset, '/', path.size - offset);
        size_t size = slash ? (size_t)(slash - path.data) - offset : path.size - offset;
        if (size > 0) {
            char name[NAME_MAX * 4 + 1]; /* some file systems have longer names than NAME_MAX */
            if (size >= sizeof name) return cf_os_fail_span(ENAMETOOLONG, "open folder", path);
            memcpy(name, path.data + offset, size);
            name[size] = 0;
            int next = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
            if (next < 0) return cf_os_fail_span(errno, "open folder", path);
            close(at);
            at = next;
        }
        offset += size + 1;
    }
    *fd = at;
    at = -1;
    return NULL;
}

cf_err *cf_dir_empty(int fd, const char *name, bool *empty) {
    CF_AUTO(cf_dir) dir = NULL;
    CF_TRY(cf_dir_new(&dir));
    CF_TRY(cf_dir_start(dir, fd, name));
    cf_dir_entry entry;
    bool more = false;
    CF_TRY(cf_dir_next(dir, &entry, &more));
    *empty = !more;
    return NULL;
}
