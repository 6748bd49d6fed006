/* The mark: what something still needs, and changing states under the server's lock. */
#include <stdlib.h>

#include "service/call.h"
#include "service/liveness.h"
#include "service/reclaim.h"
#include "service/relocate.h"

enum { CHAIN_MAX = 8, KEPT_MAPS = 4, FOLDS_MAX = 8 };

/* A map that was decoded: the next point's is usually a delta against it. */
typedef struct kept_map {
    cf_id32 id;
    cf_map *map;
    uint8_t chain;
} kept_map;

struct cf_reclaim_mark {
    cf_reclaimer reclaimer;
    cf_id16 server;
    cf_map *all;
    cf_id32 *marked; /* points whose maps are in it; ascending */
    size_t marked_count;
    cf_id32 *needed; /* points whose objects are needed: the marked ones and their chains; in no order */
    size_t needed_count, needed_room;
    kept_map kept[KEPT_MAPS];
    size_t next_kept;
    uint64_t relocation; /* the newest relocation record that is in it */
};

void cf_reclaim_lock(const cf_reclaimer *reclaimer, const cf_id16 *server) {
    if (reclaimer->service) cf_service_lock(reclaimer->service, server);
}

void cf_reclaim_unlock(const cf_reclaimer *reclaimer, const cf_id16 *server) {
    if (reclaimer->service) cf_service_unlock(reclaimer->service, server);
}

void cf_reclaim_mark_free(cf_reclaim_mark *mark) {
    if (!mark) return;
    for (size_t i = 0; i < KEPT_MAPS; i++) cf_map_free(mark->kept[i].map);
    cf_map_free(mark->all);
    free(mark->marked);
    free(mark->needed);
    free(mark);
}

const cf_map *cf_reclaim_mark_map(const cf_reclaim_mark *mark) {
    return mark->all;
}

void cf_reclaim_mark_live(const cf_reclaim_mark *mark, uint64_t pack, cf_segset *live) {
    cf_segset_clear(live);
    for (uint32_t segment = 0; cf_map_next_segment(mark->all, pack, &segment); segment++) cf_segset_add(live, segment);
}

static int compare_ids(const void *a, const void *b) {
    return memcmp(a, b, 32);
}

static bool is_marked(const cf_reclaim_mark *mark, const cf_id32 *id) {
    return mark->marked_count && bsearch(id, mark->marked, mark->marked_count, sizeof *id, compare_ids) != NULL;
}

bool cf_reclaim_mark_needs(const cf_reclaim_mark *mark, const cf_id32 *point) {
    for (size_t i = 0; i < mark->needed_count; i++)
        if (cf_id32_equal(&mark->needed[i], point)) return true;
    return false;
}

static cf_err *add_needed(cf_reclaim_mark *mark, const cf_id32 *id) {
    if (cf_reclaim_mark_needs(mark, id)) return NULL;
    if (mark->needed_count == mark->needed_room) {
        size_t room = mark->needed_room ? 2 * mark->needed_room : 64;
        cf_id32 *grown = reallocarray(mark->needed, room, sizeof *grown);
        if (!grown) return cf_fail(CF_ERR_OUT_OF_MEMORY, "the mark");
        mark->needed = grown;
        mark->needed_room = room;
    }
    mark->needed[mark->needed_count++] = *id;
    return NULL;
}

static const kept_map *find_kept(const cf_reclaim_mark *mark, const cf_id32 *id) {
    for (size_t i = 0; i < KEPT_MAPS; i++)
        if (mark->kept[i].map && cf_id32_equal(&mark->kept[i].id, id)) return &mark->kept[i];
    return NULL;
}

/* Takes map. */
static const kept_map *keep(cf_reclaim_mark *mark, const cf_id32 *id, cf_map *map, uint8_t chain) {
    kept_map *place = &mark->kept[mark->next_kept++ % KEPT_MAPS];
    cf_map_free(place->map);
    *place = (kept_map){*id, map, chain};
    return place;
}

static cf_err *read_map(cf_reclaim_mark *mark, const cf_point_row *row, cf_buf *bytes, cf_span *map,
                        cf_map_header *header) {
    cf_point_frame frame;
    CF_TRY(cf_point_load(mark->reclaimer.vault, row, bytes));
    cf_err *err = cf_point_decode(cf_buf_span(bytes), &frame);
    if (!err) err = cf_map_peek(frame.map, header);
    if (err)
        return cf_wrap(err, CF_ERR_POINT_DAMAGED, "recovery point %llu cannot be read",
                       (unsigned long long)row->counter);
    *map = frame.map;
    return NULL;
}

