/* A small file mapped into every process that opens it: memory that they share. What stands in it outlives them all,
 * so whoever uses it must be content with any values. The file is never removed or cut, only made longer.
 * Fails: 900101 IO, 900102 DISK_FULL, 900103 NOT_FOUND (no such folder).
 * Threads: as the user's accesses are (use atomics).                                                           */
#ifndef CF_OS_SHARED_H
#define CF_OS_SHARED_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

typedef struct cf_shared {
    void *data; /* NULL: not open */
    size_t size;
} cf_shared;

/* cf_shared_open: path is made (0600, zeros) when missing; its blocks are allocated, so that a full disk is an error
 * here and not a signal later. */
cf_err *cf_shared_open(int dirfd, const char *path, size_t size, cf_shared *shared) __attribute__((warn_unused_result));
void cf_shared_close(cf_shared *shared);

#endif
