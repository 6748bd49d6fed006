/* Which segments a stored recovery point needs, and whether the vault has them. */
#ifndef CF_SERVICE_LIVENESS_H
#define CF_SERVICE_LIVENESS_H

#include "service/vault.h"
#include "visible/map.h"
#include "visible/point.h"

/* cf_liveness_decode: a map as it stands in a point object, made whole with its chain of base points (which must
 * be recovery points of the same server). header may be NULL.
 * Fails: FORMAT; BAD_REQUEST, reason "base" (no such point, one that expired, or a wrong chain); POINT_DAMAGED (a base point that
 * cannot be read).                                                                                       */
cf_err *cf_liveness_decode(cf_vault *vault, const cf_id16 *server, cf_span bytes, cf_map_header *header, cf_map **map)
    __attribute__((warn_unused_result));
/* cf_liveness_of: of a stored point. */
cf_err *cf_liveness_of(cf_vault *vault, const cf_point_row *point, cf_map **map) __attribute__((warn_unused_result));
/* cf_liveness_missing: what of the map and the pack list the vault does not have: an object {"missing":[{"pack":n,
 * "segments":[..]|"all"}],"more":bool}; NULL when it has everything. *revive: what the map needs of retired segments (NULL:
 * nothing): it has to come back to present in the transaction in which the map becomes a point's.         */
cf_err *cf_liveness_missing(cf_vault *vault, const cf_id16 *server, const cf_map *map, const cf_pack_name *packs,
                            size_t count, json_t **missing, cf_map **revive) __attribute__((warn_unused_result));
/* cf_point_load: a stored point's bytes, checked against its ID. */
cf_err *cf_point_load(cf_vault *vault, const cf_point_row *point, cf_buf *out) __attribute__((warn_unused_result));

#endif
