/* A repository opened for reading: from a reference to the bytes that it stands for, checked at each step
 * (extent sum, seal, chunk ID, the point's liveness map). Needs no index.
 *
 * A cf_reader is shared by all threads of a job. Each thread reads through a cf_lane of its own, which owns
 * cipher, zstd and hash contexts and reused buffers. Decompressed segments are kept in a bounded cache and
 * shared: two lanes that want the same segment fetch it once.
 * Source: docs/format.md, sections 2 to 8.                                                               */
#ifndef CF_REPO_READER_H
#define CF_REPO_READER_H

#include "base/buf.h"
#include "base/err.h"
#include "base/ids.h"
#include "base/secret.h"
#include "repo/source.h"
#include "repo/tree_cache.h"
#include "sealed/root.h"
#include "sealed/segment.h"
#include "sealed/slot.h"
#include "visible/map.h"
#include "visible/pack.h"
#include "visible/point.h"

typedef struct cf_reader cf_reader;

enum { CF_READER_CACHE_DEFAULT = 24 << 20 };

/* cf_reader_open: source and keys are borrowed until close.
 *   cache_bytes  of decompressed segments that are kept; at least one always is.
 * Fails: OUT_OF_MEMORY.                                                                                 */
cf_err *cf_reader_open(cf_source *source, const cf_server_keys *keys, const cf_id16 *server, size_t cache_bytes,
                       cf_reader **reader);
void cf_reader_close(cf_reader *reader); /* after all its lanes and points */
CF_DEFINE_AUTO(cf_reader, cf_reader_close)
/* cf_reader_use_trees: look for what belongs to trees in this cache first, and keep there what was fetched. Borrowed until
 * close; set before anything is read. Not for commands whose purpose is to read what the vault holds (verify). */
void cf_reader_use_trees(cf_reader *reader, cf_tree_cache *trees);
/* cf_reader_use_finder: who knows where chunks of this server stand besides what points say (the agent's index). Asked
 * for what cannot be read where it should be, from any thread. Set before anything is read; for commands that want content,
 * not for those that look whether the vault's copy is whole.                                                 */
typedef struct cf_finder {
    cf_err *(*find)(void *context, const cf_id32 *id, bool *found, cf_ref *ref);
    void *context;
} cf_finder;
void cf_reader_use_finder(cf_reader *reader, const cf_finder *finder);
const cf_id16 *cf_reader_server(const cf_reader *reader);
/* Bytes read from packs so far. */
uint64_t cf_reader_fetched(const cf_reader *reader);

/* ---- Recovery points ---- */

/* A point, opened and verified: its ID is the object's SHA-256, its sealed root says the same as the frame
 * around it. Everything lives until cf_point_close.                                                     */
typedef struct cf_point {
    cf_id32 id;
    cf_buf object;
    cf_point_frame frame; /* borrows object */
    cf_summary summary;
    cf_root root;
    cf_buf root_storage;
    cf_map_header map_header;
    cf_map *map; /* the effective one; NULL until cf_reader_point_map */
} cf_point;
void cf_point_close(cf_point *point);
CF_DEFINE_AUTO(cf_point, cf_point_close)

/* cf_reader_points: what the keeper lists, ascending by counter, checked to be one chain as far as the
 * list goes: counters and IDs without repetition, each one's previous is the one before it where that is
 * listed (expired points leave gaps). A fresh array, the caller frees it.
 * Fails: POINT_CHAIN (reasons "order", "previous", "duplicate", "relabelled").                                         */
cf_err *cf_reader_points(cf_reader *reader, cf_point_row **rows, size_t *count);
/* cf_reader_point_open: fetch and verify. Fails: POINT_NOT_FOUND; POINT_DAMAGED around SEAL_BROKEN, FORMAT
 * and the like; FORMAT_VERSION.                                                                         */
cf_err *cf_reader_point_open(cf_reader *reader, const cf_id32 *id, cf_point **point);
/* cf_reader_point_fetch: the same, from the vault whatever the cache of trees holds (it is not kept there either). */
cf_err *cf_reader_point_fetch(cf_reader *reader, const cf_id32 *id, cf_point **point);
/* cf_reader_point_decode: the same from bytes that are at hand (copied).                                */
cf_err *cf_reader_point_decode(cf_reader *reader, const cf_id32 *id, cf_span object, cf_point **point);
/* cf_reader_point_map: make sure that point->map is there: deltas are resolved by opening their bases
 * (at most 8).                                                                                         */
cf_err *cf_reader_point_map(cf_reader *reader, cf_point *point);
/* cf_reader_point_find: which listed point a person means: an ID prefix (4 digits at least), "latest" (the
 * newest of the policy's selection, the newest of all if there is none), or a date or time (RFC 3339 or
 * the beginning of it, local time unless it has a zone): the newest not after its end. rows as listed.
 * Fails: POINT_NOT_FOUND; POINT_AMBIGUOUS (the message lists them).                                      */
cf_err *cf_reader_point_find(const cf_point_row *rows, size_t count, const char *name, size_t *index);
/* cf_reader_point_listed: open and map a listed point; it must say of itself what the list says. Fails also:
 * POINT_CHAIN (reason "relabelled").                                                                    */
