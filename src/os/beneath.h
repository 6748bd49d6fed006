/* Working below one folder and never leaving it: the destination of a restore, where somebody else may
 * have planted symbolic links, or may be planting them at this moment.
 *
 * Paths are bytes, parts separated by single '/', relative, without "", ".", "..", NUL; any length. No
 * symbolic link on the way is followed. What such a path names is found with openat2 and
 * RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS (part by part with O_NOFOLLOW on kernels without it); then the
 * caller works with the folder's descriptor and one checked name.
 * Fails, all of these: 900105 PATH_REFUSED (reasons "name": the words above; "symlink": one is in the
 * way), 900103 NOT_FOUND, 900104 EXISTS, 900101 IO, 900102 DISK_FULL.
 * Threads: any number on one cf_beneath; a cf_partial belongs to one at a time.                      */
#ifndef CF_OS_BENEATH_H
#define CF_OS_BENEATH_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"
#include "os/file.h"

/* A single name, checked and NUL-terminated. Longer ones no file system takes.                        */
enum { CF_NAME_SIZE = 1024 };
typedef struct cf_name {
    char text[CF_NAME_SIZE];
} cf_name;

/* cf_name_from: refuses "", ".", "..", '/', NUL and more than 1,023 bytes.                            */
cf_err *cf_name_from(cf_span bytes, cf_name *name) __attribute__((warn_unused_result));

typedef struct cf_beneath cf_beneath;

/* cf_beneath_open: path is the user's own word: it may be long, absolute, and lead through links.         */
cf_err *cf_beneath_open(int dirfd, cf_span path, cf_beneath **root) __attribute__((warn_unused_result));
void cf_beneath_free(cf_beneath *root); /* NULL-safe */
CF_DEFINE_AUTO(cf_beneath, cf_beneath_free)
int cf_beneath_fd(const cf_beneath *root); /* borrowed */

/* cf_beneath_openat: open what path names, with open(2)'s flags (O_CLOEXEC is added, a link is refused; O_CREAT
 * and O_PATH are not for here). An empty path is the root itself. The caller closes *fd.                          */
cf_err *cf_beneath_openat(const cf_beneath *root, cf_span path, int flags, int *fd) __attribute__((warn_unused_result));
/* cf_beneath_folder: open a folder, making what is missing of the path with mode 0700 (less the umask).   */
cf_err *cf_beneath_folder(const cf_beneath *root, cf_span path, int *fd) __attribute__((warn_unused_result));
/* cf_beneath_parent: the folder that holds the path's last part (made when missing and make is true), and
 * that part. The caller closes *fd.                                                                   */
cf_err *cf_beneath_parent(const cf_beneath *root, cf_span path, bool make, int *fd, cf_name *leaf)
    __attribute__((warn_unused_result));

/* A file that is being written and has no name yet (or a temporary one that begins with
 * CF_FILE_TEMPORARY_PREFIX where the file system has no unnamed files).                               */
typedef struct cf_partial {
    int folder; /* borrowed */
    int fd;     /* read and write */
    char temporary[CF_FILE_TEMPORARY_SIZE];
} cf_partial;

/* cf_partial_open: start in the open folder; must stay open until the end. Mode 0600.                     */
cf_err *cf_partial_open(int folder, cf_partial *part) __attribute__((warn_unused_result));
/* cf_partial_place: give it its name. When the name exists: with replace, what is there (a file, a link, a
 * device; not a folder: 900104 EXISTS) gives way in one step; without, *placed is false and nothing
 * changed. part->fd stays open (for the metadata) until cf_partial_wipe. Not synced.                     */
cf_err *cf_partial_place(cf_partial *part, const cf_name *name, bool replace, bool *placed)
    __attribute__((warn_unused_result));
/* cf_partial_wipe: close; a file without its final name is gone.                                         */
void cf_partial_wipe(cf_partial *part);

/* cf_beneath_link: a further name for the file from in from_folder (single names, links not followed). */
cf_err *cf_beneath_link(int from_folder, const cf_name *from, int folder, const cf_name *name)
    __attribute__((warn_unused_result));

#endif
