/* The table of known pack frames. */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "repo/reader_internal.h"

void cf_packs_init(cf_packs *packs) {
    memset(packs, 0, sizeof *packs);
    pthread_mutex_init(&packs->lock, NULL);
}

static void packed_free(cf_packed *pack) {
    if (!pack) return;
    free(pack->why);
    free(pack->extents);
    cf_wipe(&pack->keys, sizeof pack->keys);
    free(pack);
}
CF_DEFINE_AUTO(cf_packed, packed_free)

void cf_packs_wipe(cf_packs *packs) {
    while (packs->oldest) {
        cf_packed *next = packs->oldest->newer;
        packed_free(packs->oldest);
        packs->oldest = next;
    }
    pthread_mutex_destroy(&packs->lock);
}

static cf_packed **bucket_of(cf_packs *packs, uint64_t number) {
    return &packs->bucket[number % CF_PACKED_BUCKETS];
}

static void use_unlink(cf_packs *packs, cf_packed *pack) {
    if (pack->older)
        pack->older->newer = pack->newer;
    else
        packs->oldest = pack->newer;
    if (pack->newer)
        pack->newer->older = pack->older;
    else
        packs->newest = pack->older;
    pack->older = pack->newer = NULL;
}

static void use_append(cf_packs *packs, cf_packed *pack) {
    pack->older = packs->newest;
    pack->newer = NULL;
    if (packs->newest)
        packs->newest->newer = pack;
    else
        packs->oldest = pack;
    packs->newest = pack;
}

static cf_packed *find(cf_packs *packs, uint64_t number) {
    for (cf_packed *pack = *bucket_of(packs, number); pack; pack = pack->chain)
        if (pack->number == number) return pack;
    return NULL;
}

static void unlink_packed(cf_packs *packs, cf_packed *pack) {
    cf_packed **link = bucket_of(packs, pack->number);
    while (*link != pack) link = &(*link)->chain;
    *link = pack->chain;
    use_unlink(packs, pack);
    packs->count--;
}

static void forget(cf_packs *packs, cf_packed *pack) {
    unlink_packed(packs, pack);
    packed_free(pack);
}

/* Keeps the table within its size; packs in use stay. */
static void shrink(cf_packs *packs) {
    for (cf_packed *pack = packs->oldest, *next; pack && packs->count > CF_PACKED_KEPT; pack = next) {
        next = pack->newer;
        if (pack->refs == 0) forget(packs, pack);
    }
}

/* Takes pack unless the number is known already. */
static void keep(cf_packs *packs, cf_packed *pack) {
    pthread_mutex_lock(&packs->lock);
    if (find(packs, pack->number)) {
        packed_free(pack);
    } else {
        cf_packed **bucket = bucket_of(packs, pack->number);
        pack->chain = *bucket;
        *bucket = pack;
        use_append(packs, pack);
        packs->count++;
        shrink(packs);
    }
    pthread_mutex_unlock(&packs->lock);
}

/* err is freed; only what says something about the pack itself is remembered, the rest is passed on. */
static cf_err *remember_broken(cf_packed *pack, const char *reason, cf_err *err) {
    CF_AUTO(cf_err) owned = err;
    if (!cf_err_has(owned, CF_F_DAMAGE)) return cf_take(owned);
    pack->broken = reason;
    pack->why = strdup(cf_err_message(owned));
    return pack->why ? NULL : cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a pack's state");
}

static cf_err *check_header(const cf_reader *reader, const cf_packed *pack) {
    if (pack->header.number != pack->number)
        return cf_fail_reason(CF_ERR_PACK_UNREADABLE, "header", "pack %llu stands where pack %llu should",
                              (unsigned long long)pack->header.number, (unsigned long long)pack->number);
    if (!cf_id16_equal(&pack->header.server, &reader->server))
        return cf_fail_reason(CF_ERR_PACK_UNREADABLE, "header", "it belongs to another server");
    return NULL;
}

/* frame->error is consumed. */
static cf_err *packed_from(const cf_reader *reader, cf_pack_frame *frame, cf_packed **out) {
    CF_AUTO(cf_packed) pack = calloc(1, sizeof *pack);
    if (!pack) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a pack's table");
    pack->number = frame->number;
    pack->size = frame->size;
    if (frame->error) {
        CF_TRY(remember_broken(pack, "missing", cf_take(frame->error)));
    } else {
        cf_err *err = cf_pack_header_decode(cf_buf_span(&frame->header), &pack->header);
        if (!err) err = check_header(reader, pack);
        const char *reason = "header";
        if (!err) {
            reason = "extents";
            err = cf_pack_tail_decode(cf_buf_span(&frame->header), cf_buf_span(&frame->tail), frame->size,
                                      &pack->extents, &pack->extent_count);
        }
        if (err) CF_TRY(remember_broken(pack, reason, err));
    }
    *out = cf_take(pack);
    return NULL;
}

