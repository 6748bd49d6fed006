#include "repo/writer.h"

#include <string.h>

#include "digest/digest.h"
#include "keys/keys.h"
#include "repo/writer_internal.h"

enum { PENDING_MAX = 200000 };

struct cf_writer_lane {
    cf_writer *writer;
    cf_mac *mac;
    cf_wsegment *open[2];
    uint64_t chunks_new, chunks_known, bytes_new;
};

cf_err *cf_writer_stopped(const cf_writer *writer) {
    if (writer->stopping) return cf_fail(CF_ERR_STOPPED, "the session has failed");
    return cf_cancel_check(writer->options.cancel);
}

void cf_writer_fail(cf_writer *writer, cf_err *err) {
    pthread_mutex_lock(&writer->lock);
    if (writer->failure || !err)
        cf_err_free(err);
    else
        writer->failure = err;
    writer->stopping = true;
    pthread_cond_broadcast(&writer->changed);
    pthread_mutex_unlock(&writer->lock);
}

void cf_writer_stop(cf_writer *writer, cf_err *err) {
    cf_writer_fail(writer, err);
}

cf_err *cf_writer_failure(cf_writer *writer) {
    pthread_mutex_lock(&writer->lock);
    cf_err *err = cf_take(writer->failure);
    pthread_mutex_unlock(&writer->lock);
    return err;
}

static cf_err *start_threads(cf_writer *writer) {
    unsigned total = writer->options.sealers + writer->options.uploaders;
    writer->threads = calloc(total, sizeof *writer->threads);
    if (!writer->threads) return cf_fail(CF_ERR_OUT_OF_MEMORY, "threads of the writer");
    for (unsigned i = 0; i < total; i++) {
        void *(*loop)(void *) = i < writer->options.sealers ? cf_writer_seal_loop : cf_writer_upload_loop;
        int failed = pthread_create(&writer->threads[i], NULL, loop, writer);
        if (failed) return cf_fail_errno(CF_ERR_OUT_OF_MEMORY, failed, "a thread of the writer");
        writer->thread_count++;
    }
    return NULL;
}

cf_err *cf_writer_open(const cf_writer_options *options, cf_writer **out) {
    CF_AUTO(cf_writer) writer = calloc(1, sizeof *writer);
    if (!writer) return cf_fail(CF_ERR_OUT_OF_MEMORY, "the writer");
    writer->options = *options;
    writer->next_number = options->numbers_first;
    writer->numbers_end = options->numbers_first + options->numbers_count;
    pthread_mutex_init(&writer->lock, NULL);
    pthread_mutex_init(&writer->index_lock, NULL);
    pthread_cond_init(&writer->changed, NULL);
    pthread_cond_init(&writer->seal_work, NULL);
    pthread_cond_init(&writer->upload_work, NULL);
    CF_TRY(cf_pending_new(PENDING_MAX, &writer->pending));
    CF_TRY(start_threads(writer));
    *out = cf_take(writer);
    return NULL;
}

static void free_pack_list(cf_wpack *first) {
    while (first) {
        cf_wpack *next = first->next;
        cf_packer_free(first);
        first = next;
    }
}

static void free_segment_list(cf_wsegment *first) {
    while (first) {
        cf_wsegment *next = first->next;
        /* A segment that was never sealed is file content: not to be left in freed memory. */
        cf_wipe(first->raw, first->size);
        free(first);
        first = next;
    }
}

void cf_writer_free(cf_writer *writer) {
    if (!writer) return;
    pthread_mutex_lock(&writer->lock);
    writer->ending = writer->stopping = true;
    pthread_cond_broadcast(&writer->changed);
    pthread_cond_broadcast(&writer->seal_work);
    pthread_cond_broadcast(&writer->upload_work);
    pthread_mutex_unlock(&writer->lock);
    for (unsigned i = 0; i < writer->thread_count; i++) pthread_join(writer->threads[i], NULL);
    free(writer->threads);
    /* Packs whose segments are still out are reached through the segments only when those are queued. */
    for (cf_wsegment *waiting = writer->seal_first; waiting; waiting = waiting->next) {
        cf_wpack *pack = waiting->pack;
        if (pack->closed && ++pack->delivered == pack->reserved) cf_packer_free(pack);
    }
    free_segment_list(writer->seal_first);
    free_segment_list(writer->free_segments);
    free_pack_list(writer->upload_first);
    for (int kind = 0; kind < 2; kind++) {
        cf_packer_free(writer->open[kind]);
        free_pack_list(writer->free_packs[kind]);
    }
    cf_pending_free(writer->pending);
    cf_err_free(writer->failure);
    free(writer->names);
    pthread_mutex_destroy(&writer->lock);
    pthread_mutex_destroy(&writer->index_lock);
    pthread_cond_destroy(&writer->changed);
    pthread_cond_destroy(&writer->seal_work);
    pthread_cond_destroy(&writer->upload_work);
    free(writer);
}

