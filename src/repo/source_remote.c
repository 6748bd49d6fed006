#include "repo/source_remote.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "remote/damage.h"
#include "remote/packs.h"
#include "remote/points.h"
#include "remote/sessions.h"

enum { KEPT = 4096, BUCKETS = 4096 };

/* Where a pack can be read. The newest uses stand at the end of the list of ages. */
struct place {
    cf_remote_pack pack;
    unsigned refs;
    bool detached; /* a newer one took its place; freed with its last use */
    struct place *chain, *older, *newer;
};

struct vault {
    cf_remote *remote;
    pthread_mutex_t lock;
    struct place *bucket[BUCKETS];
    struct place *oldest, *newest;
    size_t count;
};

static struct place *find(struct vault *vault, uint64_t number) {
    for (struct place *place = vault->bucket[number % BUCKETS]; place; place = place->chain)
        if (place->pack.number == number) return place;
    return NULL;
}

static void age_unlink(struct vault *vault, struct place *place) {
    if (place->older)
        place->older->newer = place->newer;
    else
        vault->oldest = place->newer;
    if (place->newer)
        place->newer->older = place->older;
    else
        vault->newest = place->older;
}

static void age_append(struct vault *vault, struct place *place) {
    place->older = vault->newest;
    place->newer = NULL;
    if (vault->newest)
        vault->newest->newer = place;
    else
        vault->oldest = place;
    vault->newest = place;
}

static void unlink_place(struct vault *vault, struct place *place) {
    struct place **link = &vault->bucket[place->pack.number % BUCKETS];
    while (*link != place) link = &(*link)->chain;
    *link = place->chain;
    age_unlink(vault, place);
    vault->count--;
}

static void free_place(struct place *place) {
    cf_remote_pack_wipe(&place->pack);
    free(place);
}

static void forget(struct vault *vault, struct place *place) {
    unlink_place(vault, place);
    free_place(place);
}

static bool same_pack(const cf_remote_pack *a, const cf_remote_pack *b) {
    return a->size == b->size && a->tail_size == b->tail_size && memcmp(a->tail, b->tail, a->tail_size) == 0;
}

/* Compaction has written the pack anew: the old address is of no use any more. */
static void detach(struct vault *vault, struct place *place) {
    unlink_place(vault, place);
    place->detached = true;
    if (place->refs == 0) free_place(place);
}

/* Takes what pack holds. */
static cf_err *keep(struct vault *vault, cf_remote_pack *pack) {
    struct place *place = calloc(1, sizeof *place);
    if (!place) {
        cf_remote_pack_wipe(pack);
        return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a pack's address");
    }
    place->pack = *pack;
    *pack = (cf_remote_pack){0};
    pthread_mutex_lock(&vault->lock);
    struct place *known = find(vault, place->pack.number);
    if (known && !same_pack(&known->pack, &place->pack)) detach(vault, cf_take(known));
    if (known) {
        free_place(place);
    } else {
        struct place **bucket = &vault->bucket[place->pack.number % BUCKETS];
        place->chain = *bucket;
        *bucket = place;
        age_append(vault, place);
        vault->count++;
        for (struct place *old = vault->oldest, *next; old && vault->count > KEPT; old = next) {
            next = old->newer;
            if (old->refs == 0) forget(vault, old);
        }
    }
    pthread_mutex_unlock(&vault->lock);
    return NULL;
}

static cf_err *missing(uint64_t number, cf_err *cause) {
    if (cause && !cf_err_is(cause, CF_ERR_OBJECT_MISSING) && !cf_err_is(cause, CF_ERR_UNKNOWN_OBJECT) &&
        !cf_err_has(cause, CF_F_DAMAGE))
        return cause;
    bool cut = strcmp(cf_err_reason(cause), "range") == 0, moved = strcmp(cf_err_reason(cause), "moved") == 0;
    return cf_wrap_reason(cause, CF_ERR_PACK_UNREADABLE,
                          cut     ? "short"
                          : moved ? "moved"
                                  : "missing",
                          "the vault cannot give out pack %llu", (unsigned long long)number);
}

static cf_err *frame_from(cf_remote_pack *pack, cf_pack_frame *frame) {
    if (pack->error) {
        frame->error = missing(frame->number, cf_take(pack->error));
        return NULL;
    }
    frame->size = pack->size;
    cf_buf_init(&frame->header, 4096);
    cf_buf_init(&frame->tail, CF_PACK_MAX);
    cf_buf_put(&frame->header, pack->header, pack->header_size);
    cf_buf_put(&frame->tail, pack->tail, pack->tail_size);
    CF_TRY(cf_buf_check(&frame->header, "a pack's header"));
    return cf_buf_check(&frame->tail, "a pack's table");
}

static cf_err *source_packs(void *context, const uint64_t *numbers, size_t count, cf_pack_frame *frames) {
    struct vault *vault = context;
    CF_AUTO_FREE cf_remote_pack *packs = calloc(count, sizeof *packs);
    if (!packs) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for %zu packs", count);
    for (size_t i = 0; i < count; i++) frames[i] = (cf_pack_frame){.number = numbers[i]};
    CF_TRY(cf_remote_fetch_packs(vault->remote, numbers, count, packs));
    cf_err *err = NULL;
    for (size_t i = 0; i < count; i++) {
        if (!err) err = frame_from(&packs[i], &frames[i]);
        if (!err && !frames[i].error)
            err = keep(vault, &packs[i]);
        else
            cf_remote_pack_wipe(&packs[i]);
    }
    return err;
}

