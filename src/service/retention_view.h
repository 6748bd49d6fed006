/* What the rules say about a server's points right now: the same for enforcing, listing and admitting.       */
#ifndef CF_SERVICE_RETENTION_VIEW_H
#define CF_SERVICE_RETENTION_VIEW_H

#include "policy/retention.h"
#include "service/vault.h"

typedef struct cf_retention_view {
    cf_history_row *rows;      /* ascending by counter, expired ones too */
    cf_retained_point *points; /* of the same index                      */
    size_t count;
    bool has_policy;
    cf_policy policy;
    cf_retention_floor floor;
    int64_t next; /* when time alone changes something */
} cf_retention_view;

/* cf_retention_view_load: *view is written in any case: wipe it. Reads the database only. Fails: ZONE_UNKNOWN (of the policy),
 * POLICY_INVALID (a newer version wrote it), DATABASE; then nothing may be let go.                           */
cf_err *cf_retention_view_load(cf_vault *vault, const cf_id16 *server, int64_t now, cf_retention_view *view)
    __attribute__((warn_unused_result));
void cf_retention_view_wipe(cf_retention_view *view);
#define CF_AUTO_RETENTION_VIEW __attribute__((cleanup(cf_retention_view_wipe)))
/* NULL: no such point, or the view could not be loaded. */
const cf_retained_point *cf_retention_view_find(const cf_retention_view *view, uint64_t counter);

#endif
