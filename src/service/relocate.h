/* Relocation records in the vault: what they keep alive.                                                 */
#ifndef CF_SERVICE_RELOCATE_H
#define CF_SERVICE_RELOCATE_H

#include "records/damage.h"
#include "service/vault.h"
#include "visible/relocation.h"

/* cf_relocation_add_live: adds to map the segments that these points need besides their own maps', because relocation
 * records numbered above `after` moved chunks of theirs. For the mark of reclaiming: call it with after 0 for all
 * retained points, and again under the server's lock with what *newest said, for records that came meanwhile.
 *   points  any order.       *newest  the highest number that was looked at (at least after); may be NULL.
 * Reads the records' objects when there are any above `after` (few servers ever have one).
 * Fails: POINT_DAMAGED (a record cannot be read: then nothing of this server may be reclaimed), DATABASE, OUT_OF_MEMORY. */
cf_err *cf_relocation_add_live(cf_vault *vault, const cf_id16 *server, const cf_id32 *points, size_t count,
                               uint64_t after, cf_map *map, uint64_t *newest) __attribute__((warn_unused_result));

#endif
