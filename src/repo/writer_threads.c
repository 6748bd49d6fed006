/* The writer's threads: sealing segments, uploading packs. */
#include "digest/digest.h"
#include "repo/writer_internal.h"

enum { FLUSH_EVERY = 32 }; /* packs between durable points of the index: what a power loss makes it read again */

/* The next segment to seal; NULL when the writer ends. */
static cf_wsegment *next_segment(cf_writer *writer) {
    pthread_mutex_lock(&writer->lock);
    while (!writer->seal_first && !writer->ending) pthread_cond_wait(&writer->seal_work, &writer->lock);
    cf_wsegment *taken = writer->ending ? NULL : writer->seal_first;
    if (taken) {
        writer->seal_first = taken->next;
        if (!writer->seal_first) writer->seal_last = NULL;
        writer->sealing++;
        if (writer->seal_waiting-- == QUEUE_MAX) pthread_cond_broadcast(&writer->changed);
    }
    pthread_mutex_unlock(&writer->lock);
    return taken;
}

static cf_err *seal_one(cf_writer *writer, cf_wsegment *full, cf_segment_codec *codec, cf_buf *stored) {
    cf_buf_reset(stored);
    cf_segment_place place = {full->pack->kind, writer->options.server, writer->options.session, full->pack->number,
                              full->number};
    if (full->count)
        CF_TRY(cf_segment_seal(codec, full->pack->keys.key, &place, cf_span_of(full->raw, full->size),
                               writer->options.verify, stored));
    return NULL;
}

/* Puts the sealed segment into its pack and the segment's memory back. */
static cf_err *deliver(cf_writer *writer, cf_wsegment *full, cf_err *sealed, cf_span stored) {
    pthread_mutex_lock(&writer->lock);
    cf_err *err = sealed ? sealed : cf_packer_deliver(writer, full, stored);
    full->next = writer->free_segments;
    writer->free_segments = full;
    writer->sealing--;
    if (!writer->sealing && !writer->seal_waiting) pthread_cond_broadcast(&writer->changed);
    pthread_mutex_unlock(&writer->lock);
    return err;
}

void *cf_writer_seal_loop(void *argument) {
    cf_writer *writer = argument;
    CF_AUTO(cf_segment_codec) codec = NULL;
    CF_AUTO_BUF cf_buf stored;
    cf_buf_init(&stored, cf_segment_stored_max(CF_SEGMENT_RAW_MAX));
    cf_err *err = cf_segment_codec_new(writer->options.level, &codec);
    if (err) cf_writer_fail(writer, err);
    for (cf_wsegment *full = next_segment(writer); full; full = next_segment(writer)) {
        err = codec ? seal_one(writer, full, codec, &stored) : cf_fail(CF_ERR_STOPPED, "no sealer");
        err = deliver(writer, full, err, cf_buf_span(&stored));
        if (err) cf_writer_fail(writer, err);
    }
    return NULL;
}

static cf_wpack *next_pack(cf_writer *writer) {
    pthread_mutex_lock(&writer->lock);
    while (!writer->upload_first && !writer->ending) pthread_cond_wait(&writer->upload_work, &writer->lock);
    cf_wpack *taken = writer->ending ? NULL : writer->upload_first;
    if (taken) {
        writer->upload_first = taken->next;
        if (!writer->upload_first) writer->upload_last = NULL;
    }
    pthread_mutex_unlock(&writer->lock);
    return taken;
}

/* Durable at the vault, then in the index, then no longer pending: in this order there is no gap in which a
 * chunk is in neither, and nothing is in the index that the vault does not have. */
