/* What of a pack is stored, retired, ripe. */
#include <stdlib.h>

#include "service/reclaim.h"
#include "service/reclaim_internal.h"
#include "service/settings.h"
#include "visible/pack.h"

enum { TAIL_MAX = 3 << 20 };

cf_err *cf_reclaim_stored(cf_vault *vault, const cf_pack_row *row, cf_segset *stored) {
    cf_segset_clear(stored);
    if (!row->gaps) {
        cf_segset_add_range(stored, 0, row->segments);
        return NULL;
    }
    CF_AUTO_BUF cf_buf header;
    CF_AUTO_BUF cf_buf tail;
    CF_AUTO_FREE cf_extent *extents = NULL;
    size_t count = 0;
    cf_buf_init(&header, CF_PACK_HEADER_SIZE);
    cf_buf_init(&tail, TAIL_MAX);
    CF_TRY(cf_records_get_tail(vault->records, &row->server, row->number, &header, &tail));
    CF_TRY(cf_pack_tail_decode(cf_buf_span(&header), cf_buf_span(&tail), row->size, &extents, &count));
    for (size_t i = 0; i < count; i++) cf_segset_add(stored, extents[i].segment); /* the directory is no segment */
    return NULL;
}

cf_err *cf_reclaim_sets_of(const cf_retired_list *list, size_t *at, uint64_t number, int64_t ripe_before,
                           cf_segset *retired, cf_segset *ripe) {
    cf_segset one;
    cf_segset_clear(retired);
    cf_segset_clear(ripe);
    while (*at < list->count && list->rows[*at].number < number) ++*at;
    for (; *at < list->count && list->rows[*at].number == number; ++*at) {
        const cf_retired_row *row = &list->rows[*at];
        CF_TRY(cf_segset_decode(cf_retired_segments(list, row), &one));
        cf_segset_unite(retired, &one);
        if (row->at <= ripe_before) cf_segset_unite(ripe, &one);
    }
    return NULL;
}

cf_err *cf_reclaim_sets(cf_vault *vault, const cf_pack_row *row, int64_t now, cf_segset *stored, cf_segset *retired,
                        cf_segset *ripe) {
    CF_AUTO_RETIRED cf_retired_list list;
    cf_segset here, dead, old;
    size_t at = 0;
    uint64_t grace = 0;
    CF_TRY(cf_setting_get(vault, "reclaim_grace_seconds", &grace, NULL));
    cf_retired_list_init(&list);
    CF_TRY(cf_reclaim_stored(vault, row, &here));
    CF_TRY(cf_records_list_retired(vault->records, &row->server, row->number, row->number, &list));
    CF_TRY(cf_reclaim_sets_of(&list, &at, row->number, now - (int64_t)grace, &dead, &old));
    cf_segset_intersect(&dead, &here);
    cf_segset_intersect(&old, &here);
    if (stored) cf_segset_copy(stored, &here);
    if (retired) cf_segset_copy(retired, &dead);
    if (ripe) cf_segset_copy(ripe, &old);
    return NULL;
}
