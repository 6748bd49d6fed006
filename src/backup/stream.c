/* A file's content as a stream of chunks. Those of a large file are read and cut by a thread of their own, one batch
 * ahead of the lane that hashes them: otherwise a single image would keep one processor busy and leave the others idle. */
#include <string.h>

#include "backup/internal.h"
#include "os/file.h"

enum { AHEAD_MIN = 16 << 20, BATCH_CHUNKS = READ_BUFFER / CF_CUT_MIN + 1 };

typedef struct batch {
    uint8_t *bytes;               /* READ_BUFFER */
    size_t held, cut;             /* bytes in it; of these in chunks. The rest begins the next batch */
    size_t read;                  /* bytes that are new */
    uint32_t sizes[BATCH_CHUNKS]; /* of the chunks */
    size_t count;
    bool end; /* nothing comes after it */
    cf_err *unreadable;
} batch;

typedef struct ahead {
    cf_scan_stream *from;
    const cf_gear *gear;
    batch batches[2];
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned filled, emptied; /* batches ever */
    bool stop;
} ahead;

/* Up to size bytes, one data extent after the other; *got < size only at the end. */
static cf_err *stream_read(cf_scan_stream *from, uint8_t *out, size_t size, size_t *got) {
    *got = 0;
    while (from->index < from->extents->count && *got < size) {
        const cf_sparse_extent *extent = &from->extents->list[from->index];
        uint64_t left = extent->size - from->position;
        size_t want = size - *got < left ? size - *got : (size_t)left, had = 0;
        CF_TRY(cf_file_read_at(from->fd, extent->offset + from->position, out + *got, want, from->name, &had));
        *got += had;
        from->position += had;
        if (had < want) { /* the file was cut while we read: what is left is gone */
            from->index = from->extents->count;
            break;
        }
        if (from->position == extent->size) {
            from->index++;
            from->position = 0;
        }
    }
    return NULL;
}

/* The next batch, which begins with what the one before it left; before may be the same one. */
static void fill(cf_scan_stream *from, const cf_gear *gear, const batch *before, batch *next) {
    size_t kept = before->held - before->cut, got = 0;
    memmove(next->bytes, before->bytes + before->cut, kept);
    next->unreadable = stream_read(from, next->bytes + kept, READ_BUFFER - kept, &got);
    next->held = kept + got;
    next->read = got;
    next->end = next->held < READ_BUFFER || next->unreadable;
    next->cut = next->count = 0;
    while (!next->unreadable && next->held > next->cut && (next->end || next->held - next->cut >= CF_CUT_MAX)) {
        size_t size = cf_chunker_cut(gear, next->bytes + next->cut, next->held - next->cut);
        next->sizes[next->count++] = (uint32_t)size;
        next->cut += size;
    }
}

static cf_err *store_batch(cf_scan_lane *lane, const batch *full, uint64_t *bytes) {
    *bytes += full->read;
    lane->bytes_read += full->read;
    cf_progress_add(lane->run->options.progress, 0, full->read);
    const uint8_t *at = full->bytes;
    for (size_t i = 0; i < full->count; i++) {
        cf_ref ref;
        CF_TRY(cf_writer_lane_store(lane->store, CF_KIND_DATA, cf_span_of(at, full->sizes[i]), &ref));
        CF_TRY(cf_content_builder_add(lane->content, &ref));
        at += full->sizes[i];
    }
    return cf_run_stopped(lane->run);
}

static cf_err *store_alone(cf_scan_lane *lane, cf_scan_stream *from, uint64_t *bytes, cf_err **unreadable) {
    batch only;
    only.bytes = lane->buffer;
    only.held = only.cut = 0;
    do {
        fill(from, lane->run->gear, &only, &only);
        *unreadable = only.unreadable;
        if (*unreadable) return NULL;
        CF_TRY(store_batch(lane, &only, bytes));
    } while (!only.end);
    return NULL;
}

static void *read_ahead(void *argument) {
    ahead *work = argument;
    for (bool more = true; more;) {
        pthread_mutex_lock(&work->lock);
        while (!work->stop && work->filled - work->emptied == 2) pthread_cond_wait(&work->changed, &work->lock);
        bool stop = work->stop;
        unsigned number = work->filled;
        pthread_mutex_unlock(&work->lock);
        if (stop) return NULL;
        batch *next = &work->batches[number & 1];
        fill(work->from, work->gear, &work->batches[(number & 1) ^ 1], next);
        more = !next->end;
        pthread_mutex_lock(&work->lock);
        work->filled++;
        pthread_cond_signal(&work->changed);
        pthread_mutex_unlock(&work->lock);
    }
    return NULL;
}

/* The batches as they come, until the last one or an error. */
static cf_err *store_filled(cf_scan_lane *lane, ahead *work, uint64_t *bytes, cf_err **unreadable) {
    for (bool more = true; more;) {
        pthread_mutex_lock(&work->lock);
        while (work->filled == work->emptied) pthread_cond_wait(&work->changed, &work->lock);
        batch *full = &work->batches[work->emptied & 1];
        pthread_mutex_unlock(&work->lock);
        *unreadable = cf_take(full->unreadable);
        if (*unreadable) return NULL;
        more = !full->end;
        CF_TRY(store_batch(lane, full, bytes));
        pthread_mutex_lock(&work->lock);
        work->emptied++;
        pthread_cond_signal(&work->changed);
        pthread_mutex_unlock(&work->lock);
    }
    return NULL;
}

static cf_err *store_with_thread(cf_scan_lane *lane, ahead *work, uint64_t *bytes, cf_err **unreadable) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, read_ahead, work) != 0) return store_alone(lane, work->from, bytes, unreadable);
    cf_err *err = store_filled(lane, work, bytes, unreadable);
    pthread_mutex_lock(&work->lock);
    work->stop = true;
    pthread_cond_signal(&work->changed);
    pthread_mutex_unlock(&work->lock);
    pthread_join(thread, NULL);
    for (int i = 0; i < 2; i++) cf_err_free(work->batches[i].unreadable); /* met behind where we stopped */
    return err;
}

cf_err *cf_scan_store_content(cf_scan_lane *lane, cf_scan_stream *from, uint64_t expected, uint64_t *bytes,
                              cf_err **unreadable) {
    *bytes = 0;
    if (expected < AHEAD_MIN) return store_alone(lane, from, bytes, unreadable);
    if (!lane->second_buffer) lane->second_buffer = malloc(READ_BUFFER);
    if (!lane->second_buffer) return store_alone(lane, from, bytes, unreadable);
    ahead work = {.from = from, .gear = lane->run->gear};
    work.batches[0].bytes = lane->buffer;
    work.batches[1].bytes = lane->second_buffer;
    pthread_mutex_init(&work.lock, NULL);
    pthread_cond_init(&work.changed, NULL);
    cf_err *err = store_with_thread(lane, &work, bytes, unreadable);
    pthread_mutex_destroy(&work.lock);
    pthread_cond_destroy(&work.changed);
    return err;
}
