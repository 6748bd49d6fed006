/* Files of the index: positioned reads and writes that finish or fail, and names. Internal to the index.  */
#ifndef CF_INDEX_IO_H
#define CF_INDEX_IO_H

#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"

#define CF_IIO_NAME_SIZE 32

/* cf_iio_fail: the error for a failed call: DISK_FULL for ENOSPC, EDQUOT and EFBIG, else IO.          */
cf_err *cf_iio_fail(int err_no, const char *call, const char *name) __attribute__((warn_unused_result));
/* cf_iio_damaged: INDEX_UNREADABLE, reason "damaged". */
cf_err *cf_iio_damaged(const char *name, const char *what) __attribute__((warn_unused_result));
/* cf_iio_read: up to size bytes from offset; *got is less only at the end of the file.                */
cf_err *cf_iio_read(int fd, void *data, size_t size, uint64_t offset, const char *name, size_t *got)
    __attribute__((warn_unused_result));
/* cf_iio_read_exact: size bytes or INDEX_UNREADABLE: the file was cut.                                */
cf_err *cf_iio_read_exact(int fd, void *data, size_t size, uint64_t offset, const char *name)
    __attribute__((warn_unused_result));
cf_err *cf_iio_write(int fd, const void *data, size_t size, uint64_t offset, const char *name)
    __attribute__((warn_unused_result));
cf_err *cf_iio_sync(int fd, const char *name) __attribute__((warn_unused_result));
cf_err *cf_iio_size(int fd, const char *name, uint64_t *size) __attribute__((warn_unused_result));
cf_err *cf_iio_create(int dir, const char *name, int *fd) __attribute__((warn_unused_result));
/* cf_iio_open: for reading and writing; INDEX_UNREADABLE when it is not there.                        */
cf_err *cf_iio_open(int dir, const char *name, int *fd) __attribute__((warn_unused_result));
/* cf_iio_replace: write a whole file under a temporary name, sync it, rename it, sync the folder. After a failure
 * *placed says whether the new content may be in place all the same.                                  */
cf_err *cf_iio_replace(int dir, const char *name, cf_span content, bool *placed) __attribute__((warn_unused_result));
/* cf_iio_load: a whole small file, bounded by out's maximum; *exists is false when there is none.     */
cf_err *cf_iio_load(int dir, const char *name, cf_buf *out, bool *exists) __attribute__((warn_unused_result));
/* "run-000000000000002a" */
void cf_iio_name(char out[CF_IIO_NAME_SIZE], const char *kind, uint64_t number);
/* cf_iio_parse_name: the inverse; false when name is not of that kind.                                */
bool cf_iio_parse_name(const char *name, const char *kind, uint64_t *number);

#endif
