#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/dir.h"
#include "os/fail.h"
#include "os/file.h"
#include "os/hooks.h"
#include "os/meta.h"
#include "os/mounts.h"
#include "os/path.h"
#include "os/stat.h"

/* One folder on the way down. Only the deepest one is open: the way back up is "..", and checked. */
typedef struct level {
    uint64_t inode, device;
    char *name; /* in the folder above */
} level;

typedef struct remover {
    cf_dir *dir;
    level *levels;
    size_t count, capacity;
    int fd; /* of the deepest level */
    uint64_t device, mount_id;
    bool force; /* immutable and append-only objects too */
} remover;

/* Takes the flags away that forbid removing it; true when it had some. Only files and folders are opened. */
static bool unlock(int folder, const char *name) {
    cf_stat stat;
    uint32_t had = 0;
    cf_err *err = cf_os_stat(folder, name, &stat);
    if (!err && (stat.type == CF_TYPE_FILE || stat.type == CF_TYPE_DIRECTORY)) {
        CF_AUTO_FD int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (fd >= 0) err = cf_meta_clear_flags(fd, name, &had);
    }
    if (err) had = 0;
    cf_err_free(err); /* removing it fails again and says why */
    return had != 0;
}

/* Both flags are on the object itself or on the folder that holds it; the folder's went when it was entered. */
static int unlink_forced(int folder, const char *name, bool force) {
    int result = cf_sys_unlink(folder, name);
    if (result == 0 || errno != EPERM || !force) return result;
    if (!unlock(folder, name)) {
        errno = EPERM;
        return -1;
    }
    return cf_sys_unlink(folder, name);
}

static int rmdir_forced(int folder, const char *name, bool force) {
    int result = cf_sys_rmdir(folder, name);
    if (result == 0 || errno != EPERM || !force) return result;
    if (!unlock(folder, name)) {
        errno = EPERM;
        return -1;
    }
    return cf_sys_rmdir(folder, name);
}

static cf_err *push(remover *self, const char *name, const cf_stat *stat) {
    if (self->count == self->capacity) {
        size_t capacity = self->capacity ? self->capacity * 2 : 16;
        level *levels = reallocarray(self->levels, capacity, sizeof *levels);
        if (!levels) return cf_fail(CF_ERR_OUT_OF_MEMORY, "removing a deep folder");
        self->levels = levels;
        self->capacity = capacity;
    }
    char *copy = strdup(name);
    if (!copy) return cf_fail(CF_ERR_OUT_OF_MEMORY, "removing a deep folder");
    self->levels[self->count++] = (level){stat->inode, stat->device, copy};
    return NULL;
}

static cf_err *enter(remover *self, const char *name) {
    CF_AUTO_FD int fd = -1;
    cf_stat stat;
    CF_TRY(cf_os_open_folder(self->fd, name, &fd, &stat));
    if (stat.mount_root || stat.device != self->device || stat.mount_id != self->mount_id) {
        cf_err *err = cf_os_fail(EXDEV, "remove", name);
        cf_err_set_reason(err, "mounted");
        return err;
    }
    CF_TRY(push(self, name, &stat));
    if (self->force) CF_TRY(cf_meta_clear_flags(fd, name, NULL));
    close(self->fd);
    self->fd = fd;
    fd = -1;
    return NULL;
}

