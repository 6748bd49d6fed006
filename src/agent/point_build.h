/* Putting a recovery point together from what a scan came to.                                               */
#ifndef CF_AGENT_POINT_BUILD_H
#define CF_AGENT_POINT_BUILD_H

#include "agent/refresh.h"
#include "backup/backup.h"
#include "scan/coverage.h"
#include "sealed/root.h"
#include "sealed/slot.h"

typedef struct cf_point_parts {
    const cf_server_keys *keys;
    const cf_secret *session_key;
    cf_span key_record;
    cf_id16 server, session;
    uint64_t counter;
    cf_id32 previous;
    cf_time time;
    const cf_summary *summary;
    const cf_pack_name *packs;
    size_t pack_count;
    const cf_ref *tree;
    const cf_totals *totals;
    const cf_map *map;
    cf_usage *usage;        /* for the map's fill classes; NULL: it has none */
    const cf_map *base_map; /* NULL: the map is written whole */
    cf_id32 base_point;
    uint8_t base_chain;
    const char *host;
    const cf_coverage *coverage;
} cf_point_parts;

/* cf_point_build: the object, its ID, and how long its map's chain is (0: it is whole).                       */
cf_err *cf_point_build(const cf_point_parts *parts, cf_buf *object, cf_id32 *id, uint8_t *chain);
/* cf_selection_id: format, section 8. Fails: TOO_LARGE when sources and exclusions would not fit into a root. */
cf_err *cf_selection_id(const cf_server_keys *keys, cf_selection selection, const cf_coverage *coverage, cf_id16 *id);
/* cf_selection_cache: which tree cache goes with it. The same whatever is excluded, and for the policy whatever its sources are: a
 * scan compares folder by folder, so after a change of the selection everything that both cover is still known. */
cf_err *cf_selection_cache(const cf_server_keys *keys, cf_selection selection, const cf_coverage *coverage,
                           cf_id16 *id);

#endif
