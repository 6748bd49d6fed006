/* The agent's chunk index: 16-byte chunk-ID prefix -> address, on disk in the scratch folder.
 *
 * It is a cache: whatever is wrong with it is answered with CF_ERR_INDEX_UNREADABLE (900301), and the caller
 * then destroys it and makes it again from the directories of the packs. Fixed memory (default 8 MiB), about
 * 31.2 bytes of disk per chunk (twice that for a moment while runs are merged), made for 100 million chunks.
 *
 * Life: entries come in whole packs, only after the vault committed the pack; the numbers of applied packs
 * are kept (the watermark), so a repair reads only the directories of packs that are missing in it. A pack is
 * in the index with all its entries or not at all, whatever crashes. What was applied before cf_index_flush
 * returned survives power loss; what was applied at all survives the death of the process.
 *
 * Threads: any number of readers (cf_index_lookup, cf_index_has_pack, getters) at any time, together with one
 * writer at a time (apply_pack, apply_feed, set_epoch, flush); open, close and destroy alone. The folder is
 * for one process at a time: the lock that ensures it is the caller's. Design and layout: docs/index.md.      */
#ifndef CF_INDEX_INDEX_H
#define CF_INDEX_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "index/address.h"

#define CF_INDEX_MEMORY_DEFAULT ((size_t)8 << 20)

typedef struct cf_index cf_index;

typedef struct cf_index_options {
    uint8_t server_id[16]; /* an index of another server is refused (reason "other-server")             */
    size_t memory_bytes;   /* budget for own buffers, 0: 8 MiB; taken as at least 1 MiB, at most 1 GiB  */
    const char *boot_id;   /* which boot of the machine this is; NULL: ask the kernel. At most 63 bytes */
    bool merge_inline;     /* merge runs in the writer's calls, without a background thread             */
} cf_index_options;

typedef struct cf_index_entry {
    uint8_t id[CF_INDEX_ID_SIZE];
    uint16_t segment;
    uint32_t offset;
    uint32_t length;
} cf_index_entry;

typedef struct cf_index_segment {
    uint64_t pack;
    uint16_t segment;
} cf_index_segment;

typedef struct cf_index_pack_range { /* both ends included */
    uint64_t first;
    uint64_t last;
} cf_index_pack_range;

typedef struct cf_index_stats {
    uint64_t chunks;      /* entries, counting what is stored twice until runs are merged               */
    uint64_t bytes;       /* of all files in use                                                        */
    uint64_t runs;        /* sorted files that a lookup may have to ask                                 */
    uint64_t packs;       /* applied                                                                    */
    uint64_t dead;        /* retired segments that merging has not yet dropped                          */
    uint64_t merged_runs; /* merges done since open                                                     */
    uint64_t written;     /* bytes written to runs since open: flushes and merges                       */
} cf_index_stats;

/* cf_index_open: open the index in folder, or create it (the folder too, mode 0700; its parent must exist).
 *   index  set on success; ended with cf_index_close.
 *   Fails: 900301 INDEX_UNREADABLE with reason "damaged", "newer" or "other-server"; 900101 IO,
 *   900102 DISK_FULL. After a failure the files are as they were. Cost: reads the header of every run and
 *   at most a few MiB of log.                                                                          */
cf_err *cf_index_open(const char *folder, const cf_index_options *options, cf_index **index)
    __attribute__((warn_unused_result));
/* cf_index_close: flush, mark clean, join the background merge (which is cut short), free. NULL-safe.
 * After an error the index is freed all the same; the next open repairs.                              */
cf_err *cf_index_close(cf_index *index) __attribute__((warn_unused_result));
/* cf_index_discard: free without marking clean or making anything durable (error paths). NULL-safe.   */
void cf_index_discard(cf_index *index);
CF_DEFINE_AUTO(cf_index, cf_index_discard)
/* cf_index_destroy: remove the index's files and, when it is empty then, the folder. The index must not be
 * open. Files that are not the index's stay. A missing folder is fine. Fails: 900101 IO.               */
