/* Folders whose content can be made again, and which say so: a file CACHEDIR.TAG with a signature (bford.info/cachedir). */
#ifndef CF_OS_CACHEDIR_H
#define CF_OS_CACHEDIR_H

#include <stdbool.h>

#define CF_CACHEDIR_TAG "CACHEDIR.TAG"

/* cf_cachedir_is: has the open folder a tag that counts: a regular file that begins with the signature? False also when it
 * cannot be read.                                                                                           */
bool cf_cachedir_is(int folder_fd);

#endif
