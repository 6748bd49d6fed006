#include "restore/verify.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "digest/digest.h"
#include "repo/tree_walk.h"

enum {
    LANES = 8,
    RANGE_MAX = 2 << 20,
    RANGE_GAP = 128 << 10,
    DIRECTORIES = 64, /* known at a time in the first pass */
    SEEN = 1 << 18,   /* folders remembered as walked      */
};

/* A pack's directory in the first pass. */
struct directory {
    uint64_t pack; /* 0: free */
    cf_directory_entry *entries;
    size_t count;
    bool readable;
    uint64_t used;
};

struct verify {
    cf_reader *reader;
    const cf_point *point;
    const cf_verify_options *options;
    cf_verify_result *result;
    cf_lane *lane;
    struct directory directories[DIRECTORIES];
    uint64_t clock;
    uint64_t *seen;
    cf_map *needed;       /* data segments to check */
    cf_map *bad;          /* segments with damage   */
    cf_map *no_directory; /* segment 0 stands for the pack */
    cf_buf chunk;
    bool naming; /* third pass */

    pthread_mutex_t lock; /* from here on, in the second pass */
    size_t cursor;
    cf_err *fatal;
    atomic_bool stop;
};

static bool sampled(const struct verify *v, uint64_t pack, uint16_t segment) {
    if (v->options->sample <= 0 || v->options->sample >= 100) return true;
    uint64_t place[2] = {pack, segment};
    return (double)(cf_xxh3_64(cf_span_of(place, sizeof place), v->options->seed) % 1000000) <
           v->options->sample * 10000;
}

static void report(struct verify *v, cf_span path, cf_err *err) {
    CF_AUTO_FREE char *printable = cf_text_printable(path);
    CF_AUTO_FREE char *why = strdup(cf_err_message(err));
    CF_AUTO(cf_err)
    owned = cf_wrap_reason(err, CF_ERR_FILE_DAMAGED, cf_err_reason(err), "%s: %s", printable ? printable : "",
                           why ? why : "");
    v->result->damaged++;
    if (v->options->damaged) v->options->damaged(v->options->context, path, owned);
}

static void on_damaged(void *context, cf_span path, cf_err *err) {
    struct verify *v = context;
    if (v->naming)
        cf_err_free(err); /* told in the first pass */
    else
        report(v, path, err);
}

/* Remembers folders in a table of fixed size: one that is forgotten is only walked again. */
static bool on_node(void *context, const cf_ref *node) {
    struct verify *v = context;
    if (v->naming) return true;
    uint64_t key;
    memcpy(&key, node->id.bytes, 8);
    key |= 1;
    uint64_t *slot = &v->seen[key % SEEN];
    if (*slot == key) return false;
    *slot = key;
    return true;
}

/* ---- First pass ---- */

static cf_err *directory_load(struct verify *v, struct directory *directory, uint64_t pack) {
    free(directory->entries);
    *directory = (struct directory){.pack = pack};
    cf_err *err = cf_lane_directory(v->lane, pack, NULL, &directory->entries, &directory->count);
    directory->readable = !err;
    if (err && !cf_err_has(err, CF_F_DAMAGE)) return err;
    if (err && !cf_map_has(v->no_directory, pack, 0)) {
        v->result->warnings++;
        if (v->options->warning) v->options->warning(v->options->context, (cf_span){0}, err);
        cf_err_free(err);
        return cf_map_add(v->no_directory, pack, 0);
    }
    cf_err_free(err);
    return NULL;
}

static cf_err *directory_of(struct verify *v, uint64_t pack, struct directory **out) {
    struct directory *oldest = &v->directories[0];
    for (size_t i = 0; i < DIRECTORIES; i++) {
        struct directory *directory = &v->directories[i];
        if (directory->pack == pack) {
            directory->used = ++v->clock;
            *out = directory;
            return NULL;
        }
        if (directory->used < oldest->used) oldest = directory;
    }
    CF_TRY(directory_load(v, oldest, pack));
    oldest->used = ++v->clock;
    *out = oldest;
    return NULL;
}

static bool listed(const struct directory *directory, const cf_ref *ref) {
    size_t low = 0, high = directory->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const cf_directory_entry *entry = &directory->entries[middle];
        bool below = entry->segment != ref->segment ? entry->segment < ref->segment : entry->offset < ref->offset;
        if (below)
            low = middle + 1;
        else
            high = middle;
    }
    const cf_directory_entry *entry = &directory->entries[low];
    return low < directory->count && entry->segment == ref->segment && entry->offset == ref->offset &&
           entry->length == ref->length && cf_id32_equal(&entry->id, &ref->id);
}

