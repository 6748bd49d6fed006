/* What the vault found damaged of this server's data, and relocation records.                            */
#ifndef CF_REMOTE_DAMAGE_H
#define CF_REMOTE_DAMAGE_H

#include "remote/sessions.h"

typedef struct cf_remote_damage {
    cf_remote_segments *open, *healed; /* segments; healed: their chunks stand elsewhere since */
    size_t open_count, healed_count;
    size_t objects; /* damaged besides segments: recovery points, directories, key records */
    bool more;      /* there are more than the vault tells at once */
} cf_remote_damage;
cf_err *cf_remote_get_damage(cf_remote *remote, cf_remote_damage *damage) __attribute__((warn_unused_result));
void cf_remote_damage_wipe(cf_remote_damage *damage);

typedef struct cf_remote_relocation {
    uint64_t number, size;
    cf_id32 id;
} cf_remote_relocation;
/* cf_remote_list_relocations: ascending by number; a fresh array, the caller frees it.                   */
cf_err *cf_remote_list_relocations(cf_remote *remote, cf_remote_relocation **rows, size_t *count)
    __attribute__((warn_unused_result));
/* cf_remote_get_relocation: appended to out, its ID checked. Fails: BAD_REPLY (reason "digest").           */
cf_err *cf_remote_get_relocation(cf_remote *remote, const cf_id32 *id, cf_buf *out) __attribute__((warn_unused_result));
/* cf_remote_store_relocation: bytes have this ID. Harmless to repeat. Fails: OBJECT_CONFLICT (reason "number"):
 * another record has the number.                                                                         */
cf_err *cf_remote_store_relocation(cf_remote *remote, const cf_id16 *session, const cf_id32 *id, cf_span bytes)
    __attribute__((warn_unused_result));

#endif
