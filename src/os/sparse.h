/* Holes: where a file has data, and making holes again.
 * Threads: any number; a cf_sparse_extents belongs to one at a time.                                   */
#ifndef CF_OS_SPARSE_H
#define CF_OS_SPARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "os/stat.h"

typedef struct cf_sparse_extent {
    uint64_t offset, size; /* bytes; size > 0 */
} cf_sparse_extent;

/* The data of a file in ascending order, not touching one another; what lies between is holes. An empty
 * list: no data at all. Start with {0}; its memory is reused from file to file.                       */
typedef struct cf_sparse_extents {
    cf_sparse_extent *list;
    size_t count, capacity;
} cf_sparse_extents;

enum { CF_SPARSE_EXTENTS_MAX = 100000 };

/* cf_sparse_read: the data of the open file fd, up to stat->size.
 *   stat  its size and blocks: a file with all its blocks is not asked about (no system call then).
 * One extent for the whole file when it has no holes, when the file system does not tell, and when there
 * would be more than CF_SPARSE_EXTENTS_MAX of them. Moves fd's place.
 * Fails: 900001 OUT_OF_MEMORY.                                                                        */
cf_err *cf_sparse_read(int fd, const char *name, const cf_stat *stat, cf_sparse_extents *extents)
    __attribute__((warn_unused_result));
void cf_sparse_extents_wipe(cf_sparse_extents *extents);

/* cf_sparse_punch: make size bytes at offset of the open file zero, giving back their blocks where the
 * file system can (it writes zeroes where it cannot). The file's size stays.
 * Fails: 900101 IO, 900102 DISK_FULL.                                                                 */
cf_err *cf_sparse_punch(int fd, const char *name, uint64_t offset, uint64_t size) __attribute__((warn_unused_result));

#endif
