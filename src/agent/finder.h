/* Where chunks of this server stand, from its index: for readers that find a chunk damaged where a recovery point says it is.
 * The index is opened for each question and closed again, unless a backup is at work with it.
 * Threads: any number.                                                                                    */
#ifndef CF_AGENT_FINDER_H
#define CF_AGENT_FINDER_H

#include "agent/state.h"
#include "repo/reader.h"

typedef struct cf_index_finder cf_index_finder;

/* cf_index_finder_new: state and scratch are borrowed. Fails: OUT_OF_MEMORY.                               */
cf_err *cf_index_finder_new(cf_state *state, const char *scratch, const cf_id16 *server, cf_index_finder **finder)
    __attribute__((warn_unused_result));
void cf_index_finder_free(cf_index_finder *finder); /* NULL-safe; after the reader */
/* cf_index_finder_use: from now on the reader asks it. */
void cf_index_finder_use(cf_index_finder *finder, cf_reader *reader);

#endif
