#include "os/beneath.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/openat2.h>

#include "base/text.h"
#include "os/dir.h"
#include "os/fail.h"
#include "os/hooks.h"

enum { STEP_MAX = 3072 }; /* bytes of a path given to the kernel at once; its limit is PATH_MAX, 4096 */

struct cf_beneath {
    int fd;
};

static cf_err *refuse(const char *reason, cf_span path, const char *why) {
    CF_AUTO_FREE char *printable = cf_text_printable(path);
    cf_err *err = cf_fail(CF_ERR_PATH_REFUSED, "\"%s\": %s", printable ? printable : "a path", why);
    cf_err_set_reason(err, reason);
    return err;
}

cf_err *cf_name_from(cf_span bytes, cf_name *name) {
    if (bytes.size == 0 || bytes.size >= CF_NAME_SIZE || memchr(bytes.data, 0, bytes.size) ||
        memchr(bytes.data, '/', bytes.size) || (bytes.size == 1 && bytes.data[0] == '.') ||
        (bytes.size == 2 && bytes.data[0] == '.' && bytes.data[1] == '.'))
        return refuse("name", bytes, "no file can have this name");
    memcpy(name->text, bytes.data, bytes.size);
    name->text[bytes.size] = 0;
    return NULL;
}

cf_err *cf_beneath_open(int dirfd, cf_span path, cf_beneath **out) {
    cf_beneath *root = malloc(sizeof *root);
    if (!root) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a destination");
    cf_err *err = cf_dir_open_path(dirfd, path, &root->fd);
    if (err) {
        free(root);
        return err;
    }
    *out = root;
    return NULL;
}

void cf_beneath_free(cf_beneath *root) {
    if (!root) return;
    close(root->fd);
    free(root);
}

int cf_beneath_fd(const cf_beneath *root) {
    return root->fd;
}

/* The next part of path from *offset; moves *offset behind it and its '/'. */
static cf_err *next_part(cf_span path, size_t *offset, cf_name *name) {
    const uint8_t *start = path.data + *offset;
    const size_t left = path.size - *offset;
    const uint8_t *slash = memchr(start, '/', left);
    const size_t size = slash ? (size_t)(slash - start) : left;
    cf_err *err = cf_name_from(cf_span_of(start, size), name);
    if (!err && slash && size + 1 == left) err = refuse("name", path, "it ends with '/'");
    if (err) return err;
    *offset += size + (slash ? 1 : 0);
    return NULL;
}

