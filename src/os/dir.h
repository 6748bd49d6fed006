/* Folders: reading with large buffers, making and removing whole paths. Everything is relative to
 * descriptors, one name at a time: no limit on the length of a path, only on a name (255 bytes).
 * Fails, all of these: 900103 NOT_FOUND, 900101 IO, 900102 DISK_FULL (making), 900001 OUT_OF_MEMORY.
 * Threads: a cf_dir belongs to one at a time.                                                         */
#ifndef CF_OS_DIR_H
#define CF_OS_DIR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/meta.h"

/* A reader of folders with a buffer of 128 KiB, made once and used for any number of folders in turn.   */
typedef struct cf_dir cf_dir;

typedef struct cf_dir_entry {
    const char *name; /* NUL-terminated bytes, borrowed until the next call on the reader              */
    size_t size;      /* without the NUL, 1 .. 255 (a little more on some file systems)                */
    uint64_t inode;
    cf_file_type type; /* 0 when the file system does not tell: cf_os_stat does                        */
} cf_dir_entry;

cf_err *cf_dir_new(cf_dir **dir) __attribute__((warn_unused_result));
void cf_dir_free(cf_dir *dir); /* NULL-safe; leaves the folder's descriptor open */
CF_DEFINE_AUTO(cf_dir, cf_dir_free)
/* cf_dir_start: begin at the first entry of the open folder fd (borrowed until the next start).
 *   name  for messages, borrowed as long.                                                             */
cf_err *cf_dir_start(cf_dir *dir, int fd, const char *name) __attribute__((warn_unused_result));
/* cf_dir_next: the next entry, in the file system's order, "." and ".." left out; *more is false, and
 * *entry unchanged, after the last one.                                                               */
cf_err *cf_dir_next(cf_dir *dir, cf_dir_entry *entry, bool *more) __attribute__((warn_unused_result));

/* cf_dir_make: make the folder and what is missing above it (mode for all of these, less the umask).
 * A folder that is there already is fine. Not durable by itself.                                      */
cf_err *cf_dir_make(int dirfd, const char *path, mode_t mode) __attribute__((warn_unused_result));
/* cf_dir_make_durable: the same, and every folder that got a new name is synced; of a relative path, each
 * folder on the way, so that one which an earlier, crashed run made is durable too.                   */
cf_err *cf_dir_make_durable(int dirfd, const char *path, mode_t mode) __attribute__((warn_unused_result));
/* cf_dir_open_path: open a folder by a path of any length and depth, symbolic links followed.
 *   path  bytes without NUL; relative to dirfd, or absolute. The caller closes *fd.                   */
cf_err *cf_dir_open_path(int dirfd, cf_span path, int *fd) __attribute__((warn_unused_result));
/* cf_dir_empty: does the open folder fd have no entries? Moves fd's place.                            */
cf_err *cf_dir_empty(int fd, const char *name, bool *empty) __attribute__((warn_unused_result));
/* cf_dir_remove_tree: remove what path names, with all that is below it. Follows no symbolic link (but on
 * the way to the last part, as the caller gave it) and never enters another file system: a mount below is an error (900101, reason "mounted") and
 * stays, as does then what holds it. A path that does not exist is fine. Uses a bounded number of
 * descriptors whatever the depth.                                                                     */
cf_err *cf_dir_remove_tree(int dirfd, const char *path) __attribute__((warn_unused_result));
/* cf_dir_remove_tree_forced: the same, and what is marked immutable or append-only goes too, where that is allowed
 * (but for the folder that holds path's last part: its flags are the caller's).                        */
cf_err *cf_dir_remove_tree_forced(int dirfd, const char *path) __attribute__((warn_unused_result));

#endif
