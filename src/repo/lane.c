#include <stdlib.h>
#include <string.h>

#include "digest/digest.h"
#include "repo/reader_internal.h"

cf_err *cf_lane_new(cf_reader *reader, cf_lane **out) {
    CF_AUTO(cf_lane) lane = calloc(1, sizeof *lane);
    if (!lane) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a reading lane");
    lane->reader = reader;
    cf_buf_init(&lane->stored, CF_PACK_MAX);
    CF_TRY(cf_segment_codec_new(1, &lane->codec));
    CF_TRY(cf_mac_new(reader->keys->id, &lane->mac));
    *out = cf_take(lane);
    return NULL;
}

void cf_lane_free(cf_lane *lane) {
    if (!lane) return;
    cf_segment_codec_free(lane->codec);
    cf_mac_free(lane->mac);
    cf_buf_wipe(&lane->stored);
    free(lane);
}

cf_err *cf_reader_fetch(cf_reader *reader, uint64_t pack, uint64_t offset, size_t size, cf_buf *buffer) {
    cf_buf_reset(buffer);
    uint8_t *place = cf_buf_reserve(buffer, size);
    if (!place) return cf_buf_check(buffer, "a range of a pack");
    cf_err *err = reader->source->ops->read(reader->source->context, pack, offset, size, place);
    if (err) {
        if (cf_err_code(err) == CF_ERR_PACK_UNREADABLE && strcmp(cf_err_reason(err), "missing") == 0)
            cf_reader_pack_gone(reader, pack, err);
        return err;
    }
    atomic_fetch_add_explicit(&reader->fetched, size, memory_order_relaxed);
    buffer->size = size;
    return NULL;
}

static cf_err *fetch(cf_lane *lane, uint64_t pack, uint64_t offset, size_t size, cf_span *bytes) {
    CF_TRY(cf_reader_fetch(lane->reader, pack, offset, size, &lane->stored));
    *bytes = cf_buf_span(&lane->stored);
    return NULL;
}

static cf_err *check_map(const cf_map *map, uint64_t pack, uint16_t segment) {
    if (!map || cf_map_has(map, pack, segment)) return NULL;
    return cf_fail(CF_ERR_SEGMENT_OUTSIDE_MAP, "segment %u of pack %llu is not in the recovery point's map", segment,
                   (unsigned long long)pack);
}

static cf_err *damaged(const char *reason, uint64_t pack, uint16_t segment, cf_err *cause) {
    return cf_wrap_reason(cause, CF_ERR_SEGMENT_DAMAGED, reason, "segment %u of pack %llu", segment,
                          (unsigned long long)pack);
}

/* Sum, then seal: the sum tells a failing disk from somebody's work. */
static cf_err *open_stored(cf_lane *lane, cf_kind kind, cf_packed *pack, const cf_extent *extent, cf_span stored,
                           cf_buf *raw) {
    if (pack->header.kind != kind) return damaged("kind", pack->number, extent->segment, NULL);
    uint8_t sum[16];
    cf_xxh3_128(stored, sum);
    if (memcmp(sum, extent->xxh3, 16) != 0) return damaged("sum", pack->number, extent->segment, NULL);
    uint8_t key[32];
    CF_TRY(cf_reader_pack_keys(lane->reader, pack, key));
    cf_segment_place place = {kind, pack->header.server, pack->header.session, pack->number, extent->segment};
    cf_err *err = cf_segment_open(lane->codec, key, &place, stored, raw);
    cf_wipe(key, sizeof key);
    return err && cf_err_has(err, CF_F_DAMAGE) ? damaged("seal", pack->number, extent->segment, err) : err;
}

/* ---- The cache of trees: magic, the pack's header, the sum, the stored bytes ---- */

static const uint8_t cache_magic[8] = "CFTREE1";
enum { CACHED_HEAD = 8 + CF_PACK_HEADER_SIZE + 16 };

