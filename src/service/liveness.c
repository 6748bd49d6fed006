#include "service/liveness.h"

#include <stdlib.h>

#include "digest/digest.h"
#include "service/call.h"
#include "service/compact.h"
#include "service/reclaim.h"
#include "service/scrub.h"
#include "visible/names.h"
#include "visible/pack.h"

enum { CHAIN_MAX = 8, MISSING_PACKS_MAX = 1000, TAIL_MAX = 3 << 20, PAGE = 4096 };

cf_err *cf_point_load(cf_vault *vault, const cf_point_row *point, cf_buf *out) {
    char key[CF_NAME_MAX];
    uint8_t sum[32];
    cf_name_point(&point->server, point->counter, &point->id, key);
    size_t before = out->size;
    cf_err *err = cf_objects_get_all(vault->objects, key, CF_POINT_MAX, out);
    if (err) return cf_wrap(err, CF_ERR_POINT_DAMAGED, "a recovery point cannot be read");
    CF_TRY(cf_sha256(cf_span_of(out->data + before, out->size - before), sum));
    if (memcmp(sum, point->id.bytes, 32) == 0) return NULL;
    return cf_fail(CF_ERR_POINT_DAMAGED, "recovery point %llu is damaged on the vault's disk",
                   (unsigned long long)point->counter);
}

/* Base points from the nearest on, until one whose map is whole. Their object bytes stay loaded. */
typedef struct chain {
    cf_buf objects[CHAIN_MAX];
    cf_span maps[CHAIN_MAX];
    size_t count;
    bool current; /* the nearest base must not have expired: nothing new may hang on a point that goes */
} chain;

static void chain_wipe(chain *list) {
    for (size_t i = 0; i < CHAIN_MAX; i++) cf_buf_wipe(&list->objects[i]);
}

static cf_err *load_base(cf_vault *vault, const cf_id16 *server, const cf_id32 *id, chain *list,
                         cf_map_header *header) {
    bool found = false;
    cf_point_row point;
    cf_point_frame frame;
    if (list->count == CHAIN_MAX) return cf_fail_reason(CF_ERR_BAD_REQUEST, "base", "the chain of maps is too long");
    CF_TRY(cf_records_find_point(vault->records, server, id, &found, &point));
    if (!found || (list->count == 0 && list->current && point.expired))
        return cf_fail_reason(CF_ERR_BAD_REQUEST, "base", "the map's base is no recovery point of this server");
    cf_buf *bytes = &list->objects[list->count];
    CF_TRY(cf_point_load(vault, &point, bytes));
    cf_err *err = cf_point_decode(cf_buf_span(bytes), &frame);
    if (!err) err = cf_map_peek(frame.map, header);
    if (err) return cf_wrap(err, CF_ERR_POINT_DAMAGED, "a base point cannot be read");
    list->maps[list->count++] = frame.map;
    return NULL;
}

static cf_err *load_chain(cf_vault *vault, const cf_id16 *server, const cf_map_header *top, chain *list) {
    cf_map_header above = *top;
    while (above.delta) {
        cf_map_header header;
        CF_TRY(load_base(vault, server, &above.base, list, &header));
        if (above.chain != (header.delta ? header.chain : 0) + 1)
            return cf_fail_reason(CF_ERR_BAD_REQUEST, "base", "the map miscounts its chain");
        above = header;
    }
    return NULL;
}

static cf_err *decode_chain(cf_span bytes, const chain *list, cf_map_header *header, cf_map **out) {
    CF_AUTO(cf_map) base = NULL;
    for (size_t i = list->count; i-- > 0;) {
        cf_map *next = NULL;
        cf_map_header ignored;
        cf_err *err = cf_map_decode(list->maps[i], base, &ignored, &next);
        if (err) return cf_wrap(err, CF_ERR_POINT_DAMAGED, "a base point's map cannot be read");
        cf_map_free(base);
        base = next;
    }
    return cf_map_decode(bytes, base, header, out);
}

static cf_err *decode(cf_vault *vault, const cf_id16 *server, cf_span bytes, bool current, cf_map_header *header,
                      cf_map **map) {
    cf_map_header top, ignored;
    CF_TRY(cf_map_peek(bytes, &top));
    chain list = {.current = current};
    for (size_t i = 0; i < CHAIN_MAX; i++) cf_buf_init(&list.objects[i], CF_POINT_MAX);
    cf_err *err = load_chain(vault, server, &top, &list);
    if (!err) err = decode_chain(bytes, &list, header ? header : &ignored, map);
    chain_wipe(&list);
    return err;
}