cf_err *cf_writer_lane_new(cf_writer *writer, cf_writer_lane **out) {
    CF_AUTO(cf_writer_lane) lane = calloc(1, sizeof *lane);
    if (!lane) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a lane");
    lane->writer = writer;
    CF_TRY(cf_mac_new(writer->options.keys->id, &lane->mac));
    *out = cf_take(lane);
    return NULL;
}

void cf_writer_lane_free(cf_writer_lane *lane) {
    if (!lane) return;
    /* A segment that was not handed in belongs to a pack that will never be finished. */
    for (int kind = 0; kind < 2; kind++) {
        if (!lane->open[kind]) continue;
        cf_wsegment *open = lane->open[kind];
        pthread_mutex_lock(&lane->writer->lock);
        cf_wpack *pack = open->pack;
        bool last = pack->closed && ++pack->delivered == pack->reserved;
        pthread_mutex_unlock(&lane->writer->lock);
        if (last) cf_packer_free(pack);
        open->next = NULL;
        free_segment_list(open);
    }
    cf_mac_free(lane->mac);
    free(lane);
}

cf_err *cf_writer_hand_in(cf_writer *writer, cf_wsegment *full) {
    while (writer->seal_waiting >= QUEUE_MAX) {
        CF_TRY(cf_writer_stopped(writer));
        pthread_cond_wait(&writer->changed, &writer->lock);
    }
    full->next = NULL;
    if (writer->seal_last)
        writer->seal_last->next = full;
    else
        writer->seal_first = full;
    writer->seal_last = full;
    writer->seal_waiting++;
    pthread_cond_signal(&writer->seal_work);
    return NULL;
}

static cf_err *flush_kind(cf_writer_lane *lane, cf_kind kind) {
    cf_wsegment *open = lane->open[kind];
    if (!open) return NULL;
    cf_writer *writer = lane->writer;
    pthread_mutex_lock(&writer->lock);
    cf_err *err = cf_writer_hand_in(writer, open);
    pthread_mutex_unlock(&writer->lock);
    if (!err) lane->open[kind] = NULL;
    return err;
}

static cf_err *open_segment(cf_writer_lane *lane, cf_kind kind) {
    cf_writer *writer = lane->writer;
    pthread_mutex_lock(&writer->lock);
    cf_wsegment *fresh = writer->free_segments;
    if (fresh) writer->free_segments = fresh->next;
    pthread_mutex_unlock(&writer->lock);
    if (!fresh) fresh = malloc(sizeof *fresh);
    if (!fresh) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a segment");
    pthread_mutex_lock(&writer->lock);
    cf_err *err =
        cf_packer_reserve(writer, kind, fresh, &lane->open[kind == CF_KIND_DATA ? CF_KIND_TREE : CF_KIND_DATA]);
    if (err) {
        fresh->size = 0;
        fresh->next = writer->free_segments;
        writer->free_segments = fresh;
    } else {
        lane->open[kind] = fresh;
    }
    pthread_mutex_unlock(&writer->lock);
    return err;
}

/* Is the chunk stored, or on its way? */
static cf_err *find(cf_writer_lane *lane, const cf_id32 *id, uint32_t length, bool *found, cf_index_address *where) {
    cf_writer *writer = lane->writer;
    *found = cf_pending_find(writer->pending, id->bytes, where);
    if (!*found && writer->options.index) CF_TRY(cf_index_lookup(writer->options.index, id->bytes, found, where));
    if (*found && where->length != length) *found = false; /* another chunk with the same prefix */
    return NULL;
}

static void set_ref(cf_ref *ref, const cf_id32 *id, const cf_index_address *where) {
    *ref = (cf_ref){
        .id = *id, .pack = where->pack, .segment = where->segment, .offset = where->offset, .length = where->length};
}

cf_err *cf_writer_lane_chunk_id(cf_writer_lane *lane, cf_kind kind, cf_span chunk, cf_id32 *id) {
    return cf_mac_chunk_id(lane->mac, kind, chunk, id);
}

/* A dry run: a chunk that is not stored counts once. */
static cf_err *count_only(cf_writer_lane *lane, const cf_id32 *id, uint32_t length, cf_ref *ref) {
    cf_index_address nowhere = {CF_PACK_NUMBER_MAX, 0, 0, length}, existing;
    if (cf_pending_find_or_add(lane->writer->pending, id->bytes, &nowhere, &existing) == CF_PENDING_FOUND) {
        lane->chunks_known++;
    } else {
        lane->chunks_new++;
        lane->bytes_new += length;
    }
    set_ref(ref, id, &nowhere);
    return NULL;
}

