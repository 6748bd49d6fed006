/* The state of the machine that no file holds: partition tables, volume managers, file systems, packages, users, units; and
 * RECOVER.md, which says in which order to apply it (docs/operations.md). It is what tools print: each with a time
 * limit and into bounded memory, nothing is put on a disk. What a tool does not give is a note, never a failure.
 *
 * Keys are not part of it: of LUKS the descriptions are taken, not the headers, since an old header would open the disk with
 * passphrases that were taken away since.
 * Threads: any number.                                                                                     */
#ifndef CF_SYSSTATE_SYSSTATE_H
#define CF_SYSSTATE_SYSSTATE_H

#include "base/buf.h"
#include "base/cancel.h"
#include "base/err.h"

enum { CF_SYSSTATE_OUTPUT_MAX = 8 << 20, CF_SYSSTATE_TOOL_MS = 20000 };

typedef struct cf_sysstate_options {
    const char *path;  /* where the tools are, as $PATH; NULL: that, and then /usr/sbin:/usr/bin:/sbin:/bin */
    const char *host;  /* its name, for people */
    unsigned tool_ms;  /* limit for each; 0: CF_SYSSTATE_TOOL_MS */
    cf_cancel *cancel; /* may be NULL */
    /* A file of the state: name (one part, no '/'), content borrowed for the call. What it fails with ends the collection. */
    cf_err *(*file)(void *context, const char *name, cf_span content);
    /* Something could not be recorded; may be NULL. It stands in notes.txt and RECOVER.md, too. */
    void (*note)(void *context, const char *text);
    void *context;
} cf_sysstate_options;

/* cf_sysstate_collect: fails CANCELLED, OUT_OF_MEMORY, and what file fails with. */
cf_err *cf_sysstate_collect(const cf_sysstate_options *options) __attribute__((warn_unused_result));

#endif
