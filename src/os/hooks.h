/* The changing system calls of this floor, each behind a place where a test can look on or step in:
 * the fault tests fail the n-th one, the power-loss tests record all of them and replay a beginning.
 * In production no hooks are set, and a call costs one comparison more.
 *
 * The functions are the system calls with the system calls' results: -1 and errno on failure.
 * EINTR is handled here (except for fsync, which the kernel does not interrupt).
 * Threads: cf_os_hooks_set only before other threads start; the rest any number.                      */
#ifndef CF_OS_HOOKS_H
#define CF_OS_HOOKS_H

#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"

/* The values stand in the recorder's log.                                                             */
typedef enum cf_os_op_kind {
    CF_OS_CREATE = 1,      /* fd (new), dirfd, name; name NULL: without a name (O_TMPFILE)             */
    CF_OS_WRITE = 2,       /* fd, offset, data                                                         */
    CF_OS_TRUNCATE = 3,    /* fd, offset: the new size                                                 */
    CF_OS_SYNC = 4,        /* fd of a file                                                             */
    CF_OS_SYNC_FOLDER = 5, /* fd of a folder                                                           */
    CF_OS_RENAME = 6,      /* dirfd, name, to_dirfd, to_name                                           */
    CF_OS_LINK = 7,        /* the same; name NULL: the open file fd gets its first name                */
    CF_OS_UNLINK = 8,      /* dirfd, name                                                              */
    CF_OS_MKDIR = 9,       /* dirfd, name                                                              */
    CF_OS_RMDIR = 10,      /* dirfd, name                                                              */
} cf_os_op_kind;

typedef struct cf_os_op {
    cf_os_op_kind kind;
    int fd, dirfd, to_dirfd; /* -1 where not used; AT_FDCWD is possible for the folders                */
    const char *name, *to_name;
    uint64_t offset;
    cf_span data;
} cf_os_op;

typedef struct cf_os_hooks {
    /* Before the call; an errno other than 0 makes the call fail with it. May be NULL.                */
    int (*before)(void *context, const cf_os_op *op);
    /* After a call that succeeded (for CF_OS_WRITE: data is what was written). May be NULL.           */
    void (*after)(void *context, const cf_os_op *op);
    void *context;
} cf_os_hooks;

/* cf_os_hooks_set: hooks is borrowed until the next call; NULL: none.                                 */
void cf_os_hooks_set(const cf_os_hooks *hooks);

/* cf_sys_create: openat with O_CREAT | O_CLOEXEC | flags. cf_sys_create_unnamed: O_TMPFILE.           */
int cf_sys_create(int dirfd, const char *name, int flags, mode_t mode);
int cf_sys_create_unnamed(int dirfd, int flags, mode_t mode);
ssize_t cf_sys_pwrite(int fd, const void *data, size_t size, uint64_t offset);
int cf_sys_truncate(int fd, uint64_t size);
int cf_sys_sync(int fd);
int cf_sys_sync_folder(int fd);
int cf_sys_rename(int dirfd, const char *name, int to_dirfd, const char *to_name, unsigned flags);
int cf_sys_link(int dirfd, const char *name, int to_dirfd, const char *to_name);
/* cf_sys_link_fd: the first name of a file made by cf_sys_create_unnamed.                             */
int cf_sys_link_fd(int fd, int to_dirfd, const char *to_name);
int cf_sys_unlink(int dirfd, const char *name);
int cf_sys_mkdir(int dirfd, const char *name, mode_t mode);
int cf_sys_rmdir(int dirfd, const char *name);

#endif
