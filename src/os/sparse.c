#include "os/sparse.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "os/fail.h"
#include "os/file.h"

static cf_err *add(cf_sparse_extents *extents, uint64_t offset, uint64_t size) {
    if (extents->count == extents->capacity) {
        size_t capacity = extents->capacity ? extents->capacity * 2 : 16;
        cf_sparse_extent *list = reallocarray(extents->list, capacity, sizeof *list);
        if (!list) return cf_fail(CF_ERR_OUT_OF_MEMORY, "the extents of a sparse file");
        extents->list = list;
        extents->capacity = capacity;
    }
    extents->list[extents->count++] = (cf_sparse_extent){offset, size};
    return NULL;
}

static cf_err *dense(cf_sparse_extents *extents, uint64_t size) {
    extents->count = 0;
    return size > 0 ? add(extents, 0, size) : NULL;
}

static cf_err *find_data(int fd, const cf_stat *stat, cf_sparse_extents *extents) {
    const uint64_t size = stat->size;
    extents->count = 0;
    if (stat->blocks >= size / 512 + (size % 512 != 0)) return dense(extents, size);
    for (uint64_t at = 0; at < size;) {
        off_t data = lseek(fd, (off_t)at, SEEK_DATA);
        if (data < 0 && errno == ENXIO) return NULL; /* nothing but a hole from here on */
        if (data < 0) return dense(extents, size);   /* not told; or a failing disk, which reading will meet too */
        if ((uint64_t)data >= size) return NULL;     /* it grew */
        off_t hole = lseek(fd, data, SEEK_HOLE);
        if (hole < 0 && errno == ENXIO) return NULL;   /* cut meanwhile */
        if (hole <= data) return dense(extents, size); /* an error, or nonsense: must not loop */
        uint64_t end = (uint64_t)hole < size ? (uint64_t)hole : size;
        if (extents->count == CF_SPARSE_EXTENTS_MAX) return dense(extents, size);
        CF_TRY(add(extents, (uint64_t)data, end - (uint64_t)data));
        at = end;
    }
    return NULL;
}

cf_err *cf_sparse_read(int fd, const char *name, const cf_stat *stat, cf_sparse_extents *extents) {
    return cf_note(find_data(fd, stat, extents), "%s", name);
}

void cf_sparse_extents_wipe(cf_sparse_extents *extents) {
    free(extents->list);
    *extents = (cf_sparse_extents){0};
}

cf_err *cf_sparse_punch(int fd, const char *name, uint64_t offset, uint64_t size) {
    static const uint8_t zeroes[65536];
    if (size == 0) return NULL;
    int result;
    do {
        result = fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)size);
    } while (result < 0 && errno == EINTR);
    if (result == 0) return NULL;
    if (errno != EOPNOTSUPP && errno != ENOSYS) return cf_os_fail(errno, "make a hole in", name);
    uint64_t end = 0;
    CF_TRY(cf_file_size(fd, name, &end));
    if (offset + size < end) end = offset + size;
    for (uint64_t at = offset; at < end;) {
        size_t step = end - at < sizeof zeroes ? (size_t)(end - at) : sizeof zeroes;
        CF_TRY(cf_file_write_at(fd, at, cf_span_of(zeroes, step), name));
        at += step;
    }
    return NULL;
}