cf_err *cf_liveness_decode(cf_vault *vault, const cf_id16 *server, cf_span bytes, cf_map_header *header, cf_map **map) {
    return decode(vault, server, bytes, true, header, map);
}

cf_err *cf_liveness_of(cf_vault *vault, const cf_point_row *point, cf_map **map) {
    CF_AUTO_BUF cf_buf bytes;
    cf_buf_init(&bytes, CF_POINT_MAX);
    cf_point_frame frame;
    CF_TRY(cf_point_load(vault, point, &bytes));
    cf_err *err = cf_point_decode(cf_buf_span(&bytes), &frame);
    if (err) return cf_wrap(err, CF_ERR_POINT_DAMAGED, "a recovery point cannot be read");
    return decode(vault, &point->server, frame.map, false, NULL, map);
}

/* What is missing, collected up to a bound. */
typedef struct findings {
    json_t *list;
    bool more;
    cf_map *bad;    /* damaged segments, and those that compaction leaves out: as good as missing; NULL: none */
    cf_map *revive; /* retired segments that are needed; NULL: none */
} findings;

/* segments: taken; NULL only without memory. */
static cf_err *add_missing(findings *found, uint64_t pack, json_t *segments) {
    if (!found->list) found->list = json_array();
    if (json_array_size(found->list) >= MISSING_PACKS_MAX) {
        found->more = true;
        json_decref(segments);
        return NULL;
    }
    json_t *one = json_pack("{so,so}", "pack", cf_value_number(pack), "segments", segments);
    return json_array_append_new(found->list, one) == 0 ? NULL : cf_fail(CF_ERR_OUT_OF_MEMORY, "a reply");
}

/* Segments of a pack that has gaps: only its extent table knows. */
static cf_err *present_segments(cf_vault *vault, const cf_pack_row *row, cf_extent **extents, size_t *count) {
    CF_AUTO_BUF cf_buf header;
    CF_AUTO_BUF cf_buf tail;
    cf_buf_init(&header, CF_PACK_HEADER_SIZE);
    cf_buf_init(&tail, TAIL_MAX);
    CF_TRY(cf_records_get_tail(vault->records, &row->server, row->number, &header, &tail));
    return cf_pack_tail_decode(cf_buf_span(&header), cf_buf_span(&tail), row->size, extents, count);
}

static bool has_segment(const cf_extent *extents, size_t count, uint32_t segment) {
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (extents[middle].segment < segment)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && extents[low].segment == segment;
}

/* What the map needs of a pack's retired segments has to come back. */
static cf_err *add_revived(const cf_map *map, uint64_t pack, const cf_retired_list *retired, size_t *at,
                           findings *found) {
    cf_segset segments;
    while (*at < retired->count && retired->rows[*at].number < pack) ++*at;
    for (; *at < retired->count && retired->rows[*at].number == pack; ++*at) {
        CF_TRY(cf_segset_decode(cf_retired_segments(retired, &retired->rows[*at]), &segments));
        for (uint32_t segment = 0; cf_segset_next(&segments, &segment); segment++) {
            if (!cf_map_has(map, pack, (uint16_t)segment)) continue;
            if (!found->revive) CF_TRY(cf_map_new(&found->revive));
            CF_TRY(cf_map_add(found->revive, pack, (uint16_t)segment));
        }
    }
    return NULL;
}

static cf_err *check_pack(cf_vault *vault, const cf_map *map, const cf_pack_row *row, findings *found) {
    CF_AUTO_FREE cf_extent *extents = NULL;
    size_t count = 0;
    bool each = row->gaps || (found->bad && cf_map_has_pack(found->bad, row->number));
    uint32_t segment = each ? 0 : row->segments; /* all below are there */
    if (row->gaps) CF_TRY(present_segments(vault, row, &extents, &count));
    json_t *missing = NULL;
    for (; cf_map_next_segment(map, row->number, &segment); segment++) {
        bool there = row->gaps ? has_segment(extents, count, segment) : segment < row->segments;
        if (there && !(found->bad && cf_map_has(found->bad, row->number, (uint16_t)segment))) continue;
        if (!missing) missing = json_array();
        if (json_array_append_new(missing, json_integer(segment)) != 0) {
            json_decref(missing);
            return cf_fail(CF_ERR_OUT_OF_MEMORY, "a reply");
        }
    }
    return missing ? add_missing(found, row->number, missing) : NULL;
}

