#include "agent/heal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "digest/digest.h"
#include "remote/damage.h"
#include "repo/tree_walk.h"
#include "sealed/relocation.h"

enum { RECORD_CHUNKS = 100000, ROUNDS_MAX = 10, REPORTS_MAX = 10000, CACHE_BYTES = 16 << 20 };

/* A recovery point that needs damaged segments. */
typedef struct affected {
    cf_id32 id;
    uint64_t counter;
    cf_time time;
} affected;

typedef struct report { /* a file that stays damaged */
    cf_buf path;
    uint64_t counter;
    cf_time time;
    cf_err *why;
} report;

typedef struct run {
    const cf_heal *heal;
    const cf_heal_options *options;
    cf_heal_result *result;
    cf_reader *reader;
    cf_lane *lane;
    affected *points;
    size_t point_count;
    cf_map *needed; /* damaged segments that points need */
    cf_map *healed; /* of those, the ones that nothing needs any more */
    cf_ref *refs;   /* new addresses, not filed yet */
    size_t ref_count, ref_room;
    /* One round of walking. */
    const affected *at;
    cf_map *lost; /* needed, and not to be had */
    bool blind;   /* folders could not be read: what they need is not known */
    report *reports;
    size_t report_count;
    uint64_t unreported;
} run;

void cf_heal_wipe(cf_heal *heal) {
    cf_map_free(heal->open);
    cf_map_free(heal->known);
    *heal = (cf_heal){0};
}

static cf_err *add_segments(cf_map **map, const cf_remote_segments *list, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (!*map) CF_TRY(cf_map_new(map));
        for (size_t k = 0; k < list[i].count; k++)
            if (list[i].segments[k] < CF_SEGMENTS_MAX && list[i].pack > 0)
                CF_TRY(cf_map_add(*map, list[i].pack, list[i].segments[k]));
    }
    return NULL;
}

cf_err *cf_heal_learn(cf_remote *remote, cf_heal *heal) {
    cf_remote_damage damage = {0};
    CF_TRY(cf_remote_get_damage(remote, &damage));
    heal->objects = damage.objects;
    cf_err *err = add_segments(&heal->open, damage.open, damage.open_count);
    if (!err) err = add_segments(&heal->known, damage.open, damage.open_count);
    if (!err) err = add_segments(&heal->known, damage.healed, damage.healed_count);
    cf_remote_damage_wipe(&damage);
    return err;
}

cf_err *cf_heal_forget(const cf_map *segments, cf_index *index) {
    if (!segments) return NULL;
    uint8_t epoch[16];
    CF_AUTO_FREE cf_index_segment *list = calloc(cf_map_segment_count(segments) + 1, sizeof *list);
    if (!list) return cf_fail(CF_ERR_OUT_OF_MEMORY, "damaged segments");
    size_t cursor = 0, count = 0;
    uint64_t pack = 0;
    while (cf_map_next_pack(segments, &cursor, &pack))
        for (uint32_t segment = 0; cf_map_next_segment(segments, pack, &segment); segment++)
            list[count++] = (cf_index_segment){pack, (uint16_t)segment};
    cf_index_epoch(index, epoch);
    return cf_index_apply_feed(index, cf_index_generation(index), epoch, list, count);
}

/* ---- Which points need what ---- */

static cf_err *add_needed(run *job, const cf_point *point, bool *any) {
    size_t cursor = 0;
    uint64_t pack = 0;
    *any = false;
    while (cf_map_next_pack(job->heal->open, &cursor, &pack))
        for (uint32_t segment = 0; cf_map_next_segment(job->heal->open, pack, &segment); segment++) {
            if (!cf_map_has(point->map, pack, (uint16_t)segment)) continue;
            CF_TRY(cf_map_add(job->needed, pack, (uint16_t)segment));
            *any = true;
        }
    return NULL;
}

static cf_err *look_at_point(run *job, const cf_point_row *row) {
    CF_AUTO(cf_point) point = NULL;
    bool any = false;
    cf_err *err = cf_reader_point_listed(job->reader, row, &point);
    if (err && cf_err_has(err, CF_F_DAMAGE)) { /* the vault has marked it, or verify will tell */
        cf_log_error(CF_LOG_WARNING, err);
        cf_err_free(err);
        return NULL;
    }
    CF_TRY(err);
    CF_TRY(add_needed(job, point, &any));
    if (any) job->points[job->point_count++] = (affected){row->id, row->counter, point->root.time};
    return NULL;
}