static struct place *pin(struct vault *vault, uint64_t number) {
    pthread_mutex_lock(&vault->lock);
    struct place *place = find(vault, number);
    if (place) {
        place->refs++;
        age_unlink(vault, place);
        age_append(vault, place);
    }
    pthread_mutex_unlock(&vault->lock);
    return place;
}

static cf_err *address(struct vault *vault, uint64_t number, struct place **out) {
    struct place *place = pin(vault, number);
    for (int round = 0; !place && round < 100; round++) { /* others may push it out before it is pinned */
        cf_remote_pack pack = {0};
        CF_TRY(cf_remote_fetch_packs(vault->remote, &number, 1, &pack));
        if (pack.error) {
            cf_err *err = missing(number, cf_take(pack.error));
            cf_remote_pack_wipe(&pack);
            return err;
        }
        CF_TRY(keep(vault, &pack));
        place = pin(vault, number);
    }
    if (!place) return cf_fail(CF_ERR_INTERNAL, "the table of packs is too small");
    *out = place;
    return NULL;
}

static cf_err *source_read(void *context, uint64_t number, uint64_t offset, size_t size, uint8_t *out) {
    struct vault *vault = context;
    struct place *place = NULL;
    CF_TRY(address(vault, number, &place));
    cf_err *err = cf_remote_read_range(vault->remote, &place->pack, offset, size, out);
    pthread_mutex_lock(&vault->lock);
    if (--place->refs == 0 && place->detached) free_place(place);
    pthread_mutex_unlock(&vault->lock);
    return err && (cf_err_is(err, CF_ERR_OBJECT_MISSING) || cf_err_is(err, CF_ERR_UNKNOWN_OBJECT))
               ? missing(number, err)
               : err;
}

static void join_tags(const cf_remote_point *point, char out[96]) {
    out[0] = 0;
    size_t used = 0;
    for (size_t i = 0; i < point->tag_count && used + CF_REMOTE_TAG_MAX + 1 < 96; i++)
        used += (size_t)snprintf(out + used, 96 - used, "%s%s", i ? "," : "", point->tags[i]);
}

static cf_err *source_points(void *context, cf_point_row **rows, size_t *count) {
    struct vault *vault = context;
    CF_AUTO_FREE cf_remote_point *points = NULL;
    size_t total = 0;
    CF_TRY(cf_remote_list_points(vault->remote, &points, &total));
    cf_point_row *list = calloc(total + 1, sizeof *list);
    if (!list) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for %zu recovery points", total);
    for (size_t i = 0; i < total; i++) {
        const cf_remote_point *point = &points[i];
        list[i] = (cf_point_row){.id = point->id,
                                 .previous = point->previous,
                                 .counter = point->counter,
                                 .size = point->size,
                                 .received = point->received,
                                 .expires = point->expires,
                                 .has_expires = point->has_expires,
                                 .summary = point->summary};
        join_tags(point, list[i].tags);
        snprintf(list[i].status, sizeof list[i].status, "%s", point->status);
    }
    *rows = list;
    *count = total;
    return NULL;
}

static cf_err *source_point(void *context, const cf_id32 *id, cf_buf *out) {
    struct vault *vault = context;
    return cf_remote_get_point(vault->remote, id, out);
}

static cf_err *source_map(void *context, const cf_id32 *id, cf_buf *out) {
    struct vault *vault = context;
    return cf_remote_get_map(vault->remote, id, out);
}

static cf_err *source_record(void *context, const cf_id16 *session, cf_buf *out) {
    struct vault *vault = context;
    uint8_t record[CF_REMOTE_RECORD_SIZE];
    CF_TRY(cf_remote_get_record(vault->remote, session, record));
    cf_buf_put(out, record, sizeof record);
    return cf_buf_check(out, "a key record");
}

static cf_err *source_relocations(void *context, cf_id32 **out, size_t *count) {
    struct vault *vault = context;
    CF_AUTO_FREE cf_remote_relocation *rows = NULL;
    size_t total = 0;
    CF_TRY(cf_remote_list_relocations(vault->remote, &rows, &total));
    cf_id32 *ids = calloc(total + 1, sizeof *ids);
    if (!ids) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for %zu relocation records", total);
    for (size_t i = 0; i < total; i++) ids[i] = rows[i].id;
    *out = ids;
    *count = total;
    return NULL;
}

static cf_err *source_relocation(void *context, const cf_id32 *id, cf_buf *out) {
    struct vault *vault = context;
    return cf_remote_get_relocation(vault->remote, id, out);
}

static void source_close(void *context) {
    struct vault *vault = context;
    while (vault->oldest) forget(vault, vault->oldest);
    pthread_mutex_destroy(&vault->lock);
    free(vault);
}

static const cf_source_ops remote_ops = {
    .points = source_points,
    .point = source_point,
    .record = source_record,
    .packs = source_packs,
    .read = source_read,
    .map = source_map,
    .relocations = source_relocations,
    .relocation = source_relocation,
    .close = source_close,
};

cf_err *cf_source_remote_open(cf_remote *remote, cf_source **out) {
    cf_source *source = calloc(1, sizeof *source);
    struct vault *vault = calloc(1, sizeof *vault);
    if (!source || !vault) {
        free(source);
        free(vault);
        return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory to read from the vault");
    }
    vault->remote = remote;
    pthread_mutex_init(&vault->lock, NULL);
    *source = (cf_source){&remote_ops, vault};
    *out = source;
    return NULL;
}