static cf_err *open_cached(cf_lane *lane, uint64_t number, uint16_t segment, cf_span cached, cf_buf *raw) {
    cf_packed pack = {.number = number};
    if (cached.size <= CACHED_HEAD || memcmp(cached.data, cache_magic, sizeof cache_magic) != 0)
        return cf_fail(CF_ERR_FORMAT, "not a cached segment");
    cf_cursor cursor = cf_cursor_of(cached);
    (void)cf_cursor_take(&cursor, sizeof cache_magic);
    CF_TRY(cf_pack_header_decode(cf_cursor_take(&cursor, CF_PACK_HEADER_SIZE), &pack.header));
    if (pack.header.number != number || !cf_id16_equal(&pack.header.server, &lane->reader->server))
        return cf_fail(CF_ERR_FORMAT, "another pack's segment");
    cf_extent extent = {.segment = segment};
    cf_cursor_copy(&cursor, extent.xxh3, sizeof extent.xxh3);
    return open_stored(lane, CF_KIND_TREE, &pack, &extent, cf_cursor_take(&cursor, cached.size - CACHED_HEAD), raw);
}

/* False: it has to be fetched. */
static bool load_cached(cf_lane *lane, uint64_t number, uint16_t segment, cf_buf *raw) {
    char name[CF_TREE_CACHE_NAME];
    cf_tree_cache *trees = lane->reader->trees;
    if (!trees) return false;
    cf_tree_cache_segment_name(number, segment, name);
    if (!cf_tree_cache_get(trees, name, &lane->stored)) return false;
    cf_err *err = open_cached(lane, number, segment, cf_buf_span(&lane->stored), raw);
    if (!err) return true;
    cf_err_free(err);
    cf_tree_cache_drop(trees, name);
    cf_buf_reset(raw);
    return false;
}

static void keep_cached(cf_lane *lane, const cf_packed *pack, const cf_extent *extent, cf_span stored) {
    char name[CF_TREE_CACHE_NAME];
    uint8_t header[CF_PACK_HEADER_SIZE];
    if (!lane->reader->trees || pack->header.kind != CF_KIND_TREE) return;
    cf_tree_cache_segment_name(pack->number, extent->segment, name);
    cf_pack_header_encode(&pack->header, header);
    cf_span spans[] = {{cache_magic, sizeof cache_magic}, {header, sizeof header}, {extent->xxh3, 16}, stored};
    cf_tree_cache_put(lane->reader->trees, name, spans, 4);
}

/* stored: empty when it has to be fetched. */
static cf_err *load_once(cf_lane *lane, cf_kind kind, uint64_t number, uint16_t segment, cf_span stored, cf_buf *raw) {
    cf_packed *pack;
    CF_TRY(cf_reader_pack(lane->reader, number, &pack));
    cf_err *err = NULL;
    const cf_extent *extent = cf_packed_extent(pack, segment);
    if (!extent)
        err = cf_fail_reason(CF_ERR_SEGMENT_DAMAGED, "missing", "pack %llu holds no segment %u",
                             (unsigned long long)number, segment);
    if (!err && stored.size == 0) err = fetch(lane, number, extent->offset, extent->length, &stored);
    if (!err && stored.size != extent->length)
        err = cf_fail(CF_ERR_INTERNAL, "stored bytes of the wrong length were handed in");
    if (!err) err = open_stored(lane, kind, pack, extent, stored, raw);
    if (!err) keep_cached(lane, pack, extent, stored);
    cf_reader_pack_release(lane->reader, pack);
    return err;
}

/* Is what failed the fault of an extent table from before compaction wrote the pack anew? Then err (taken) is forgotten. */
static cf_err *doubt(cf_reader *reader, uint64_t number, cf_err *err, bool *again) {
    *again = false;
    if (!err || !cf_reader_pack_doubtful(err)) return err;
    CF_AUTO(cf_err) ignored = cf_reader_pack_again(reader, number, again); /* then the first error stands */
    (void)ignored;
    if (!*again) return err;
    cf_err_free(err);
    return NULL;
}

static cf_err *load(cf_lane *lane, cf_kind kind, uint64_t number, uint16_t segment, cf_span stored, cf_buf *raw) {
    bool again = false;
    if (kind == CF_KIND_TREE && stored.size == 0 && load_cached(lane, number, segment, raw)) return NULL;
    CF_TRY(doubt(lane->reader, number, load_once(lane, kind, number, segment, stored, raw), &again));
    if (!again) return NULL;
    cf_buf_reset(raw);
    return load_once(lane, kind, number, segment, (cf_span){0}, raw);
}