cf_err *cf_writer_lane_store(cf_writer_lane *lane, cf_kind kind, cf_span chunk, cf_ref *ref) {
    if (chunk.size < 1 || chunk.size > CF_CHUNK_MAX)
        return cf_fail(CF_ERR_INTERNAL, "a chunk of %zu bytes", chunk.size);
    cf_id32 id;
    bool found = false;
    cf_index_address where;
    CF_TRY(cf_mac_chunk_id(lane->mac, kind, chunk, &id));
    CF_TRY(find(lane, &id, (uint32_t)chunk.size, &found, &where));
    if (found) {
        lane->chunks_known++;
        set_ref(ref, &id, &where);
        return NULL;
    }
    if (lane->writer->options.dry_run) return count_only(lane, &id, (uint32_t)chunk.size, ref);
    cf_wsegment *open = lane->open[kind];
    if (open && (open->size + chunk.size > CF_SEGMENT_RAW_MAX || open->count >= SEGMENT_CHUNKS_MAX))
        CF_TRY(flush_kind(lane, kind));
    if (!lane->open[kind]) CF_TRY(open_segment(lane, kind));
    open = lane->open[kind];
    cf_index_address mine = {open->pack->number, open->number, open->size, (uint32_t)chunk.size};
    if (cf_pending_find_or_add(lane->writer->pending, id.bytes, &mine, &where) == CF_PENDING_FOUND &&
        where.length == chunk.size) {
        lane->chunks_known++;
        set_ref(ref, &id, &where);
        return NULL;
    }
    memcpy(open->raw + open->size, chunk.data, chunk.size);
    open->notes[open->count++] = (chunk_note){id, open->size, (uint32_t)chunk.size};
    open->size += (uint32_t)chunk.size;
    lane->chunks_new++;
    lane->bytes_new += chunk.size;
    set_ref(ref, &id, &mine);
    return NULL;
}

cf_err *cf_writer_lane_flush(cf_writer_lane *lane) {
    for (int kind = 0; kind < 2; kind++) {
        CF_TRY(flush_kind(lane, (cf_kind)kind));
    }
    pthread_mutex_lock(&lane->writer->lock);
    lane->writer->stats.chunks_new += lane->chunks_new;
    lane->writer->stats.chunks_known += lane->chunks_known;
    lane->writer->stats.bytes_new += lane->bytes_new;
    pthread_mutex_unlock(&lane->writer->lock);
    lane->chunks_new = lane->chunks_known = lane->bytes_new = 0;
    return NULL;
}

static int compare_names(const void *a, const void *b) {
    const cf_pack_name *x = a, *y = b;
    return (x->number > y->number) - (x->number < y->number);
}

static cf_err *wait_for_all(cf_writer *writer) {
    while (writer->seal_waiting || writer->sealing) {
        CF_TRY(cf_writer_stopped(writer));
        pthread_cond_wait(&writer->changed, &writer->lock);
    }
    for (int kind = 0; kind < 2; kind++) cf_packer_close_open(writer, (cf_kind)kind);
    while (writer->unfinished) {
        CF_TRY(cf_writer_stopped(writer));
        pthread_cond_wait(&writer->changed, &writer->lock);
    }
    return cf_writer_stopped(writer);
}

cf_err *cf_writer_finish(cf_writer *writer, cf_pack_name **packs, size_t *count) {
    pthread_mutex_lock(&writer->lock);
    cf_err *err = wait_for_all(writer);
    pthread_mutex_unlock(&writer->lock);
    if (err) {
        cf_err *cause = cf_writer_failure(writer);
        if (!cause) return err;
        cf_err_free(err);
        return cause;
    }
    if (writer->options.index && !writer->options.dry_run) {
        pthread_mutex_lock(&writer->index_lock);
        err = cf_index_flush(writer->options.index);
        pthread_mutex_unlock(&writer->index_lock);
        CF_TRY(err);
    }
    cf_pack_name *copy = calloc(writer->name_count ? writer->name_count : 1, sizeof *copy);
    if (!copy) return cf_fail(CF_ERR_OUT_OF_MEMORY, "the list of packs");
    if (writer->name_count) memcpy(copy, writer->names, writer->name_count * sizeof *copy);
    qsort(copy, writer->name_count, sizeof *copy, compare_names);
    *packs = copy;
    *count = writer->name_count;
    return NULL;
}

void cf_writer_get_stats(cf_writer *writer, cf_writer_stats *stats) {
    pthread_mutex_lock(&writer->lock);
    *stats = writer->stats;
    pthread_mutex_unlock(&writer->lock);
}
