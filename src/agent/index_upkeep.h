/* Keeping the chunk index in step with the vault: it is opened, made again when it cannot be used, and filled
 * from pack directories with what it does not know.                                                          */
#ifndef CF_AGENT_INDEX_UPKEEP_H
#define CF_AGENT_INDEX_UPKEEP_H

#include "agent/access.h"
#include "index/index.h"
#include "remote/sessions.h"
#include "repo/reader.h"

/* cf_index_upkeep_open: opens the index in `<scratch>/index`; one that cannot be used is removed and begun anew.
 * *fresh: it knows nothing yet (the caller fills it).                                                          */
cf_err *cf_index_upkeep_open(const char *scratch, const cf_id16 *server, cf_index **index, bool *fresh);
/* cf_index_upkeep_restart: forget everything (the vault's contents are not what the index says).               */
cf_err *cf_index_upkeep_restart(const char *scratch, const cf_id16 *server, cf_index **index);
/* cf_index_upkeep_retire: these are dead from now on, in one step with generation and epoch.                    */
cf_err *cf_index_upkeep_retire(cf_index *index, uint64_t generation, const uint8_t epoch[16],
                               const cf_remote_segments *retired, size_t count);
/* cf_index_upkeep_fill: read the directories of the packs that the vault has and the index has not. What of them is
 * retired by now is dead before it comes in.
 *   *added: how many packs. A pack whose directory does not open is left out, with a warning in the log.        */
cf_err *cf_index_upkeep_fill(cf_index *index, cf_remote *remote, cf_reader *reader, cf_cancel *cancel, uint64_t *added);
/* cf_index_upkeep_highest: the highest pack number in it, 0 when there is none.                                 */
cf_err *cf_index_upkeep_highest(cf_index *index, uint64_t *highest);

#endif
