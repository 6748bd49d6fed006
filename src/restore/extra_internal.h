/* What finding and removing share (of this folder only). */
#ifndef CF_RESTORE_EXTRA_INTERNAL_H
#define CF_RESTORE_EXTRA_INTERNAL_H

#include "os/beneath.h"
#include "os/stat.h"
#include "restore/extra.h"

enum { CF_EXTRA_PATH_MAX = 16 << 20 };

/* Where it is, and which object it was. */
typedef struct cf_extra {
    size_t folder, folder_size; /* in names: below the destination */
    size_t name;                /* in names, NUL-terminated        */
    uint64_t inode, device;
    cf_file_type type;
} cf_extra;

struct cf_extra_held {
    struct cf_extra_held *next;
    cf_buf path;
    cf_err *err;
};

struct cf_extras {
    cf_beneath *top; /* NULL: there is no destination yet */
    char *to;        /* NULL: in place                    */
    cf_buf names;
    cf_extra *list;
    size_t count, room;
    uint64_t warnings;
    struct cf_extra_held *held; /* warnings of finding, the last one first */
};

/* cf_extras_place: out is reset: the path at the destination of name in folder (both may be empty). */
cf_err *cf_extras_place(const cf_extras *extras, cf_span folder, cf_span name, cf_buf *out);
/* cf_extras_hold: a warning for cf_extras_report; why is taken. */
void cf_extras_hold(cf_extras *extras, cf_span folder, cf_span name, cf_err *why);

#endif
