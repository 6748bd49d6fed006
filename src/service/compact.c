#include "service/compact.h"

#include <stdlib.h>

#include "base/log.h"
#include "digest/digest.h"
#include "records/compact.h"
#include "service/place.h"
#include "service/reclaim_internal.h"
#include "service/scrub.h"
#include "service/service.h"
#include "service/settings.h"
#include "visible/merged.h"
#include "visible/pack.h"

enum { PAGE = 256, TAIL_MAX = 3 << 20, NAME_TRIES = 16 };

/* A pack as it is, and as it will be. */
typedef struct image {
    cf_pack_row row, made;
    cf_buf header, tail; /* of the new one */
    cf_extent *from, *to;
    size_t count;
    cf_segset drop;
    bool must; /* sparse, or half done by an earlier pass */
} image;

typedef struct work {
    cf_reclaim_pass *pass;
    cf_vault *vault;
    cf_compact_report *report;
    uint64_t percent;
    cf_map *bad;            /* damaged segments; may be NULL */
    cf_id16 *sparse_merged; /* merged objects of which little is in use */
    size_t sparse_count;
    image *group; /* CF_COMPACT_GROUP_MAX of them: small packs */
    size_t group_count;
    uint64_t group_bytes;
} work;

static void image_wipe(image *one) {
    cf_buf_wipe(&one->header);
    cf_buf_wipe(&one->tail);
    free(one->from);
    free(one->to);
    *one = (image){0};
}

/* ---- What a pack would become ---- */

static cf_err *load_extents(work *job, image *one) {
    CF_AUTO_BUF cf_buf tail;
    cf_buf_init(&tail, TAIL_MAX);
    cf_buf_init(&one->header, CF_PACK_HEADER_SIZE);
    cf_buf_init(&one->tail, TAIL_MAX);
    CF_TRY(cf_records_get_tail(job->vault->records, &one->row.server, one->row.number, &one->header, &tail));
    return cf_pack_tail_decode(cf_buf_span(&one->header), cf_buf_span(&tail), one->row.size, &one->from, &one->count);
}

static cf_err *choose_dropped(work *job, image *one) {
    cf_segset begun, live;
    bool found = false;
    CF_TRY(cf_reclaim_sets(job->vault, &one->row, job->pass->now, NULL, NULL, &one->drop));
    cf_reclaim_mark_live(job->pass->mark, one->row.number, &live);
    cf_segset_subtract(&one->drop, &live);
    CF_TRY(cf_records_get_compacting(job->vault->records, &one->row.server, one->row.number, &found, &begun));
    cf_segset_unite(&one->drop, &begun);
    one->must = found;
    return NULL;
}

static cf_err *lay_out(image *one, uint64_t percent) {
    size_t kept = 0;
    uint64_t at = CF_PACK_HEADER_SIZE;
    one->to = calloc(one->count, sizeof *one->to);
    if (!one->to) return cf_fail(CF_ERR_OUT_OF_MEMORY, "compaction");
    for (size_t i = 0; i < one->count; i++) {
        if (cf_segset_has(&one->drop, one->from[i].segment)) continue; /* never the directory: it is no segment */
        one->from[kept] = one->from[i];
        one->to[kept] = one->from[i];
        one->to[kept++].offset = at;
        at += one->from[i].length;
    }
    one->count = kept;
    if (kept < 2) return NULL;
    cf_pack_tail_encode(one->header.data, at, one->to, kept, &one->tail);
    CF_TRY(cf_buf_check(&one->tail, "an extent table"));
    one->made = one->row;
    one->made.size = at + one->tail.size;
    one->made.segments = (uint32_t)(kept - 1);
    one->made.gaps = one->to[kept - 2].segment != kept - 2;
    one->must = one->must || one->made.size * 100 < one->row.size * percent;
    return NULL;
}

static bool in_sparse(const work *job, const cf_pack_row *row) {
    for (size_t i = 0; row->is_merged && i < job->sparse_count; i++)
        if (cf_id16_equal(&job->sparse_merged[i], &row->merged)) return true;
    return false;
}

static bool is_damaged(const work *job, const image *one) {
    for (size_t i = 0; job->bad && i + 1 < one->count; i++)
        if (cf_map_has(job->bad, one->row.number, one->from[i].segment)) return true;
    return false;
}

