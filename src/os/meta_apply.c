#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <linux/fs.h>
#include <linux/limits.h>

#include "os/fail.h"
#include "os/hooks.h"
#include "os/meta_internal.h"

typedef struct applying {
    cf_meta_store *store;
    cf_os_object object;
    const cf_meta *meta;
    const cf_meta_apply_options *options;
    cf_meta_warnings *warnings;
    bool foreign; /* the owner could not be set: then no set-user-ID and the like for whoever owns it now */
    bool known;   /* now is what the object has ...                                                    */
    bool touched; /* ... but for its mode, which something done since may have changed                 */
    struct stat now;
} applying;

/* What is right already is not set again: it costs a call, and an ordinary user may not be allowed to. */
static void look(applying *self) {
    const cf_os_object *object = &self->object;
    self->known = object->fd >= 0 ? fstat(object->fd, &self->now) == 0
                                  : fstatat(object->dirfd, object->name, &self->now, AT_SYMLINK_NOFOLLOW) == 0;
}

static int chown_object(const cf_os_object *object, uid_t uid, gid_t gid) {
    if (object->fd >= 0) return fchown(object->fd, uid, gid);
    return fchownat(object->dirfd, object->name, uid, gid, AT_SYMLINK_NOFOLLOW);
}

static void apply_owner(applying *self) {
    uint32_t uid = self->meta->uid, gid = self->meta->gid;
    if (!self->options->numeric_ids) {
        uid = cf_owners_user_id(self->store->owners, self->meta->user, uid);
        gid = cf_owners_group_id(self->store->owners, self->meta->group, gid);
    }
    if (self->known && self->now.st_uid == uid && self->now.st_gid == gid) return;
    self->touched = true; /* set-user-ID may go */
    if (chown_object(&self->object, uid, gid) == 0) return;
    self->foreign = true;
    cf_meta_warn(self->warnings, CF_META_OWNER, errno);
    /* Without root the group may still be one of ours. */
    (void)chown_object(&self->object, (uid_t)-1, gid);
}

static bool starts(cf_span name, const char *prefix) {
    size_t size = strlen(prefix);
    return name.size >= size && memcmp(name.data, prefix, size) == 0;
}

static bool is(cf_span name, const char *text) {
    return cf_span_equal(name, cf_span_text(text));
}

static bool grants(cf_span name) { /* attributes that say who may do what */
    return starts(name, "system.posix_acl_") || is(name, "system.nfs4_acl") || is(name, "system.ntfs_acl") ||
           is(name, "security.capability");
}

/* The store's list is what remove_extra read. */
static bool is_listed(const applying *self, const char *name) {
    const char *at = (const char *)self->store->list.data;
    for (size_t left = self->store->list.size, size; left > 0; left -= size + 1, at += size + 1) {
        size = strnlen(at, left);
        if (size == left) return false;
        if (strcmp(at, name) == 0) return true;
    }
    return false;
}

static bool has_already(applying *self, const char *name, cf_span value) {
    if (!is_listed(self, name)) return false;
    CF_AUTO_FREE uint8_t *now = malloc(value.size + 1); /* one more: a longer value is told apart */
    if (!now) return false;
    ssize_t got = cf_os_xattr_get(&self->object, name, now, value.size + 1);
    return got >= 0 && cf_span_equal(cf_span_of(now, (size_t)got), value);
}

static void set_one(applying *self, const cf_xattr *xattr) {
    char name[XATTR_NAME_MAX + 1];
    size_t size = xattr->name.size < sizeof name ? xattr->name.size : sizeof name - 1;
    memcpy(name, xattr->name.data, size);
    name[size] = 0;
    if (size != xattr->name.size || strlen(name) != size) {
        cf_meta_warn_xattr(self->warnings, name, EINVAL);
        return;
    }
    if (has_already(self, name, xattr->value)) return;
    if (self->foreign && strcmp(name, "security.capability") == 0) {
        cf_meta_warn_xattr(self->warnings, name, EPERM);
        return;
    }
    if (starts(xattr->name, "system.")) self->touched = true; /* an ACL has the permissions of the mode in it */
    if (cf_os_xattr_set(&self->object, name, xattr->value.data, xattr->value.size) < 0)
        cf_meta_warn_xattr(self->warnings, name, errno);
}

