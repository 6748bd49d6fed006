#include "restore/preflight.h"

#include <acl/libacl.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/acl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/text.h"
#include "os/file.h"

enum { HOLE_TEST_SIZE = 4 << 20, SOMEBODY = 65534, RESERVE = 1 << 20 };

/* The folder itself, or the nearest one above it that exists; fresh text. */
static cf_err *nearest(const char *path, char **out) {
    CF_AUTO_FREE char *at = strdup(path);
    struct stat st;
    if (!at) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a path");
    while (stat(at, &st) < 0 && errno == ENOENT) {
        char *slash = strrchr(at, '/');
        if (!slash) {
            strcpy(at, "."); /* path was not empty */
            break;
        }
        slash[slash == at] = '\0'; /* "/" stays */
    }
    if (stat(at, &st) < 0) return cf_fail_errno(CF_ERR_DESTINATION_REFUSED, errno, "%s", path);
    if (!S_ISDIR(st.st_mode)) return cf_fail(CF_ERR_DESTINATION_MISSING, "%s is no folder", at);
    *out = cf_take(at);
    return NULL;
}

/* Where the files of an in-place restore go; false when that is more than one file system. */
static cf_err *common_folder(const cf_point *point, char **out, bool *one) {
    *one = point->root.source_count > 0;
    dev_t device = 0;
    for (size_t i = 0; i < point->root.source_count && *one; i++) {
        CF_AUTO_FREE char *source = cf_span_dup_text(point->root.sources[i]);
        CF_AUTO_FREE char *folder = NULL;
        struct stat st;
        if (!source) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a path");
        char *slash = strrchr(source, '/'); /* a source may be a file */
        if (slash && stat(source, &st) == 0 && !S_ISDIR(st.st_mode)) slash[slash == source] = '\0';
        CF_TRY(nearest(source, &folder));
        if (stat(folder, &st) < 0) return cf_fail_errno(CF_ERR_DESTINATION_REFUSED, errno, "%s", folder);
        if (i == 0) {
            device = st.st_dev;
            *out = cf_take(folder);
        }
        *one = st.st_dev == device;
    }
    return NULL;
}

/* ---- What the file system keeps ---- */

static bool keeps_acls(int fd) {
    acl_t acl = acl_from_text("u::rw-,u:0:r--,g::r--,m::r--,o::---");
    acl_t got = acl && acl_set_fd(fd, acl) == 0 ? acl_get_fd(fd) : NULL;
    bool kept = got && acl_entries(got) == acl_entries(acl); /* some file systems accept and forget it */
    if (acl) acl_free(acl);
    if (got) acl_free(got);
    return kept;
}

static bool keeps_holes(int fd) {
    struct stat st;
    if (ftruncate(fd, HOLE_TEST_SIZE) < 0 || pwrite(fd, "x", 1, HOLE_TEST_SIZE - 1) != 1 || fstat(fd, &st) < 0)
        return true; /* nothing was learned */
    return st.st_blocks * 512 < HOLE_TEST_SIZE / 2;
}

static bool keeps_owners(int fd) {
    struct stat st;
    if (geteuid() != 0) return true; /* an ordinary user is told by the restore itself */
    return fchown(fd, SOMEBODY, SOMEBODY) == 0 && fstat(fd, &st) == 0 && st.st_uid == SOMEBODY;
}

/* On a file of our own that goes again. */
static cf_err *probe(const char *folder, cf_preflight *result) {
    CF_AUTO_FD int dirfd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dirfd < 0) return cf_fail_errno(CF_ERR_DESTINATION_REFUSED, errno, "%s", folder);
    char name[CF_FILE_TEMPORARY_SIZE];
    cf_file_temporary_name(name);
    CF_AUTO_FD int fd = openat(dirfd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0 && (errno == ENOSPC || errno == EDQUOT))
        return cf_fail_reason(CF_ERR_RESTORE_NO_SPACE, "files", "%s takes no more files", folder);
    if (fd < 0) return cf_fail_errno(CF_ERR_DESTINATION_REFUSED, errno, "%s", folder);
    result->no_xattrs = fsetxattr(fd, "user.coffer.test", "x", 1, 0) < 0 && errno != ENOSPC && errno != EDQUOT;
    result->no_acls = !keeps_acls(fd);
    result->no_holes = !keeps_holes(fd);
    result->no_owners = !keeps_owners(fd);
    if (unlinkat(dirfd, name, 0) < 0) return cf_fail_errno(CF_ERR_DESTINATION_REFUSED, errno, "%s/%s", folder, name);
    return NULL;
}

/* ---- What fits ---- */

static void measure(const cf_point *point, const struct statvfs *fs, cf_preflight *result) {
    const cf_totals *totals = &point->root.totals;
    result->measured = true;
    result->free_bytes = (uint64_t)fs->f_bavail * fs->f_frsize;
    result->free_files = fs->f_files ? fs->f_favail : UINT64_MAX; /* btrfs does not count them */
    result->need_bytes = totals->bytes;
    result->need_files = totals->files + totals->directories + totals->others;
}

static bool fits(const cf_preflight *result) {
    return result->need_bytes + RESERVE <= result->free_bytes && result->need_files <= result->free_files;
}

/* Exactly: with what is selected, and without what is there already. */
static cf_err *count(cf_reader *reader, const cf_point *point, const cf_restore_options *options,
                     cf_preflight *result) {
    cf_restore_options dry = *options;
    cf_restore_result counted;
    dry.dry_run = true;
    dry.progress = NULL;
    dry.warning = NULL;
    dry.damaged = NULL;
    dry.planned = NULL;
    CF_TRY(cf_restore(reader, point, &dry, &counted));
    result->need_bytes = counted.bytes_needed;
    result->need_files = counted.files_needed;
    return NULL;
}

static cf_err *no_room(const char *folder, const cf_preflight *result) {
    char need[24], have[24];
    cf_text_size(result->need_bytes, need);
    cf_text_size(result->free_bytes, have);
    if (result->need_bytes + RESERVE > result->free_bytes)
        return cf_fail_reason(CF_ERR_RESTORE_NO_SPACE, "bytes", "%s has %s free, %s are needed", folder, have, need);
    return cf_fail_reason(CF_ERR_RESTORE_NO_SPACE, "files", "%s has room for %llu more files, %llu are needed", folder,
                          (unsigned long long)result->free_files, (unsigned long long)result->need_files);
}

cf_err *cf_restore_preflight(cf_reader *reader, const cf_point *point, const cf_restore_options *options,
                             cf_preflight *result) {
    *result = (cf_preflight){0};
    CF_AUTO_FREE char *folder = NULL;
    bool one = true;
    struct statvfs fs;
    CF_TRY(options->to ? nearest(options->to, &folder) : common_folder(point, &folder, &one));
    if (!folder) return NULL; /* a point without sources */
    if (statvfs(folder, &fs) < 0) return cf_fail_errno(CF_ERR_DESTINATION_REFUSED, errno, "%s", folder);
    if (fs.f_flag & ST_RDONLY) return cf_fail_errno(CF_ERR_DESTINATION_REFUSED, EROFS, "%s", folder);
    if (options->to) CF_TRY(probe(folder, result));
    if (!one) return NULL;
    measure(point, &fs, result);
    if (fits(result)) return NULL;
    CF_TRY(count(reader, point, options, result));
    return fits(result) ? NULL : no_room(folder, result);
}