static cf_err *open_reader(run *job) {
    cf_lane_free(cf_take(job->lane));
    cf_reader_close(cf_take(job->reader));
    CF_TRY(cf_reader_open(job->options->source, job->options->keys, &job->options->server, CACHE_BYTES, &job->reader));
    return cf_lane_new(job->reader, &job->lane);
}

static cf_err *look_at_points(run *job) {
    CF_AUTO_FREE cf_point_row *rows = NULL;
    size_t count = 0;
    CF_TRY(cf_reader_points(job->reader, &rows, &count));
    job->points = calloc(count + 1, sizeof *job->points);
    if (!job->points) return cf_fail(CF_ERR_OUT_OF_MEMORY, "recovery points");
    for (size_t i = 0; i < count; i++) {
        CF_TRY(cf_cancel_check(job->options->cancel));
        CF_TRY(look_at_point(job, &rows[i]));
    }
    return NULL;
}

/* ---- New addresses ---- */

/* Is the chunk stored somewhere that is not damaged? Then it is noted. */
static cf_err *find_chunk(run *job, const cf_id32 *id, uint32_t length, bool *found) {
    cf_index_address where;
    *found = false;
    CF_TRY(cf_index_lookup(job->options->index, id->bytes, found, &where));
    *found = *found && where.length == length && !cf_map_has(job->heal->known, where.pack, where.segment);
    if (!*found) return NULL;
    if (job->ref_count == job->ref_room) {
        size_t room = job->ref_room ? 2 * job->ref_room : 1024;
        cf_ref *grown = reallocarray(job->refs, room, sizeof *grown);
        if (!grown) return cf_fail(CF_ERR_OUT_OF_MEMORY, "relocations");
        job->refs = grown;
        job->ref_room = room;
    }
    job->refs[job->ref_count++] = (cf_ref){
        .id = *id, .pack = where.pack, .segment = where.segment, .offset = where.offset, .length = where.length};
    return NULL;
}

/* What the pack's own directory says of its damaged segments. */
static cf_err *relocate_pack(run *job, uint64_t pack) {
    CF_AUTO_FREE cf_directory_entry *entries = NULL;
    size_t count = 0;
    cf_err *err = cf_lane_directory(job->lane, pack, NULL, &entries, &count);
    if (err && cf_err_has(err, CF_F_DAMAGE)) { /* then the trees that need it have to tell */
        cf_log_error(CF_LOG_INFO, err);
        cf_err_free(err);
        return NULL;
    }
    CF_TRY(err);
    for (uint32_t segment = 0; cf_map_next_segment(job->needed, pack, &segment); segment++) {
        bool complete = false;
        for (size_t i = 0; i < count; i++) {
            bool found = false;
            if (entries[i].segment != segment) continue;
            CF_TRY(find_chunk(job, &entries[i].id, entries[i].length, &found));
            complete = found && (complete || i == 0 || entries[i - 1].segment != segment);
        }
        if (complete) CF_TRY(cf_map_add(job->healed, pack, (uint16_t)segment));
    }
    return NULL;
}

/* ---- Filing ---- */

static int compare_refs(const void *a, const void *b) {
    return memcmp(((const cf_ref *)a)->id.bytes, ((const cf_ref *)b)->id.bytes, 32);
}

static int compare_points(const void *a, const void *b) {
    return memcmp(((const cf_id32 *)a)->bytes, ((const cf_id32 *)b)->bytes, 32);
}

static cf_err *encode_points(const run *job, cf_buf *out) {
    CF_AUTO_FREE cf_id32 *ids = calloc(job->point_count + 1, sizeof *ids);
    if (!ids) return cf_fail(CF_ERR_OUT_OF_MEMORY, "recovery points");
    for (size_t i = 0; i < job->point_count; i++) ids[i] = job->points[i].id;
    qsort(ids, job->point_count, sizeof *ids, compare_points);
    cf_relocation_points_encode(ids, job->point_count, out);
    return cf_buf_check(out, "recovery points");
}

static cf_err *encode_extra(const cf_ref *refs, size_t count, cf_buf *out) {
    CF_AUTO(cf_map) extra = NULL;
    CF_TRY(cf_map_new(&extra));
    for (size_t i = 0; i < count; i++) CF_TRY(cf_map_add(extra, refs[i].pack, refs[i].segment));
    return cf_map_encode(extra, &(cf_map_header){0}, NULL, NULL, NULL, out);
}

