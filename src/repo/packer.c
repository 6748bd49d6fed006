/* Packs in assembly: giving out segment numbers, taking in sealed segments, directory and tail. */
#include "digest/digest.h"
#include "repo/writer_internal.h"

/* What a segment still to come is reckoned with when a pack's size is estimated. */
enum { SEGMENT_ESTIMATE = 256 * 1024 };
#define PACK_FLOOR ((size_t)1 << 20)
#define PACK_BYTES_MAX ((size_t)96 << 20)

void cf_packer_free(cf_wpack *pack) {
    if (!pack) return;
    cf_wipe(&pack->keys, sizeof pack->keys);
    cf_wipe(&pack->directory_keys, sizeof pack->directory_keys);
    cf_buf_wipe(&pack->bytes);
    free(pack->extents);
    free(pack->entries);
    free(pack);
}

/* The size to close a pack at: what an upload of a minute moves, within floor and target. */
static size_t target_size(const cf_writer *writer, cf_kind kind) {
    size_t target = writer->options.pack_target[kind];
    double minute = writer->rate * 60;
    if (writer->rate > 0 && minute < (double)target) target = minute < (double)PACK_FLOOR ? PACK_FLOOR : (size_t)minute;
    return target;
}

static bool is_full(const cf_writer *writer, const cf_wpack *pack) {
    unsigned outstanding = pack->reserved - pack->delivered;
    size_t estimate = pack->bytes.size + (size_t)outstanding * SEGMENT_ESTIMATE;
    size_t chunks = pack->entry_count + (size_t)(outstanding + 1) * SEGMENT_CHUNKS_MAX;
    return estimate >= target_size(writer, pack->kind) || chunks > CF_PACK_CHUNKS_MAX ||
           pack->reserved >= CF_SEGMENTS_MAX;
}

/* A pack number. The block's end is rare: the lock is held while the vault is asked. */
static cf_err *take_number(cf_writer *writer, uint64_t *number) {
    if (writer->next_number >= writer->numbers_end) {
        uint64_t first = 0, count = 0, after = writer->numbers_end ? writer->numbers_end - 1 : 0;
        CF_TRY(writer->options.sink.numbers(writer->options.sink.context, after, &first, &count));
        if (count == 0 || first <= after || first > CF_PACK_NUMBER_MAX || count > CF_PACK_NUMBER_MAX - first)
            return cf_fail(CF_ERR_INTERNAL, "the vault handed out pack numbers %llu + %llu after %llu",
                           (unsigned long long)first, (unsigned long long)count, (unsigned long long)after);
        writer->next_number = first;
        writer->numbers_end = first + count;
    }
    *number = writer->next_number++;
    return NULL;
}

static cf_err *pack_begin(cf_writer *writer, cf_wpack *pack) {
    CF_TRY(take_number(writer, &pack->number));
    CF_TRY(cf_pack_keys_derive(writer->options.session_key, pack->number, &pack->keys));
    CF_TRY(cf_directory_keys_derive(writer->options.keys->directory, &writer->options.session, pack->number,
                                    &pack->directory_keys));
    cf_pack_header header = {.kind = pack->kind,
                             .server = writer->options.server,
                             .session = writer->options.session,
                             .number = pack->number};
    memcpy(header.commitment, pack->keys.commitment, 32);
    memcpy(header.directory_commitment, pack->directory_keys.commitment, 32);
    uint8_t bytes[CF_PACK_HEADER_SIZE];
    cf_pack_header_encode(&header, bytes);
    cf_buf_put(&pack->bytes, bytes, sizeof bytes);
    return cf_buf_check(&pack->bytes, "pack");
}

static cf_err *pack_new(cf_writer *writer, cf_kind kind, cf_wpack **out) {
    cf_wpack *made = writer->free_packs[kind];
    if (made) {
        writer->free_packs[kind] = made->next;
    } else {
        made = calloc(1, sizeof *made);
        if (!made) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a pack");
        cf_buf_init(&made->bytes, PACK_BYTES_MAX);
        /* Reserved at once and kept for reuse: growing would copy, and fresh memory is slow to touch. */
        (void)cf_buf_reserve(&made->bytes, writer->options.pack_target[kind] + ((size_t)4 << 20));
    }
    made->kind = kind;
    made->next = NULL;
    made->reserved = made->delivered = 0;
    made->closed = false;
    made->extent_count = made->entry_count = 0;
    cf_buf_reset(&made->bytes);
    cf_err *err = pack_begin(writer, made);
    if (err) {
        cf_packer_free(made);
        return err;
    }
    *out = made;
    return NULL;
}

void cf_packer_recycle(cf_writer *writer, cf_wpack *done) {
    done->next = writer->free_packs[done->kind];
    writer->free_packs[done->kind] = done;
}

static void enqueue_upload(cf_writer *writer, cf_wpack *pack) {
    pack->next = NULL;
    if (writer->upload_last)
        writer->upload_last->next = pack;
    else
        writer->upload_first = pack;
    writer->upload_last = pack;
    pthread_cond_signal(&writer->upload_work);
}

