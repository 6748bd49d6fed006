/* What is different between two trees. Where both name the same node, nothing is read: the cost follows the
 * differences, also within one large split folder. Any depth in bounded memory.                          */
#ifndef CF_REPO_TREE_DIFF_H
#define CF_REPO_TREE_DIFF_H

#include "base/cancel.h"
#include "repo/tree.h"

typedef struct cf_tree_side {
    cf_lane *lane;
    const cf_map *map;
    const cf_ref *root; /* NULL: an empty tree */
} cf_tree_side;

typedef struct cf_diff_visitor {
    /* An entry that is in one of them only (before or after is NULL), or in both and not the same. What is below an
     * added or removed folder comes too, each entry. In the order of names; a folder before what is in it. An error
     * ends the walk. */
    cf_err *(*change)(void *context, cf_span path, const cf_entry *before, const cf_entry *after);
    /* A folder, or a part of one, could not be read on one side; err is taken. What it held is passed over on that side
     * (and seems to be gone or new). May be NULL: then it ends the walk. Only damage comes here. */
    void (*damaged)(void *context, cf_span path, bool before, cf_err *err);
    void *context;
    cf_cancel *cancel;
} cf_diff_visitor;

/* cf_tree_diff: each side has a lane of its own or both the same (the entries come through copies). Fails: CANCELLED, what
 * a visitor returns, and what reading fails with. */
cf_err *cf_tree_diff(const cf_tree_side *before, const cf_tree_side *after, const cf_diff_visitor *visitor);

/* cf_entries_differ: would a restore give something else? Type, mode, owner, size, time (not of folders: each new name in
 * them changes it), target, device, attributes, content. Contents are compared by chunk IDs: that they are stored
 * somewhere else makes no difference. */
cf_err *cf_entries_differ(const cf_tree_side *before, const cf_tree_side *after, const cf_entry *a, const cf_entry *b,
                          bool *differ);

#endif