/* One name with O_NOFOLLOW: enough, because a name without '/' can only be left through a link. */
static int open_name(int folder, const char *name, int flags) {
    int fd;
    do {
        fd = openat(folder, name, flags | O_NOFOLLOW | O_CLOEXEC);
    } while (fd < 0 && errno == EINTR);
    if (fd >= 0 || errno != ENOTDIR) return fd;
    /* O_DIRECTORY on a symbolic link says ENOTDIR: tell the two apart. */
    struct stat now;
    errno = fstatat(folder, name, &now, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(now.st_mode) ? ELOOP : ENOTDIR;
    return -1;
}

/* Several names at once; -1 and ENOSYS when the kernel (or a seccomp filter) has no openat2. */
static int open_step(int folder, const char *path, int flags) {
    const struct open_how how = {
        .flags = (uint64_t)(unsigned)(flags | O_CLOEXEC), /* O_NOFOLLOW would say ENOTDIR for a link */
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    };
    for (int attempt = 0;; attempt++) {
        int fd = (int)syscall(SYS_openat2, folder, path, &how, sizeof how);
        /* EAGAIN: something was renamed meanwhile and the kernel could not be sure */
        if (fd >= 0 || (errno != EINTR && (errno != EAGAIN || attempt >= 100))) return fd;
    }
}

static cf_err *explain(int err_no, const char *doing, cf_span path) {
    if (err_no == ELOOP || err_no == EXDEV) return refuse("symlink", path, "a symbolic link is in the way");
    return cf_os_fail_span(err_no, doing, path);
}

/* As much of path from *offset as fits into one call, NUL-terminated and checked. */
static cf_err *next_step(cf_span path, size_t *offset, char step[STEP_MAX + CF_NAME_SIZE]) {
    size_t size = 0;
    while (*offset < path.size && size < STEP_MAX - CF_NAME_SIZE) {
        cf_name name;
        CF_TRY(next_part(path, offset, &name));
        if (size > 0) step[size++] = '/';
        size_t part = strlen(name.text);
        memcpy(step + size, name.text, part);
        size += part;
    }
    step[size] = 0;
    return NULL;
}

static int open_parts(int folder, char *step, int flags) {
    int at = folder;
    for (char *part = step;;) {
        char *slash = strchr(part, '/');
        if (slash) *slash = 0;
        int next = open_name(at, part, slash ? O_RDONLY | O_DIRECTORY : flags);
        int err_no = errno;
        if (at != folder) close(at);
        errno = err_no;
        if (next < 0 || !slash) return next;
        at = next;
        part = slash + 1;
    }
}

/* Reopen instead of dup: a descriptor of its own, with its own place and flags. */
static cf_err *open_root(const cf_beneath *root, int flags, int *fd) {
    int opened = openat(root->fd, ".", flags | O_CLOEXEC | O_NOFOLLOW);
    if (opened < 0) return cf_os_fail(errno, "open", "the destination");
    *fd = opened;
    return NULL;
}

cf_err *cf_beneath_openat(const cf_beneath *root, cf_span path, int flags, int *fd) {
    if (path.size == 0) return open_root(root, flags, fd);
    CF_AUTO_FD int at = -1;
    for (size_t offset = 0; offset < path.size;) {
        char step[STEP_MAX + CF_NAME_SIZE];
        CF_TRY(next_step(path, &offset, step));
        const int step_flags = offset < path.size ? O_RDONLY | O_DIRECTORY : flags;
        const int folder = at >= 0 ? at : root->fd;
        int next = open_step(folder, step, step_flags);
        if (next < 0 && (errno == ENOSYS || errno == EPERM || errno == EINVAL))
            next = open_parts(folder, step, step_flags);
        if (next < 0) return explain(errno, "open", path);
        if (at >= 0) close(at);
        at = next;
    }
    *fd = at;
    at = -1;
    return NULL;
}

/* Opens name in folder, making it when it is missing. */
static cf_err *enter_or_make(int folder, const cf_name *name, cf_span path, int *fd) {
    for (int attempt = 0; attempt < 3; attempt++) {
        *fd = open_name(folder, name->text, O_RDONLY | O_DIRECTORY);
        if (*fd >= 0) return NULL;
        if (errno != ENOENT) return explain(errno, "open folder", path);
        if (cf_sys_mkdir(folder, name->text, 0700) < 0 && errno != EEXIST) return explain(errno, "make folder", path);
    }
    return explain(ENOENT, "make folder", path); /* somebody removes it again and again */
}

cf_err *cf_beneath_folder(const cf_beneath *root, cf_span path, int *fd) {
    CF_AUTO(cf_err) err = cf_beneath_openat(root, path, O_RDONLY | O_DIRECTORY, fd);
    if (cf_err_code(err) != CF_ERR_NOT_FOUND) return cf_take(err);
    CF_AUTO_FD int at = -1;
    CF_TRY(open_root(root, O_RDONLY | O_DIRECTORY, &at));
    for (size_t offset = 0; offset < path.size;) {
        cf_name name;
        int next = -1;
        CF_TRY(next_part(path, &offset, &name));
        CF_TRY(enter_or_make(at, &name, path, &next));
        close(at);
        at = next;
    }
    *fd = at;
    at = -1;
    return NULL;
}

cf_err *cf_beneath_parent(const cf_beneath *root, cf_span path, bool make, int *fd, cf_name *leaf) {
    const uint8_t *slash = path.size ? memrchr(path.data, '/', path.size) : NULL;
    const size_t before = slash ? (size_t)(slash - path.data) : 0;
    const size_t start = slash ? before + 1 : 0;
    CF_TRY(cf_name_from(cf_span_of(path.data + start, path.size - start), leaf));
    if (slash && before == 0) return refuse("name", path, "it is absolute");
    const cf_span folder = cf_span_of(path.data, before);
    return make ? cf_beneath_folder(root, folder, fd) : cf_beneath_openat(root, folder, O_RDONLY | O_DIRECTORY, fd);
}

/* For cf_file_remove_leftovers of another process; where there are no such locks, it removes nothing. */
static void lock_as_live(int fd) {
    (void)flock(fd, LOCK_EX | LOCK_NB); /* nobody else can have it: the file is new */
}

cf_err *cf_partial_open(int folder, cf_partial *part) {
    *part = (cf_partial){.folder = folder, .fd = cf_sys_create_unnamed(folder, O_RDWR, 0600)};
    if (part->fd >= 0) return NULL;
    if (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT && errno != EINVAL)
        return cf_os_fail(errno, "make", "a file");
    for (int attempt = 0; attempt < 16; attempt++) {
        cf_file_temporary_name(part->temporary);
        part->fd = cf_sys_create(folder, part->temporary, O_RDWR | O_EXCL | O_NOFOLLOW, 0600);
        if (part->fd >= 0) {
            lock_as_live(part->fd);
            return NULL;
        }
        if (errno != EEXIST) break;
    }
    int err_no = errno;
    part->temporary[0] = 0;
    return cf_os_fail(err_no, "make", "a temporary file");
}

/* An unnamed part gets its final name, or a temporary one. 0 or an errno. */
static int name_part(cf_partial *part, const char *name) {
    return cf_sys_link_fd(part->fd, part->folder, name) == 0 ? 0 : errno;
}

static int replace_with(cf_partial *part, const char *name) {
    if (!part->temporary[0]) lock_as_live(part->fd);
    for (int attempt = 0; !part->temporary[0]; attempt++) {
        char temporary[CF_FILE_TEMPORARY_SIZE];
        cf_file_temporary_name(temporary);
        int err_no = name_part(part, temporary);
        if (err_no && (err_no != EEXIST || attempt >= 16)) return err_no;
        if (!err_no) memcpy(part->temporary, temporary, sizeof temporary);
    }
    if (cf_sys_rename(part->folder, part->temporary, part->folder, name, 0) < 0) return errno;
    part->temporary[0] = 0;
    return 0;
}

static int place_new(cf_partial *part, const char *name) {
    if (!part->temporary[0]) return name_part(part, name);
    int result = cf_sys_rename(part->folder, part->temporary, part->folder, name, RENAME_NOREPLACE);
    if (result < 0 && errno != EINVAL && errno != ENOSYS) return errno;
    if (result < 0 && cf_sys_link(part->folder, part->temporary, part->folder, name) < 0) return errno;
    if (result < 0 && cf_sys_unlink(part->folder, part->temporary) < 0) return errno;
    part->temporary[0] = 0;
    return 0;
}

cf_err *cf_partial_place(cf_partial *part, const cf_name *name, bool replace, bool *placed) {
    int err_no = place_new(part, name->text);
    if (err_no == EEXIST && replace)
        err_no = replace_with(part, name->text);
    else if (err_no == EEXIST) {
        *placed = false;
        return NULL;
    }
    if (err_no == EISDIR) return cf_os_fail(EEXIST, "replace the folder", name->text);
    if (err_no) return cf_os_fail(err_no, "write", name->text);
    *placed = true;
    return NULL;
}

void cf_partial_wipe(cf_partial *part) {
    /* What cannot be removed now is found by cf_file_remove_leftovers. */
    if (part->temporary[0]) (void)cf_sys_unlink(part->folder, part->temporary);
    if (part->fd >= 0) close(part->fd);
    *part = (cf_partial){.folder = -1, .fd = -1};
}

cf_err *cf_beneath_link(int from_folder, const cf_name *from, int folder, const cf_name *name) {
    if (cf_sys_link(from_folder, from->text, folder, name->text) == 0) return NULL;
    return cf_os_fail(errno, "make the hard link", name->text);
}