static cf_err *leave(remover *self) {
    level *done = &self->levels[self->count - 1];
    CF_AUTO_FD int up = openat(self->fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (up < 0) return cf_os_fail(errno, "open the folder above", done->name);
    if (self->count > 1) {
        const level *above = done - 1;
        cf_stat stat;
        CF_TRY(cf_os_stat(up, "", &stat));
        /* Moved away meanwhile: what ".." is now must not be touched. */
        if (stat.inode != above->inode || stat.device != above->device) return cf_os_fail(ESTALE, "remove", done->name);
    }
    close(self->fd);
    self->fd = up;
    up = -1;
    return NULL;
}

/* Removes what is no folder in the deepest level; *sub is true when a folder was entered. */
static cf_err *empty_level(remover *self, bool *sub) {
    *sub = false;
    CF_TRY(cf_dir_start(self->dir, self->fd, self->levels[self->count - 1].name));
    for (;;) {
        cf_dir_entry entry;
        bool more = false;
        CF_TRY(cf_dir_next(self->dir, &entry, &more));
        if (!more) return NULL;
        if (entry.type != CF_TYPE_DIRECTORY) {
            if (unlink_forced(self->fd, entry.name, self->force) == 0 || errno == ENOENT) continue;
            if (errno != EISDIR && errno != EPERM) return cf_os_fail(errno, "remove", entry.name);
            if (entry.type != 0) return cf_os_fail(errno, "remove", entry.name);
        }
        if (rmdir_forced(self->fd, entry.name, self->force) == 0) continue; /* most often empty already, or full */
        if (errno != ENOTEMPTY && errno != EEXIST && errno != EBUSY) return cf_os_fail(errno, "remove", entry.name);
        *sub = true;
        return enter(self, entry.name);
    }
}

static cf_err *remove_levels(remover *self, int top_fd) {
    while (self->count > 0) {
        bool sub = false;
        CF_TRY(empty_level(self, &sub));
        if (sub) continue;
        CF_TRY(leave(self));
        level *done = &self->levels[--self->count];
        /* the top's folder is the caller's descriptor: ".." could be another one meanwhile */
        int result = cf_sys_rmdir(self->count == 0 ? top_fd : self->fd, done->name);
        cf_err *err = result < 0 && errno != ENOENT ? cf_os_fail(errno, "remove", done->name) : NULL;
        free(done->name);
        CF_TRY(err);
    }
    return NULL;
}

/* What is below the folder name in parent, then the folder itself. */
static cf_err *remove_folder(int parent, const char *name, bool force) {
    remover self = {.fd = -1, .force = force};
    cf_stat above, stat;
    CF_TRY(cf_os_stat(parent, "", &above));
    CF_TRY(cf_os_open_folder(parent, name, &self.fd, &stat));
    self.device = stat.device;
    self.mount_id = stat.mount_id;
    cf_err *err = cf_dir_new(&self.dir);
    if (!err && cf_mount_crossed(&above, &stat)) {
        err = cf_os_fail(EXDEV, "remove", name);
        cf_err_set_reason(err, "mounted");
    }
    if (!err && force) err = cf_meta_clear_flags(self.fd, name, NULL);
    if (!err) err = push(&self, name, &stat);
    if (!err) err = remove_levels(&self, parent);
    while (self.count > 0) free(self.levels[--self.count].name);
    free(self.levels);
    cf_dir_free(self.dir);
    close(self.fd);
    return err;
}

static cf_err *remove_any(int parent, const char *name, bool force) {
    if (unlink_forced(parent, name, force) == 0 || errno == ENOENT) return NULL;
    if (errno != EISDIR && errno != EPERM) return cf_os_fail(errno, "remove", name);
    if (rmdir_forced(parent, name, force) == 0) return NULL;
    if (errno != ENOTEMPTY && errno != EEXIST && errno != EBUSY) return cf_os_fail(errno, "remove", name);
    return remove_folder(parent, name, force);
}

static cf_err *remove_path(int dirfd, const char *path, bool force) {
    cf_os_parent parent;
    CF_AUTO(cf_err) err = cf_os_parent_open(dirfd, path, &parent);
    if (cf_err_code(err) == CF_ERR_NOT_FOUND) return NULL;
    if (err) return cf_take(err);
    err = remove_any(parent.fd, parent.leaf, force);
    cf_os_parent_close(&parent);
    return cf_take(err);
}

cf_err *cf_dir_remove_tree(int dirfd, const char *path) {
    return remove_path(dirfd, path, false);
}

cf_err *cf_dir_remove_tree_forced(int dirfd, const char *path) {
    return remove_path(dirfd, path, true);
}

/* Removes one temporary file unless a writer holds its lock. */
static cf_err *remove_leftover(int dirfd, const char *name, unsigned *count) {
    CF_AUTO_FD int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0) return NULL; /* in use, gone, or not ours to judge */
    bool existed = false;
    CF_TRY(cf_file_remove(dirfd, name, &existed));
    if (existed) (*count)++;
    return NULL;
}

cf_err *cf_file_remove_leftovers(int dirfd, const char *name, unsigned *count) {
    CF_AUTO(cf_dir) dir = NULL;
    CF_AUTO_FD int fd = -1;
    unsigned removed = 0;
    CF_TRY(cf_dir_new(&dir));
    CF_TRY(cf_os_open_folder(dirfd, ".", &fd, NULL));
    CF_TRY(cf_dir_start(dir, fd, name));
    for (;;) {
        cf_dir_entry entry;
        bool more = false;
        CF_TRY(cf_dir_next(dir, &entry, &more));
        if (!more) break;
        if (strncmp(entry.name, CF_FILE_TEMPORARY_PREFIX, strlen(CF_FILE_TEMPORARY_PREFIX)) != 0) continue;
        if (entry.type == CF_TYPE_FILE || entry.type == 0) CF_TRY(remove_leftover(dirfd, entry.name, &removed));
    }
    if (count) *count = removed;
    return NULL;
}
