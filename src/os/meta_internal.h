/* What reading and applying metadata share (of this floor only).                                      */
#ifndef CF_OS_META_INTERNAL_H
#define CF_OS_META_INTERNAL_H

#include "os/meta.h"
#include "os/owner.h"

/* What a file system (a st_dev) can do, found out once. */
typedef struct cf_os_fs_traits {
    bool used;
    uint64_t device;
    bool flags;     /* FS_IOC_GETFLAGS                                                                */
    bool project;   /* FS_IOC_FSGETXATTR has a project number                                         */
    bool ntfs;      /* system.ntfs_* may exist                                                        */
    bool no_xattrs; /* listxattr is not supported                                                     */
} cf_os_fs_traits;

enum { CF_OS_FS_KNOWN = 64 };

typedef struct cf_os_piece { /* an attribute while the arena may still move */
    size_t name_at, name_size, value_at, value_size;
} cf_os_piece;

struct cf_meta_store {
    cf_owners *owners;
    cf_buf bytes; /* names and values of attributes, the target of a symbolic link */
    cf_buf list;  /* what listxattr said */
    cf_os_piece *pieces;
    cf_xattr *xattrs;
    size_t capacity; /* of both arrays */
    size_t count;
    cf_os_fs_traits traits[CF_OS_FS_KNOWN];
};

/* An object to be reached by descriptor (files, folders) or through /proc/self/fd (the others). */
typedef struct cf_os_object {
    int dirfd, fd;
    const char *name;
    char proc[64 + 1024]; /* "/proc/self/fd/DIRFD/NAME"; empty until needed */
} cf_os_object;

/* The bits of FS_IOC_GETFLAGS that FS_IOC_SETFLAGS can set on some file system. */
extern const uint32_t cf_os_settable_flags;

void cf_meta_warn(cf_meta_warnings *warnings, cf_meta_warning kind, int err_no);
void cf_meta_warn_xattr(cf_meta_warnings *warnings, const char *name, int err_no);

cf_os_fs_traits *cf_os_traits(cf_meta_store *store, const cf_os_object *object, uint64_t device);

/* The attribute calls on an object, without following a symbolic link; results as the system calls'. */
ssize_t cf_os_xattr_list(cf_os_object *object, char *list, size_t size);
ssize_t cf_os_xattr_get(cf_os_object *object, const char *name, void *value, size_t size);
int cf_os_xattr_set(cf_os_object *object, const char *name, const void *value, size_t size);
int cf_os_xattr_remove(cf_os_object *object, const char *name);
/* The whole list into list (reset first): NUL-terminated names one after the other. 0 or an errno. */
int cf_os_xattr_list_all(cf_os_object *object, cf_buf *list);

#endif
