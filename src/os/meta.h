/* Metadata of a file system object: reading all of it into a cf_meta, and giving it to an object.
 *
 * Reading: cf_os_stat (os/stat.h) is all that an unchanged file costs; cf_meta_read gets the rest, for
 * new and changed objects. Writing: cf_meta_apply_new when the object was just made (flags that only work
 * on empty ones), cf_meta_apply when its content is there (for a folder: when everything in it is done).
 *
 * What the file system or the caller's rights do not allow is a warning, not a failure: cf_meta_warnings.
 * Threads: a cf_meta_store belongs to one at a time; make one per worker.                             */
#ifndef CF_OS_META_H
#define CF_OS_META_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/meta.h"
#include "os/stat.h"

typedef enum cf_meta_warning {
    CF_META_OWNER,      /* user or group                                                               */
    CF_META_MODE,       /* permission bits                                                             */
    CF_META_XATTR,      /* an extended attribute that is none of the next ones                         */
    CF_META_ACL,        /* system.posix_acl_*                                                          */
    CF_META_CAPABILITY, /* security.capability                                                         */
    CF_META_NTFS,       /* system.ntfs_*                                                               */
    CF_META_FLAGS,      /* inode flags                                                                 */
    CF_META_PROJECT,    /* project number                                                              */
    CF_META_MTIME,      /* refused, or out of the file system's range                                  */
    CF_META_WARNINGS,   /* how many there are                                                          */
} cf_meta_warning;

/* What was not read or not applied, gathered over calls until the caller resets it ({0}).             */
typedef struct cf_meta_warnings {
    uint32_t kinds;               /* bit 1 << cf_meta_warning                                          */
    int err_no[CF_META_WARNINGS]; /* of the first one of each kind                                     */
    char xattr[256];              /* name of the first attribute that failed (XATTR, ACL, ...)         */
} cf_meta_warnings;

static inline bool cf_meta_warned(const cf_meta_warnings *warnings, cf_meta_warning kind) {
    return (warnings->kinds >> kind & 1u) != 0;
}
/* cf_meta_warning_word: "owner", "mode", "xattr", "acl", "capability", "ntfs", "flags", "project", "mtime". */
const char *cf_meta_warning_word(cf_meta_warning kind);

/* Where the bytes of one cf_meta live, and what is remembered between files: names of owners, and which
 * file systems have inode flags, projects and NTFS attributes. Memory grows to the largest object seen. */
typedef struct cf_meta_store cf_meta_store;

cf_err *cf_meta_store_new(cf_meta_store **store) __attribute__((warn_unused_result));
void cf_meta_store_free(cf_meta_store *store); /* NULL-safe */
CF_DEFINE_AUTO(cf_meta_store, cf_meta_store_free)

/* cf_meta_from_stat: the part of meta that needs no further system call: type, mode, numbers of owners,
 * mtime, size, device numbers, nlink. The rest is zero.                                               */
void cf_meta_from_stat(const cf_stat *stat, cf_meta *meta);

/* cf_meta_read: all of meta.
 *   dirfd, name  the object, a single name; name may be "" for the open object fd itself.
 *   fd           the object opened for reading (files and folders), -1 for the others, and for a file
 *                that could not be opened: then without inode flags and project number.
 *   stat         of this object, from cf_os_stat or cf_os_open_file.
 *   meta         borrows from store until the next cf_meta_read with it.
 *   warnings     gathers what could not be read.
 * Reads every extended attribute that is listed (of system.* only the ACLs), and on NTFS
 * system.ntfs_acl and system.ntfs_attrib_be by name. Cost: for a file without attributes on ext4, three
 * system calls.
 * Fails: 900103 NOT_FOUND (it vanished), 900101 IO (a symbolic link's target), 900001 OUT_OF_MEMORY.    */
cf_err *cf_meta_read(cf_meta_store *store, int dirfd, const char *name, int fd, const cf_stat *stat, cf_meta *meta,
                     cf_meta_warnings *warnings) __attribute__((warn_unused_result));

typedef struct cf_meta_apply_options {
    bool no_acl;      /* leave owner, permissions and ACLs as they are                                 */
    bool numeric_ids; /* owners by number even when the name is known here                             */
    bool keep_extra;  /* keep attributes that the object has and meta has not                          */
} cf_meta_apply_options;

/* cf_meta_create: make the object that meta describes, without its metadata: an empty file (mode 0600), a
 * folder (0700), a symbolic link, a fifo or a device. A socket is not made: *made is false.
 * Fails: 900104 EXISTS, 900101 IO (reason "denied": devices need root), 900102 DISK_FULL.               */
cf_err *cf_meta_create(int dirfd, const char *name, const cf_meta *meta, bool *made)
    __attribute__((warn_unused_result));

/* cf_meta_apply_new: for an empty file or folder opened as fd, just made: the inode flags that must come
 * before content (no copy-on-write, compression, folded case). Others are nothing to it.              */
void cf_meta_apply_new(int fd, const cf_meta *meta, cf_meta_warnings *warnings);

/* cf_meta_apply: give the object all of meta, in the order that keeps it (owner, attributes, permissions,
 * times, project, inode flags last). Call it when nothing will be written into the object any more.
 *   dirfd, name  as above; "" for fd itself.
 *   fd           the object opened (files and folders; reading will do); -1 for the others. Without fd,
 *                inode flags and project are left out.
 * Fails: 900103 NOT_FOUND only; the rest are warnings.                                                 */
cf_err *cf_meta_apply(cf_meta_store *store, int dirfd, const char *name, int fd, const cf_meta *meta,
                      const cf_meta_apply_options *options, cf_meta_warnings *warnings)
    __attribute__((warn_unused_result));

/* cf_meta_clear_flags: take away "immutable" and "append only" so that an existing object can be changed
 * or removed; no effect where there are none. *had: the flags that were taken away (may be NULL).      */
cf_err *cf_meta_clear_flags(int fd, const char *name, uint32_t *had) __attribute__((warn_unused_result));
/* cf_meta_set_flags: give back what cf_meta_clear_flags took away.                                     */
cf_err *cf_meta_set_flags(int fd, const char *name, uint32_t had) __attribute__((warn_unused_result));

#endif