/* *useful: it is worth writing anew, alone or with others. */
static cf_err *plan(work *job, const cf_pack_row *row, image *one, bool *useful) {
    one->row = *row;
    *useful = false;
    CF_TRY(load_extents(job, one));
    CF_TRY(choose_dropped(job, one));
    CF_TRY(lay_out(one, job->percent));
    if (one->count < 2 || is_damaged(job, one)) return NULL; /* nothing left: reclaiming removes it whole */
    one->must = one->must || in_sparse(job, row);
    *useful = one->must || (!row->is_merged && one->made.size < CF_COMPACT_SMALL);
    return NULL;
}

/* ---- 1: the point of no return ---- */

typedef struct set {
    work *job;
    image *list;
    size_t count;
    bool agreed;
} set;

/* Is the pack still what was planned for? */
static cf_err *is_same(const work *job, const image *one, bool *same) {
    cf_pack_row now;
    bool found = false;
    CF_TRY(cf_records_find_pack(job->vault->records, &one->row.server, one->row.number, &found, &now));
    *same = found && now.generation == one->row.generation && now.is_merged == one->row.is_merged &&
            cf_id16_equal(&now.merged, &one->row.merged) && now.base == one->row.base && now.size == one->row.size;
    return NULL;
}

static cf_err *begin_one(const work *job, const cf_reclaim_mark *mark, const image *one, bool *fine) {
    cf_segset ripe, begun, live;
    CF_AUTO_BUF cf_buf bytes;
    bool found = false, touched = false;
    cf_buf_init(&bytes, 1 << 20);
    CF_TRY(is_same(job, one, fine));
    if (!*fine || cf_segset_empty(&one->drop)) return NULL;
    CF_TRY(cf_reclaim_sets(job->vault, &one->row, job->pass->now, NULL, NULL, &ripe));
    CF_TRY(cf_records_get_compacting(job->vault->records, &one->row.server, one->row.number, &found, &begun));
    cf_reclaim_mark_live(mark, one->row.number, &live);
    cf_segset_unite(&ripe, &begun);
    cf_segset_subtract(&live, &begun); /* those no commit can have asked for */
    for (uint32_t segment = 0; cf_segset_next(&one->drop, &segment); segment++)
        touched = touched || !cf_segset_has(&ripe, segment) || cf_segset_has(&live, segment);
    *fine = !touched;
    if (touched) return NULL;
    cf_segset_encode(&one->drop, &bytes);
    CF_TRY(cf_buf_check(&bytes, "a set of segments"));
    return cf_records_put_compacting(job->vault->records, &one->row.server, one->row.number, cf_buf_span(&bytes));
}

static cf_err *begin_set(void *context, const cf_reclaim_mark *mark) {
    set *what = context;
    what->agreed = true;
    for (size_t i = 0; i < what->count && what->agreed; i++)
        CF_TRY(begin_one(what->job, mark, &what->list[i], &what->agreed));
    return cf_records_touch_reclaim(what->job->vault->records, &what->job->pass->server);
}

/* ---- 2: the new object ---- */

typedef struct target {
    cf_object_writer *writer;
    cf_xxh3_stream *sum; /* of one pack */
} target;

static cf_err *put(target *to, cf_span bytes) {
    cf_xxh3_stream_add(to->sum, bytes);
    return cf_object_writer_write(to->writer, bytes);
}

static cf_err *damaged(work *job, const image *one, const cf_extent *extent, const char *reason) {
    cf_damage_row row = {
        .segment = extent->segment, .has_server = true, .server = one->row.server, .pack = one->row.number};
    cf_name_pack(&one->row.server, one->row.number, &one->row.session, 0, row.object);
    snprintf(row.reason, sizeof row.reason, "%s", reason);
    snprintf(row.state, sizeof row.state, "open");
    cf_log(CF_LOG_ERROR, "damage: segment %u of %s (%s), found by compaction", extent->segment, row.object, reason);
    CF_TRY(cf_scrub_mark(job->vault, &row));
    return cf_fail(CF_ERR_SEGMENT_DAMAGED, "segment %u of pack %llu", extent->segment,
                   (unsigned long long)one->row.number);
}

static cf_err *copy_segments(work *job, const image *one, cf_object_reader *reader, target *to) {
    for (size_t i = 0; i < one->count; i++) {
        const cf_extent *extent = &one->from[i];
        CF_AUTO_FREE uint8_t *bytes = malloc(extent->length);
        uint8_t sum[16];
        size_t got = 0;
        if (!bytes) return cf_fail(CF_ERR_OUT_OF_MEMORY, "compaction");
        CF_TRY(cf_object_reader_read(reader, one->row.base + extent->offset, bytes, extent->length, &got));
        if (got < extent->length) return damaged(job, one, extent, "short");
        cf_xxh3_128(cf_span_of(bytes, got), sum);
        if (memcmp(sum, extent->xxh3, 16) != 0) return damaged(job, one, extent, "sum");
        CF_TRY(put(to, cf_span_of(bytes, got)));
    }
    return NULL;
}

