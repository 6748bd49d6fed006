#include "service/feed.h"

#include "service/call.h"
#include "service/reclaim.h"
#include "service/reclaim_internal.h"

enum { FEED_PACKS = 4000 }; /* in one answer: about 1 MB of JSON when all of each is dead */

void cf_feed_wipe(cf_feed *feed) {
    json_decref(feed->list);
}

/* Fresh; NULL without memory. */
static json_t *segments_value(const cf_segset *segments) {
    json_t *list = json_array();
    for (uint32_t segment = 0; list && cf_segset_next(segments, &segment); segment++) {
        if (json_array_append_new(list, json_integer(segment)) == 0) continue;
        json_decref(list);
        list = NULL;
    }
    return list;
}

static cf_err *add_row(json_t *list, const cf_retired_list *retired, const cf_retired_row *row) {
    cf_segset segments;
    CF_TRY(cf_segset_decode(cf_retired_segments(retired, row), &segments));
    json_t *one = json_pack("{so,so}", "pack", cf_value_number(row->number), "segments", segments_value(&segments));
    return json_array_append_new(list, one) == 0 ? NULL : cf_fail(CF_ERR_OUT_OF_MEMORY, "the feed");
}

/* Is what the agent says ahead of us? */
static cf_err *look_at_agent(cf_vault *vault, const cf_id16 *server, const cf_id16 *epoch, uint64_t generation,
                             const cf_reclaim_row *row, cf_feed *feed) {
    static const cf_id16 none;
    bool known = false;
    if (!epoch || cf_id16_equal(epoch, &none)) return NULL; /* an index that has seen nothing */
    if (cf_id16_equal(epoch, &vault->row.epoch)) {
        feed->resync = generation > row->generation || generation < row->feed_floor;
        return generation > row->generation
                   ? cf_reclaim_freeze(vault, server, "a server has seen more reclaiming than the database knows of")
                   : NULL;
    }
    feed->resync = true; /* it sees that by itself */
    CF_TRY(cf_records_has_epoch(vault->records, epoch, &known));
    if (known) return NULL;
    /* Said once: after the database has been merged it is one of the known. */
    CF_TRY(cf_records_add_epoch(vault->records, epoch));
    return cf_reclaim_freeze(vault, server, "a server knows an epoch of this vault that the database does not");
}

cf_err *cf_feed_read(cf_vault *vault, const cf_id16 *server, const cf_id16 *epoch, uint64_t generation, cf_feed *feed) {
    CF_AUTO_RETIRED cf_retired_list list;
    cf_reclaim_row row;
    cf_retired_list_init(&list);
    CF_TRY(cf_records_get_reclaim(vault->records, server, &row));
    CF_TRY(look_at_agent(vault, server, epoch, generation, &row, feed));
    feed->upto = row.generation;
    feed->list = json_array();
    if (!feed->list) return cf_fail(CF_ERR_OUT_OF_MEMORY, "the feed");
    if (feed->resync || !epoch) return NULL; /* its index begins empty and is filled with what is present */
    CF_TRY(cf_records_list_feed(vault->records, server, generation, FEED_PACKS, &list, &feed->upto));
    feed->more = feed->upto < row.generation;
    for (size_t i = 0; i < list.count; i++) CF_TRY(add_row(feed->list, &list, &list.rows[i]));
    return NULL;
}

cf_err *cf_pack_value(const cf_pack_row *row, const cf_retired_list *list, size_t *at, json_t **value) {
    cf_segset retired, ripe;
    CF_TRY(cf_reclaim_sets_of(list, at, row->number, 0, &retired, &ripe));
    json_t *one = json_pack("{so,so,ss,so,so,so}", "number", cf_value_number(row->number), "session",
                            cf_value_hex(row->session.bytes, 16), "kind", row->kind == CF_KIND_TREE ? "tree" : "data",
                            "size", cf_value_number(row->size), "segments", cf_value_number(row->segments), "retired",
                            segments_value(&retired));
    if (!one) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a reply");
    *value = one;
    return NULL;
}