cf_err *cf_lane_segment_from(cf_lane *lane, const cf_map *map, cf_kind kind, uint64_t pack, uint16_t segment,
                             cf_span stored, cf_segment **out) {
    CF_TRY(check_map(map, pack, segment));
    if (segment == CF_SEGMENT_DIRECTORY)
        return cf_fail_reason(CF_ERR_SEGMENT_DAMAGED, "kind", "a reference names the directory of pack %llu",
                              (unsigned long long)pack);
    cf_cache *cache = &lane->reader->cache;
    bool must_load;
    cf_segment *found;
    CF_TRY(cf_cache_acquire(cache, pack, segment, &found, &must_load));
    if (must_load) {
        cf_err *err = load(lane, kind, pack, segment, stored, &found->raw);
        if (err) {
            cf_cache_failed(cache, found);
            return err;
        }
        cf_cache_loaded(cache, found);
    }
    *out = found;
    return NULL;
}

cf_err *cf_lane_segment(cf_lane *lane, const cf_map *map, cf_kind kind, uint64_t pack, uint16_t segment,
                        cf_segment **out) {
    return cf_lane_segment_from(lane, map, kind, pack, segment, (cf_span){0}, out);
}

cf_err *cf_lane_chunk_id(cf_lane *lane, cf_kind kind, cf_span content, cf_id32 *id) {
    return cf_mac_chunk_id(lane->mac, kind, content, id);
}

cf_err *cf_lane_chunk_in(cf_lane *lane, const cf_segment *segment, cf_kind kind, const cf_ref *ref, cf_span *chunk) {
    cf_span raw = cf_segment_raw(segment);
    if (ref->offset > raw.size || ref->length > raw.size - ref->offset)
        return cf_fail_reason(CF_ERR_CHUNK_MISMATCH, "range",
                              "a reference reaches past the end of segment %u of pack %llu", ref->segment,
                              (unsigned long long)ref->pack);
    cf_span bytes = cf_span_of(raw.data + ref->offset, ref->length);
    cf_id32 id;
    CF_TRY(cf_mac_chunk_id(lane->mac, kind, bytes, &id));
    if (!cf_id32_equal(&id, &ref->id))
        return cf_fail_reason(CF_ERR_CHUNK_MISMATCH, "id", "segment %u of pack %llu at %u holds another chunk",
                              ref->segment, (unsigned long long)ref->pack, ref->offset);
    *chunk = bytes;
    return NULL;
}

static cf_err *chunk_at(cf_lane *lane, const cf_map *map, cf_kind kind, const cf_ref *at, cf_buf *out) {
    CF_AUTO(cf_segment) segment = NULL;
    cf_span chunk;
    CF_TRY(cf_lane_segment(lane, map, kind, at->pack, at->segment, &segment));
    CF_TRY(cf_lane_chunk_in(lane, segment, kind, at, &chunk));
    cf_buf_reset(out);
    cf_buf_put_span(out, chunk);
    return cf_buf_check(out, "a chunk");
}

static bool same_place(const cf_ref *a, const cf_ref *b) {
    return a->pack == b->pack && a->segment == b->segment && a->offset == b->offset;
}

/* *done: it stands there. What is wrong there does not matter: that it is wrong elsewhere is known. */
static cf_err *try_there(cf_lane *lane, const cf_map *map, cf_kind kind, const cf_ref *there, cf_buf *out, bool *done) {
    cf_err *err = chunk_at(lane, map, kind, there, out);
    *done = !err;
    if (!cf_err_has(err, CF_F_DAMAGE)) return err;
    cf_err_free(err);
    return NULL;
}

/* The map does not know of places that a finder knows of: the chunk's ID is what counts. */
static cf_err *try_finder(cf_lane *lane, cf_kind kind, const cf_ref *ref, cf_buf *out, bool *done) {
    const cf_finder *finder = &lane->reader->finder;
    cf_ref there;
    bool found = false;
    if (!finder->find) return NULL;
    CF_TRY(finder->find(finder->context, &ref->id, &found, &there));
    if (!found || there.length != ref->length || same_place(&there, ref)) return NULL;
    return try_there(lane, NULL, kind, &there, out, done);
}