cf_err *cf_reader_point_listed(cf_reader *reader, const cf_point_row *row, cf_point **point);
/* cf_reader_point_named: list, find, open and map in one.                                               */
cf_err *cf_reader_point_named(cf_reader *reader, const char *name, cf_point **point);

/* ---- Lanes, segments, chunks ---- */

typedef struct cf_lane cf_lane;
cf_err *cf_lane_new(cf_reader *reader, cf_lane **lane);
void cf_lane_free(cf_lane *lane);
CF_DEFINE_AUTO(cf_lane, cf_lane_free)

/* A decompressed segment, pinned. raw stays valid until it is released.                                 */
typedef struct cf_segment cf_segment;
cf_span cf_segment_raw(const cf_segment *segment);
void cf_segment_release(cf_segment *segment); /* NULL-safe */
CF_DEFINE_AUTO(cf_segment, cf_segment_release)

/* cf_lane_segment: from the cache, or fetched, checked (XXH3, seal) and decompressed.
 *   map  the point's; a segment outside it fails with SEGMENT_OUTSIDE_MAP even if it exists. NULL: no
 *        point is being read (a writer reading what its own session stored; the index's rebuild).
 * Fails also: PACK_UNREADABLE (reasons "missing", "short", "header", "extents"), SEGMENT_DAMAGED (reasons
 * "missing", "sum", "seal", "kind"), and errors of the network, which say nothing about damage
 * (CF_F_DAMAGE tells them apart).                                                                       */
cf_err *cf_lane_segment(cf_lane *lane, const cf_map *map, cf_kind kind, uint64_t pack, uint16_t segment,
                        cf_segment **out);
/* cf_lane_chunk: the bytes of a reference, its ID checked: out is reset and receives them. From its address; what stands
 * elsewhere by now (a relocation record, else the finder) from there, and where that is damaged from the other places.
 * Fails also: CHUNK_MISMATCH (reasons "id", "range").                                                   */
cf_err *cf_lane_chunk(cf_lane *lane, const cf_map *map, cf_kind kind, const cf_ref *ref, cf_buf *out);
/* cf_lane_chunk_elsewhere: a chunk that could not be read at ref (why, taken): from the other places that are known. Fails with
 * why when there is none.                                                                               */
cf_err *cf_lane_chunk_elsewhere(cf_lane *lane, const cf_map *map, cf_kind kind, const cf_ref *ref, cf_err *why,
                                cf_buf *out);
/* cf_lane_chunk_in: the same as cf_lane_chunk, at this address only, within a pinned segment, without copying.                                  */
cf_err *cf_lane_chunk_in(cf_lane *lane, const cf_segment *segment, cf_kind kind, const cf_ref *ref, cf_span *chunk);
/* cf_lane_chunk_id: the ID of bytes that are at hand (is a local file the same?).                       */
cf_err *cf_lane_chunk_id(cf_lane *lane, cf_kind kind, cf_span content, cf_id32 *id);
/* cf_lane_resolve: a chunk of a damaged segment that was stored again elsewhere: *ref becomes the new address (within
 * the point's map), and the result is true. Readers of references do so by themselves.                  */
bool cf_lane_resolve(const cf_lane *lane, const cf_map *map, cf_ref *ref);
/* cf_lane_directory: a pack's own directory of chunks: fresh array, the caller frees it. Also gives the
 * pack's kind (may be NULL). Needs no session key.                                                      */
cf_err *cf_lane_directory(cf_lane *lane, uint64_t pack, cf_kind *kind, cf_directory_entry **entries, size_t *count);

/* ---- Reading many segments ---- */

/* cf_reader_prepare: fetch the frames of these packs with as few requests as possible (at most 256 in
 * each); packs that are known already cost nothing. Missing packs are not an error here.                */
cf_err *cf_reader_prepare(cf_reader *reader, const uint64_t *packs, size_t count);
/* cf_reader_extent: where a segment lies in its pack's object.                                          */
cf_err *cf_reader_extent(cf_reader *reader, uint64_t pack, uint16_t segment, cf_extent *extent);
/* cf_reader_extents: all of a pack: fresh array, the caller frees it.                                   */
cf_err *cf_reader_extents(cf_reader *reader, uint64_t pack, cf_extent **extents, size_t *count);
/* cf_reader_check_frame: do header, table and trailer in the pack's object say what the source told of it?
 * buffer: room to work in. Fails: PACK_UNREADABLE (reason "table").                                      */
cf_err *cf_reader_check_frame(cf_reader *reader, uint64_t pack, cf_buf *buffer);
/* cf_reader_fetch: size bytes of the pack's object; buffer is reset and holds them.                      */
cf_err *cf_reader_fetch(cf_reader *reader, uint64_t pack, uint64_t offset, size_t size, cf_buf *buffer);
/* cf_lane_segment_from: like cf_lane_segment, but the stored bytes (exactly the extent's) are at hand.    */
cf_err *cf_lane_segment_from(cf_lane *lane, const cf_map *map, cf_kind kind, uint64_t pack, uint16_t segment,
                             cf_span stored, cf_segment **out);
/* cf_reader_cached: is the segment in the cache at this moment?                                          */
bool cf_reader_cached(cf_reader *reader, uint64_t pack, uint16_t segment);

#endif
