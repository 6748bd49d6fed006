/* Recovery points as a read-only file system (libfuse, low level).
 *
 * Nothing is kept for each file that the kernel knows of: an inode's number says where its entry stands in the tree
 * (mount/pages.h), so memory does not grow with the tree. What is read is checked as everywhere (repo/reader.h); what
 * cannot be read is EIO for whoever asked, and is reported with its code.                                  */
#ifndef CF_MOUNT_MOUNT_H
#define CF_MOUNT_MOUNT_H

#include "base/cancel.h"
#include "base/clock.h"
#include "repo/reader.h"

/* What a reader for mounting is opened with. */
enum { CF_MOUNT_CACHE = 48 << 20 };

typedef struct cf_mount_options {
    cf_reader *reader; /* borrowed, as all of this */
    const cf_point_row *rows;
    size_t count;
    bool all;           /* a folder per point; otherwise rows is one, and its root is shown */
    const char *folder; /* where to mount, absolute */
    const char *server; /* its name, for the list of mounts */
    uint64_t idle_ms;   /* unmount after this time without use; 0: never */
    cf_clock clock;
    cf_cancel *cancel; /* unmount, also when in use */
    /* The file system can be used now. What it fails with ends the mount. */
    cf_err *(*ready)(void *context);
    /* The newest list of points, a fresh array; asked for now and then while there is use. NULL: it does not change.
     * Called by another thread.                                                                            */
    cf_err *(*list)(void *context, cf_point_row **rows, size_t *count);
    /* Something could not be read: somebody got EIO. path: as the mount shows it. Any thread; err is borrowed. */
    void (*failed)(void *context, cf_span path, const cf_err *err);
    void *context;
} cf_mount_options;

typedef enum cf_mount_end {
    CF_MOUNT_UNMOUNTED, /* by somebody */
    CF_MOUNT_IDLE,
    CF_MOUNT_CANCELLED,
} cf_mount_end;

/* cf_mount_possible: is there FUSE here, for this user? Fails: FUSE_UNAVAILABLE (reasons device, fusermount). */
cf_err *cf_mount_possible(void) __attribute__((warn_unused_result));
/* cf_mount_run: mount, serve, and come back when it is unmounted. Fails: MOUNT_FAILED, what ready fails with,
 * OUT_OF_MEMORY.                                                                                           */
cf_err *cf_mount_run(const cf_mount_options *options, cf_mount_end *end) __attribute__((warn_unused_result));

/* What stands at a folder. */
typedef enum cf_mount_state {
    CF_MOUNT_NONE,  /* no mount of ours */
    CF_MOUNT_LIVE,  /* served, as far as can be seen */
    CF_MOUNT_STALE, /* its process is gone: every access fails */
} cf_mount_state;
/* cf_mount_examine: folder may be one that cannot be entered. *path: fresh, the folder as the list of mounts has it.
 * Fails: IO, NOT_FOUND.                                                                                    */
cf_err *cf_mount_examine(const char *folder, cf_mount_state *state, char **path) __attribute__((warn_unused_result));
/* cf_mount_remove: unmount path, which examine gave. force: also when in use. Fails: MOUNT_BUSY, MOUNT_FAILED. */
cf_err *cf_mount_remove(const char *path, bool force) __attribute__((warn_unused_result));

#endif
