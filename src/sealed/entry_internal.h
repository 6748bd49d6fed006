/* Internal to sealed: one entry's encoding, with owners as table indices (nodes) or in full (the cache).   */
#ifndef CF_SEALED_ENTRY_INTERNAL_H
#define CF_SEALED_ENTRY_INTERNAL_H

#include "sealed/node.h"

enum { CF_NODE_VERSION = 1, CF_OWNERS_MAX = 65536, CF_NAME_SIZE_MAX = 255, CF_OWNER_NAME_MAX = 255 };

typedef struct cf_owner {
    uint32_t id;
    cf_span name;
} cf_owner;

/* The owners of a node: what indices mean. */
typedef struct cf_owner_tables {
    cf_owner *users, *groups;
    uint32_t user_count, group_count;
} cf_owner_tables;

/* cf_entry_put: indices: { user, group } of the tables, or NULL for owners in full.                        */
void cf_entry_put(const cf_entry *entry, const uint32_t indices[2], cf_buf *out);
/* cf_entry_take: the next entry; NULL when it is good, otherwise a reason (a literal).
 *   tables   NULL: owners stand in full. Its arrays may be NULL: then indices are checked against the counts only.
 *   xattrs   room for CF_XATTRS_MAX, or NULL: then they are checked but meta.xattrs stays NULL.             */
const char *cf_entry_take(cf_cursor *cursor, const cf_owner_tables *tables, cf_xattr *xattrs, cf_entry *entry);

/* cf_name_valid: may this be the name of an entry?                                                         */
bool cf_name_valid(cf_span name);
void cf_totals_put(const cf_totals *totals, cf_buf *out);
void cf_totals_take(cf_cursor *cursor, cf_totals *totals);
/* cf_xattrs_take: like cf_entry_take.                                                                      */
const char *cf_xattrs_take(cf_cursor *cursor, cf_xattr *xattrs, uint32_t *count);
/* cf_refs_take: count references; their total length in *length. Bad ones fail the cursor.                 */
cf_span cf_refs_take(cf_cursor *cursor, uint32_t count, uint64_t *length);

#endif
