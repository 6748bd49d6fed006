/* Storing chunks: deduplicate, group into segments, compress and seal, assemble packs, upload, index.
 *
 *   lane ──chunk──▶ open segment ──full──▶ sealers ──▶ pack in assembly ──full──▶ uploaders ──▶ index
 *
 * A chunk's address is known as soon as it is put into a segment: pack and segment number are taken when the
 * segment is opened, so tree nodes can be encoded while their data is still being compressed.
 *
 * Memory is fixed: at most `waiting` finished packs of each kind; then lanes wait in cf_writer_lane_store.
 * Nothing enters the index before the sink has made its pack durable.
 *
 * Threads: the writer runs `sealers` + `uploaders` threads of its own. A lane belongs to one thread.       */
#ifndef CF_REPO_WRITER_H
#define CF_REPO_WRITER_H

#include "base/cancel.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/ids.h"
#include "base/progress.h"
#include "index/index.h"
#include "sealed/slot.h"
#include "visible/point.h"

/* Where finished packs go. Both calls may come from several threads at once, and must retry what passes by
 * themselves: an error ends the session.                                                                    */
typedef struct cf_stored_pack {
    uint64_t number;
    cf_kind kind;
    cf_span bytes;    /* the whole object */
    cf_span tail;     /* extent table and trailer: the end of bytes */
    uint8_t xxh3[16]; /* of bytes */
} cf_stored_pack;

typedef struct cf_pack_sink {
    /* The next block of pack numbers, all above `after`. */
    cf_err *(*numbers)(void *context, uint64_t after, uint64_t *first, uint64_t *count);
    /* Returns once the pack is durable at the vault. */
    cf_err *(*store)(void *context, const cf_stored_pack *pack);
    void *context;
} cf_pack_sink;

typedef struct cf_writer_options {
    cf_id16 server, session;
    const cf_server_keys *keys;   /* borrowed for the writer's life */
    const cf_secret *session_key; /* borrowed for the writer's life */
    cf_index *index;              /* borrowed; NULL: no deduplication against what is stored (tests) */
    cf_pack_sink sink;
    uint64_t numbers_first, numbers_count; /* the block that came with the session */
    int level;                             /* zstd */
    bool verify;                           /* open every segment again before it is uploaded */
    size_t pack_target[2];                 /* bytes, by kind */
    unsigned sealers, uploaders, waiting;
    bool dry_run;          /* store nothing: only count what would be (addresses are made up) */
    cf_cancel *cancel;     /* may be NULL */
    cf_progress *progress; /* may be NULL */
} cf_writer_options;

typedef struct cf_writer cf_writer;
typedef struct cf_writer_lane cf_writer_lane;

typedef struct cf_writer_stats {
    uint64_t bytes_stored; /* sent: packs with all that is in them */
    uint64_t packs;
    uint64_t chunks_new;
    uint64_t bytes_new; /* of those, before compression */
    uint64_t chunks_known;
} cf_writer_stats;

/* cf_writer_open: starts the threads. Fails: OUT_OF_MEMORY, CRYPTO.                                         */
cf_err *cf_writer_open(const cf_writer_options *options, cf_writer **writer);
/* cf_writer_free: ends the threads; what was not finished is dropped. Lanes must be freed before. NULL-safe. */
void cf_writer_free(cf_writer *writer);
CF_DEFINE_AUTO(cf_writer, cf_writer_free)

cf_err *cf_writer_lane_new(cf_writer *writer, cf_writer_lane **lane);
void cf_writer_lane_free(cf_writer_lane *lane);
CF_DEFINE_AUTO(cf_writer_lane, cf_writer_lane_free)

/* cf_writer_lane_store: give a chunk (1 .. CF_CHUNK_MAX bytes, borrowed for the call) an address: an old one when it is
 * stored already, else the one where it will be. Waits while the vault is slower than the lanes.
 * Fails: STOPPED when the session has failed elsewhere (cf_writer_finish has the cause), CANCELLED.          */
cf_err *cf_writer_lane_store(cf_writer_lane *lane, cf_kind kind, cf_span chunk, cf_ref *ref);
/* cf_writer_lane_chunk_id: the ID that a chunk would have.                                                           */
cf_err *cf_writer_lane_chunk_id(cf_writer_lane *lane, cf_kind kind, cf_span chunk, cf_id32 *id);
/* cf_writer_lane_flush: hand in the open segments. Every lane does so before the writer finishes.                    */
cf_err *cf_writer_lane_flush(cf_writer_lane *lane);

/* cf_writer_finish: all packs are stored and indexed when it returns. *packs: a fresh array of the packs of
 * this session, ascending; the caller frees it. The writer can be used again after it (a second pass).        */
cf_err *cf_writer_finish(cf_writer *writer, cf_pack_name **packs, size_t *count);
/* cf_writer_stop: make every wait end with STOPPED; err is taken and kept as the cause.                       */
void cf_writer_stop(cf_writer *writer, cf_err *err);
/* cf_writer_failure: take the error that stopped it; NULL when there is none.                                 */
cf_err *cf_writer_failure(cf_writer *writer);
void cf_writer_get_stats(cf_writer *writer, cf_writer_stats *stats);

#endif