static cf_err *load(cf_reader *reader, const uint64_t *numbers, size_t count) {
    cf_pack_frame *frames = calloc(count, sizeof *frames);
    if (!frames) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for %zu pack tables", count);
    cf_err *err = reader->source->ops->packs(reader->source->context, numbers, count, frames);
    for (size_t i = 0; !err && i < count; i++) {
        cf_packed *pack = NULL;
        err = cf_note(packed_from(reader, &frames[i], &pack), "pack %llu", (unsigned long long)numbers[i]);
        if (!err) keep(&reader->packs, pack);
    }
    cf_pack_frames_wipe(frames, count);
    free(frames);
    return err;
}

cf_err *cf_reader_prepare(cf_reader *reader, const uint64_t *packs, size_t count) {
    uint64_t wanted[CF_SOURCE_PACKS_MAX];
    size_t fill = 0;
    for (size_t i = 0; i < count; i++) {
        pthread_mutex_lock(&reader->packs.lock);
        bool known = find(&reader->packs, packs[i]) != NULL;
        pthread_mutex_unlock(&reader->packs.lock);
        if (known) continue;
        wanted[fill++] = packs[i];
        if (fill < CF_SOURCE_PACKS_MAX) continue;
        CF_TRY(load(reader, wanted, fill));
        fill = 0;
    }
    return fill ? load(reader, wanted, fill) : NULL;
}

static cf_packed *pin(cf_packs *packs, uint64_t number) {
    pthread_mutex_lock(&packs->lock);
    cf_packed *pack = find(packs, number);
    if (pack) {
        pack->refs++;
        use_unlink(packs, pack);
        use_append(packs, pack);
    }
    pthread_mutex_unlock(&packs->lock);
    return pack;
}

void cf_reader_pack_release(cf_reader *reader, cf_packed *pack) {
    pthread_mutex_lock(&reader->packs.lock);
    if (--pack->refs == 0 && pack->detached) packed_free(pack);
    pthread_mutex_unlock(&reader->packs.lock);
}

bool cf_reader_pack_doubtful(const cf_err *err) {
    return cf_err_is(err, CF_ERR_PACK_UNREADABLE) || cf_err_is(err, CF_ERR_SEGMENT_DAMAGED);
}

static bool same_frame(const cf_packed *a, const cf_packed *b) {
    bool same = a->size == b->size && a->extent_count == b->extent_count;
    for (size_t i = 0; same && i < a->extent_count; i++)
        same = a->extents[i].segment == b->extents[i].segment && a->extents[i].offset == b->extents[i].offset;
    return same;
}

/* Takes fresh. The pack of the table is replaced when it differs. */
static bool replace(cf_packs *packs, cf_packed *fresh) {
    pthread_mutex_lock(&packs->lock);
    cf_packed *known = find(packs, fresh->number);
    bool changed = !fresh->broken && (!known || known->broken || !same_frame(known, fresh));
    if (known && changed) {
        unlink_packed(packs, known);
        known->detached = true;
        if (known->refs == 0) packed_free(known);
    }
    pthread_mutex_unlock(&packs->lock);
    if (changed)
        keep(packs, fresh);
    else
        packed_free(fresh);
    return changed;
}

cf_err *cf_reader_pack_again(cf_reader *reader, uint64_t number, bool *changed) {
    cf_pack_frame frame = {0};
    cf_packed *fresh = NULL;
    *changed = false;
    cf_err *err = reader->source->ops->packs(reader->source->context, &number, 1, &frame);
    if (!err) err = packed_from(reader, &frame, &fresh);
    if (!err) *changed = replace(&reader->packs, fresh);
    cf_pack_frames_wipe(&frame, 1);
    return err;
}

void cf_reader_pack_gone(cf_reader *reader, uint64_t number, const cf_err *why) {
    pthread_mutex_lock(&reader->packs.lock);
    cf_packed *pack = find(&reader->packs, number);
    if (pack && !pack->broken) {
        char *text = strdup(cf_err_message(why));
        if (text) { /* otherwise it is asked for again */
            pack->why = text;
            pack->broken = "missing";
        }
    }
    pthread_mutex_unlock(&reader->packs.lock);
}

cf_err *cf_reader_pack(cf_reader *reader, uint64_t number, cf_packed **out) {
    cf_packed *pack = NULL;
    /* Between loading and pinning, other threads may push it out again; a few rounds always do. */
    for (int round = 0; !pack && round < 100; round++) {
        pack = pin(&reader->packs, number);
        if (!pack) CF_TRY(load(reader, &number, 1));
    }
    if (!pack) return cf_fail(CF_ERR_INTERNAL, "the table of packs is too small");
    pthread_mutex_lock(&reader->packs.lock);
    const char *broken = pack->broken;
    pthread_mutex_unlock(&reader->packs.lock);
    if (broken) {
        cf_err *err =
            cf_fail_reason(CF_ERR_PACK_UNREADABLE, broken, "pack %llu: %s", (unsigned long long)number, pack->why);
        cf_reader_pack_release(reader, pack);
        return err;
    }
    *out = pack;
    return NULL;
}

const cf_extent *cf_packed_extent(const cf_packed *pack, uint16_t segment) {
    size_t low = 0, high = pack->extent_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (pack->extents[middle].segment < segment)
            low = middle + 1;
        else
            high = middle;
    }
    return low < pack->extent_count && pack->extents[low].segment == segment ? &pack->extents[low] : NULL;
}