/* Is the reference what it should be? Its content is for the second pass, unless there is no directory to go by. */
static cf_err *check_ref(struct verify *v, const cf_ref *ref) {
    if (!cf_map_has(v->point->map, ref->pack, ref->segment))
        return cf_fail(CF_ERR_SEGMENT_OUTSIDE_MAP, "segment %u of pack %llu is not in the recovery point's map",
                       ref->segment, (unsigned long long)ref->pack);
    if (!sampled(v, ref->pack, ref->segment)) return NULL;
    struct directory *directory;
    CF_TRY(directory_of(v, ref->pack, &directory));
    if (!directory->readable) {
        CF_TRY(cf_lane_chunk(v->lane, v->point->map, CF_KIND_DATA, ref, &v->chunk));
        v->result->chunks++;
        v->result->bytes += ref->length;
        return NULL;
    }
    if (!listed(directory, ref))
        return cf_fail_reason(CF_ERR_CHUNK_MISMATCH, "directory",
                              "pack %llu's own directory has no such chunk in segment %u at %u",
                              (unsigned long long)ref->pack, ref->segment, ref->offset);
    return cf_map_add(v->needed, ref->pack, ref->segment);
}

/* All references of a content; the first damage is its error. */
static cf_err *each_ref(struct verify *v, const cf_content *content,
                        cf_err *(*check)(struct verify *, const cf_ref *)) {
    CF_AUTO(cf_content_reader) reader = NULL;
    CF_TRY(cf_content_reader_open(v->lane, v->point->map, content, &reader));
    CF_AUTO(cf_err) first = NULL;
    for (;;) {
        cf_ref ref;
        bool more;
        CF_TRY(cf_cancel_check(v->options->cancel));
        CF_TRY(cf_content_reader_next(reader, &ref, &more));
        if (!more) return cf_take(first);
        cf_err *err = check(v, &ref);
        if (err && !cf_err_has(err, CF_F_DAMAGE)) return err;
        if (err && !first)
            first = err;
        else
            cf_err_free(err);
    }
}

static cf_err *check_bad(struct verify *v, const cf_ref *ref) {
    if (!cf_map_has(v->bad, ref->pack, ref->segment)) return NULL;
    return cf_fail(CF_ERR_SEGMENT_DAMAGED, "segment %u of pack %llu", ref->segment, (unsigned long long)ref->pack);
}

static cf_err *on_entry(void *context, cf_span path, const cf_entry *entry, bool *enter) {
    struct verify *v = context;
    (void)enter;
    if (entry->not_read) return NULL;
    cf_progress_item(v->options->progress, path);
    cf_err *err = NULL;
    if (entry->xattrs_chunked) err = each_ref(v, &entry->xattr_content, v->naming ? check_bad : check_ref);
    if (!err && entry->meta.type == CF_TYPE_FILE) err = each_ref(v, &entry->content, v->naming ? check_bad : check_ref);
    if (!v->naming && entry->meta.type == CF_TYPE_DIRECTORY) {
        v->result->chunks++;
        v->result->bytes += entry->node.length;
    }
    if (!err) return NULL;
    if (!cf_err_has(err, CF_F_DAMAGE)) return err;
    report(v, path, err);
    return NULL;
}

static cf_err *walk(struct verify *v) {
    cf_tree_visitor visitor = {
        .entry = on_entry, .damaged = on_damaged, .node = on_node, .context = v, .cancel = v->options->cancel};
    return cf_tree_walk(v->lane, v->point->map, &v->point->root.tree, cf_span_text("/"), &visitor);
}

/* ---- Second pass ---- */

struct worker {
    struct verify *v;
    pthread_t thread;
    cf_lane *lane;
    cf_buf range;
};

static void fatal(struct verify *v, cf_err *err) {
    pthread_mutex_lock(&v->lock);
    if (!v->fatal)
        v->fatal = err;
    else
        cf_err_free(err);
    atomic_store(&v->stop, true);
    pthread_mutex_unlock(&v->lock);
}

/* A segment that does not read back, or one with a wrong chunk. err is taken. */
static void mark_bad(struct verify *v, uint64_t pack, uint16_t segment, cf_err *err) {
    if (!cf_err_has(err, CF_F_DAMAGE)) {
        fatal(v, err);
        return;
    }
    cf_err_free(err); /* files are named in the third pass */
    pthread_mutex_lock(&v->lock);
    err = cf_map_add(v->bad, pack, segment);
    pthread_mutex_unlock(&v->lock);
    if (err) fatal(v, err);
}

static cf_err *check_chunks(struct worker *w, const cf_segment *segment, uint64_t pack,
                            const cf_directory_entry *entries, size_t count, uint64_t *bytes) {
    for (size_t i = 0; i < count; i++) {
        cf_ref ref = {.id = entries[i].id,
                      .pack = pack,
                      .segment = entries[i].segment,
                      .offset = entries[i].offset,
                      .length = entries[i].length};
        cf_span chunk;
        CF_TRY(cf_lane_chunk_in(w->lane, segment, CF_KIND_DATA, &ref, &chunk));
        *bytes += ref.length;
    }
    return NULL;
}

