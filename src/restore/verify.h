/* Verifying a recovery point: everything that its tree refers to is read back, decrypted and hashed.
 *
 *   1. The tree is walked: every folder's record and every list is read (and so checked); every data reference
 *      must lie within the point's map and be what the pack's own directory says of that place.
 *   2. Every segment that is needed is fetched once, and every chunk in it checked against the directory.
 *   3. Only after damage: the tree is walked again to name the files.
 * A sample checks that share of the segments; the tree is always read.                                   */
#ifndef CF_RESTORE_VERIFY_H
#define CF_RESTORE_VERIFY_H

#include "base/cancel.h"
#include "base/progress.h"
#include "repo/reader.h"

typedef struct cf_verify_options {
    double sample; /* percent of the segments; 0: all                                                    */
    uint64_t seed; /* of the sample                                                                      */
    unsigned lanes;
    cf_cancel *cancel;
    cf_progress *progress;
    /* A file or folder that cannot be read back, once each; one call at a time. May be NULL.            */
    void (*damaged)(void *context, cf_span path, const cf_err *err);
    /* Damage of the store that concerns no content of this point by itself (a pack's directory).        */
    void (*warning)(void *context, cf_span path, const cf_err *err);
    void *context;
} cf_verify_options;

typedef struct cf_verify_result {
    uint64_t chunks, bytes; /* checked: data chunks and folder records */
    uint64_t segments;
    uint64_t bytes_fetched;
    uint64_t damaged; /* files and folders */
    uint64_t warnings;
} cf_verify_result;

/* cf_verify: point must have its map. *result is written also on failure, as far as it got.
 * Fails: CANCELLED, OUT_OF_MEMORY, errors of the way to the vault. Damage is a result, not an error.      */
cf_err *cf_verify(cf_reader *reader, const cf_point *point, const cf_verify_options *options, cf_verify_result *result);

#endif
