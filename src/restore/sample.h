/* A random sample of a recovery point's files, to prove that they come back.
 * Threads: one.                                                                                          */
#ifndef CF_RESTORE_SAMPLE_H
#define CF_RESTORE_SAMPLE_H

#include "base/cancel.h"
#include "repo/reader.h"

enum { CF_SAMPLE_FILES_MAX = 10000 };

typedef struct cf_sample {
    cf_buf bytes;      /* all patterns                                                             */
    cf_span *patterns; /* what names each file for cf_restore: its path, special characters escaped */
    size_t count;
    uint64_t size;        /* of the files together */
    uint64_t files_total; /* that there were to choose from */
} cf_sample;
void cf_sample_wipe(cf_sample *sample);
#define CF_AUTO_SAMPLE __attribute__((cleanup(cf_sample_wipe)))

/* cf_sample_draw: at most `files` files (1 .. CF_SAMPLE_FILES_MAX) of at most `bytes` together, each file of the point as
 * likely as any other that fits. Reads the whole tree; memory follows `files`. A folder whose record is damaged adds
 * nothing. Fails: as cf_tree_walk.                                                                         */
cf_err *cf_sample_draw(cf_reader *reader, const cf_point *point, size_t files, uint64_t bytes, cf_cancel *cancel,
                       cf_sample *sample) __attribute__((warn_unused_result));

#endif
