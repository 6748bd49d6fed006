/* Walking a whole tree, or what is below one folder of it, in the order of its names. Any depth in bounded
 * memory: far up in a deep tree, readers are closed and opened again.                                    */
#ifndef CF_REPO_TREE_WALK_H
#define CF_REPO_TREE_WALK_H

#include "base/cancel.h"
#include "repo/tree.h"

typedef struct cf_tree_visitor {
    /* An entry and its path. *enter (preset to true) is about folders only. An error ends the walk.        */
    cf_err *(*entry)(void *context, cf_span path, const cf_entry *entry, bool *enter);
    /* A folder, or a part of one, could not be read; err is taken. The walk goes on with the next. May be NULL:
     * then the error ends the walk. Only damage comes here; other errors end the walk.                     */
    void (*damaged)(void *context, cf_span path, cf_err *err);
    /* A node is about to be read: false skips it (it was seen before). May be NULL.                        */
    bool (*node)(void *context, const cf_ref *node);
    void *context;
    cf_cancel *cancel;
} cf_tree_visitor;

/* cf_tree_walk: node is the folder's, path its own (absolute; "/" for the root). The folder itself is not
 * visited. Fails: CANCELLED, what a visitor returns, and what reading fails with.                          */
cf_err *cf_tree_walk(cf_lane *lane, const cf_map *map, const cf_ref *node, cf_span path,
                     const cf_tree_visitor *visitor);

#endif
