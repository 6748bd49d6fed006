#include "os/stat.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/fail.h"

static cf_file_type type_of(uint16_t mode) {
    switch (mode & S_IFMT) {
    case S_IFREG:
        return CF_TYPE_FILE;
    case S_IFDIR:
        return CF_TYPE_DIRECTORY;
    case S_IFLNK:
        return CF_TYPE_SYMLINK;
    case S_IFIFO:
        return CF_TYPE_FIFO;
    case S_IFCHR:
        return CF_TYPE_CHARACTER;
    case S_IFBLK:
        return CF_TYPE_BLOCK;
    default:
        return CF_TYPE_SOCKET;
    }
}

static cf_time time_of(struct statx_timestamp time) {
    return (cf_time){time.tv_sec, time.tv_nsec};
}

static void fill(const struct statx *in, cf_stat *out) {
    *out = (cf_stat){
        .type = type_of(in->stx_mode),
        .mode = in->stx_mode & 07777u,
        .uid = in->stx_uid,
        .gid = in->stx_gid,
        .device_major = in->stx_rdev_major,
        .device_minor = in->stx_rdev_minor,
        .nlink = in->stx_nlink,
        .size = in->stx_size,
        .blocks = in->stx_blocks,
        .mtime = time_of(in->stx_mtime),
        .ctime = time_of(in->stx_ctime),
        .inode = in->stx_ino,
        .device = (uint64_t)in->stx_dev_major << 32 | in->stx_dev_minor,
        .mount_id = in->stx_mask & STATX_MNT_ID ? in->stx_mnt_id : 0,
        .mount_root = (in->stx_attributes & in->stx_attributes_mask & STATX_ATTR_MOUNT_ROOT) != 0,
        .immutable = (in->stx_attributes & STATX_ATTR_IMMUTABLE) != 0,
        .nodump = (in->stx_attributes & STATX_ATTR_NODUMP) != 0,
    };
}

cf_err *cf_os_stat(int dirfd, const char *name, cf_stat *out) {
    struct statx raw;
    /* Not AT_STATX_DONT_SYNC: on NFS and FUSE the answer could be as old as the cache, and a change be missed;
     * local file systems cost the same either way. */
    const int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | (*name ? 0 : AT_EMPTY_PATH);
    int result;
    do {
        result = statx(dirfd, name, flags, STATX_BASIC_STATS | STATX_MNT_ID, &raw);
    } while (result < 0 && errno == EINTR);
    if (result < 0) return cf_os_fail(errno, "examine", *name ? name : "an open file");
    fill(&raw, out);
    return NULL;
}

bool cf_stat_unchanged(const cf_stat *before, const cf_stat *now) {
    return before->size == now->size && cf_time_compare(before->mtime, now->mtime) == 0 &&
           cf_time_compare(before->ctime, now->ctime) == 0 && before->inode == now->inode &&
           before->device == now->device && before->type == now->type && before->mode == now->mode &&
           before->uid == now->uid && before->gid == now->gid;
}

static int open_quietly(int dirfd, const char *name, int flags) {
    for (;;) {
        int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | flags);
        if (fd >= 0) return fd;
        /* O_NOATIME is for the owner and root only. */
        if (errno == EPERM && (flags & O_NOATIME)) flags &= ~O_NOATIME;
        /* A lease (a file server's) is being broken: only an open that waits gets through. */
        else if (errno == EWOULDBLOCK && (flags & O_NONBLOCK))
            flags &= ~O_NONBLOCK;
        else if (errno != EINTR)
            return -1;
    }
}

cf_err *cf_os_open_file(int dirfd, const char *name, int *fd, cf_stat *now) {
    CF_AUTO_FD int opened = open_quietly(dirfd, name, O_NOATIME | O_NONBLOCK);
    if (opened < 0) {
        cf_err *err = cf_os_fail(errno, "open", name);
        if (cf_err_errno(err) == ELOOP || cf_err_errno(err) == ENXIO) cf_err_set_reason(err, "changed");
        return err;
    }
    cf_stat found;
    CF_TRY(cf_note(cf_os_stat(opened, "", &found), "%s", name));
    if (found.type != CF_TYPE_FILE) {
        cf_err *err = cf_os_fail(ESTALE, "open", name);
        cf_err_set_reason(err, "changed");
        return err;
    }
    *now = found;
    *fd = opened;
    opened = -1;
    return NULL;
}

cf_err *cf_os_open_folder(int dirfd, const char *name, int *fd, cf_stat *now) {
    CF_AUTO_FD int opened = open_quietly(dirfd, name, O_NOATIME | O_DIRECTORY);
    if (opened < 0) {
        cf_err *err = cf_os_fail(errno, "open folder", name);
        if (cf_err_errno(err) == ELOOP || cf_err_errno(err) == ENOTDIR) cf_err_set_reason(err, "changed");
        return err;
    }
    if (now) CF_TRY(cf_os_stat(opened, "", now));
    *fd = opened;
    opened = -1;
    return NULL;
}