static bool in_meta(const cf_meta *meta, cf_span name) {
    size_t low = 0, high = meta->xattr_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = cf_span_compare(meta->xattrs[middle].name, name);
        if (order == 0) return true;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

/* What the object has and meta has not: inherited ACLs always go, the others when that is asked for.
 * Labels that the machine's own security module gave stay. */
static bool removable(const applying *self, cf_span name) {
    if (starts(name, "system.posix_acl_")) return !self->options->no_acl;
    if (self->options->keep_extra || starts(name, "system.")) return false;
    if (is(name, "security.capability")) return !self->options->no_acl;
    return !starts(name, "security.");
}

static void remove_extra(applying *self) {
    cf_buf *list = &self->store->list;
    int err_no = cf_os_xattr_list_all(&self->object, list);
    if (err_no) cf_buf_reset(list);
    if (err_no) return; /* a file system without attributes; setting some will say so */
    const char *name = (const char *)list->data;
    for (size_t left = list->size; left > 0;) {
        size_t size = strnlen(name, left);
        if (size == left) break; /* without its NUL: not a list */
        cf_span span = cf_span_of(name, size);
        if (starts(span, "system.")) self->touched = true;
        if (removable(self, span) && !in_meta(self->meta, span) && cf_os_xattr_remove(&self->object, name) < 0 &&
            errno != ENODATA)
            cf_meta_warn_xattr(self->warnings, name, errno);
        name += size + 1;
        left -= size + 1;
    }
}

static void apply_xattrs(applying *self, bool ntfs) {
    for (uint32_t i = 0; i < self->meta->xattr_count; i++) {
        const cf_xattr *xattr = &self->meta->xattrs[i];
        if (starts(xattr->name, "system.ntfs_") != ntfs) continue;
        if (self->options->no_acl && grants(xattr->name)) continue;
        set_one(self, xattr);
    }
}

static void apply_mode(applying *self) {
    const cf_meta *meta = self->meta;
    if (meta->type == CF_TYPE_SYMLINK) return;
    mode_t mode = meta->mode & 07777u;
    if (self->foreign && (mode & 06000u)) {
        cf_meta_warn(self->warnings, CF_META_MODE, EPERM);
        mode &= ~06000u;
    }
    if (self->touched) look(self);
    if (self->known && (self->now.st_mode & 07777u) == mode) return;
    const cf_os_object *object = &self->object;
    int result =
        object->fd >= 0 ? fchmod(object->fd, mode) : fchmodat(object->dirfd, object->name, mode, AT_SYMLINK_NOFOLLOW);
    if (result < 0) cf_meta_warn(self->warnings, CF_META_MODE, errno);
}

static cf_err *apply_mtime(applying *self) {
    const cf_time mtime = self->meta->mtime;
    if (self->known && self->now.st_mtim.tv_sec == mtime.seconds &&
        self->now.st_mtim.tv_nsec == (long)mtime.nanoseconds)
        return NULL;
    const struct timespec times[2] = {{0, UTIME_OMIT}, {mtime.seconds, (long)mtime.nanoseconds}};
    const cf_os_object *object = &self->object;
    int result = object->fd >= 0 ? futimens(object->fd, times)
                                 : utimensat(object->dirfd, object->name, times, AT_SYMLINK_NOFOLLOW);
    if (result < 0 && errno == ENOENT) return cf_os_fail(ENOENT, "set the time of", object->name);
    if (result < 0) cf_meta_warn(self->warnings, CF_META_MTIME, errno);
    if (result < 0 || (mtime.seconds >= INT32_MIN && mtime.seconds <= INT32_MAX)) return NULL;
    /* The kernel silently takes the nearest time that the file system can keep. */
    cf_stat now;
    CF_TRY(object->fd >= 0 ? cf_os_stat(object->fd, "", &now) : cf_os_stat(object->dirfd, object->name, &now));
    if (now.mtime.seconds != mtime.seconds) cf_meta_warn(self->warnings, CF_META_MTIME, ERANGE);
    return NULL;
}

static void apply_project(applying *self) {
    const cf_meta *meta = self->meta;
    if (!meta->has_project || self->object.fd < 0) return;
    struct fsxattr attributes;
    if (ioctl(self->object.fd, FS_IOC_FSGETXATTR, &attributes) < 0) {
        if (meta->project_id != 0) cf_meta_warn(self->warnings, CF_META_PROJECT, errno);
        return;
    }
    if (attributes.fsx_projid == meta->project_id) return;
    attributes.fsx_projid = meta->project_id;
    if (ioctl(self->object.fd, FS_IOC_FSSETXATTR, &attributes) < 0)
        cf_meta_warn(self->warnings, CF_META_PROJECT, errno);
}

static bool set_flags(int fd, unsigned flags) {
    return ioctl(fd, FS_IOC_SETFLAGS, &flags) == 0;
}

/* The file system refused all at once: one by one, those that end all other changes last. */
static void set_flags_singly(int fd, unsigned now, unsigned want, cf_meta_warnings *warnings) {
    static const unsigned last = FS_IMMUTABLE_FL | FS_APPEND_FL;
    for (int round = 0; round < 2; round++) {
        for (unsigned bit = 1; bit != 0; bit <<= 1) {
            if (!((now ^ want) & bit) || ((bit & last) != 0) != (round == 1)) continue;
            if (set_flags(fd, now ^ bit))
                now ^= bit;
            else
                cf_meta_warn(warnings, CF_META_FLAGS, errno);
        }
    }
}

/* Bring the bits of mask to what meta has. */
static void apply_flags(int fd, const cf_meta *meta, uint32_t mask, cf_meta_warnings *warnings) {
    if (!meta->has_flags || fd < 0) return;
    unsigned now = 0;
    if (ioctl(fd, FS_IOC_GETFLAGS, &now) < 0) {
        if (meta->inode_flags & mask) cf_meta_warn(warnings, CF_META_FLAGS, errno);
        return;
    }
    unsigned want = (now & ~mask) | (meta->inode_flags & mask);
    if (want != now && !set_flags(fd, want)) set_flags_singly(fd, now, want, warnings);
}

void cf_meta_apply_new(int fd, const cf_meta *meta, cf_meta_warnings *warnings) {
    apply_flags(fd, meta, FS_NOCOW_FL | FS_COMPR_FL | FS_NOCOMP_FL | FS_CASEFOLD_FL, warnings);
}

cf_err *cf_meta_apply(cf_meta_store *store, int dirfd, const char *name, int fd, const cf_meta *meta,
                      const cf_meta_apply_options *options, cf_meta_warnings *warnings) {
    applying self = {.store = store,
                     .object = {.dirfd = dirfd, .fd = fd, .name = name},
                     .meta = meta,
                     .options = options,
                     .warnings = warnings};
    /* Changing the owner takes away set-user-ID and capabilities, so it comes first; attributes of the user
     * namespace need write permission, so they come before the mode. */
    look(&self);
    if (!options->no_acl) apply_owner(&self);
    remove_extra(&self);
    apply_xattrs(&self, false);
    if (!options->no_acl) apply_mode(&self);
    apply_xattrs(&self, true);
    apply_project(&self);
    CF_TRY(apply_mtime(&self));
    apply_flags(fd, meta, cf_os_settable_flags, warnings);
    return NULL;
}

cf_err *cf_meta_clear_flags(int fd, const char *name, uint32_t *had) {
    unsigned flags = 0, found = 0;
    if (ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0) {
        found = flags & (FS_IMMUTABLE_FL | FS_APPEND_FL);
        if (found && !set_flags(fd, flags & ~found)) return cf_os_fail(errno, "make changeable", name);
    }
    if (had) *had = found;
    return NULL;
}

cf_err *cf_meta_set_flags(int fd, const char *name, uint32_t had) {
    unsigned flags = 0;
    if (ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0 || ((flags & had) != had && !set_flags(fd, flags | had)))
        return cf_os_fail(errno, "make unchangeable again", name);
    return NULL;
}

static cf_err *create_file(int dirfd, const char *name) {
    int fd = cf_sys_create(dirfd, name, O_WRONLY | O_EXCL | O_NOFOLLOW, 0600);
    if (fd < 0) return cf_os_fail(errno, "make", name);
    close(fd); /* nothing was written */
    return NULL;
}

static cf_err *create_symlink(int dirfd, const char *name, cf_span target) {
    char text[PATH_MAX];
    if (target.size == 0 || target.size >= sizeof text || memchr(target.data, 0, target.size))
        return cf_os_fail(EINVAL, "make symbolic link", name);
    memcpy(text, target.data, target.size);
    text[target.size] = 0;
    return symlinkat(text, dirfd, name) == 0 ? NULL : cf_os_fail(errno, "make symbolic link", name);
}

static cf_err *create_node(int dirfd, const char *name, mode_t type, dev_t device) {
    return mknodat(dirfd, name, type | 0600, device) == 0 ? NULL : cf_os_fail(errno, "make special file", name);
}

cf_err *cf_meta_create(int dirfd, const char *name, const cf_meta *meta, bool *made) {
    const dev_t device = makedev(meta->device_major, meta->device_minor);
    *made = true;
    switch (meta->type) {
    case CF_TYPE_FILE:
        return create_file(dirfd, name);
    case CF_TYPE_DIRECTORY:
        return cf_sys_mkdir(dirfd, name, 0700) == 0 ? NULL : cf_os_fail(errno, "make folder", name);
    case CF_TYPE_SYMLINK:
        return create_symlink(dirfd, name, meta->target);
    case CF_TYPE_FIFO:
        return create_node(dirfd, name, S_IFIFO, 0);
    case CF_TYPE_CHARACTER:
        return create_node(dirfd, name, S_IFCHR, device);
    case CF_TYPE_BLOCK:
        return create_node(dirfd, name, S_IFBLK, device);
    case CF_TYPE_SOCKET:
    default:
        *made = false;
        return NULL;
    }
}
