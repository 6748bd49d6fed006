/* present -> retired (and back), a page of packs in each transaction. */
#include <stdlib.h>

#include "service/reclaim_internal.h"

enum { PAGE = 250 }; /* short: requests of the same server wait for it */

/* One transaction's work. */
typedef struct page {
    cf_reclaim_pass *pass;
    uint64_t after; /* the last pack of the page before */
    bool more;
    uint64_t generation; /* of what is retired here; 0: nothing yet */
    uint64_t retired, revived;
    cf_id16 open; /* the open session, if there is one */
    bool has_open;
    struct {
        uint64_t after;
        bool kept, known;
    } orphan; /* of the last orphan: those of one interrupted run stand together */
} page;

cf_err *cf_reclaim_orphan_kept(const cf_reclaim_pass *pass, uint64_t after, bool *kept) {
    bool found = false;
    int64_t received = 0;
    CF_TRY(cf_records_point_after(pass->reclaimer->vault->records, &pass->server, after, &found, &received));
    *kept = !found || pass->now < received + pass->orphan_keep;
    return NULL;
}

/* May segments of this pack that nothing needs be retired now? */
static cf_err *is_free(page *at, const cf_pack_row *row, bool *free_now) {
    *free_now = false;
    if (at->has_open && cf_id16_equal(&at->open, &row->session)) return NULL; /* its point is still to come */
    *free_now = true;
    if (row->referenced) return NULL;
    if (!at->orphan.known || at->orphan.after != row->after_point) {
        CF_TRY(cf_reclaim_orphan_kept(at->pass, row->after_point, &at->orphan.kept));
        at->orphan.after = row->after_point;
        at->orphan.known = true;
    }
    *free_now = !at->orphan.kept;
    return NULL;
}

static cf_err *put(page *at, uint64_t number, uint64_t generation, int64_t when, const cf_segset *segments) {
    CF_AUTO_BUF cf_buf bytes;
    cf_buf_init(&bytes, 1 << 20);
    if (!cf_segset_empty(segments)) cf_segset_encode(segments, &bytes);
    CF_TRY(cf_buf_check(&bytes, "retired segments"));
    return cf_records_put_retired(at->pass->reclaimer->vault->records, &at->pass->server, number, generation, when,
                                  cf_buf_span(&bytes));
}

static cf_err *retire(page *at, uint64_t number, const cf_segset *dead) {
    if (at->generation == 0)
        CF_TRY(cf_records_next_generation(at->pass->reclaimer->vault->records, &at->pass->server, &at->generation));
    at->retired += cf_segset_count(dead);
    return put(at, number, at->generation, at->pass->now, dead);
}

/* A commit brings back what it needs in its own transaction, so this finds nothing, unless a database was merged. */
static cf_err *revive(page *at, const cf_retired_list *list, uint64_t number, const cf_segset *live) {
    for (size_t i = 0; i < list->count; i++) {
        const cf_retired_row *row = &list->rows[i];
        cf_segset segments, before;
        if (row->number != number) continue;
        CF_TRY(cf_segset_decode(cf_retired_segments(list, row), &segments));
        cf_segset_copy(&before, &segments);
        cf_segset_subtract(&segments, live);
        if (cf_segset_equal(&before, &segments)) continue;
        at->revived += cf_segset_count(&before) - cf_segset_count(&segments);
        CF_TRY(put(at, number, row->generation, row->at, &segments));
    }
    return NULL;
}

static cf_err *add_ripe(cf_reclaim_pass *pass, uint64_t number) {
    if (pass->ripe_count == pass->ripe_room) {
        size_t room = pass->ripe_room ? 2 * pass->ripe_room : 256;
        uint64_t *grown = reallocarray(pass->ripe, room, sizeof *grown);
        if (!grown) return cf_fail(CF_ERR_OUT_OF_MEMORY, "packs to delete");
        pass->ripe = grown;
        pass->ripe_room = room;
    }
    pass->ripe[pass->ripe_count++] = number;
    return NULL;
}

static cf_err *look_at_pack(page *at, const cf_reclaim_mark *mark, const cf_pack_row *row, const cf_retired_list *list,
                            size_t *cursor) {
    cf_segset stored, live, retired, ripe, dead;
    bool free_now = false;
    cf_reclaim_pass *pass = at->pass;
    CF_TRY(cf_reclaim_sets_of(list, cursor, row->number, pass->now - pass->grace, &retired, &ripe));
    cf_reclaim_mark_live(mark, row->number, &live);
    if (!cf_segset_empty(&live) && !row->referenced)
        CF_TRY(cf_records_refer_pack(pass->reclaimer->vault->records, &pass->server, row->number));
    CF_TRY(cf_reclaim_stored(pass->reclaimer->vault, row, &stored));
    cf_segset_copy(&dead, &retired);
    cf_segset_intersect(&dead, &live);
    if (!cf_segset_empty(&dead)) return revive(at, list, row->number, &live);
    cf_segset_copy(&dead, &stored);
    cf_segset_subtract(&dead, &live);
    if (cf_segset_empty(&live)) {
        cf_segset_intersect(&ripe, &stored);
        if (cf_segset_equal(&ripe, &stored)) return add_ripe(pass, row->number);
    }
    cf_segset_subtract(&dead, &retired);
    if (cf_segset_empty(&dead)) return NULL;
    CF_TRY(is_free(at, row, &free_now));
    return free_now ? retire(at, row->number, &dead) : NULL;
}

static cf_err *find_open(page *at) {
    cf_session_row session;
    CF_TRY(
        cf_records_find_open_session(at->pass->reclaimer->vault->records, &at->pass->server, &at->has_open, &session));
    if (at->has_open) at->open = session.id;
    return NULL;
}

static cf_err *change_page(void *context, const cf_reclaim_mark *mark) {
    page *at = context;
    cf_reclaim_pass *pass = at->pass;
    cf_records *records = pass->reclaimer->vault->records;
    CF_AUTO_FREE cf_pack_row *rows = NULL;
    CF_AUTO_RETIRED cf_retired_list list;
    size_t count = 0, cursor = 0;
    cf_retired_list_init(&list);
    CF_TRY(find_open(at));
    CF_TRY(cf_records_list_packs(records, &pass->server, at->after, PAGE, &rows, &count));
    at->more = count == PAGE;
    if (count == 0) return NULL;
    CF_TRY(cf_records_list_retired(records, &pass->server, rows[0].number, rows[count - 1].number, &list));
    for (size_t i = 0; i < count; i++) CF_TRY(look_at_pack(at, mark, &rows[i], &list, &cursor));
    at->after = rows[count - 1].number;
    return NULL;
}

cf_err *cf_reclaim_retire(cf_reclaim_pass *pass) {
    page at = {.pass = pass, .more = true};
    while (at.more) {
        CF_TRY(cf_cancel_check(pass->reclaimer->cancel));
        at.generation = at.retired = at.revived = 0;
        CF_TRY(cf_reclaim_change(pass->mark, change_page, &at));
        pass->report->retired_segments += at.retired;
        pass->report->revived_segments += at.revived;
    }
    return NULL;
}
