#include "service/retention_view.h"

#include <stdlib.h>
#include <string.h>

#include "service/settings.h"

void cf_retention_view_wipe(cf_retention_view *view) {
    free(view->rows);
    free(view->points);
    if (view->has_policy) cf_policy_wipe(&view->policy);
    *view = (cf_retention_view){0};
}

static cf_err *load_policy(cf_vault *vault, const cf_id16 *server, cf_retention_view *view) {
    CF_AUTO_BUF cf_buf document;
    cf_buf_init(&document, CF_POLICY_SIZE_MAX);
    cf_policy_row row;
    bool found = false;
    CF_TRY(cf_records_get_policy(vault->records, server, &found, &row, &document));
    if (!found) return NULL;
    CF_TRY(cf_policy_parse(cf_buf_span(&document), "the policy", &view->policy));
    view->has_policy = true;
    return NULL;
}

static int compare_ids(const void *a, const void *b) {
    return memcmp(a, b, sizeof(cf_id32));
}

static cf_err *pin(cf_vault *vault, const cf_id16 *server, int64_t now, cf_retention_view *view) {
    CF_AUTO_FREE cf_id32 *held = NULL;
    size_t count = 0;
    CF_TRY(cf_records_list_held(vault->records, server, now, &held, &count));
    for (size_t i = 0; i < view->count && count; i++)
        if (bsearch(&view->rows[i].id, held, count, sizeof *held, compare_ids)) view->points[i].pinned = true;
    return NULL;
}

static cf_retained_point point_of(const cf_history_row *row) {
    return (cf_retained_point){
        .counter = row->counter,
        .received = row->received,
        .scheduled = row->scheduled && !row->manual,
        .full = !row->manual,
        .flagged = row->flagged,
        .has_until = row->has_retain_until,
        .until = row->retain_until,
        .gone = row->expired,
        .gone_at = row->expired_at,
    };
}

cf_err *cf_retention_view_load(cf_vault *vault, const cf_id16 *server, int64_t now, cf_retention_view *view) {
    size_t count = 0;
    *view = (cf_retention_view){.next = INT64_MAX};
    CF_TRY(cf_settings_floor(vault, &view->floor));
    CF_TRY(load_policy(vault, server, view));
    CF_TRY(cf_records_list_history(vault->records, server, &view->rows, &count));
    view->points = calloc(count + 1, sizeof *view->points);
    if (!view->points) return cf_fail(CF_ERR_OUT_OF_MEMORY, "retention");
    for (size_t i = 0; i < count; i++) view->points[i] = point_of(&view->rows[i]);
    view->count = count;
    CF_TRY(pin(vault, server, now, view));
    cf_err *err = cf_retention_evaluate(view->has_policy ? &view->policy : NULL, &view->floor, now, view->points, count,
                                        &view->next);
    if (err) view->count = 0; /* nothing is known about them */
    return err;
}

const cf_retained_point *cf_retention_view_find(const cf_retention_view *view, uint64_t counter) {
    size_t low = 0, high = view->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (view->points[middle].counter < counter)
            low = middle + 1;
        else
            high = middle;
    }
    return low < view->count && view->points[low].counter == counter ? &view->points[low] : NULL;
}
