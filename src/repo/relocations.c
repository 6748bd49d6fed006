/* Relocation records, as far as a reader needs them: which chunk stands elsewhere, and what points need for it. */
#include <stdlib.h>

#include "base/log.h"
#include "digest/digest.h"
#include "repo/reader_internal.h"
#include "sealed/relocation.h"

void cf_relocations_wipe(cf_relocations *all) {
    for (size_t i = 0; i < all->count; i++) {
        free(all->records[i].points);
        cf_map_free(all->records[i].extra);
    }
    free(all->records);
    free(all->moved);
    pthread_mutex_destroy(&all->lock);
}

static int compare_moved(const void *a, const void *b) {
    const cf_moved *x = a, *y = b;
    int order = memcmp(x->ref.id.bytes, y->ref.id.bytes, 32);
    if (order) return order;
    return (x->number < y->number) - (x->number > y->number); /* the newest first */
}

static cf_err *add_moved(cf_relocations *all, uint64_t number, const cf_ref *refs, size_t count) {
    cf_moved *grown = reallocarray(all->moved, all->moved_count + count + 1, sizeof *grown);
    if (!grown) return cf_fail(CF_ERR_OUT_OF_MEMORY, "relocations");
    all->moved = grown;
    for (size_t i = 0; i < count; i++) all->moved[all->moved_count++] = (cf_moved){refs[i], number};
    return NULL;
}

static cf_err *open_record(cf_reader *reader, cf_span bytes, const cf_relocation_frame *frame, cf_ref **refs,
                           size_t *count) {
    const cf_secret *key;
    (void)bytes;
    if (!cf_id16_equal(&frame->server, &reader->server))
        return cf_fail_reason(CF_ERR_SEAL_BROKEN, "server", "the relocation record belongs to another server");
    CF_TRY(cf_reader_session_key(reader, &frame->session, frame->key_record, &key));
    return cf_relocation_open(frame, key, refs, count);
}

static cf_err *take_record(cf_reader *reader, cf_relocations *all, cf_span bytes) {
    CF_AUTO_FREE cf_ref *refs = NULL;
    CF_AUTO_FREE cf_id32 *points = NULL;
    CF_AUTO(cf_map) extra = NULL;
    cf_relocation_frame frame;
    size_t count = 0, point_count = 0;
    CF_TRY(cf_relocation_decode(bytes, &frame));
    CF_TRY(open_record(reader, bytes, &frame, &refs, &count));
    CF_TRY(cf_relocation_points_decode(frame.points, &points, &point_count));
    CF_TRY(cf_relocation_map(frame.extra, &extra));
    cf_relocated *grown = reallocarray(all->records, all->count + 1, sizeof *grown);
    if (!grown) return cf_fail(CF_ERR_OUT_OF_MEMORY, "relocations");
    all->records = grown;
    CF_TRY(add_moved(all, frame.number, refs, count));
    all->records[all->count++] = (cf_relocated){frame.number, cf_take(points), point_count, cf_take(extra)};
    return NULL;
}

static cf_err *take_one(cf_reader *reader, cf_relocations *all, const cf_id32 *id) {
    CF_AUTO_BUF cf_buf bytes;
    cf_id32 sum;
    cf_buf_init(&bytes, CF_RELOCATION_MAX);
    CF_TRY(reader->source->ops->relocation(reader->source->context, id, &bytes));
    CF_TRY(cf_sha256(cf_buf_span(&bytes), sum.bytes));
    if (!cf_id32_equal(&sum, id))
        return cf_fail_reason(CF_ERR_SEAL_BROKEN, "id", "the relocation record does not have its ID");
    return take_record(reader, all, cf_buf_span(&bytes));
}

static cf_err *load(cf_reader *reader, cf_relocations *all) {
    CF_AUTO_FREE cf_id32 *ids = NULL;
    size_t count = 0;
    if (!reader->source->ops->relocations) return NULL;
    CF_TRY(reader->source->ops->relocations(reader->source->context, &ids, &count));
    for (size_t i = 0; i < count; i++) {
        cf_err *err = take_one(reader, all, &ids[i]);
        /* Without it the damage that it healed shows again: the rest is as readable as before. */
        bool unusable = cf_err_has(err, CF_F_DAMAGE) || cf_err_is(err, CF_ERR_FORMAT_VERSION) ||
                        cf_err_is(err, CF_ERR_OBJECT_MISSING) || cf_err_is(err, CF_ERR_BAD_REPLY);
        if (err && !unusable) return err;
        if (err) cf_log_error(CF_LOG_WARNING, err);
        cf_err_free(err);
    }
    if (all->moved_count) qsort(all->moved, all->moved_count, sizeof *all->moved, compare_moved);
    return NULL;
}

static cf_err *ensure(cf_reader *reader) {
    cf_relocations *all = &reader->relocations;
    cf_err *err = NULL;
    pthread_mutex_lock(&all->lock);
    if (!all->loaded) err = load(reader, all);
    all->loaded = all->loaded || !err;
    pthread_mutex_unlock(&all->lock);
    return err;
}

cf_err *cf_reader_add_extra(cf_reader *reader, const cf_id32 *point, cf_map *map) {
    CF_TRY(ensure(reader));
    const cf_relocations *all = &reader->relocations;
    for (size_t i = 0; i < all->count; i++)
        if (cf_relocation_concerns(all->records[i].points, all->records[i].point_count, point))
            CF_TRY(cf_map_add_all(map, all->records[i].extra));
    return NULL;
}

/* The first of the chunk's places, or where it would be. */
static size_t first_moved(const cf_relocations *all, const cf_id32 *id) {
    size_t low = 0, high = all->moved_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (memcmp(all->moved[middle].ref.id.bytes, id->bytes, 32) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool cf_lane_moved(const cf_lane *lane, const cf_map *map, const cf_ref *ref, size_t *at, cf_ref *there) {
    /* Complete before the first point's map is, and unchanged from then on. */
    const cf_relocations *all = &lane->reader->relocations;
    if (all->moved_count == 0 || !map) return false;
    for (size_t i = first_moved(all, &ref->id) + *at;
         i < all->moved_count && cf_id32_equal(&all->moved[i].ref.id, &ref->id); i++) {
        *there = all->moved[i].ref;
        ++*at;
        if (there->length == ref->length && cf_map_has(map, there->pack, there->segment)) return true;
    }
    return false;
}

bool cf_lane_resolve(const cf_lane *lane, const cf_map *map, cf_ref *ref) {
    size_t at = 0;
    cf_ref there;
    bool moved = cf_lane_moved(lane, map, ref, &at, &there);
    if (moved) *ref = there;
    return moved;
}
