/* The tree cache: what the last recovery point of a selection looked like, on this machine, with the local
 * facts (inode, ctime) by which a scan tells what has changed. It is a file of blocks, one for each folder,
 * written bottom up: a folder's block names the blocks of its subfolders, so a scan goes through it beside the
 * live tree, in any order and with several threads, reading only what it visits.
 *
 * Blocks are never changed. A scan appends the blocks of folders that differ and keeps naming the old ones for
 * the rest; a small root file, replaced as a whole, says where the newest root block is. When more than half of
 * the file is no longer named, the next scan writes all of it into a new file.
 *
 * Everything here can be made again: whatever does not check is treated as "no cache" for that folder.
 * Threads: reading and appending from any number; open, commit and close alone.                           */
#ifndef CF_SCAN_CACHE_H
#define CF_SCAN_CACHE_H

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/ids.h"
#include "os/stat.h"
#include "sealed/node.h"

typedef struct cf_cache cf_cache;

typedef struct cf_block_place {
    uint64_t offset;
    uint32_t length; /* 0: none */
} cf_block_place;

/* What the root file says. */
typedef struct cf_cache_root {
    cf_id32 point;        /* the recovery point that this is */
    cf_time scan_started; /* a ctime at or after it proves nothing */
    cf_block_place block; /* of the folder "/" */
    uint8_t map_chain;    /* of the point's liveness map: 0 when it is no delta */
    uint64_t live_bytes;  /* of blocks that the root leads to */
} cf_cache_root;

/* cf_cache_open: open or create the cache of one selection.
 *   dirfd       the scratch folder, borrowed for the cache's life.
 *   selection   its ID: names the files.
 *   has_root    false: there is nothing (fresh, damaged, of another server); scans start from nothing.
 *   map         the point's liveness map, not a delta, when has_root.
 * Fails: IO, DISK_FULL, OUT_OF_MEMORY.                                                                     */
cf_err *cf_cache_open(int dirfd, const cf_id16 *server, const cf_id16 *selection, cf_cache **cache);
void cf_cache_close(cf_cache *cache);
CF_DEFINE_AUTO(cf_cache, cf_cache_close)
bool cf_cache_has_root(const cf_cache *cache);
const cf_cache_root *cf_cache_get_root(const cf_cache *cache);
cf_span cf_cache_map(const cf_cache *cache); /* borrowed */
/* cf_cache_forget: from now on there is no root (its point is not the vault's any more).                     */
void cf_cache_forget(cf_cache *cache);
/* cf_cache_rewrite: should this scan write every block anew (into a new file)? Then pass write_all to it.    */
bool cf_cache_wants_rewrite(const cf_cache *cache);
cf_err *cf_cache_begin_rewrite(cf_cache *cache);

/* cf_cache_read: a block of the file that was current at open, checked. *ok is false when it does not check
 * (the scan then sees everything there as new).                                                              */
cf_err *cf_cache_read(cf_cache *cache, cf_block_place place, cf_buf *block, bool *ok);
/* cf_cache_append: the place that the block got. Not durable before commit.                                   */
cf_err *cf_cache_append(cf_cache *cache, cf_span block, cf_block_place *place);
/* cf_cache_commit: root and map (a whole map, not a delta) are what the next open finds.                       */
cf_err *cf_cache_commit(cf_cache *cache, const cf_cache_root *root, cf_span map);

/* ---- Blocks ---- */

/* An entry of a block: its local facts and its encoded tree entry (sealed/node.h, cf_entry_encode).            */
typedef struct cf_cache_entry {
    cf_span name;
    cf_stat stat;         /* type, mode, owner, nlink, size, mtime, ctime, inode */
    cf_block_place child; /* DIRECTORY */
    cf_span segments;     /* encoded (pack, segment) pairs: all that the content needs (cf_pairs_next) */
    cf_span entry;        /* encoded */
} cf_cache_entry;

/* What a block says of its own folder. */
typedef struct cf_cache_folder {
    cf_ref node; /* the folder's tree node */
    cf_totals totals;
    cf_span segments; /* encoded pairs: all nodes that the folder consists of */
    uint32_t count;   /* entries */
} cf_cache_folder;

/* Writing: begin, add in ascending order of names, end (fills in length and sum).                              */
void cf_block_begin(cf_buf *out, const cf_cache_folder *folder);
void cf_block_add(cf_buf *out, const cf_cache_entry *entry);
cf_err *cf_block_end(cf_buf *out);
/* Reading: a checked block. cf_block_next: false at the end or at something malformed.                          */
bool cf_block_open(cf_span block, cf_cursor *cursor, cf_cache_folder *folder);
bool cf_block_next(cf_cursor *cursor, cf_cache_entry *entry);

/* (pack, segment) pairs: varints, repetitions of the pair before are left out by _add.                          */
void cf_pairs_add(cf_buf *out, uint64_t *last_pack, uint32_t *last_segment, uint64_t pack, uint16_t segment);
bool cf_pairs_next(cf_cursor *cursor, uint64_t *pack, uint16_t *segment);

/* Behind the pairs may stand what of the last `count` of them is used: for a content whose references are not at hand.
 * cf_pairs_next ends there as at the end.                                                              */
typedef struct cf_use {
    uint32_t start, end; /* of the decompressed segment */
    uint32_t bytes;      /* between those               */
} cf_use;
void cf_use_encode(const cf_use *use, cf_buf *out);
/* cf_uses_put: uses are count encoded ones. */
void cf_uses_put(cf_buf *out, uint32_t count, cf_span uses);
/* cf_uses_begin: cursor where cf_pairs_next has ended; false: there are none. cf_uses_next: bad values fail the cursor. */
bool cf_uses_begin(cf_cursor *cursor, uint32_t *count);
void cf_uses_next(cf_cursor *cursor, cf_use *use);

#endif
