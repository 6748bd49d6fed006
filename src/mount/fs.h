/* What the files of the file system share: the state of a mount, and a request on its way. */
#ifndef CF_MOUNT_FS_H
#define CF_MOUNT_FS_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

#define FUSE_USE_VERSION 314
#include <fuse3/fuse_lowlevel.h>

#include "mount/ahead.h"
#include "mount/files.h"
#include "mount/mount.h"
#include "mount/points.h"
#include "mount/push.h"

/* Memory: these, CF_MOUNT_CACHE, and for each thread a lane and a buffer. */
enum {
    CF_MOUNT_PAGES = 24 << 20,
    CF_MOUNT_FILES = 8 << 20,
    CF_MOUNT_THREADS = 6,
    CF_MOUNT_AHEAD_THREADS = 3,
    CF_MOUNT_READ_MAX = 1 << 20,
    CF_MOUNT_REPORTS = 64,
};

/* Nothing ever changes, so the kernel may keep what it knows for as long as it likes. */
#define CF_MOUNT_FOREVER (365.0 * 86400)

/* Of a mount of all points: the folder of points is FUSE_ROOT_ID, and "latest" is this. */
enum { CF_INODE_LATEST = 2 };

/* A thread's tools while it answers a request. */
typedef struct cf_desk {
    cf_lane *lane;
    uint8_t *buffer; /* CF_MOUNT_READ_MAX */
    struct cf_desk *next;
} cf_desk;

typedef struct cf_report { /* an error that was told of */
    fuse_ino_t inode;
    cf_code code;
    uint64_t when_ms;
} cf_report;

typedef struct cf_fs {
    const cf_mount_options *options;
    cf_ahead *ahead;
    cf_pages *pages;
    cf_points *points;
    cf_files *files;
    cf_push *push; /* while the session runs */
    struct fuse_session *session;
    uint8_t *push_buffer;        /* CF_PUSH_FILE_MAX */
    bool no_open, no_opendir;    /* the kernel need not tell of opening */
    void (*look)(void *context); /* somebody looks at the folder of points: is the list still right? May be NULL */
    void *look_context;
    _Atomic uint64_t used_ms;
    pthread_mutex_t lock; /* all below */
    cf_desk *desks;
    cf_report reports[CF_MOUNT_REPORTS];
    unsigned next_report;
} cf_fs;

cf_err *cf_fs_new(const cf_mount_options *options, cf_fs **fs) __attribute__((warn_unused_result));
void cf_fs_free(cf_fs *fs); /* NULL-safe */
CF_DEFINE_AUTO(cf_fs, cf_fs_free)

/* ---- Inodes: inode.c, pure ---- */

/* cf_inode_of: of the entry with this number of the point in this slot. */
fuse_ino_t cf_inode_of(const cf_fs *fs, size_t slot, uint64_t number);
/* cf_inode_parse: false: it is none of a point (the folder of points, "latest"). */
bool cf_inode_parse(const cf_fs *fs, fuse_ino_t inode, size_t *slot, uint64_t *number);
/* cf_inode_stat: what stat(2) shows. The names of one hard-linked file have one number there. */
void cf_inode_stat(const cf_fs *fs, size_t slot, uint64_t number, const cf_entry *entry, struct stat *stat);
/* cf_inode_stat_root: of a point's root, or the folder of points. */
void cf_inode_stat_root(fuse_ino_t inode, int64_t seconds, struct stat *stat);

/* ---- A request: call.c ---- */

typedef struct cf_fuse_call {
    cf_fs *fs;
    fuse_req_t request;
    fuse_ino_t inode;
    cf_desk *desk;
    bool of_point; /* then all below */
    size_t slot;
    uint64_t number;
    cf_volume *volume;
} cf_fuse_call;

/* cf_call_begin: false: it was answered with an error already. */
bool cf_call_begin(cf_fuse_call *call, fuse_req_t request, fuse_ino_t inode);
void cf_call_end(cf_fuse_call *call);
/* cf_call_fail: answer with err's number, and report it. err is taken. */
void cf_call_fail(cf_fuse_call *call, cf_err *err);
static inline const cf_map *cf_call_map(const cf_fuse_call *call) {
    return cf_volume_point(call->volume)->map;
}
/* cf_fs_push_start: from now on small files are given ahead; _stop as cf_push_free. */
cf_err *cf_fs_push_start(cf_fs *fs, struct fuse_session *session) __attribute__((warn_unused_result));
void cf_fs_push_stop(cf_fs *fs);
/* cf_call_unread: what an entry that was not backed up fails with. */
cf_err *cf_call_unread(uint32_t code);

/* ---- Operations ---- */

void cf_op_lookup(fuse_req_t request, fuse_ino_t parent, const char *name);
void cf_op_getattr(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *info);
void cf_op_readlink(fuse_req_t request, fuse_ino_t inode);
void cf_op_opendir(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *info);
void cf_op_readdir(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset, struct fuse_file_info *info);
void cf_op_readdirplus(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset, struct fuse_file_info *info);
void cf_op_statfs(fuse_req_t request, fuse_ino_t inode);
void cf_op_getxattr(fuse_req_t request, fuse_ino_t inode, const char *name, size_t size);
void cf_op_listxattr(fuse_req_t request, fuse_ino_t inode, size_t size);
void cf_op_open(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *info);
void cf_op_read(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset, struct fuse_file_info *info);
void cf_op_lseek(fuse_req_t request, fuse_ino_t inode, off_t offset, int whence, struct fuse_file_info *info);

#endif