static cf_err *index_pack(cf_writer *writer, const cf_wpack *pack) {
    if (writer->options.index) {
        CF_AUTO_FREE cf_index_entry *entries = calloc(pack->entry_count ? pack->entry_count : 1, sizeof *entries);
        if (!entries) return cf_fail(CF_ERR_OUT_OF_MEMORY, "entries of the index");
        for (size_t i = 0; i < pack->entry_count; i++) {
            const cf_directory_entry *from = &pack->entries[i];
            memcpy(entries[i].id, from->id.bytes, CF_INDEX_ID_SIZE);
            entries[i].segment = from->segment;
            entries[i].offset = from->offset;
            entries[i].length = from->length;
        }
        pthread_mutex_lock(&writer->index_lock);
        cf_err *err = cf_index_apply_pack(writer->options.index, pack->number, entries, pack->entry_count);
        if (!err && ++writer->applied_since_flush >= FLUSH_EVERY) {
            writer->applied_since_flush = 0;
            err = cf_index_flush(writer->options.index);
        }
        pthread_mutex_unlock(&writer->index_lock);
        CF_TRY(err);
    }
    cf_pending_remove_pack(writer->pending, pack->number);
    return NULL;
}

static cf_err *upload_one(cf_writer *writer, cf_wpack *pack, cf_segment_codec *codec) {
    if (pack->extent_count == 0) return NULL; /* every number of it stayed unused */
    CF_TRY(cf_packer_finish(writer, pack, codec));
    size_t tail = CF_PACK_TRAILER_SIZE + CF_EXTENT_SIZE * pack->extent_count;
    cf_span bytes = cf_buf_span(&pack->bytes);
    cf_stored_pack stored = {.number = pack->number,
                             .kind = pack->kind,
                             .bytes = bytes,
                             .tail = cf_span_of(bytes.data + bytes.size - tail, tail)};
    cf_xxh3_128(bytes, stored.xxh3);
    cf_clock clock = cf_clock_system();
    uint64_t before = cf_clock_ms(&clock);
    CF_TRY(writer->options.sink.store(writer->options.sink.context, &stored));
    uint64_t took_ms = cf_clock_ms(&clock) - before + 1;
    CF_TRY(index_pack(writer, pack));
    cf_progress_moved(writer->options.progress, bytes.size);
    double rate = (double)bytes.size * 1000 / (double)took_ms;
    pthread_mutex_lock(&writer->lock);
    writer->rate = writer->rate > 0 ? writer->rate * 0.7 + rate * 0.3 : rate;
    writer->stats.bytes_stored += bytes.size;
    writer->stats.packs++;
    pthread_mutex_unlock(&writer->lock);
    return NULL;
}

static cf_err *note_name(cf_writer *writer, const cf_wpack *pack) {
    if (pack->extent_count == 0) return NULL;
    if (writer->name_count == writer->name_room) {
        size_t room = writer->name_room ? writer->name_room * 2 : 64;
        cf_pack_name *names = realloc(writer->names, room * sizeof *names);
        if (!names) return cf_fail(CF_ERR_OUT_OF_MEMORY, "the list of packs");
        writer->names = names;
        writer->name_room = room;
    }
    writer->names[writer->name_count++] = (cf_pack_name){pack->number, writer->options.session};
    return NULL;
}

static void upload_and_recycle(cf_writer *writer, cf_wpack *pack, cf_segment_codec *codec) {
    cf_err *err = upload_one(writer, pack, codec);
    pthread_mutex_lock(&writer->lock);
    if (!err) err = note_name(writer, pack);
    if (!err) {
        writer->finished[pack->kind]--;
        writer->unfinished--;
    }
    cf_packer_recycle(writer, pack);
    pthread_cond_broadcast(&writer->changed);
    pthread_mutex_unlock(&writer->lock);
    if (err) cf_writer_fail(writer, err);
}

void *cf_writer_upload_loop(void *argument) {
    cf_writer *writer = argument;
    CF_AUTO(cf_segment_codec) codec = NULL;
    cf_err *err = cf_segment_codec_new(writer->options.level, &codec);
    if (err) {
        cf_writer_fail(writer, err);
        return NULL;
    }
    for (cf_wpack *taken = next_pack(writer); taken; taken = next_pack(writer))
        upload_and_recycle(writer, taken, codec);
    return NULL;
}