static cf_err *next_number(cf_remote *remote, uint64_t *number) {
    CF_AUTO_FREE cf_remote_relocation *rows = NULL;
    size_t count = 0;
    CF_TRY(cf_remote_list_relocations(remote, &rows, &count));
    *number = count ? rows[count - 1].number + 1 : 1;
    return NULL;
}

/* refs ascend by ID. */
static cf_err *file_record(run *job, const cf_ref *refs, size_t count, const cf_map *healed) {
    const cf_heal_options *options = job->options;
    CF_AUTO_BUF cf_buf points, extra, done, sealed, object;
    cf_id32 id;
    cf_buf_init(&points, 4 + 32 * CF_RELOCATION_POINTS_MAX);
    cf_buf_init(&extra, CF_RELOCATION_MAP_MAX);
    cf_buf_init(&done, CF_RELOCATION_MAP_MAX);
    cf_buf_init(&sealed, CF_RELOCATION_SEALED_MAX);
    cf_buf_init(&object, CF_RELOCATION_MAX);
    CF_TRY(encode_points(job, &points));
    CF_TRY(encode_extra(refs, count, &extra));
    CF_TRY(cf_map_encode(healed, &(cf_map_header){0}, NULL, NULL, NULL, &done));
    cf_relocation_frame frame = {.server = options->server,
                                 .session = options->session,
                                 .key_record = options->key_record,
                                 .points = cf_buf_span(&points),
                                 .extra = cf_buf_span(&extra),
                                 .healed = cf_buf_span(&done)};
    CF_TRY(next_number(options->remote, &frame.number));
    CF_TRY(cf_relocation_seal(&frame, options->session_key, refs, count, frame.commitment, &sealed));
    frame.sealed = cf_buf_span(&sealed);
    CF_TRY(cf_relocation_encode(&frame, &object));
    CF_TRY(cf_sha256(cf_buf_span(&object), id.bytes));
    CF_TRY(cf_remote_store_relocation(options->remote, &options->session, &id, cf_buf_span(&object)));
    job->result->records++;
    return NULL;
}

/* What was found until now; the last record says which segments nothing needs any more. */
static cf_err *file_all(run *job, const cf_map *healed) {
    CF_AUTO(cf_map) none = NULL;
    size_t kept = 0;
    CF_TRY(cf_map_new(&none));
    if (job->ref_count) qsort(job->refs, job->ref_count, sizeof *job->refs, compare_refs);
    for (size_t i = 0; i < job->ref_count; i++)
        if (kept == 0 || compare_refs(&job->refs[kept - 1], &job->refs[i]) != 0) job->refs[kept++] = job->refs[i];
    if (kept == 0 && cf_map_segment_count(healed) == 0) return NULL;
    size_t at = 0;
    do {
        size_t part = kept - at < RECORD_CHUNKS ? kept - at : RECORD_CHUNKS;
        bool last = at + part == kept;
        CF_TRY(cf_cancel_check(job->options->cancel));
        CF_TRY(file_record(job, job->refs + at, part, last ? healed : none));
        at += part;
    } while (at < kept);
    job->result->chunks += kept;
    job->ref_count = 0;
    return NULL;
}

/* ---- What the trees still need ---- */

static void drop_reports(run *job) {
    for (size_t i = 0; i < job->report_count; i++) {
        cf_buf_wipe(&job->reports[i].path);
        cf_err_free(job->reports[i].why);
    }
    job->report_count = 0;
    job->unreported = 0;
}

/* Takes why. */
static void add_report(run *job, cf_span path, cf_err *why) {
    if (job->report_count == REPORTS_MAX) {
        job->unreported++;
        cf_err_free(why);
        return;
    }
    report *one = &job->reports[job->report_count++];
    *one = (report){.counter = job->at->counter, .time = job->at->time, .why = why};
    cf_buf_init(&one->path, (size_t)1 << 20);
    cf_buf_put_span(&one->path, path);
}

static bool is_open(const run *job, const cf_ref *ref) {
    return cf_map_has(job->heal->open, ref->pack, ref->segment) && !cf_map_has(job->healed, ref->pack, ref->segment);
}

/* A reference into a damaged segment: has the index the chunk elsewhere? */
static cf_err *examine(run *job, const cf_ref *ref, bool *have) {
    *have = true;
    if (!is_open(job, ref)) return NULL;
    CF_TRY(find_chunk(job, &ref->id, ref->length, have));
    return *have ? NULL : cf_map_add(job->lost, ref->pack, ref->segment);
}

