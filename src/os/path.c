#include "os/path.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "os/fail.h"

cf_err *cf_os_parent_open(int dirfd, const char *path, cf_os_parent *parent) {
    const char *slash = strrchr(path, '/');
    const char *leaf = slash ? slash + 1 : path;
    if (!*leaf) return cf_os_fail(EISDIR, "write", path);
    if (!slash && dirfd != AT_FDCWD) {
        *parent = (cf_os_parent){dirfd, false, leaf};
        return NULL;
    }
    CF_AUTO_FREE char *folder = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
    if (!folder) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a path");
    int fd = openat(dirfd, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return cf_os_fail(errno, "open folder", folder);
    *parent = (cf_os_parent){fd, true, leaf};
    return NULL;
}

void cf_os_parent_close(cf_os_parent *parent) {
    if (parent->owned) close(parent->fd);
    *parent = (cf_os_parent){-1, false, NULL};
}