static cf_err *write_image(work *job, image *one, target *to) {
    CF_AUTO(cf_object_reader) reader = NULL;
    char key[CF_NAME_MAX];
    cf_pack_place(&one->row, key);
    CF_TRY(cf_cancel_check(job->pass->reclaimer->cancel));
    CF_TRY(cf_objects_open(job->vault->objects, key, &reader));
    cf_xxh3_stream_reset(to->sum);
    CF_TRY(put(to, cf_buf_span(&one->header)));
    CF_TRY(copy_segments(job, one, reader, to));
    CF_TRY(put(to, cf_buf_span(&one->tail)));
    cf_xxh3_stream_end(to->sum, one->made.xxh3);
    return NULL;
}

static cf_err *write_single(work *job, image *one) {
    CF_AUTO(cf_xxh3_stream) sum = NULL;
    CF_TRY(cf_xxh3_stream_new(&sum));
    one->made.is_merged = false;
    one->made.merged = (cf_id16){{0}};
    one->made.base = 0;
    for (uint32_t i = 1; i <= NAME_TRIES; i++) { /* a name may be taken by what a crash left */
        CF_AUTO(cf_object_writer) writer = NULL;
        char key[CF_NAME_MAX];
        bool created = false;
        one->made.generation = one->row.generation + i;
        cf_pack_place(&one->made, key);
        CF_TRY(cf_objects_put_open(job->vault->objects, key, &writer));
        CF_TRY(write_image(job, one, &(target){writer, sum}));
        CF_TRY(cf_object_writer_commit(writer, &created));
        if (created) return NULL;
    }
    return cf_fail(CF_ERR_OBJECT_CONFLICT, "too many leftovers of pack %llu", (unsigned long long)one->row.number);
}

static cf_err *write_merged(work *job, image *list, size_t count) {
    CF_AUTO(cf_xxh3_stream) sum = NULL;
    CF_AUTO(cf_object_writer) writer = NULL;
    CF_AUTO_BUF cf_buf head;
    CF_AUTO_FREE cf_merged_pack *packs = calloc(count, sizeof *packs);
    char key[CF_NAME_MAX];
    cf_id16 id;
    bool created = false;
    uint64_t at = cf_merged_head_size(count);
    cf_buf_init(&head, at);
    if (!packs) return cf_fail(CF_ERR_OUT_OF_MEMORY, "compaction");
    CF_TRY(cf_random(id.bytes, 16));
    CF_TRY(cf_xxh3_stream_new(&sum));
    for (size_t i = 0; i < count; i++) {
        cf_pack_row *made = &list[i].made;
        made->generation = list[i].row.generation + 1;
        made->is_merged = true;
        made->merged = id;
        made->base = at;
        packs[i] = (cf_merged_pack){made->number, made->session, made->generation, at, made->size};
        at += made->size;
    }
    cf_merged_head_encode(&job->pass->server, &id, packs, count, &head);
    CF_TRY(cf_buf_check(&head, "a merged object"));
    cf_name_merged(&job->pass->server, &id, key);
    CF_TRY(cf_objects_put_open(job->vault->objects, key, &writer));
    CF_TRY(cf_object_writer_write(writer, cf_buf_span(&head)));
    for (size_t i = 0; i < count; i++) CF_TRY(write_image(job, &list[i], &(target){writer, sum}));
    CF_TRY(cf_object_writer_commit(writer, &created));
    return created ? NULL : cf_fail(CF_ERR_OBJECT_CONFLICT, "a random name was taken");
}

/* ---- 3: where they stand from now on ---- */

static cf_err *leave_old(work *job, const cf_pack_row *row) {
    cf_old_object old = {.remove_after = job->pass->now + CF_URL_SECONDS + CF_COMPACT_GRACE_SECONDS};
    uint64_t sharers = 0;
    if (row->is_merged) {
        CF_TRY(cf_records_count_merged(job->vault->records, &row->server, &row->merged, &sharers));
        if (sharers > 0) return NULL;
    }
    cf_pack_place(row, old.object);
    return cf_records_add_old_object(job->vault->records, &row->server, &old);
}