static cf_err *examine_content(run *job, const cf_map *map, const cf_content *content, bool *whole) {
    CF_AUTO(cf_content_reader) reader = NULL;
    CF_TRY(cf_content_reader_open(job->lane, map, content, &reader));
    for (;;) {
        cf_ref ref;
        bool more = false, have = true;
        CF_TRY(cf_content_reader_next(reader, &ref, &more));
        if (!more) return NULL;
        CF_TRY(examine(job, &ref, &have));
        if (!have) *whole = false;
    }
}

typedef struct visit {
    run *job;
    const cf_point *point;
} visit;

static cf_err *on_entry(void *context, cf_span path, const cf_entry *entry, bool *enter) {
    visit *at = context;
    run *job = at->job;
    bool whole = true;
    cf_err *err = NULL;
    (void)enter;
    if (entry->not_read) return NULL;
    if (entry->xattrs_chunked) err = examine_content(job, at->point->map, &entry->xattr_content, &whole);
    if (!err && entry->meta.type == CF_TYPE_FILE) err = examine_content(job, at->point->map, &entry->content, &whole);
    if (err && !cf_err_has(err, CF_F_DAMAGE)) return err;
    if (err) job->blind = true; /* a list of references */
    if (!err && !whole) err = cf_fail(CF_ERR_SEGMENT_DAMAGED, "a part of it is damaged, and no longer on this server");
    if (err) add_report(job, path, err);
    return NULL;
}

static void on_damaged(void *context, cf_span path, cf_err *err) {
    visit *at = context;
    at->job->blind = true;
    add_report(at->job, path, err);
}

static bool on_node(void *context, const cf_ref *node) {
    visit *at = context;
    bool have = false;
    cf_ref now = *node;
    (void)cf_lane_resolve(at->job->lane, at->point->map, &now); /* false: it stands where it always stood */
    CF_AUTO(cf_err) err = examine(at->job, &now, &have);
    if (err) cf_log_error(CF_LOG_WARNING, err); /* then reading it fails too */
    return true;
}

static cf_err *walk_point(run *job, const affected *at) {
    CF_AUTO(cf_point) point = NULL;
    job->at = at;
    CF_TRY(cf_reader_point_open(job->reader, &at->id, &point));
    CF_TRY(cf_reader_point_map(job->reader, point));
    visit seen = {job, point};
    cf_tree_visitor visitor = {
        .entry = on_entry, .damaged = on_damaged, .node = on_node, .context = &seen, .cancel = job->options->cancel};
    (void)on_node(&seen, &point->root.tree);
    return cf_tree_walk(job->lane, point->map, &point->root.tree, cf_span_text("/"), &visitor);
}

/* One look at all trees. *again: addresses were found with which more can be read. */
static cf_err *walk_all(run *job, bool *again) {
    CF_AUTO(cf_map) fresh = NULL;
    cf_map_free(cf_take(job->lost));
    CF_TRY(cf_map_new(&job->lost));
    CF_TRY(cf_map_new(&fresh));
    drop_reports(job);
    job->blind = false;
    for (size_t i = job->point_count; i > 0; i--) CF_TRY(walk_point(job, &job->points[i - 1]));
    bool found = job->ref_count > 0;
    *again = found && job->blind;
    size_t cursor = 0;
    uint64_t pack = 0;
    while (!job->blind && cf_map_next_pack(job->needed, &cursor, &pack))
        for (uint32_t segment = 0; cf_map_next_segment(job->needed, pack, &segment); segment++)
            if (!cf_map_has(job->healed, pack, (uint16_t)segment) && !cf_map_has(job->lost, pack, (uint16_t)segment))
                CF_TRY(cf_map_add(fresh, pack, (uint16_t)segment));
    CF_TRY(file_all(job, fresh));
    return cf_map_add_all(job->healed, fresh);
}

static void tell_reports(run *job) {
    for (size_t i = 0; i < job->report_count; i++) {
        report *one = &job->reports[i];
        char when[40];
        cf_time_format(one->time, when);
        CF_AUTO(cf_err)
        err = cf_wrap(cf_take(one->why), CF_ERR_FILE_DAMAGED, "recovery point %llu of %s: it cannot be read back",
                      (unsigned long long)one->counter, when);
        cf_job_warning(job->options->job, cf_buf_span(&one->path), err);
    }
}

