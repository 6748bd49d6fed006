/* Files: the one place for durable writing, and bounded reading.
 *
 * Every path is relative to a folder's descriptor (or AT_FDCWD) and may have several parts; its folder
 * must exist. Durable writing: a temporary file in the same folder, all the data, fsync, rename (or
 * create-only), fsync of the folder. When such a call returns NULL, the file survives a power loss, whole,
 * under its name; when it fails, the name has what it had before. A temporary file that a crash left
 * behind has a name that begins with CF_FILE_TEMPORARY_PREFIX: cf_file_remove_leftovers.
 * Fails, all of these: 900102 DISK_FULL, 900103 NOT_FOUND, 900101 IO; messages name the path.
 * Threads: any number; a cf_file_writer belongs to one at a time.                                     */
#ifndef CF_OS_FILE_H
#define CF_OS_FILE_H

#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"

#define CF_FILE_TEMPORARY_PREFIX ".coffer-"

/* cf_file_write_durable: the file has exactly the data of these spans, one after the other, replacing
 * what was there. mode: permissions of the new file (the umask does not apply).                       */
cf_err *cf_file_write_durable(int dirfd, const char *path, const cf_span *spans, size_t count, mode_t mode)
    __attribute__((warn_unused_result));
/* cf_file_create_durable: the same, but never replaces: *created is false, and nothing changed, when the
 * name exists already (also when another process makes it at the same moment).                        */
cf_err *cf_file_create_durable(int dirfd, const char *path, const cf_span *spans, size_t count, mode_t mode,
                               bool *created) __attribute__((warn_unused_result));

/* The streaming form: open, any number of writes, then one commit; free without commit removes the
 * temporary file.                                                                                     */
typedef struct cf_file_writer cf_file_writer;

cf_err *cf_file_writer_open(int dirfd, const char *path, mode_t mode, cf_file_writer **writer)
    __attribute__((warn_unused_result));
/* cf_file_writer_write: append.                                                                       */
cf_err *cf_file_writer_write(cf_file_writer *writer, cf_span data) __attribute__((warn_unused_result));
/* cf_file_writer_write_at: overwrite or extend at a place (a header that is known last). Does not move
 * the place where cf_file_writer_write goes on.                                                       */
cf_err *cf_file_writer_write_at(cf_file_writer *writer, uint64_t offset, cf_span data)
    __attribute__((warn_unused_result));
/* cf_file_writer_size: bytes appended so far.                                                         */
uint64_t cf_file_writer_size(const cf_file_writer *writer);
/* cf_file_writer_fd: the temporary file, readable (to hash or check it before the commit); borrowed.  */
int cf_file_writer_fd(const cf_file_writer *writer);
/* cf_file_writer_commit: durable under its name, replacing what was there. After a failure the writer
 * can only be freed. cf_file_writer_commit_new: never replaces; *created as above.                    */
cf_err *cf_file_writer_commit(cf_file_writer *writer) __attribute__((warn_unused_result));
cf_err *cf_file_writer_commit_new(cf_file_writer *writer, bool *created) __attribute__((warn_unused_result));
void cf_file_writer_free(cf_file_writer *writer); /* NULL-safe */
CF_DEFINE_AUTO(cf_file_writer, cf_file_writer_free)

/* cf_file_open: for reading, close-on-exec. The caller closes *fd.                                    */
cf_err *cf_file_open(int dirfd, const char *path, int *fd) __attribute__((warn_unused_result));
/* cf_file_read: the whole file, appended to out. Fails also: 900002 TOO_LARGE when it has more than max
 * bytes (nothing is appended then).                                                                   */
cf_err *cf_file_read(int dirfd, const char *path, size_t max, cf_buf *out) __attribute__((warn_unused_result));
/* cf_file_read_at: up to size bytes from offset into out; *got is less than size only at the end of the
 * file. name is for the message.                                                                      */
cf_err *cf_file_read_at(int fd, uint64_t offset, void *out, size_t size, const char *name, size_t *got)
    __attribute__((warn_unused_result));
/* cf_file_read_exact: size bytes, no less. Fails also: 900101 IO, reason "short".                     */
cf_err *cf_file_read_exact(int fd, uint64_t offset, void *out, size_t size, const char *name)
    __attribute__((warn_unused_result));
/* cf_file_write_at: all of data at offset (not durable by itself).                                    */
cf_err *cf_file_write_at(int fd, uint64_t offset, cf_span data, const char *name) __attribute__((warn_unused_result));
cf_err *cf_file_truncate(int fd, uint64_t size, const char *name) __attribute__((warn_unused_result));
/* cf_file_sync: file data and size on the disk. cf_file_sync_folder: a folder's names.                */
cf_err *cf_file_sync(int fd, const char *name) __attribute__((warn_unused_result));
cf_err *cf_file_sync_folder(int fd, const char *name) __attribute__((warn_unused_result));
cf_err *cf_file_size(int fd, const char *name, uint64_t *size) __attribute__((warn_unused_result));
/* cf_file_exists: *exists tells whether the path is there, of any type (a symbolic link counts as one). */
cf_err *cf_file_exists(int dirfd, const char *path, bool *exists) __attribute__((warn_unused_result));
/* cf_file_remove: *existed is false when there was none (may be NULL). cf_file_remove_durable: and the
 * folder is synced, so that it stays removed.                                                         */
cf_err *cf_file_remove(int dirfd, const char *path, bool *existed) __attribute__((warn_unused_result));
cf_err *cf_file_remove_durable(int dirfd, const char *path, bool *existed) __attribute__((warn_unused_result));
/* cf_file_rename_durable: within one file system, replacing; both folders synced.                     */
cf_err *cf_file_rename_durable(int dirfd, const char *path, int to_dirfd, const char *to_path)
    __attribute__((warn_unused_result));
/* cf_file_remove_leftovers: remove the temporary files directly in the folder dirfd that are not locked
 * by a live writer. *count: how many (may be NULL).                                                   */
cf_err *cf_file_remove_leftovers(int dirfd, const char *name, unsigned *count) __attribute__((warn_unused_result));
/* cf_file_temporary_name: a fresh random name with the prefix.                                        */
enum { CF_FILE_TEMPORARY_SIZE = 32 };
void cf_file_temporary_name(char out[CF_FILE_TEMPORARY_SIZE]);

#endif