static cf_err *move_set(set *what) {
    work *job = what->job;
    what->agreed = true;
    for (size_t i = 0; i < what->count && what->agreed; i++) CF_TRY(is_same(job, &what->list[i], &what->agreed));
    for (size_t i = 0; i < what->count && what->agreed; i++) {
        image *one = &what->list[i];
        CF_TRY(
            cf_records_move_pack(job->vault->records, &one->made, cf_buf_span(&one->header), cf_buf_span(&one->tail)));
        CF_TRY(cf_records_drop_compacting(job->vault->records, &one->row.server, one->row.number));
    }
    for (size_t i = 0; i < what->count && what->agreed; i++) CF_TRY(leave_old(job, &what->list[i].row));
    return what->agreed ? cf_records_touch_reclaim(job->vault->records, &job->pass->server) : NULL;
}

static cf_err *move(work *job, set *what) {
    cf_reclaim_lock(job->pass->reclaimer, &job->pass->server);
    cf_err *err = cf_records_begin(job->vault->records);
    if (!err) err = cf_records_finish(job->vault->records, move_set(what));
    cf_reclaim_unlock(job->pass->reclaimer, &job->pass->server);
    return err;
}

static void count(work *job, const set *what) {
    for (size_t i = 0; i < what->count; i++) {
        const image *one = &what->list[i];
        job->report->packs++;
        job->report->merged += one->made.is_merged;
        job->report->bytes_freed += one->row.size > one->made.size ? one->row.size - one->made.size : 0;
    }
}

/* All three steps. What cannot be done now is left for the next pass. */
static cf_err *rewrite(work *job, image *list, size_t list_count) {
    set what = {job, list, list_count, false};
    char key[CF_NAME_MAX];
    if (list_count == 0) return NULL;
    CF_TRY(cf_reclaim_announce(job->pass)); /* an older database must notice that it is one */
    CF_TRY(cf_reclaim_change(job->pass->mark, begin_set, &what));
    if (!what.agreed) return NULL;
    cf_err *err = list_count == 1 ? write_single(job, list) : write_merged(job, list, list_count);
    if (cf_err_code(err) == CF_ERR_SEGMENT_DAMAGED || cf_err_code(err) == CF_ERR_OBJECT_MISSING) {
        cf_log_error(CF_LOG_ERROR, err);
        cf_err_free(err);
        return NULL;
    }
    CF_TRY(err);
    CF_TRY(move(job, &what));
    if (what.agreed) {
        count(job, &what);
        return NULL;
    }
    cf_pack_place(&list[0].made, key);
    return cf_objects_remove(job->vault->objects, key, NULL);
}

/* ---- 4: old objects, leftovers ---- */

/* Nothing may stand there: however the row came to be. */
static cf_err *in_use(work *job, const char *object, bool *used) {
    cf_name name;
    cf_pack_row row;
    uint64_t packs = 0;
    bool found = false;
    char key[CF_NAME_MAX];
    *used = true;
    if (!cf_name_parse(object, &name) || !cf_id16_equal(&name.server, &job->pass->server)) return NULL;
    if (name.type == CF_NAME_MERGED) {
        CF_TRY(cf_records_count_merged(job->vault->records, &name.server, &name.session, &packs));
        *used = packs > 0;
    } else if (name.type == CF_NAME_PACK) {
        CF_TRY(cf_records_find_pack(job->vault->records, &name.server, name.number, &found, &row));
        if (found) cf_pack_place(&row, key);
        *used = found && strcmp(key, object) == 0;
    }
    return NULL;
}

static cf_err *remove_old(work *job) {
    CF_AUTO_FREE cf_old_object *rows = NULL;
    size_t total = 0;
    CF_TRY(cf_records_list_old_objects(job->vault->records, &job->pass->server, job->pass->now, &rows, &total));
    for (size_t i = 0; i < total; i++) {
        bool used = true, existed = false;
        CF_TRY(cf_cancel_check(job->pass->reclaimer->cancel));
        CF_TRY(in_use(job, rows[i].object, &used));
        if (!used) {
            CF_TRY(cf_reclaim_announce(job->pass));
            CF_TRY(cf_objects_remove(job->vault->objects, rows[i].object, &existed));
        }
        CF_TRY(cf_records_drop_old_object(job->vault->records, rows[i].object));
        if (existed) job->report->old_removed++;
    }
    return NULL;
}