cf_err *cf_lane_chunk_elsewhere(cf_lane *lane, const cf_map *map, cf_kind kind, const cf_ref *ref, cf_err *why,
                                cf_buf *out) {
    CF_AUTO(cf_err) first = why;
    bool done = false;
    size_t at = 0;
    cf_ref there;
    if (!cf_err_has(first, CF_F_DAMAGE)) return cf_take(first);
    while (!done && cf_lane_moved(lane, map, ref, &at, &there))
        if (!same_place(&there, ref)) CF_TRY(try_there(lane, map, kind, &there, out, &done));
    if (!done) CF_TRY(try_finder(lane, kind, ref, out, &done));
    return done ? NULL : cf_take(first);
}

cf_err *cf_lane_chunk(cf_lane *lane, const cf_map *map, cf_kind kind, const cf_ref *ref, cf_buf *out) {
    cf_ref at = *ref;
    bool moved = cf_lane_resolve(lane, map, &at), done = false;
    cf_err *err = chunk_at(lane, map, kind, &at, out);
    if (moved && err && cf_err_has(err, CF_F_DAMAGE)) { /* where it stood before, may be right again */
        cf_err *there = try_there(lane, map, kind, ref, out, &done);
        if (done || there) {
            cf_err_free(err);
            return there;
        }
    }
    return err ? cf_lane_chunk_elsewhere(lane, map, kind, &at, err, out) : NULL;
}

bool cf_reader_cached(cf_reader *reader, uint64_t pack, uint16_t segment) {
    return cf_cache_has(&reader->cache, pack, segment);
}

static cf_err *open_directory(cf_lane *lane, const cf_packed *pack, const cf_extent *extent, cf_buf *raw) {
    cf_key_pair_bytes keys;
    CF_TRY(cf_directory_keys_derive(lane->reader->keys->directory, &pack->header.session, pack->number, &keys));
    cf_err *err = NULL;
    cf_span stored = {0};
    uint8_t sum[16];
    if (memcmp(keys.commitment, pack->header.directory_commitment, 32) != 0)
        err = cf_fail_reason(CF_ERR_PACK_UNREADABLE, "commitment",
                             "the directory of pack %llu was not sealed under this server's key",
                             (unsigned long long)pack->number);
    if (!err) err = fetch(lane, pack->number, extent->offset, extent->length, &stored);
    if (!err) {
        cf_xxh3_128(stored, sum);
        if (memcmp(sum, extent->xxh3, 16) != 0) err = damaged("sum", pack->number, CF_SEGMENT_DIRECTORY, NULL);
    }
    if (!err) {
        cf_segment_place place = {pack->header.kind, pack->header.server, pack->header.session, pack->number,
                                  CF_SEGMENT_DIRECTORY};
        err = cf_segment_open(lane->codec, keys.key, &place, stored, raw);
        if (err && cf_err_has(err, CF_F_DAMAGE)) err = damaged("seal", pack->number, CF_SEGMENT_DIRECTORY, err);
    }
    cf_wipe(&keys, sizeof keys);
    return err;
}

static cf_err *read_directory(cf_lane *lane, uint64_t number, cf_kind *kind, cf_directory_entry **entries,
                              size_t *count) {
    cf_packed *pack;
    CF_TRY(cf_reader_pack(lane->reader, number, &pack));
    CF_AUTO_BUF cf_buf raw;
    cf_buf_init(&raw, CF_DIRECTORY_RAW_MAX);
    const cf_extent *extent = cf_packed_extent(pack, CF_SEGMENT_DIRECTORY);
    cf_err *err = extent ? open_directory(lane, pack, extent, &raw)
                         : cf_fail_reason(CF_ERR_SEGMENT_DAMAGED, "missing", "pack %llu has no directory",
                                          (unsigned long long)number);
    if (!err) {
        err = cf_directory_decode(cf_buf_span(&raw), entries, count);
        if (err && cf_err_has(err, CF_F_DAMAGE)) err = damaged("seal", number, CF_SEGMENT_DIRECTORY, err);
    }
    if (!err && kind) *kind = pack->header.kind;
    cf_reader_pack_release(lane->reader, pack);
    return err;
}

cf_err *cf_lane_directory(cf_lane *lane, uint64_t number, cf_kind *kind, cf_directory_entry **entries, size_t *count) {
    bool again = false;
    CF_TRY(doubt(lane->reader, number, read_directory(lane, number, kind, entries, count), &again));
    return again ? read_directory(lane, number, kind, entries, count) : NULL;
}