void cf_packer_close_open(cf_writer *writer, cf_kind kind) {
    cf_wpack *closing = writer->open[kind];
    if (!closing) return;
    closing->closed = true;
    writer->open[kind] = NULL;
    writer->finished[kind]++;
    /* Otherwise whoever delivers the last segment finishes it. */
    if (closing->delivered == closing->reserved) enqueue_upload(writer, closing);
}

cf_err *cf_packer_reserve(cf_writer *writer, cf_kind kind, cf_wsegment *target, cf_wsegment **other) {
    for (;;) {
        CF_TRY(cf_writer_stopped(writer));
        cf_wpack *open = writer->open[kind];
        if (open && !is_full(writer, open)) break;
        if (open) cf_packer_close_open(writer, kind);
        if (writer->finished[kind] > writer->options.waiting) {
            /* Nobody waits here with an open segment in hand: a pack that is closed may be waiting for just that one,
             * and lanes that hold segments of both kinds crosswise would wait for each other. */
            if (*other) {
                CF_TRY(cf_writer_hand_in(writer, *other));
                *other = NULL;
                continue;
            }
            pthread_cond_wait(&writer->changed, &writer->lock);
            continue;
        }
        CF_TRY(pack_new(writer, kind, &writer->open[kind]));
        writer->unfinished++;
    }
    cf_wpack *open = writer->open[kind];
    target->pack = open;
    target->number = (uint16_t)open->reserved++;
    target->size = target->count = 0;
    return NULL;
}

static cf_err *grow(void **array, size_t *room, size_t need, size_t item) {
    if (need <= *room) return NULL;
    size_t larger = *room ? *room * 2 : 64;
    if (larger < need) larger = need;
    void *moved = realloc(*array, larger * item);
    if (!moved) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a pack's directory");
    *array = moved;
    *room = larger;
    return NULL;
}

static cf_err *add_extent(cf_wpack *pack, uint16_t number, cf_span stored) {
    CF_TRY(grow((void **)&pack->extents, &pack->extent_room, pack->extent_count + 1, sizeof *pack->extents));
    cf_extent *extent = &pack->extents[pack->extent_count++];
    *extent = (cf_extent){.segment = number, .length = (uint32_t)stored.size, .offset = pack->bytes.size};
    cf_xxh3_128(stored, extent->xxh3);
    cf_buf_put_span(&pack->bytes, stored);
    return cf_buf_check(&pack->bytes, "pack");
}

cf_err *cf_packer_deliver(cf_writer *writer, cf_wsegment *done, cf_span stored) {
    cf_wpack *pack = done->pack;
    /* Opened for a chunk that another lane turned out to have: its number stays unused. */
    if (done->count) CF_TRY(add_extent(pack, done->number, stored));
    CF_TRY(grow((void **)&pack->entries, &pack->entry_room, pack->entry_count + done->count, sizeof *pack->entries));
    for (uint32_t i = 0; i < done->count; i++)
        pack->entries[pack->entry_count++] =
            (cf_directory_entry){done->number, done->notes[i].id, done->notes[i].offset, done->notes[i].length};
    pack->delivered++;
    if (!pack->closed || pack->delivered < pack->reserved) return NULL;
    enqueue_upload(writer, pack);
    return NULL;
}

static int compare_extents(const void *a, const void *b) {
    const cf_extent *x = a, *y = b;
    return (x->segment > y->segment) - (x->segment < y->segment);
}

static int compare_entries(const void *a, const void *b) {
    const cf_directory_entry *x = a, *y = b;
    if (x->segment != y->segment) return x->segment < y->segment ? -1 : 1;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

cf_err *cf_packer_finish(cf_writer *writer, cf_wpack *pack, cf_segment_codec *codec) {
    qsort(pack->entries, pack->entry_count, sizeof *pack->entries, compare_entries);
    CF_AUTO_BUF cf_buf raw, stored;
    cf_buf_init(&raw, CF_DIRECTORY_RAW_MAX);
    cf_buf_init(&stored, cf_segment_stored_max(CF_DIRECTORY_RAW_MAX));
    CF_TRY(cf_directory_encode(pack->entries, pack->entry_count, &raw));
    cf_segment_place place = {pack->kind, writer->options.server, writer->options.session, pack->number,
                              CF_SEGMENT_DIRECTORY};
    CF_TRY(
        cf_segment_seal(codec, pack->directory_keys.key, &place, cf_buf_span(&raw), writer->options.verify, &stored));
    CF_TRY(add_extent(pack, CF_SEGMENT_DIRECTORY, cf_buf_span(&stored)));
    qsort(pack->extents, pack->extent_count, sizeof *pack->extents, compare_extents);
    cf_pack_tail_encode(pack->bytes.data, pack->bytes.size, pack->extents, pack->extent_count, &pack->bytes);
    return cf_buf_check(&pack->bytes, "pack");
}