/* Rows and map are both in ascending order: one pass over the server's packs between the map's first and last. */
typedef struct merge {
    cf_pack_row *rows;
    size_t count, at;
    cf_retired_list retired; /* of the same packs */
    size_t retired_at;
    uint64_t last;
    bool end;
} merge;

static cf_err *advance(cf_vault *vault, const cf_id16 *server, merge *state, uint64_t pack, const cf_pack_row **row) {
    *row = NULL;
    for (;;) {
        while (state->at < state->count && state->rows[state->at].number < pack) state->at++;
        if (state->at < state->count) {
            if (state->rows[state->at].number == pack) *row = &state->rows[state->at];
            return NULL;
        }
        if (state->end) return NULL;
        free(cf_take(state->rows));
        if (pack - 1 > state->last) state->last = pack - 1; /* skip what lies between */
        state->count = state->at = 0;
        CF_TRY(cf_records_list_packs(vault->records, server, state->last, PAGE, &state->rows, &state->count));
        state->end = state->count < PAGE;
        if (state->count == 0) continue;
        state->last = state->rows[state->count - 1].number;
        cf_retired_list_wipe(&state->retired);
        state->retired_at = 0;
        CF_TRY(cf_records_list_retired(vault->records, server, state->rows[0].number, state->last, &state->retired));
    }
}

static cf_err *check_map(cf_vault *vault, const cf_id16 *server, const cf_map *map, merge *state, findings *found) {
    size_t cursor = 0;
    uint64_t pack = 0;
    while (!found->more && cf_map_next_pack(map, &cursor, &pack)) {
        const cf_pack_row *row = NULL;
        CF_TRY(advance(vault, server, state, pack, &row));
        if (row) {
            CF_TRY(check_pack(vault, map, row, found));
            CF_TRY(add_revived(map, pack, &state->retired, &state->retired_at, found));
        } else {
            CF_TRY(add_missing(found, pack, json_string("all")));
        }
    }
    return NULL;
}

static cf_err *check_list(cf_vault *vault, const cf_id16 *server, const cf_map *map, const cf_pack_name *packs,
                          size_t count, findings *found) {
    for (size_t i = 0; i < count && !found->more; i++) {
        bool there = false;
        cf_pack_row row;
        CF_TRY(cf_records_find_pack(vault->records, server, packs[i].number, &there, &row));
        if (there && !cf_id16_equal(&row.session, &packs[i].session))
            return cf_fail_reason(CF_ERR_BAD_REQUEST, "pack_list", "pack %llu is of another session",
                                  (unsigned long long)packs[i].number);
        if (!there && !cf_map_has_pack(map, packs[i].number)) /* else it is listed already */
            CF_TRY(add_missing(found, packs[i].number, json_string("all")));
    }
    return NULL;
}

cf_err *cf_liveness_missing(cf_vault *vault, const cf_id16 *server, const cf_map *map, const cf_pack_name *packs,
                            size_t count, json_t **missing, cf_map **revive) {
    findings found = {0};
    merge state = {0};
    cf_retired_list_init(&state.retired);
    cf_err *err = cf_scrub_bad(vault, server, NULL, &found.bad);
    if (!err) err = cf_compact_missing(vault, server, &found.bad);
    if (!err) err = check_map(vault, server, map, &state, &found);
    if (!err) err = check_list(vault, server, map, packs, count, &found);
    free(state.rows);
    cf_retired_list_wipe(&state.retired);
    cf_map_free(found.bad);
    if (err || found.list) cf_map_free(cf_take(found.revive));
    if (err) {
        json_decref(found.list);
        return err;
    }
    if (!found.list) {
        *missing = NULL;
        *revive = found.revive;
        return NULL;
    }
    *missing = json_pack("{so,sb}", "missing", found.list, "more", (int)found.more);
    return *missing ? NULL : cf_fail(CF_ERR_OUT_OF_MEMORY, "a reply");
}
