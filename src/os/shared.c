#include "os/shared.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "os/fail.h"

static cf_err *map(int fd, const char *path, size_t size, cf_shared *shared) {
    int result = posix_fallocate(fd, 0, (off_t)size);
    if (result) return cf_os_fail(result, "allocate", path);
    void *data = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (data == MAP_FAILED) return cf_os_fail(errno, "map", path);
    *shared = (cf_shared){data, size};
    return NULL;
}

cf_err *cf_shared_open(int dirfd, const char *path, size_t size, cf_shared *shared) {
    int fd = openat(dirfd, path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) return cf_os_fail(errno, "open", path);
    cf_err *err = map(fd, path, size, shared);
    close(fd);
    return err;
}

void cf_shared_close(cf_shared *shared) {
    if (shared->data) (void)munmap(shared->data, shared->size); /* it was mapped with these very values */
    *shared = (cf_shared){0};
}
