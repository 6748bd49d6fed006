/* What the writer's files share: the packs in assembly and the queues between lanes, sealers, uploaders.    */
#ifndef CF_REPO_WRITER_INTERNAL_H
#define CF_REPO_WRITER_INTERNAL_H

#include <pthread.h>

#include "index/pending.h"
#include "repo/writer.h"
#include "sealed/segment.h"
#include "visible/pack.h"

enum { SEGMENT_CHUNKS_MAX = 2048, QUEUE_MAX = 16 };

typedef struct chunk_note { /* a chunk in a segment: what the directory and the index want to know */
    cf_id32 id;
    uint32_t offset;
    uint32_t length;
} chunk_note;

typedef struct cf_wpack cf_wpack;

typedef struct cf_wsegment { /* open at a lane, or waiting to be sealed */
    cf_wpack *pack;
    uint16_t number;
    uint32_t size, count;
    struct cf_wsegment *next;
    chunk_note notes[SEGMENT_CHUNKS_MAX];
    uint8_t raw[CF_SEGMENT_RAW_MAX];
} cf_wsegment;

struct cf_wpack {
    cf_kind kind;
    uint64_t number;
    cf_key_pair_bytes keys, directory_keys;
    unsigned reserved, delivered; /* segments given to lanes; sealed ones */
    bool closed;                  /* no more segments are given out */
    cf_buf bytes;
    cf_extent *extents;
    cf_directory_entry *entries; /* in the order of delivery */
    size_t extent_count, extent_room, entry_count, entry_room;
    struct cf_wpack *next;
};

struct cf_writer {
    cf_writer_options options;
    cf_pending *pending;
    pthread_mutex_t lock;
    /* A condition for each kind of waiter: with one for all, every segment would wake every thread. */
    pthread_cond_t changed;     /* lanes and cf_writer_finish: room in a queue, a pack stored, the end, a failure */
    pthread_cond_t seal_work;   /* sealers: a segment, the end */
    pthread_cond_t upload_work; /* uploaders: a pack, the end  */
    bool stopping, ending;
    cf_err *failure;
    cf_wpack *open[2];
    unsigned unfinished;  /* packs that are not stored yet, open ones included */
    unsigned finished[2]; /* waiting for an uploader, or uploading */
    cf_wpack *upload_first, *upload_last;
    cf_wsegment *seal_first, *seal_last;
    unsigned seal_waiting, sealing;
    cf_wsegment *free_segments;
    cf_wpack *free_packs[2];
    uint64_t next_number, numbers_end;
    double rate; /* bytes per second of uploads, smoothed; 0: not measured */
    cf_pack_name *names;
    size_t name_count, name_room;
    cf_writer_stats stats;
    pthread_mutex_t index_lock; /* the index has one writer at a time */
    unsigned applied_since_flush;
    pthread_t *threads;
    unsigned thread_count;
};

/* writer.c */
void cf_writer_fail(cf_writer *writer, cf_err *err); /* takes err; wakes everybody */
cf_err *cf_writer_stopped(const cf_writer *writer);  /* STOPPED or CANCELLED or NULL; lock held */
/* Give a full segment to the sealers; waits while they have enough. Lock held. */
cf_err *cf_writer_hand_in(cf_writer *writer, cf_wsegment *full);

/* packer.c: all with the lock held unless said otherwise */
/* other: the lane's open segment of the other kind; it is handed in (and set to NULL) before a wait. */
cf_err *cf_packer_reserve(cf_writer *writer, cf_kind kind, cf_wsegment *target, cf_wsegment **other);
void cf_packer_close_open(cf_writer *writer, cf_kind kind);
cf_err *cf_packer_deliver(cf_writer *writer, cf_wsegment *done, cf_span stored);
void cf_packer_recycle(cf_writer *writer, cf_wpack *done);
void cf_packer_free(cf_wpack *pack);
cf_err *cf_packer_finish(cf_writer *writer, cf_wpack *pack, cf_segment_codec *codec); /* without the lock */

/* threads of writer_threads.c */
void *cf_writer_seal_loop(void *writer);
void *cf_writer_upload_loop(void *writer);

#endif
