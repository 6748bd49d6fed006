#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>
#include <sys/xattr.h>

#include <linux/limits.h>
#include <linux/magic.h>

#include "os/meta_internal.h"

/* Numbers that linux/magic.h of older headers lacks. */
enum { MAGIC_NTFS3 = 0x7366746e, MAGIC_XFS = 0x58465342, MAGIC_FUSE = 0x65735546 };

static const char *path_of(cf_os_object *object) {
    if (!object->proc[0])
        snprintf(object->proc, sizeof object->proc, "/proc/self/fd/%d/%s", object->dirfd, object->name);
    return object->proc;
}

ssize_t cf_os_xattr_list(cf_os_object *object, char *list, size_t size) {
    return object->fd >= 0 ? flistxattr(object->fd, list, size) : llistxattr(path_of(object), list, size);
}

ssize_t cf_os_xattr_get(cf_os_object *object, const char *name, void *value, size_t size) {
    return object->fd >= 0 ? fgetxattr(object->fd, name, value, size) : lgetxattr(path_of(object), name, value, size);
}

int cf_os_xattr_set(cf_os_object *object, const char *name, const void *value, size_t size) {
    return object->fd >= 0 ? fsetxattr(object->fd, name, value, size, 0)
                           : lsetxattr(path_of(object), name, value, size, 0);
}

int cf_os_xattr_remove(cf_os_object *object, const char *name) {
    return object->fd >= 0 ? fremovexattr(object->fd, name) : lremovexattr(path_of(object), name);
}

int cf_os_xattr_list_all(cf_os_object *object, cf_buf *list) {
    cf_buf_reset(list);
    for (size_t size = 1024;;) {
        uint8_t *room = cf_buf_reserve(list, size);
        if (!room) return ENOMEM;
        ssize_t got = cf_os_xattr_list(object, (char *)room, size);
        if (got >= 0) {
            list->size = (size_t)got;
            return 0;
        }
        /* The kernel's limit on a list is XATTR_LIST_MAX, 64 KiB. */
        if (errno != ERANGE || size >= XATTR_LIST_MAX) return errno;
        size = XATTR_LIST_MAX;
    }
}

static void find_out(const cf_os_object *object, cf_os_fs_traits *traits) {
    struct statfs fs;
    /* dirfd may be on the other side of a mount, but then the object is a folder and has an fd. */
    if (fstatfs(object->fd >= 0 ? object->fd : object->dirfd, &fs) < 0) return;
    switch ((uint32_t)fs.f_type) {
    case EXT4_SUPER_MAGIC: /* ext2 and ext3 too */
    case MAGIC_XFS:
    case F2FS_SUPER_MAGIC:
        traits->flags = traits->project = true;
        break;
    case BTRFS_SUPER_MAGIC:
    case TMPFS_MAGIC:
    case OVERLAYFS_SUPER_MAGIC:
        traits->flags = true;
        break;
    case MAGIC_FUSE: /* ntfs-3g, and all others: they will say */
    case MAGIC_NTFS3:
        traits->ntfs = true;
        traits->flags = false;
        break;
    default: /* asked once: ENOTTY then settles it */
        traits->flags = true;
        break;
    }
}

cf_os_fs_traits *cf_os_traits(cf_meta_store *store, const cf_os_object *object, uint64_t device) {
    uint64_t mixed = device * 0x9E3779B97F4A7C15u;
    cf_os_fs_traits *traits = &store->traits[mixed >> 58]; /* 64 places; a clash asks again */
    if (traits->used && traits->device == device) return traits;
    *traits = (cf_os_fs_traits){.used = true, .device = device};
    find_out(object, traits);
    return traits;
}