/* Objects that a crash left between steps 2 and 3, or that a rebuild found beside newer ones: they go like old ones. */
static cf_err *note_leftover(work *job, const char *key) {
    cf_name name;
    bool used = true, known = false;
    cf_old_object old = {.remove_after = job->pass->now + CF_URL_SECONDS + CF_COMPACT_GRACE_SECONDS};
    cf_pack_row row;
    if (!cf_name_parse(key, &name)) return NULL;
    if (name.type == CF_NAME_PACK) { /* of generation 0 only beside a row that says another place: else an upload */
        CF_TRY(cf_records_find_pack(job->vault->records, &name.server, name.number, &known, &row));
        if (name.generation == 0 && (!known || row.generation == 0)) return NULL;
    }
    CF_TRY(in_use(job, key, &used));
    if (used) return NULL;
    CF_TRY(cf_records_has_old_object(job->vault->records, key, &known));
    if (known) return NULL;
    snprintf(old.object, sizeof old.object, "%s", key);
    return cf_records_add_old_object(job->vault->records, &name.server, &old);
}

static cf_err *find_leftovers(work *job, cf_name_type type) {
    char prefix[CF_NAME_MAX + 1], after[CF_OBJECT_KEY_MAX + 1] = "";
    cf_name_folder(type, &job->pass->server, prefix);
    strcat(prefix, "/"); /* names are far shorter than CF_NAME_MAX */
    for (bool more = true; more;) {
        cf_object_page page = {0};
        CF_TRY(cf_cancel_check(job->pass->reclaimer->cancel));
        CF_TRY(cf_objects_list(job->vault->objects, prefix, after[0] ? after : NULL, 1 << 16, &page));
        cf_err *err = NULL;
        for (size_t i = 0; i < page.count && !err; i++) err = note_leftover(job, page.keys[i]);
        more = page.more;
        if (page.count) snprintf(after, sizeof after, "%s", page.keys[page.count - 1]);
        cf_object_page_wipe(&page);
        CF_TRY(err);
    }
    return NULL;
}

/* ---- The pass ---- */

static cf_err *find_sparse_merged(work *job) {
    CF_AUTO_FREE cf_merged_total *rows = NULL;
    size_t total = 0;
    CF_TRY(cf_records_list_merged(job->vault->records, &job->pass->server, &rows, &total));
    job->sparse_merged = calloc(total + 1, sizeof *job->sparse_merged);
    if (!job->sparse_merged) return cf_fail(CF_ERR_OUT_OF_MEMORY, "compaction");
    for (size_t i = 0; i < total; i++) {
        char key[CF_NAME_MAX];
        bool exists = false;
        uint64_t size = 0;
        cf_name_merged(&job->pass->server, &rows[i].merged, key);
        CF_TRY(cf_objects_has(job->vault->objects, key, &exists, &size));
        if (exists && rows[i].bytes * 100 < size * job->percent)
            job->sparse_merged[job->sparse_count++] = rows[i].merged;
    }
    return NULL;
}

static cf_err *flush_group(work *job, bool last) {
    bool enough = job->group_count >= CF_COMPACT_GROUP_MIN;
    cf_err *err = NULL;
    if (!last && job->group_count < CF_COMPACT_GROUP_MAX && job->group_bytes < CF_COMPACT_GROUP_BYTES) return NULL;
    if (enough) err = rewrite(job, job->group, job->group_count);
    for (size_t i = 0; i < job->group_count && !enough && !err; i++)
        if (job->group[i].must) err = rewrite(job, &job->group[i], 1);
    for (size_t i = 0; i < job->group_count; i++) image_wipe(&job->group[i]);
    job->group_count = 0;
    job->group_bytes = 0;
    return err;
}

static cf_err *take_pack(work *job, const cf_pack_row *row) {
    image *one = &job->group[job->group_count];
    bool useful = false;
    CF_TRY(cf_cancel_check(job->pass->reclaimer->cancel));
    cf_err *err = plan(job, row, one, &useful);
    if (!err && useful && one->made.size < CF_COMPACT_SMALL) {
        job->group_bytes += one->made.size;
        job->group_count++;
        return flush_group(job, false);
    }
    if (!err && useful) err = rewrite(job, one, 1);
    image_wipe(one);
    return err;
}

/* Only packs that can have something to gain are looked at closely. */
static bool is_candidate(const work *job, const cf_pack_row *row, const cf_retired_list *retired, size_t *at,
                         const uint64_t *begun, size_t begun_count) {
    while (*at < retired->count && retired->rows[*at].number < row->number) ++*at;
    bool has_retired = *at < retired->count && retired->rows[*at].number == row->number;
    bool small = row->size < CF_COMPACT_SMALL && !row->is_merged;
    for (size_t i = 0; i < begun_count; i++)
        if (begun[i] == row->number) return true;
    return has_retired || small || in_sparse(job, row);
}

