/* Change-detection data of a file system object, and opening what is to be read.
 * Threads: any number.                                                                                */
#ifndef CF_OS_STAT_H
#define CF_OS_STAT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/meta.h"

typedef struct cf_stat {
    cf_file_type type;
    uint32_t mode; /* the 12 bits 07777                                                                */
    uint32_t uid, gid;
    uint32_t device_major, device_minor; /* of a CHARACTER or BLOCK device itself                      */
    uint64_t nlink;
    uint64_t size;   /* bytes, of whatever type                                                        */
    uint64_t blocks; /* allocated, in units of 512 bytes                                               */
    cf_time mtime, ctime;
    uint64_t inode;
    uint64_t device;   /* of the file system: major << 32 | minor                                      */
    uint64_t mount_id; /* of the mount as in /proc/self/mountinfo; 0 when the kernel does not say      */
    bool mount_root;   /* something is mounted exactly here (bind mounts too); false when the kernel
                          does not say: then a change of device tells                                  */
    bool immutable;    /* the flag is set: writing and renaming will be refused                        */
    bool nodump;       /* the flag is set: its owner wants it left out of backups                      */
} cf_stat;

/* cf_os_stat: one statx, without following a symbolic link and without mounting what autofs would.
 *   name  one name in the folder dirfd (or a path; or "" for dirfd itself).
 * Fails: 900103 NOT_FOUND (it vanished), 900101 IO.                                                   */
cf_err *cf_os_stat(int dirfd, const char *name, cf_stat *out) __attribute__((warn_unused_result));

/* cf_stat_unchanged: is this the object, with the content, that before described? Compares type, size,
 * mtime, ctime, inode, device, mode, owner and group. (That a ctime lies too close to the last scan to be
 * trusted is for the caller to add.)                                                                  */
bool cf_stat_unchanged(const cf_stat *before, const cf_stat *now);

/* cf_os_open_file: open a regular file for reading its content, leaving its access time alone where that
 * is allowed, never following a symbolic link and never waiting for a fifo. Only call it for what
 * cf_os_stat has shown to be a regular file (a device's open can have effects); *now is what was opened.
 * The caller closes *fd.
 * Fails: 900103 NOT_FOUND, 900101 IO (reasons "denied"; "changed" when it is no regular file any more).  */
cf_err *cf_os_open_file(int dirfd, const char *name, int *fd, cf_stat *now) __attribute__((warn_unused_result));
/* cf_os_open_folder: the same for a folder; *now may be NULL (no statx then).                         */
cf_err *cf_os_open_folder(int dirfd, const char *name, int *fd, cf_stat *now) __attribute__((warn_unused_result));

#endif
