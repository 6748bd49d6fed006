#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <linux/fs.h>
#include <linux/limits.h>

#include "os/fail.h"
#include "os/meta_internal.h"

enum {
    BYTES_MAX = 64 * 1024 * 1024, /* all attributes of one object; the kernel's limit on one value is 64 KiB */
    FIRST_TRY = 512,              /* most values are smaller: one call instead of two */
};

const uint32_t cf_os_settable_flags = FS_SECRM_FL | FS_UNRM_FL | FS_COMPR_FL | FS_SYNC_FL | FS_IMMUTABLE_FL |
                                      FS_APPEND_FL | FS_NODUMP_FL | FS_NOATIME_FL | FS_NOCOMP_FL | FS_JOURNAL_DATA_FL |
                                      FS_NOTAIL_FL | FS_DIRSYNC_FL | FS_TOPDIR_FL | FS_NOCOW_FL | FS_DAX_FL |
                                      FS_PROJINHERIT_FL | FS_CASEFOLD_FL;

const char *cf_meta_warning_word(cf_meta_warning kind) {
    static const char *const words[CF_META_WARNINGS] = {
        "owner", "mode", "xattr", "acl", "capability", "ntfs", "flags", "project", "mtime",
    };
    return (unsigned)kind < CF_META_WARNINGS ? words[kind] : "unknown";
}

void cf_meta_warn(cf_meta_warnings *warnings, cf_meta_warning kind, int err_no) {
    if (!cf_meta_warned(warnings, kind)) warnings->err_no[kind] = err_no;
    warnings->kinds |= 1u << kind;
}

void cf_meta_warn_xattr(cf_meta_warnings *warnings, const char *name, int err_no) {
    cf_meta_warning kind = CF_META_XATTR;
    if (strncmp(name, "system.posix_acl_", 17) == 0)
        kind = CF_META_ACL;
    else if (strcmp(name, "security.capability") == 0)
        kind = CF_META_CAPABILITY;
    else if (strncmp(name, "system.ntfs_", 12) == 0)
        kind = CF_META_NTFS;
    if (!warnings->xattr[0]) {
        size_t size = strnlen(name, sizeof warnings->xattr - 1);
        memcpy(warnings->xattr, name, size);
        warnings->xattr[size] = 0;
    }
    cf_meta_warn(warnings, kind, err_no);
}

cf_err *cf_meta_store_new(cf_meta_store **out) {
    CF_AUTO(cf_meta_store) store = calloc(1, sizeof *store);
    if (!store) return cf_fail(CF_ERR_OUT_OF_MEMORY, "memory for metadata");
    cf_buf_init(&store->bytes, BYTES_MAX);
    cf_buf_init(&store->list, XATTR_LIST_MAX);
    CF_TRY(cf_owners_new(&store->owners));
    *out = cf_take(store);
    return NULL;
}

void cf_meta_store_free(cf_meta_store *store) {
    if (!store) return;
    cf_owners_free(store->owners);
    cf_buf_wipe(&store->bytes);
    cf_buf_wipe(&store->list);
    free(store->pieces);
    free(store->xattrs);
    free(store);
}

void cf_meta_from_stat(const cf_stat *stat, cf_meta *meta) {
    const bool device = stat->type == CF_TYPE_CHARACTER || stat->type == CF_TYPE_BLOCK;
    *meta = (cf_meta){
        .type = stat->type,
        .mode = stat->mode,
        .uid = stat->uid,
        .gid = stat->gid,
        .mtime = stat->mtime,
        .size = stat->type == CF_TYPE_FILE ? stat->size : 0,
        .device_major = device ? stat->device_major : 0,
        .device_minor = device ? stat->device_minor : 0,
        .nlink = stat->nlink,
    };
}

