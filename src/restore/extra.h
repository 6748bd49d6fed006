/* The exact rollback of restored folders: what stands in them and is not in the recovery point. It is found before the
 * restore, so that it can be shown, and removed after it: nothing but what was found, and only while it still is
 * that object. Everything is reached from the destination's descriptor without following a link.
 *
 * A folder is looked through when all of it is meant by the restore, it was itself backed up (folders above a source
 * were not), and every part of its record can be read. Kept: what the point names (a socket too), what its
 * exclusions match, other file systems and what holds one, and the folders named in keep.
 *
 *   cf_extras *extras;  cf_extras_find(...);  show them;  cf_restore(...);  cf_extras_remove(...);  cf_extras_free
 * Threads: one.                                                                                           */
#ifndef CF_RESTORE_EXTRA_H
#define CF_RESTORE_EXTRA_H

#include "base/meta.h"
#include "restore/restore.h"

typedef struct cf_extras cf_extras;

/* cf_extras_find: options as for the restore itself; patterns, to, strip and cancel are used.
 *   keep  folders of the program's own: not removed and not looked into.
 * Memory: about 60 bytes and the name for each extra (a folder with all below it is one), and one folder's names.
 * Fails: CANCELLED; OUT_OF_MEMORY; BAD_USAGE; errors of the way to the vault. Damage and local errors leave a folder
 * out.                                                                                                     */
cf_err *cf_extras_find(cf_reader *reader, const cf_point *point, const cf_restore_options *options,
                       const char *const *keep, size_t keep_count, cf_extras **extras);
void cf_extras_free(cf_extras *extras); /* NULL-safe */
CF_DEFINE_AUTO(cf_extras, cf_extras_free)

size_t cf_extras_count(const cf_extras *extras);
uint64_t cf_extras_warnings(const cf_extras *extras); /* so far: of finding and removing */
/* cf_extras_path: the nth in ascending order: out is reset and gets its path at the destination.            */
cf_err *cf_extras_path(const cf_extras *extras, size_t index, cf_buf *out, cf_file_type *type);

/* cf_extras_report: what finding could not look at or has to leave: calls options->warning (NULL: forgets), each once. The
 * paths are those at the destination.                                                                      */
void cf_extras_report(cf_extras *extras, const cf_restore_options *options);

/* cf_extras_remove: all of them; what cannot be removed is a warning. removed (may be NULL) is called for each.
 * *deleted counts also when it fails. Fails: CANCELLED, OUT_OF_MEMORY, IO (what was removed is not on the disk yet). */
cf_err *cf_extras_remove(cf_extras *extras, const cf_restore_options *options,
                         void (*removed)(void *context, cf_span path), uint64_t *deleted);

#endif