cf_err *cf_reader_pack_keys(cf_reader *reader, cf_packed *pack, uint8_t key[32]) {
    pthread_mutex_lock(&reader->packs.lock);
    bool known = pack->has_keys;
    if (known) memcpy(key, pack->keys.key, 32);
    pthread_mutex_unlock(&reader->packs.lock);
    if (known) return NULL;
    const cf_secret *session_key;
    CF_TRY(cf_note(cf_reader_session_key(reader, &pack->header.session, (cf_span){0}, &session_key), "pack %llu",
                   (unsigned long long)pack->number));
    cf_key_pair_bytes pair;
    CF_TRY(cf_pack_keys_derive(session_key, pack->number, &pair));
    bool right = memcmp(pair.commitment, pack->header.commitment, 32) == 0;
    if (right) {
        memcpy(key, pair.key, 32);
        pthread_mutex_lock(&reader->packs.lock);
        pack->keys = pair;
        pack->has_keys = true;
        pthread_mutex_unlock(&reader->packs.lock);
    }
    cf_wipe(&pair, sizeof pair);
    if (!right)
        return cf_fail_reason(CF_ERR_PACK_UNREADABLE, "commitment", "pack %llu was not sealed under its session's key",
                              (unsigned long long)pack->number);
    return NULL;
}

static cf_err *no_extent(uint64_t pack, uint16_t segment) {
    return cf_fail_reason(CF_ERR_SEGMENT_DAMAGED, "missing", "pack %llu holds no segment %u", (unsigned long long)pack,
                          segment);
}

cf_err *cf_reader_extent(cf_reader *reader, uint64_t number, uint16_t segment, cf_extent *extent) {
    cf_packed *pack;
    CF_TRY(cf_reader_pack(reader, number, &pack));
    const cf_extent *found = cf_packed_extent(pack, segment);
    if (found) *extent = *found;
    cf_reader_pack_release(reader, pack);
    return found ? NULL : no_extent(number, segment);
}

cf_err *cf_reader_extents(cf_reader *reader, uint64_t number, cf_extent **extents, size_t *count) {
    cf_packed *pack;
    CF_TRY(cf_reader_pack(reader, number, &pack));
    cf_err *err = NULL;
    cf_extent *copy = malloc(pack->extent_count * sizeof *copy + 1);
    if (copy) {
        memcpy(copy, pack->extents, pack->extent_count * sizeof *copy);
        *count = pack->extent_count;
        *extents = copy;
    } else {
        err = cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a pack's table");
    }
    cf_reader_pack_release(reader, pack);
    return err;
}

/* The frame as it must stand in the object, from what is known. */
static cf_err *frame_bytes(const cf_packed *pack, uint8_t header[CF_PACK_HEADER_SIZE], uint64_t *table, cf_buf *tail) {
    cf_pack_header_encode(&pack->header, header);
    size_t size = pack->extent_count * CF_EXTENT_SIZE + CF_PACK_TRAILER_SIZE;
    *table = pack->size - size; /* decoding has checked that it fits */
    cf_buf_init(tail, size);
    cf_pack_tail_encode(header, *table, pack->extents, pack->extent_count, tail);
    return cf_buf_check(tail, "a pack's table");
}

static cf_err *check_frame(cf_reader *reader, const cf_packed *pack, cf_buf *buffer) {
    CF_AUTO_BUF cf_buf tail;
    uint8_t header[CF_PACK_HEADER_SIZE];
    uint64_t table;
    CF_TRY(frame_bytes(pack, header, &table, &tail));
    cf_buf_reset(buffer);
    CF_TRY(cf_reader_fetch(reader, pack->number, 0, sizeof header, buffer));
    bool same = memcmp(buffer->data, header, sizeof header) == 0;
    CF_TRY(cf_reader_fetch(reader, pack->number, table, tail.size, buffer));
    if (same && cf_span_equal(cf_buf_span(buffer), cf_buf_span(&tail))) return NULL;
    return cf_fail_reason(CF_ERR_PACK_UNREADABLE, "table",
                          "pack %llu: its object does not say of itself what the vault says of it",
                          (unsigned long long)pack->number);
}

static cf_err *check_frame_once(cf_reader *reader, uint64_t number, cf_buf *buffer) {
    cf_packed *pack;
    CF_TRY(cf_reader_pack(reader, number, &pack));
    cf_err *err = check_frame(reader, pack, buffer);
    cf_reader_pack_release(reader, pack);
    return err;
}

cf_err *cf_reader_check_frame(cf_reader *reader, uint64_t number, cf_buf *buffer) {
    bool again = false;
    cf_err *err = check_frame_once(reader, number, buffer);
    if (!err || !cf_reader_pack_doubtful(err)) return err;
    CF_AUTO(cf_err) ignored = cf_reader_pack_again(reader, number, &again); /* then the first error stands */
    if (!again) return err;
    cf_err_free(err);
    return check_frame_once(reader, number, buffer);
}