/* Maps of a chain, the farthest first; each is decoded against the one before. */
static cf_err *decode_point(cf_reclaim_mark *mark, const cf_point_row *row, int depth, const kept_map **out) {
    CF_TRY(add_needed(mark, &row->id));
    const kept_map *known = find_kept(mark, &row->id), *base = NULL;
    if (known) { /* then its chain was noted when it was decoded */
        *out = known;
        return NULL;
    }
    if (row->delta) {
        bool found = false;
        cf_point_row below;
        if (depth == CHAIN_MAX) return cf_fail(CF_ERR_POINT_DAMAGED, "the chain of maps is too long");
        CF_TRY(cf_records_find_point(mark->reclaimer.vault->records, &mark->server, &row->base, &found, &below));
        if (!found)
            return cf_fail(CF_ERR_POINT_DAMAGED, "the base of recovery point %llu is not known",
                           (unsigned long long)row->counter);
        CF_TRY(decode_point(mark, &below, depth + 1, &base));
    }
    CF_AUTO_BUF cf_buf bytes;
    cf_buf_init(&bytes, CF_POINT_MAX);
    cf_span encoded;
    cf_map_header header;
    cf_map *map = NULL;
    CF_TRY(read_map(mark, row, &bytes, &encoded, &header));
    if (header.delta != row->delta || (header.delta && !cf_id32_equal(&header.base, &row->base)))
        return cf_fail(CF_ERR_POINT_DAMAGED, "the row of recovery point %llu names another base than its object",
                       (unsigned long long)row->counter);
    cf_err *err = cf_map_decode(encoded, base ? base->map : NULL, &header, &map);
    if (err)
        return cf_wrap(err, CF_ERR_POINT_DAMAGED, "the map of recovery point %llu cannot be read",
                       (unsigned long long)row->counter);
    *out = keep(mark, &row->id, map, header.delta ? header.chain : 0);
    return NULL;
}

static int compare_rows(const void *a, const void *b) {
    const cf_point_row *left = a, *right = b;
    return (left->counter > right->counter) - (left->counter < right->counter);
}

/* Folds the points of ids in that are not marked. In the order of their counters, so that maps of chains are at hand. */
static cf_err *fold(cf_reclaim_mark *mark, const cf_id32 *ids, size_t count) {
    CF_AUTO_FREE cf_point_row *rows = calloc(count + 1, sizeof *rows);
    size_t fresh = 0;
    if (!rows) return cf_fail(CF_ERR_OUT_OF_MEMORY, "the mark");
    for (size_t i = 0; i < count; i++) {
        bool found = false;
        if (is_marked(mark, &ids[i])) continue;
        CF_TRY(cf_records_find_point(mark->reclaimer.vault->records, &mark->server, &ids[i], &found, &rows[fresh]));
        if (!found) return cf_fail(CF_ERR_POINT_DAMAGED, "a session or lease holds a recovery point that is not known");
        fresh++;
    }
    if (fresh) qsort(rows, fresh, sizeof *rows, compare_rows);
    for (size_t i = 0; i < fresh; i++) {
        const kept_map *one = NULL;
        CF_TRY(cf_cancel_check(mark->reclaimer.cancel));
        CF_TRY(decode_point(mark, &rows[i], 0, &one));
        CF_TRY(cf_map_add_all(mark->all, one->map));
    }
    return NULL;
}

/* Brings the mark up to what is pinned at this moment, or a later one. */
static cf_err *renew(cf_reclaim_mark *mark) {
    cf_id32 *ids = NULL;
    size_t count = 0;
    CF_TRY(cf_records_list_pinned(mark->reclaimer.vault->records, &mark->server, &ids, &count));
    cf_err *err = fold(mark, ids, count);
    if (!err) /* for all of them again: a record may concern a point that was not pinned when it was read */
        err = cf_relocation_add_live(mark->reclaimer.vault, &mark->server, ids, count, 0, mark->all, &mark->relocation);
    if (err) {
        free(ids);
        return err;
    }
    /* What was marked before stays in the union, but need not be told any more: it is not pinned. */
    free(mark->marked);
    mark->marked = ids;
    mark->marked_count = count;
    return NULL;
}

cf_err *cf_reclaim_mark_new(const cf_reclaimer *reclaimer, const cf_id16 *server, cf_reclaim_mark **out) {
    CF_AUTO(cf_reclaim_mark) mark = calloc(1, sizeof *mark);
    if (!mark) return cf_fail(CF_ERR_OUT_OF_MEMORY, "the mark");
    mark->reclaimer = *reclaimer;
    mark->server = *server;
    CF_TRY(cf_map_new(&mark->all));
    CF_TRY(renew(mark));
    *out = cf_take(mark);
    return NULL;
}

static cf_err *covers(const cf_reclaim_mark *mark, bool *all) {
    CF_AUTO_FREE cf_id32 *ids = NULL;
    size_t count = 0;
    CF_TRY(cf_records_list_pinned(mark->reclaimer.vault->records, &mark->server, &ids, &count));
    *all = true;
    for (size_t i = 0; i < count && *all; i++) *all = is_marked(mark, &ids[i]);
    CF_AUTO_FREE cf_relocation_row *records = NULL;
    CF_TRY(
        cf_records_list_relocations(mark->reclaimer.vault->records, &mark->server, mark->relocation, &records, &count));
    if (count) *all = false;
    return NULL;
}

static cf_err *change_once(cf_reclaim_mark *mark, cf_reclaim_changer change, void *context, bool *done) {
    cf_records *records = mark->reclaimer.vault->records;
    CF_TRY(cf_records_begin(records));
    cf_err *err = covers(mark, done);
    if (!err && *done) err = change(context, mark);
    return cf_records_finish(records, err);
}

cf_err *cf_reclaim_change(cf_reclaim_mark *mark, cf_reclaim_changer change, void *context) {
    for (int i = 0; i < FOLDS_MAX; i++) {
        bool done = false;
        cf_reclaim_lock(&mark->reclaimer, &mark->server);
        cf_err *err = change_once(mark, change, context, &done);
        cf_reclaim_unlock(&mark->reclaimer, &mark->server);
        if (err || done) return err;
        CF_TRY(renew(mark)); /* a point was committed, a session opened or a lease taken meanwhile */
    }
    return cf_fail(CF_ERR_CANCELLED, "recovery points are committed faster than their maps can be read");
}
