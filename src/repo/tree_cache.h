/* What reading commands have fetched of trees, kept in scratch, so that the second look at a point needs the vault for
 * next to nothing: sealed segments of tree packs, key records, small points.
 *
 *   <scratch>/trees/<server>/<pack>-<segment>, r<session>, p<point>
 *
 * Everything is kept as the vault gave it and is checked as if it came from there (sums, seals, IDs); what does not
 * hold is removed and fetched again. Nothing here is ever a reason to fail: a cache that cannot be used is no cache.
 * It stays below its limit, oldest use first, and gives way before the file system is full. Any number of processes
 * and threads may use it at once; the limit is kept by each as it sees the folder.                              */
#ifndef CF_REPO_TREE_CACHE_H
#define CF_REPO_TREE_CACHE_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/ids.h"

#define CF_TREE_CACHE_LIMIT (UINT64_C(1) << 30) /* bytes, when nothing else is said */
enum { CF_TREE_CACHE_NAME = 80 };

typedef struct cf_tree_cache cf_tree_cache;
/* cf_tree_cache_open: the folders are made; those of other servers (an earlier registration) are removed.
 *   scratch  its folder; copied. Fails: OUT_OF_MEMORY, IO, DISK_FULL (the caller goes on without). */
cf_err *cf_tree_cache_open(const char *scratch, const cf_id16 *server, uint64_t limit_bytes, cf_tree_cache **cache)
    __attribute__((warn_unused_result));
void cf_tree_cache_close(cf_tree_cache *cache); /* NULL-safe */
CF_DEFINE_AUTO(cf_tree_cache, cf_tree_cache_close)

/* cf_tree_cache_get: out is reset and holds the entry; false (and out is empty) when there is none that can be read, or
 * it has more than out's maximum. */
bool cf_tree_cache_get(cf_tree_cache *cache, const char *name, cf_buf *out);
/* cf_tree_cache_put: whole or not at all. */
void cf_tree_cache_put(cf_tree_cache *cache, const char *name, const cf_span *spans, size_t count);
/* cf_tree_cache_drop: it did not hold what it should. */
void cf_tree_cache_drop(cf_tree_cache *cache, const char *name);
/* cf_tree_cache_trim: within the limit, and with room left on the file system. For whoever needs the room. */
void cf_tree_cache_trim(cf_tree_cache *cache);
/* cf_tree_cache_make_room: the same in one call. */
void cf_tree_cache_make_room(const char *scratch, const cf_id16 *server);

void cf_tree_cache_segment_name(uint64_t pack, uint16_t segment, char name[CF_TREE_CACHE_NAME]);
void cf_tree_cache_id_name(char kind, cf_span id, char name[CF_TREE_CACHE_NAME]); /* 'r', 'p' */

#endif