static cf_err *take_page(work *job, const cf_pack_row *rows, size_t total, const cf_id16 *busy, const uint64_t *begun,
                         size_t begun_count) {
    CF_AUTO_RETIRED cf_retired_list retired;
    size_t at = 0;
    cf_retired_list_init(&retired);
    CF_TRY(cf_records_list_retired(job->vault->records, &job->pass->server, rows[0].number, rows[total - 1].number,
                                   &retired));
    for (size_t i = 0; i < total; i++) {
        if (busy && cf_id16_equal(&rows[i].session, busy)) continue; /* its agent may commit it once more */
        if (is_candidate(job, &rows[i], &retired, &at, begun, begun_count)) CF_TRY(take_pack(job, &rows[i]));
    }
    return NULL;
}

static cf_err *take_packs(work *job) {
    CF_AUTO_FREE uint64_t *begun = NULL;
    size_t begun_count = 0, total = PAGE;
    cf_session_row session;
    bool open = false;
    CF_TRY(cf_records_find_open_session(job->vault->records, &job->pass->server, &open, &session));
    CF_TRY(cf_records_list_compacting(job->vault->records, &job->pass->server, &begun, &begun_count));
    for (uint64_t after = 0; total == PAGE;) {
        CF_AUTO_FREE cf_pack_row *rows = NULL;
        CF_TRY(cf_records_list_packs(job->vault->records, &job->pass->server, after, PAGE, &rows, &total));
        if (total == 0) break;
        after = rows[total - 1].number;
        CF_TRY(take_page(job, rows, total, open ? &session.id : NULL, begun, begun_count));
    }
    return flush_group(job, true);
}

static cf_err *run(work *job) {
    cf_reclaim_row row;
    CF_TRY(cf_records_get_reclaim(job->vault->records, &job->pass->server, &row));
    CF_TRY(find_leftovers(job, CF_NAME_MERGED));
    if (row.compared >= job->pass->now)
        CF_TRY(find_leftovers(job, CF_NAME_PACK)); /* as seldom as the store is compared */
    CF_TRY(remove_old(job));
    CF_TRY(cf_setting_get(job->vault, "compact_percent", &job->percent, NULL));
    if (job->percent == 0) return NULL;
    CF_TRY(cf_scrub_bad(job->vault, &job->pass->server, NULL, &job->bad));
    CF_TRY(find_sparse_merged(job));
    job->group = calloc(CF_COMPACT_GROUP_MAX, sizeof *job->group);
    if (!job->group) return cf_fail(CF_ERR_OUT_OF_MEMORY, "compaction");
    return take_packs(job);
}

cf_err *cf_compact_server(cf_reclaim_pass *pass, cf_compact_report *report) {
    work job = {.pass = pass, .vault = pass->reclaimer->vault, .report = report};
    *report = (cf_compact_report){0};
    cf_err *err = run(&job);
    for (size_t i = 0; job.group && i < CF_COMPACT_GROUP_MAX; i++) image_wipe(&job.group[i]);
    free(job.group);
    free(job.sparse_merged);
    cf_map_free(job.bad);
    if (report->packs || report->old_removed)
        cf_log(CF_LOG_INFO,
               "compaction: %llu packs written anew (%llu merged), %llu bytes freed, %llu old objects removed",
               (unsigned long long)report->packs, (unsigned long long)report->merged,
               (unsigned long long)report->bytes_freed, (unsigned long long)report->old_removed);
    return err;
}

cf_err *cf_compact_missing(cf_vault *vault, const cf_id16 *server, cf_map **map) {
    CF_AUTO_FREE uint64_t *numbers = NULL;
    size_t total = 0;
    CF_TRY(cf_records_list_compacting(vault->records, server, &numbers, &total));
    for (size_t i = 0; i < total; i++) {
        cf_segset left_out;
        bool found = false;
        CF_TRY(cf_records_get_compacting(vault->records, server, numbers[i], &found, &left_out));
        if (!*map) CF_TRY(cf_map_new(map));
        for (uint32_t segment = 0; cf_segset_next(&left_out, &segment); segment++)
            CF_TRY(cf_map_add(*map, numbers[i], (uint16_t)segment));
    }
    return NULL;
}
