/* A folder of objects as in format section 1, read directly: the embedded store's own layout, a copied
 * disk, or what a test built.                                                                            */
#ifndef CF_REPO_SOURCE_FOLDER_H
#define CF_REPO_SOURCE_FOLDER_H

#include "repo/source.h"

/* cf_source_folder_open: dir holds "servers/". Fails: NOT_FOUND, IO.                                     */
cf_err *cf_source_folder_open(const char *dir, const cf_id16 *server, cf_source **source);

#endif
