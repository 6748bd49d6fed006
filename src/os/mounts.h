/* What is mounted where, and what kind of file system something is on.
 * Threads: a cf_mounts never changes after it was read: any number of readers.                         */
#ifndef CF_OS_MOUNTS_H
#define CF_OS_MOUNTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "os/stat.h"

typedef enum cf_fs_kind {
    CF_FS_LOCAL = 0, /* a disk, or an image of one                                                     */
    CF_FS_PSEUDO,    /* made up by the kernel: proc, sysfs, devtmpfs, cgroup, ... nothing to back up   */
    CF_FS_NETWORK,   /* nfs, cifs, ceph, ...                                                           */
    CF_FS_FUSE,      /* fuse.* and fuse; not fuseblk (NTFS and the like on a disk): that is LOCAL      */
    CF_FS_MEMORY,    /* tmpfs, ramfs                                                                   */
    CF_FS_OVERLAY,   /* overlay, aufs, ...                                                             */
} cf_fs_kind;

typedef struct cf_mount {
    uint64_t id, parent; /* as in cf_stat.mount_id; 0 when not known                               */
    uint64_t device;     /* as in cf_stat.device                                                   */
    const char *type;    /* "ext4", "fuse.sshfs"                                                   */
    const char *source;  /* "/dev/sda1", "server:/export"                                          */
    const char *point;   /* where it is mounted, as this process sees it                           */
    const char *root;    /* which folder of the file system is mounted: not "/" for bind mounts and
                                btrfs subvolumes                                                       */
    cf_fs_kind kind;
    bool read_only;
} cf_mount;

typedef struct cf_mounts cf_mounts;

/* cf_mounts_read: the mounts of now, from /proc/self/mountinfo.
 * Fails: 900103 NOT_FOUND (no /proc), 900101 IO, 900002 TOO_LARGE (over 16 MiB).                       */
cf_err *cf_mounts_read(cf_mounts **mounts) __attribute__((warn_unused_result));
void cf_mounts_free(cf_mounts *mounts); /* NULL-safe */
CF_DEFINE_AUTO(cf_mounts, cf_mounts_free)
/* cf_mounts_all: in the kernel's order; borrowed from mounts.                                         */
const cf_mount *cf_mounts_all(const cf_mounts *mounts, size_t *count);
/* cf_mounts_find: the mount that stat's object is on; by mount_id, else by device. NULL: it was mounted
 * later (read again), or mounts is NULL.                                                              */
const cf_mount *cf_mounts_find(const cf_mounts *mounts, const cf_stat *stat);

/* cf_fs_kind_of_type: from a type's name in mountinfo.                                                */
cf_fs_kind cf_fs_kind_of_type(const char *type);
/* cf_fs_kind_of: of the open object fd, without /proc, from its magic number; *type (may be NULL) is a name
 * for it, "unknown" if we have none; a literal. Coarser than cf_mounts_find: fuseblk counts as FUSE here.
 * Fails: 900101 IO.                                                                                   */
cf_err *cf_fs_kind_of(int fd, const char *name, cf_fs_kind *kind, const char **type)
    __attribute__((warn_unused_result));
const char *cf_fs_kind_word(cf_fs_kind kind); /* "local", "pseudo", "network", "fuse", "memory", "overlay" */

/* cf_mount_crossed: does one step into a mount when going from the folder above to this object? True for
 * bind mounts too. A btrfs subvolume that is not mounted by itself is no mount: it is entered, although
 * its device number differs.                                                                          */
bool cf_mount_crossed(const cf_stat *above, const cf_stat *object);

#endif