/* ---- What stays ---- */

static cf_err *remaining_key(const run *job, char key[CF_HEX_SIZE(16)], uint64_t *count) {
    CF_AUTO_BUF cf_buf text;
    uint8_t sum[16];
    size_t cursor = 0;
    uint64_t pack = 0;
    cf_buf_init(&text, (size_t)64 << 20);
    *count = 0;
    while (cf_map_next_pack(job->needed, &cursor, &pack))
        for (uint32_t segment = 0; cf_map_next_segment(job->needed, pack, &segment); segment++) {
            if (cf_map_has(job->healed, pack, (uint16_t)segment)) continue;
            cf_buf_put_u64(&text, pack);
            cf_buf_put_u16(&text, (uint16_t)segment);
            ++*count;
        }
    cf_buf_put_u64(&text, job->point_count ? job->points[job->point_count - 1].counter : 0);
    CF_TRY(cf_buf_check(&text, "damaged segments"));
    cf_xxh3_128(cf_buf_span(&text), sum);
    cf_hex_encode(sum, 16, key);
    return NULL;
}

static cf_err *summarise(run *job, const char *key) {
    char id[CF_HEX_SIZE(16)];
    CF_AUTO_FREE char *text = NULL;
    cf_hex_encode(cf_job_id(job->options->job)->bytes, 16, id);
    CF_AUTO(cf_err)
    err = cf_fail(CF_ERR_VAULT_DAMAGE,
                  "%llu damaged segments are needed by %zu older recovery points and are no longer on this server%s",
                  (unsigned long long)job->result->remain, job->point_count,
                  job->report_count ? ": their files are listed" : "");
    cf_job_warning(job->options->job, cf_span_of(NULL, 0), err);
    if (job->report_count == 0) return NULL;
    text = cf_text_format("%s %s", key, id);
    return text ? cf_state_set_setting(job->options->state, "damage_reported", text)
                : cf_fail(CF_ERR_OUT_OF_MEMORY, "a setting");
}

/* Files are named once for each state of the damage: naming them takes reading whole trees. */
static cf_err *look_at_trees(run *job) {
    char before[CF_HEX_SIZE(16)], after[CF_HEX_SIZE(16)];
    CF_AUTO_FREE char *told = NULL;
    bool again = true;
    CF_TRY(remaining_key(job, before, &job->result->remain));
    if (job->result->remain == 0) return cf_state_set_setting(job->options->state, "damage_reported", NULL);
    CF_TRY(cf_state_get_setting(job->options->state, "damage_reported", &told));
    bool known = told && strncmp(told, before, sizeof before - 1) == 0;
    if (!known) {
        job->reports = calloc(REPORTS_MAX, sizeof *job->reports);
        if (!job->reports) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a report");
        cf_progress_phase(job->options->progress, "looking for damaged files");
    }
    for (int round = 0; !known && again && round < ROUNDS_MAX; round++) {
        CF_TRY(open_reader(job));
        CF_TRY(walk_all(job, &again));
    }
    CF_TRY(remaining_key(job, after, &job->result->remain));
    tell_reports(job);
    return job->result->remain ? summarise(job, after) : NULL;
}

static cf_err *work(run *job) {
    size_t cursor = 0;
    uint64_t pack = 0;
    CF_TRY(cf_map_new(&job->needed));
    CF_TRY(cf_map_new(&job->healed));
    CF_TRY(open_reader(job));
    CF_TRY(look_at_points(job));
    if (job->point_count == 0) return NULL; /* nothing needs them: reclaiming sees to it */
    while (cf_map_next_pack(job->needed, &cursor, &pack)) CF_TRY(relocate_pack(job, pack));
    CF_TRY(file_all(job, job->healed));
    return look_at_trees(job);
}

cf_err *cf_heal_run(const cf_heal *heal, const cf_heal_options *options, cf_heal_result *result) {
    run job = {.heal = heal, .options = options, .result = result};
    *result = (cf_heal_result){0};
    if (!heal->open) return NULL;
    cf_progress_phase(options->progress, "healing");
    cf_err *err = work(&job);
    if (job.healed) result->healed = cf_map_segment_count(job.healed);
    drop_reports(&job);
    free(job.reports);
    free(job.points);
    free(job.refs);
    cf_map_free(job.needed);
    cf_map_free(job.healed);
    cf_map_free(job.lost);
    cf_lane_free(job.lane);
    cf_reader_close(job.reader);
    return err;
}
