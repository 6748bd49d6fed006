/* Merging runs into one. Internal to the index. */
#ifndef CF_INDEX_MERGE_H
#define CF_INDEX_MERGE_H

#include <stdatomic.h>

#include "index/ranges.h"
#include "index/run.h"

/* cf_merge_runs: one new run with the entries of all inputs; those in dead segments left out, and of an ID that
 * comes more than once the one with the highest pack kept. *output is NULL when nothing was left.
 * Checks *stop now and then: CF_ERR_CANCELLED. written: bytes of the new run.
 *   count: 1 .. 64.                                                                                      */
cf_err *cf_merge_runs(int dir, uint64_t number, const uint8_t server_id[16], cf_run *const *inputs, size_t count,
                      const cf_ranges *dead, const atomic_bool *stop, atomic_size_t *spare, cf_run **output,
                      uint64_t *written) __attribute__((warn_unused_result));

#endif