cf_err *cf_index_destroy(const char *folder) __attribute__((warn_unused_result));

/* cf_index_fresh: was it created by this open?
 * cf_index_recovered: may the log have lost its end? (Power loss, or a record that does not check.) The
 * packs that are left are whole; the caller compares cf_index_has_pack with the vault's list. Told by every open
 * until one was ended with cf_index_close: a caller that did not finish the repair ends with discard.     */
bool cf_index_fresh(const cf_index *index);
bool cf_index_recovered(const cf_index *index);

/* cf_index_lookup: where a chunk is stored, if it is. Chunks in segments that were retired are not found.
 * When an ID was stored more than once, any live address may be the answer.
 *   Cost: per run one 4 KiB page of filter (mostly in memory or page cache), plus one page for a hit.
 *   Fails: 900301 (a page does not check), 900101. The index stays usable for other lookups.          */
cf_err *cf_index_lookup(cf_index *index, const uint8_t id[CF_INDEX_ID_SIZE], bool *found, cf_index_address *address)
    __attribute__((warn_unused_result));

/* cf_index_apply_pack: enter a pack that the vault has committed. All or nothing. A pack that is already in
 * the watermark is a no-op. Entries of retired segments are left out. entries is borrowed, any order, count
 * may be 0 (the pack is then only recorded). An ID twice: the highest pack stays in the end.
 *   Cost: an append to the log; now and then a sorted write of the table in memory, seldom a merge.
 *   Fails: 900002 TOO_LARGE (a number out of range), 900102 DISK_FULL, 900101, 900001, 900301 (a merge met
 *   damage). After a failure the pack is not in the index; lookups go on.                             */
cf_err *cf_index_apply_pack(cf_index *index, uint64_t pack, const cf_index_entry *entries, size_t count)
    __attribute__((warn_unused_result));
/* cf_index_has_pack: is it in the watermark?                                                          */
bool cf_index_has_pack(cf_index *index, uint64_t pack);
/* cf_index_applied_ranges: the watermark, ascending, as a fresh array (free) of count ranges; NULL and 0
 * when nothing was applied.                                                                           */
cf_err *cf_index_applied_ranges(cf_index *index, cf_index_pack_range **ranges, size_t *count)
    __attribute__((warn_unused_result));

/* cf_index_apply_feed: one durable step: retired segments are dead from now on, generation and epoch are
 * these. retired is borrowed, any order, may repeat. After a failure nothing has changed. Also the way to
 * declare segments lost that turned out to be missing (same generation and epoch again).
 *   Fails: 900102, 900101, 900001, 900002.                                                            */
cf_err *cf_index_apply_feed(cf_index *index, uint64_t generation, const uint8_t epoch[16],
                            const cf_index_segment *retired, size_t count) __attribute__((warn_unused_result));
/* The vault's epoch (16 zero bytes until set) and generation (0). set_epoch is durable, generation stays. */
uint64_t cf_index_generation(cf_index *index);
void cf_index_epoch(cf_index *index, uint8_t epoch[16]);
cf_err *cf_index_set_epoch(cf_index *index, const uint8_t epoch[16]) __attribute__((warn_unused_result));

/* cf_index_flush: what was applied before this call survives power loss once it returned.             */
cf_err *cf_index_flush(cf_index *index) __attribute__((warn_unused_result));
/* cf_index_settle: wait until no merge is due (before measuring; nobody else needs it).               */
cf_err *cf_index_settle(cf_index *index) __attribute__((warn_unused_result));
/* cf_index_check: read every page and check it: 900301 at the first one that is wrong.                */
cf_err *cf_index_check(cf_index *index) __attribute__((warn_unused_result));
void cf_index_get_stats(cf_index *index, cf_index_stats *stats);

#endif
