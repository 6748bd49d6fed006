/* What agents are told about retired segments. Of this folder only. */
#ifndef CF_SERVICE_FEED_H
#define CF_SERVICE_FEED_H

#include "records/reclaim.h"
#include "service/vault.h"

typedef struct cf_feed {
    json_t *list;  /* [{"pack":n,"segments":[..]}] */
    uint64_t upto; /* the generation that it leads to */
    bool more;     /* there is more: ask again with that one */
    bool resync;   /* generations since the agent's are not known any more: its index is worth nothing */
} cf_feed;
void cf_feed_wipe(cf_feed *feed);
#define CF_AUTO_FEED __attribute__((cleanup(cf_feed_wipe)))

/* cf_feed_read: what was retired since `generation`, of which the agent says that it belongs to this epoch (NULL: none).
 * An agent that is ahead of the database freezes expiry and deletion. Inside a transaction.               */
cf_err *cf_feed_read(cf_vault *vault, const cf_id16 *server, const cf_id16 *epoch, uint64_t generation, cf_feed *feed)
    __attribute__((warn_unused_result));

/* cf_pack_value: a pack as it is listed, with its retired segments. list: in order; *at goes on behind the pack's. */
cf_err *cf_pack_value(const cf_pack_row *row, const cf_retired_list *list, size_t *at, json_t **value)
    __attribute__((warn_unused_result));

#endif
