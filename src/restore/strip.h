/* Restoring without the path of what was backed up: which folders of the point stand for the destination itself. */
#ifndef CF_RESTORE_STRIP_H
#define CF_RESTORE_STRIP_H

#include "restore/restore.h"

typedef struct cf_strip {
    cf_span *list; /* paths that are left off; NULL: none. They borrow from options and point */
    size_t count;
} cf_strip;

/* cf_strip_init: of the patterns when all are plain paths, otherwise of the point's sources. Fails: BAD_USAGE (two
 * would get the same name), OUT_OF_MEMORY; wipe also then.                                                  */
cf_err *cf_strip_init(const cf_restore_options *options, const cf_point *point, cf_strip *strip);
void cf_strip_wipe(cf_strip *strip);
/* cf_strip_here: does this folder of the point stand for the destination itself? *is_source: by being what is left
 * off, not on the way to it.                                                                                */
bool cf_strip_here(const cf_strip *strip, cf_span path, bool *is_source);

#endif