static cf_err *read_target(cf_meta_store *store, const cf_os_object *object, cf_meta *meta) {
    uint8_t *room = cf_buf_reserve(&store->bytes, PATH_MAX);
    if (!room) return cf_fail(CF_ERR_OUT_OF_MEMORY, "the target of a symbolic link");
    ssize_t got = readlinkat(object->dirfd, object->name, (char *)room, PATH_MAX);
    if (got <= 0) return cf_os_fail(got < 0 ? errno : EIO, "read the target of", object->name);
    store->bytes.size += (size_t)got;
    meta->target.size = (size_t)got; /* its data is set when the arena has stopped moving */
    return NULL;
}

static bool room_for_piece(cf_meta_store *store) {
    if (store->count < store->capacity) return true;
    size_t capacity = store->capacity ? store->capacity * 2 : 16;
    cf_os_piece *pieces = reallocarray(store->pieces, capacity, sizeof *pieces);
    if (!pieces) return false;
    store->pieces = pieces;
    cf_xattr *xattrs = reallocarray(store->xattrs, capacity, sizeof *xattrs);
    if (!xattrs) return false;
    store->xattrs = xattrs;
    store->capacity = capacity;
    return true;
}

/* The value of one attribute to the end of the arena: its size, or a negative errno. */
static ssize_t read_value(cf_meta_store *store, cf_os_object *object, const char *name, size_t first) {
    for (size_t size = first;;) {
        uint8_t *room = cf_buf_reserve(&store->bytes, size);
        if (!room) {
            store->bytes.failed = false; /* what is there stays good: only this value is left out */
            return -E2BIG;
        }
        ssize_t got = cf_os_xattr_get(object, name, room, size);
        if (got >= 0) return got;
        if (errno != ERANGE || size >= XATTR_SIZE_MAX) return -errno;
        size = XATTR_SIZE_MAX;
    }
}

/* 0 or an errno. */
static int read_one(cf_meta_store *store, cf_os_object *object, const char *name, size_t first) {
    if (!room_for_piece(store)) return ENOMEM;
    const size_t name_size = strlen(name), start = store->bytes.size;
    cf_buf_put(&store->bytes, name, name_size);
    ssize_t size = store->bytes.failed ? -E2BIG : read_value(store, object, name, first);
    if (size < 0) {
        store->bytes.size = start;
        store->bytes.failed = false;
        return (int)-size;
    }
    store->bytes.size += (size_t)size;
    store->pieces[store->count++] = (cf_os_piece){start, name_size, start + name_size, (size_t)size};
    return 0;
}

/* Of system.*, only what is a part of the file and can be set again: the ACLs of POSIX and of NFSv4. */
static bool wanted(const char *name) {
    if (strncmp(name, "system.", 7) != 0) return true;
    return strncmp(name, "system.posix_acl_", 17) == 0 || strcmp(name, "system.nfs4_acl") == 0;
}

/* Whether what is not supported on this object is not supported on its whole file system. */
static bool telling(const cf_stat *stat) {
    return stat->type == CF_TYPE_FILE || stat->type == CF_TYPE_DIRECTORY;
}

static bool unsupported(int err_no) {
    return err_no == EOPNOTSUPP || err_no == ENOSYS || err_no == ENOTTY;
}

static void read_listed(cf_meta_store *store, cf_os_object *object, const cf_stat *stat, cf_os_fs_traits *traits,
                        cf_meta_warnings *warnings) {
    if (traits->no_xattrs) return;
    int err_no = cf_os_xattr_list_all(object, &store->list);
    if (unsupported(err_no))
        traits->no_xattrs = telling(stat);
    else if (err_no)
        cf_meta_warn(warnings, CF_META_XATTR, err_no);
    if (err_no) return;
    const char *name = (const char *)store->list.data;
    for (size_t left = store->list.size; left > 0;) {
        size_t size = strnlen(name, left) + 1;
        if (size > left) break; /* without its NUL: not a list */
        if (wanted(name)) {
            err_no = read_one(store, object, name, FIRST_TRY);
            /* ENODATA: removed since it was listed */
            if (err_no && err_no != ENODATA) cf_meta_warn_xattr(warnings, name, err_no);
        }
        name += size;
        left -= size;
    }
}

