/* Splitting a path into the descriptor of its folder and its last part (of this floor only).          */
#ifndef CF_OS_PATH_H
#define CF_OS_PATH_H

#include <stdbool.h>

#include "base/err.h"

typedef struct cf_os_parent {
    int fd;           /* the folder that holds leaf                                                    */
    bool owned;       /* fd was opened here, cf_os_parent_close closes it                              */
    const char *leaf; /* points into the path that was given                                           */
} cf_os_parent;

/* cf_os_parent_open: dirfd may be AT_FDCWD; a path without '/' costs nothing unless dirfd is AT_FDCWD
 * (then the folder is opened, so that it can be synced). Trailing slashes are refused.                */
cf_err *cf_os_parent_open(int dirfd, const char *path, cf_os_parent *parent) __attribute__((warn_unused_result));
void cf_os_parent_close(cf_os_parent *parent);

#endif
