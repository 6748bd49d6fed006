/* The embedded object store: a folder, one file per object under the object's own name.
 * Order of a put: temporary file, fsync, rename that never replaces, fsync of the folder.              */
#ifndef CF_OBJECTS_FOLDER_H
#define CF_OBJECTS_FOLDER_H

#include "objects/objects.h"

/* cf_objects_folder_open: dirfd is the store's folder (duplicated; the caller keeps its own).
 *   name  for messages.
 *   clean remove the temporary files that a crash left behind (only the service does; those of running
 *         writers are locked and stay).                                                                */
cf_err *cf_objects_folder_open(int dirfd, const char *name, bool clean, cf_objects **store)
    __attribute__((warn_unused_result));

#endif
