/* Is the vault's list of points the one that this server knows? The agent keeps the newest point that it
 * has seen (its head), because a vault can leave points out, put an older state back, or give a point's
 * name to another. Pure; the chain itself is checked by cf_reader_points.                                */
#ifndef CF_REPO_VAULT_HEAD_H
#define CF_REPO_VAULT_HEAD_H

#include "repo/source.h"

typedef struct cf_vault_head {
    bool known; /* false: nothing was ever seen */
    cf_id32 id;
    uint64_t counter;
} cf_vault_head;

typedef enum cf_vault_head_state {
    CF_HEAD_SAME,  /* the vault's newest is ours                                    */
    CF_HEAD_NEWER, /* ours is there, or aged out since: move forward */
} cf_vault_head_state;

/* cf_vault_head_check: rows as cf_reader_points gives them; *newest is the vault's head (known is false when the list
 * is empty), to be kept once its root has been opened.
 * Fails, all HEAD_MISMATCH with a reason:
 *   "rolled_back"  the vault's newest has a lower counter than ours (hidden, or really rolled back: the same
 *                  from here)
 *   "empty"        it lists nothing although we know a point
 *   "relabelled"   our counter belongs to another point, or our point to another counter
 *   "forked"       the point after ours does not name ours as the one before it                          */
cf_err *cf_vault_head_check(const cf_vault_head *known, const cf_point_row *rows, size_t count,
                            cf_vault_head_state *state, cf_vault_head *newest);

#endif
