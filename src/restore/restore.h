/* Restoring: from a recovery point to files. Every chunk is checked; a file appears under its name only when
 * it is complete; nothing is written outside the destination.
 *
 * What cannot be read back or written is reported by name and the rest goes on; only what makes going on
 * pointless (no network, no memory, cancelled) ends the whole.                                            */
#ifndef CF_RESTORE_RESTORE_H
#define CF_RESTORE_RESTORE_H

#include "base/cancel.h"
#include "base/progress.h"
#include "repo/reader.h"

typedef enum cf_conflict { CF_CONFLICT_COPY, CF_CONFLICT_OVERWRITE, CF_CONFLICT_SKIP } cf_conflict;

/* What a dry run says about one object. */
typedef enum cf_restore_action {
    CF_RESTORE_CREATE,  /* nothing stands there                                                     */
    CF_RESTORE_REPLACE, /* something else stands there and gives way                                */
    CF_RESTORE_COPY,    /* something else stands there and stays: a copy beside it                  */
    CF_RESTORE_SKIP,    /* something else stands there and stays                                    */
    CF_RESTORE_SAME,    /* the content is there already                                             */
} cf_restore_action;

typedef struct cf_restore_options {
    const cf_span *patterns; /* restore/select.h; none: everything                                     */
    size_t pattern_count;
    const char *to; /* a folder, made when missing; NULL: in place ("/")                               */
    bool strip;     /* without the source's own path: one folder's content stands directly in `to`; of
                       several sources or paths each stands under its last name                        */
    cf_conflict conflict;
    bool dry_run, no_acl, numeric_ids;
    bool best_effort; /* what can be read of a damaged file is written beside it, as NAME.damaged, with zeroes (holes)
                         in place of the rest                                                           */
    unsigned lanes;   /* threads; 0: a good number                                                       */
    cf_cancel *cancel;
    cf_progress *progress;
    /* Callbacks may be NULL and may come from any thread, one at a time. path: bytes, as in the point.  */
    void (*warning)(void *context, cf_span path, const cf_err *err);
    void (*damaged)(void *context, cf_span path, const cf_err *err);
    void (*planned)(void *context, cf_span path, cf_restore_action action, uint64_t size); /* dry run */
    void *context;
} cf_restore_options;

typedef struct cf_restore_result {
    uint64_t files; /* regular files, links to them included, that stand at the destination now   */
    uint64_t directories;
    uint64_t others;
    uint64_t bytes; /* of the files' contents                                                     */
    uint64_t bytes_fetched;
    uint64_t identical; /* files whose content was there already                                      */
    uint64_t skipped;   /* objects left out because of the conflict rule, and sockets                 */
    uint64_t damaged;   /* files and folders that could not be read back                              */
    uint64_t partial;   /* of those: whose readable parts were written                                */
    uint64_t bytes_needed, files_needed; /* dry run: what would be written, without holes; new entries     */
    uint64_t warnings;
} cf_restore_result;

/* cf_restore: point must have its map. *result is written also on failure, as far as it got.
 * Fails: CANCELLED; NOT_IN_POINT (a path that the point does not hold; the others are restored);
 * DESTINATION_REFUSED; BAD_USAGE; OUT_OF_MEMORY; errors of the way to the vault.                          */
cf_err *cf_restore(cf_reader *reader, const cf_point *point, const cf_restore_options *options,
                   cf_restore_result *result);

#endif
