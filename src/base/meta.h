/* What Coffer keeps of a file besides its content: the shape that os captures and applies, sealed encodes,
 * and restore and ls read. Plain data, everything in it is borrowed from whoever filled it.             */
#ifndef CF_BASE_META_H
#define CF_BASE_META_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/clock.h"

typedef enum cf_file_type { /* values are the stored format's */
                            CF_TYPE_FILE = 1,
                            CF_TYPE_DIRECTORY = 2,
                            CF_TYPE_SYMLINK = 3,
                            CF_TYPE_FIFO = 4,
                            CF_TYPE_CHARACTER = 5,
                            CF_TYPE_BLOCK = 6,
                            CF_TYPE_SOCKET = 7,
} cf_file_type;

typedef struct cf_xattr {
    cf_span name;  /* with its namespace, no NUL: "user.x"; also "system.posix_acl_access",
                      "system.ntfs_acl", "system.ntfs_attrib_be"                                       */
    cf_span value; /* as the kernel gives it                                                           */
} cf_xattr;

typedef struct cf_meta {
    cf_file_type type;
    uint32_t mode; /* the 12 bits 07777                                                                */
    uint32_t uid, gid;
    cf_span user, group; /* names; empty when the system knows none                                    */
    cf_time mtime;
    uint64_t size;                       /* regular files: logical size; else 0                         */
    uint32_t device_major, device_minor; /* CHARACTER and BLOCK                                        */
    cf_span target;                      /* SYMLINK: 1 .. 4095 bytes                                    */
    const cf_xattr *xattrs;              /* ascending by name                                           */
    uint32_t xattr_count;
    bool has_flags;       /* the file system keeps inode flags                                         */
    uint32_t inode_flags; /* FS_IOC_GETFLAGS, cut to the bits that can be set again                    */
    bool has_project;
    uint32_t project_id;
    uint64_t nlink; /* regular files and others except directories; 1 when alone                       */
} cf_meta;

#endif
