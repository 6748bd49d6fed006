/* A look at the destination before the first byte: may it be written, does everything fit, what can its file system
 * not keep?
 * Threads: one.                                                                                          */
#ifndef CF_RESTORE_PREFLIGHT_H
#define CF_RESTORE_PREFLIGHT_H

#include "restore/restore.h"

typedef struct cf_preflight {
    bool measured; /* the next four are known: one file system takes all of it                              */
    uint64_t free_bytes, free_files;
    uint64_t need_bytes, need_files; /* at most: what is there already was only counted when it had to be  */
    bool no_xattrs, no_acls, no_holes, no_owners; /* what the file system does not keep (or this user may not set) */
} cf_preflight;

/* cf_restore_preflight: options as for cf_restore (dry_run is not looked at). Nothing stays at the destination. When
 * the point as a whole does not fit, what the destination has already is compared, which reads it.
 * Fails: 100069 DESTINATION_MISSING (there is something that is no folder), 100121 DESTINATION_REFUSED (read-only,
 * no right to write), 100072 RESTORE_NO_SPACE (reasons "bytes", "files"; *result is filled), and as cf_restore.  */
cf_err *cf_restore_preflight(cf_reader *reader, const cf_point *point, const cf_restore_options *options,
                             cf_preflight *result) __attribute__((warn_unused_result));

#endif
