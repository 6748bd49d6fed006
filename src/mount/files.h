/* The layouts of files that are being read, kept within a bound.
 * Threads: any number.                                                                                    */
#ifndef CF_MOUNT_FILES_H
#define CF_MOUNT_FILES_H

#include "mount/layout.h"

typedef struct cf_files cf_files;
typedef struct cf_file cf_file;
cf_err *cf_files_new(size_t limit, cf_files **files) __attribute__((warn_unused_result));
void cf_files_free(cf_files *files); /* NULL-safe; after all were released */
CF_DEFINE_AUTO(cf_files, cf_files_free)

cf_file *cf_files_get(cf_files *files, uint64_t inode); /* pinned; NULL: not known */
/* cf_files_put: takes layout, also on failure; when another thread was faster, its one is given.            */
cf_err *cf_files_put(cf_files *files, uint64_t inode, cf_layout *layout, cf_file **file)
    __attribute__((warn_unused_result));
cf_layout *cf_file_layout(cf_file *file);
void cf_file_release(cf_file *file); /* NULL-safe */
CF_DEFINE_AUTO(cf_file, cf_file_release)

#endif
