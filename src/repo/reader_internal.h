/* What reader.c, packs.c, point.c, lane.c and cache.c share. */
#ifndef CF_REPO_READER_INTERNAL_H
#define CF_REPO_READER_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "repo/reader.h"

/* A pack's frame, decoded, with its keys once they were needed. Immutable after its making but for the keys
 * and broken (under the table's lock) and the links.                                                              */
typedef struct cf_packed {
    uint64_t number;
    uint64_t size;
    const char *broken; /* not NULL: the pack cannot be read, this is the reason (a literal) */
    char *why;          /* and the message                                                    */
    cf_pack_header header;
    cf_extent *extents;
    size_t extent_count;
    bool has_keys;
    cf_key_pair_bytes keys;
    unsigned refs; /* under the table's lock */
    bool detached; /* not in the table any more: freed with its last use */
    struct cf_packed *chain;
    struct cf_packed *older, *newer; /* by last use */
} cf_packed;

enum { CF_PACKED_BUCKETS = 4096, CF_PACKED_KEPT = 2048 };

typedef struct cf_packs {
    pthread_mutex_t lock;
    cf_packed *bucket[CF_PACKED_BUCKETS];
    cf_packed *oldest, *newest;
    size_t count;
} cf_packs;

struct cf_segment {
    struct cf_cache *cache;
    uint64_t pack;
    uint16_t number;
    bool loading;
    cf_buf raw;
    unsigned refs;
    struct cf_segment *chain;
    struct cf_segment *older, *newer;
};

enum { CF_CACHE_BUCKETS = 1024, CF_CACHE_SPARE = 24 };

typedef struct cf_cache {
    pthread_mutex_t lock;
    pthread_cond_t loaded;
    size_t limit; /* bytes of buffers kept, pinned ones included */
    size_t held;
    cf_segment *bucket[CF_CACHE_BUCKETS];
    cf_segment *oldest, *newest;
    cf_segment *spare; /* buffers for reuse: touching fresh memory is expensive */
    size_t spares;
} cf_cache;

void cf_cache_init(cf_cache *cache, size_t limit);
void cf_cache_wipe(cf_cache *cache);
/* cf_cache_acquire: pinned. *load: the caller has to fill raw and then call _loaded, or _failed (which also
 * releases). Waits while another thread loads the same one.                                             */
cf_err *cf_cache_acquire(cf_cache *cache, uint64_t pack, uint16_t number, cf_segment **segment, bool *load);
void cf_cache_loaded(cf_cache *cache, cf_segment *segment);
void cf_cache_failed(cf_cache *cache, cf_segment *segment);
bool cf_cache_has(cf_cache *cache, uint64_t pack, uint16_t number);

/* Relocation records; loaded when the first point's map is made. */
typedef struct cf_relocated {
    uint64_t number;
    cf_id32 *points; /* ascending */
    size_t point_count;
    cf_map *extra;
} cf_relocated;
typedef struct cf_moved {
    cf_ref ref; /* where the chunk stands now */
    uint64_t number;
} cf_moved;
typedef struct cf_relocations {
    pthread_mutex_t lock;
    bool loaded;
    cf_relocated *records;
    size_t count;
    cf_moved *moved; /* ascending by ID, the newest record first */
    size_t moved_count;
} cf_relocations;
void cf_relocations_wipe(cf_relocations *all);
/* cf_lane_moved: the first place behind *at (start with 0) that a relocation record gives for the chunk, within map. */
bool cf_lane_moved(const cf_lane *lane, const cf_map *map, const cf_ref *ref, size_t *at, cf_ref *there);
/* cf_reader_add_extra: what the point needs because chunks of it were moved. */
cf_err *cf_reader_add_extra(cf_reader *reader, const cf_id32 *point, cf_map *map);

typedef struct cf_session_key {
    cf_id16 session;
    cf_secret *key;
} cf_session_key;

struct cf_reader {
    cf_source *source;
    const cf_server_keys *keys;
    cf_id16 server;
    cf_packs packs;
    cf_cache cache;
    pthread_mutex_t sessions_lock;
    cf_session_key *sessions;
    size_t session_count;
    _Atomic uint64_t fetched;
    cf_relocations relocations;
    cf_tree_cache *trees; /* may be NULL */
    cf_finder finder;     /* find may be NULL */
};

struct cf_lane {
    cf_reader *reader;
    cf_segment_codec *codec;
    cf_mac *mac;
    cf_buf stored;
};

/* cf_reader_session_key: borrowed for the reader's life; from record (the point's own copy; may be empty: then
 * it is fetched).                                                                                       */
cf_err *cf_reader_session_key(cf_reader *reader, const cf_id16 *session, cf_span record, const cf_secret **key);

/* cf_reader_pack: pinned until cf_reader_pack_release. A pack that cannot be read fails here. */
cf_err *cf_reader_pack(cf_reader *reader, uint64_t number, cf_packed **pack);
/* cf_reader_pack_gone: its object turned out to be missing: not to be asked for again and again. */
void cf_reader_pack_gone(cf_reader *reader, uint64_t number, const cf_err *why);
/* cf_reader_pack_again: asks the source anew. *changed: compaction has written the pack anew: the table has it as it is
 * now; pinned old ones stay as they are until they are released.                                          */
cf_err *cf_reader_pack_again(cf_reader *reader, uint64_t number, bool *changed);
/* Might an error come from an extent table that is not the newest? */
bool cf_reader_pack_doubtful(const cf_err *err);
void cf_reader_pack_release(cf_reader *reader, cf_packed *pack);
/* cf_reader_pack_keys: the segments' key, its commitment checked. */
cf_err *cf_reader_pack_keys(cf_reader *reader, cf_packed *pack, uint8_t key[32]);
const cf_extent *cf_packed_extent(const cf_packed *pack, uint16_t segment); /* NULL: it has none */
void cf_packs_init(cf_packs *packs);
void cf_packs_wipe(cf_packs *packs);

#endif