/* NTFS does not list these. ntfs-3g says EIO, not ERANGE, when the buffer is too small. */
static void read_ntfs(cf_meta_store *store, cf_os_object *object, const cf_stat *stat, cf_os_fs_traits *traits,
                      cf_meta_warnings *warnings) {
    static const char *const names[] = {"system.ntfs_acl", "system.ntfs_attrib_be"};
    for (size_t i = 0; i < 2 && traits->ntfs; i++) {
        int err_no = read_one(store, object, names[i], XATTR_SIZE_MAX);
        if (unsupported(err_no))
            traits->ntfs = !telling(stat);
        else if (err_no && err_no != ENODATA)
            cf_meta_warn_xattr(warnings, names[i], err_no);
    }
}

static int compare_xattrs(const void *left, const void *right) {
    return cf_span_compare(((const cf_xattr *)left)->name, ((const cf_xattr *)right)->name);
}

/* The arena has stopped moving: offsets become pointers. */
static void settle(cf_meta_store *store, cf_meta *meta) {
    const uint8_t *base = store->bytes.data;
    for (size_t i = 0; i < store->count; i++) {
        const cf_os_piece *piece = &store->pieces[i];
        store->xattrs[i] = (cf_xattr){cf_span_of(base + piece->name_at, piece->name_size),
                                      cf_span_of(base + piece->value_at, piece->value_size)};
    }
    if (store->count > 1) qsort(store->xattrs, store->count, sizeof *store->xattrs, compare_xattrs);
    meta->xattrs = store->xattrs;
    meta->xattr_count = (uint32_t)store->count;
    if (meta->type == CF_TYPE_SYMLINK) meta->target.data = base;
}

static void read_flags(int fd, cf_os_fs_traits *traits, cf_meta *meta, cf_meta_warnings *warnings) {
    if (!traits->flags) return;
    unsigned int flags = 0; /* the kernel writes an int, whatever the ioctl's number says */
    if (ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0) {
        meta->has_flags = true;
        meta->inode_flags = flags & cf_os_settable_flags;
    } else if (unsupported(errno) || errno == EINVAL) {
        traits->flags = false;
    } else {
        cf_meta_warn(warnings, CF_META_FLAGS, errno);
    }
}

static void read_project(int fd, cf_os_fs_traits *traits, cf_meta *meta, cf_meta_warnings *warnings) {
    if (!traits->project) return;
    struct fsxattr attributes;
    if (ioctl(fd, FS_IOC_FSGETXATTR, &attributes) == 0) {
        meta->has_project = true;
        meta->project_id = attributes.fsx_projid;
    } else if (unsupported(errno) || errno == EINVAL) {
        traits->project = false;
    } else {
        cf_meta_warn(warnings, CF_META_PROJECT, errno);
    }
}

cf_err *cf_meta_read(cf_meta_store *store, int dirfd, const char *name, int fd, const cf_stat *stat, cf_meta *meta,
                     cf_meta_warnings *warnings) {
    cf_os_object object = {.dirfd = dirfd, .fd = fd, .name = name};
    cf_meta read;
    cf_meta_from_stat(stat, &read);
    cf_buf_reset(&store->bytes);
    store->count = 0;
    if (read.type == CF_TYPE_SYMLINK) CF_TRY(read_target(store, &object, &read));
    cf_os_fs_traits *traits = cf_os_traits(store, &object, stat->device);
    read_listed(store, &object, stat, traits, warnings);
    read_ntfs(store, &object, stat, traits, warnings);
    if (fd >= 0) {
        read_flags(fd, traits, &read, warnings);
        read_project(fd, traits, &read, warnings);
    }
    read.user = cf_owners_user(store->owners, read.uid);
    read.group = cf_owners_group(store->owners, read.gid);
    settle(store, &read);
    *meta = read;
    return NULL;
}