/* entries: the whole directory, ascending by segment. */
static void check_segment(struct worker *w, uint64_t pack, uint16_t number, cf_span stored,
                          const cf_directory_entry *entries, size_t count) {
    struct verify *v = w->v;
    size_t first = 0, high = count;
    while (first < high) {
        size_t middle = first + (high - first) / 2;
        if (entries[middle].segment < number)
            first = middle + 1;
        else
            high = middle;
    }
    size_t end = first;
    while (end < count && entries[end].segment == number) end++;
    CF_AUTO(cf_segment) segment = NULL;
    uint64_t bytes = 0;
    cf_err *err = cf_lane_segment_from(w->lane, v->point->map, CF_KIND_DATA, pack, number, stored, &segment);
    if (!err) err = check_chunks(w, segment, pack, entries + first, end - first, &bytes);
    if (err) {
        mark_bad(v, pack, number, err);
        return;
    }
    pthread_mutex_lock(&v->lock);
    v->result->segments++;
    v->result->chunks += end - first;
    v->result->bytes += bytes;
    pthread_mutex_unlock(&v->lock);
    cf_progress_add(v->options->progress, 0, bytes);
}

/* The needed segments of a pack from *from on that can be fetched together; false when there is none. */
static bool next_range(struct verify *v, const cf_extent *extents, size_t count, uint64_t pack, size_t *from,
                       size_t *end) {
    while (*from < count &&
           (extents[*from].segment == CF_SEGMENT_DIRECTORY || !cf_map_has(v->needed, pack, extents[*from].segment)))
        ++*from;
    if (*from == count) return false;
    size_t last = *from;
    for (size_t i = *from + 1; i < count && extents[i].segment != CF_SEGMENT_DIRECTORY; i++) {
        if (!cf_map_has(v->needed, pack, extents[i].segment)) continue;
        uint64_t reach = extents[last].offset + extents[last].length;
        if (extents[i].offset < reach || extents[i].offset - reach >= RANGE_GAP) break;
        if (extents[i].offset + extents[i].length - extents[*from].offset > RANGE_MAX) break;
        last = i;
    }
    *end = last + 1;
    return true;
}

static void check_range(struct worker *w, uint64_t pack, const cf_extent *extents, size_t count,
                        const cf_directory_entry *entries, size_t entry_count) {
    uint64_t start = extents[0].offset, size = extents[count - 1].offset + extents[count - 1].length - start;
    cf_err *err = cf_reader_fetch(w->v->reader, pack, start, (size_t)size, &w->range);
    bool have = !err;
    if (err && !cf_err_has(err, CF_F_DAMAGE)) {
        fatal(w->v, err);
        return;
    }
    cf_err_free(err); /* each segment is tried by itself */
    if (have) cf_progress_moved(w->v->options->progress, size);
    for (size_t i = 0; i < count && !atomic_load(&w->v->stop); i++) {
        if (!cf_map_has(w->v->needed, pack, extents[i].segment)) continue;
        cf_span stored = {0};
        if (have) stored = cf_span_of(w->range.data + (extents[i].offset - start), extents[i].length);
        check_segment(w, pack, extents[i].segment, stored, entries, entry_count);
    }
}

static void all_bad(struct verify *v, uint64_t pack, cf_err *err) {
    CF_AUTO(cf_err) owned = err;
    for (uint32_t segment = 0; cf_map_next_segment(v->needed, pack, &segment); segment++)
        mark_bad(v, pack, (uint16_t)segment, cf_fail(cf_err_code(owned), "%s", cf_err_message(owned)));
}

/* The keeper told us header and table; from the object itself the vault's database is made again, and packs are
 * copied: so what stands there must be the same. */
static void check_frame(struct worker *w, uint64_t pack) {
    struct verify *v = w->v;
    cf_err *err = cf_reader_check_frame(v->reader, pack, &w->range);
    if (!err) return;
    if (!cf_err_has(err, CF_F_DAMAGE)) {
        fatal(v, err);
        return;
    }
    pthread_mutex_lock(&v->lock);
    v->result->warnings++;
    if (v->options->warning) v->options->warning(v->options->context, (cf_span){0}, err);
    pthread_mutex_unlock(&v->lock);
    cf_err_free(err);
}

static void check_pack(struct worker *w, uint64_t pack) {
    struct verify *v = w->v;
    CF_AUTO_FREE cf_extent *extents = NULL;
    CF_AUTO_FREE cf_directory_entry *entries = NULL;
    size_t count = 0, entry_count = 0;
    cf_err *err = cf_reader_extents(v->reader, pack, &extents, &count);
    if (!err) err = cf_lane_directory(w->lane, pack, NULL, &entries, &entry_count);
    if (err) {
        all_bad(v, pack, err);
        return;
    }
    check_frame(w, pack);
    size_t end = 0;
    for (size_t from = 0; !atomic_load(&v->stop) && next_range(v, extents, count, pack, &from, &end); from = end)
        check_range(w, pack, extents + from, end - from, entries, entry_count);
    /* What the pack does not hold at all. */
    for (uint32_t segment = 0; cf_map_next_segment(v->needed, pack, &segment); segment++) {
        cf_extent extent;
        cf_err *missing = cf_reader_extent(v->reader, pack, (uint16_t)segment, &extent);
        if (missing) mark_bad(v, pack, (uint16_t)segment, missing);
    }
}

static bool next_pack(struct verify *v, uint64_t *pack) {
    if (cf_cancel_requested(v->options->cancel)) fatal(v, cf_cancel_check(v->options->cancel));
    if (atomic_load(&v->stop)) return false;
    pthread_mutex_lock(&v->lock);
    bool more = cf_map_next_pack(v->needed, &v->cursor, pack);
    pthread_mutex_unlock(&v->lock);
    return more;
}

static void *worker_main(void *argument) {
    struct worker *w = argument;
    for (uint64_t pack; next_pack(w->v, &pack);) check_pack(w, pack);
    return NULL;
}

static cf_err *check_segments(struct verify *v) {
    unsigned count = v->options->lanes ? v->options->lanes : LANES, started = 0;
    struct worker *workers = calloc(count, sizeof *workers);
    if (!workers) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for lanes");
    cf_err *err = NULL;
    for (; started < count; started++) {
        struct worker *w = &workers[started];
        w->v = v;
        cf_buf_init(&w->range, RANGE_MAX);
        err = cf_lane_new(v->reader, &w->lane);
        if (!err && pthread_create(&w->thread, NULL, worker_main, w) != 0)
            err = cf_fail(CF_ERR_OUT_OF_MEMORY, "no more threads can be started");
        if (err) {
            cf_lane_free(w->lane);
            break;
        }
    }
    if (err && started > 0) { /* fewer will do */
        cf_err_free(err);
        err = NULL;
    }
    for (unsigned i = 0; i < started; i++) {
        pthread_join(workers[i].thread, NULL);
        cf_lane_free(workers[i].lane);
        cf_buf_wipe(&workers[i].range);
    }
    free(workers);
    return err ? err : cf_take(v->fatal);
}

static cf_err *verify_all(struct verify *v) {
    const cf_totals *totals = &v->point->root.totals;
    cf_progress_total(v->options->progress, 0, totals->bytes);
    cf_progress_phase(v->options->progress, "reading the tree");
    v->result->chunks++;
    v->result->bytes += v->point->root.tree.length;
    CF_TRY(walk(v));
    cf_progress_phase(v->options->progress, "verifying");
    CF_TRY(check_segments(v));
    if (cf_map_pack_count(v->bad) == 0) return NULL;
    cf_progress_phase(v->options->progress, "naming damaged files");
    v->naming = true;
    return walk(v);
}

cf_err *cf_verify(cf_reader *reader, const cf_point *point, const cf_verify_options *options,
                  cf_verify_result *result) {
    *result = (cf_verify_result){0};
    if (!point->map) return cf_fail(CF_ERR_INTERNAL, "a verification was begun without the point's map");
    uint64_t fetched_before = cf_reader_fetched(reader);
    struct verify *v = calloc(1, sizeof *v);
    if (!v) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory to verify");
    v->reader = reader;
    v->point = point;
    v->options = options;
    v->result = result;
    pthread_mutex_init(&v->lock, NULL);
    cf_buf_init(&v->chunk, CF_CHUNK_MAX);
    v->seen = calloc(SEEN, sizeof *v->seen);
    cf_err *err = v->seen ? cf_lane_new(reader, &v->lane) : cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory to verify");
    if (!err) err = cf_map_new(&v->needed);
    if (!err) err = cf_map_new(&v->bad);
    if (!err) err = cf_map_new(&v->no_directory);
    if (!err) err = verify_all(v);
    result->bytes_fetched = cf_reader_fetched(reader) - fetched_before;
    for (size_t i = 0; i < DIRECTORIES; i++) free(v->directories[i].entries);
    cf_map_free(v->needed);
    cf_map_free(v->bad);
    cf_map_free(v->no_directory);
    cf_buf_wipe(&v->chunk);
    cf_lane_free(v->lane);
    free(v->seen);
    pthread_mutex_destroy(&v->lock);
    free(v);
    return err;
}
