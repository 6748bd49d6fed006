/* From files to ranges of packs: a slice of the tree's content is collected, sorted by pack and segment, and
 * handed out in ranges; and what a lane does with a range. */
#include <stdlib.h>

#include "restore/run.h"

static int compare_pieces(const void *left, const void *right) {
    const cf_piece *a = left, *b = right;
    if (a->ref.pack != b->ref.pack) return a->ref.pack < b->ref.pack ? -1 : 1;
    if (a->ref.segment != b->ref.segment) return a->ref.segment < b->ref.segment ? -1 : 1;
    if (a->ref.offset != b->ref.offset) return a->ref.offset < b->ref.offset ? -1 : 1;
    return (a->offset > b->offset) - (a->offset < b->offset);
}

static void drop_pieces(cf_lane_state *state, const cf_piece *pieces, size_t count) {
    for (size_t i = 0; i < count; i++) cf_item_done(pieces[i].item, 1, state);
}

static void hand_out(cf_restorer *run, const cf_piece *pieces, size_t count) {
    cf_task *task = calloc(1, sizeof *task);
    cf_piece *copy = malloc(count * sizeof *copy);
    if (!task || !copy) {
        free(task);
        free(copy);
        cf_restorer_fatal(run, cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for the plan of a restore"));
        drop_pieces(&run->self, pieces, count);
        return;
    }
    memcpy(copy, pieces, count * sizeof *copy);
    task->pieces = copy;
    task->count = count;
    cf_restorer_push(run, task, count);
}

static cf_err *prepare_packs(cf_restorer *run) {
    uint64_t packs[CF_SOURCE_PACKS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < run->slice_count; i++) {
        if (i > 0 && run->slice[i].ref.pack == run->slice[i - 1].ref.pack) continue;
        packs[count++] = run->slice[i].ref.pack;
        if (count < CF_SOURCE_PACKS_MAX) continue;
        CF_TRY(cf_reader_prepare(run->reader, packs, count));
        count = 0;
    }
    return count ? cf_reader_prepare(run->reader, packs, count) : NULL;
}

/* Where the segment lies; false: it cannot be told, so it is a range of its own (and fails by itself). */
static bool extent_of(cf_restorer *run, const cf_ref *ref, cf_extent *extent) {
    CF_AUTO(cf_err) err = cf_reader_extent(run->reader, ref->pack, ref->segment, extent);
    return err == NULL;
}

/* Can the next segment's extent be read together with what began at start? */
static bool joins(uint64_t start, uint64_t end, const cf_extent *next) {
    return next->offset >= end && next->offset - end < CF_RANGE_GAP &&
           next->offset + next->length - start <= CF_RANGE_MAX;
}

void cf_restorer_flush(cf_restorer *run) {
    if (run->slice_count == 0) return;
    qsort(run->slice, run->slice_count, sizeof *run->slice, compare_pieces);
    cf_err *err = cf_restorer_stopped(run) ? NULL : prepare_packs(run);
    if (err) cf_restorer_fatal(run, err);
    size_t first = 0;
    uint64_t start = 0, end = 0;
    bool open = false; /* a range from first on that may go on */
    for (size_t i = 0; i < run->slice_count; i++) {
        const cf_ref *ref = &run->slice[i].ref;
        if (i > 0 && ref->pack == run->slice[i - 1].ref.pack && ref->segment == run->slice[i - 1].ref.segment) continue;
        cf_extent extent = {0};
        bool known = extent_of(run, ref, &extent);
        bool same_pack = i > 0 && ref->pack == run->slice[i - 1].ref.pack;
        if (i > 0 && !(open && known && same_pack && joins(start, end, &extent))) {
            hand_out(run, run->slice + first, i - first);
            first = i;
            start = extent.offset;
        }
        if (i == 0) start = extent.offset;
        end = extent.offset + extent.length;
        open = known;
    }
    hand_out(run, run->slice + first, run->slice_count - first);
    run->slice_count = 0;
    run->slice_bytes = 0;
    run->slice_items = 0;
}

static void add_piece(cf_restorer *run, cf_item *item, const cf_ref *ref, uint32_t skip, uint32_t length,
                      uint64_t offset) {
    if (run->slice_count >= CF_SLICE_PIECES || run->slice_bytes >= CF_SLICE_BYTES) cf_restorer_flush(run);
    atomic_fetch_add(&item->pending, 1);
    run->slice[run->slice_count++] = (cf_piece){item, *ref, skip, length, offset};
    run->slice_bytes += length;
}

/* A chunk's bytes go to one place, of a sparse file to as many as it covers data extents. */
struct layout {
    bool sparse;
    cf_cursor extents;
    uint64_t end;
    cf_data_extent extent;
    uint64_t at; /* of a file that is not sparse */
};

static cf_err *lay(cf_restorer *run, cf_item *item, struct layout *layout, const cf_ref *ref) {
    if (!layout->sparse) {
        if (ref->length > item->size - layout->at)
            return cf_fail_reason(CF_ERR_NODE_DAMAGED, "length", "the file's content is longer than the file");
        add_piece(run, item, ref, 0, ref->length, layout->at);
        layout->at += ref->length;
        return NULL;
    }
    for (uint32_t skip = 0; skip < ref->length;) {
        if (layout->extent.length == 0 && !cf_extents_next(&layout->extents, &layout->end, &layout->extent))
            return cf_fail_reason(CF_ERR_NODE_DAMAGED, "length", "the file's content is longer than its data extents");
        uint32_t left = ref->length - skip;
        uint32_t part = layout->extent.length < left ? (uint32_t)layout->extent.length : left;
        add_piece(run, item, ref, skip, part, layout->extent.offset);
        layout->extent.offset += part;
        layout->extent.length -= part;
        skip += part;
    }
    return NULL;
}

static cf_err *complete(const cf_item *item, struct layout *layout) {
    bool all = layout->sparse
                   ? layout->extent.length == 0 && !cf_extents_next(&layout->extents, &layout->end, &layout->extent)
                   : layout->at == item->size;
    return all ? NULL : cf_fail_reason(CF_ERR_NODE_DAMAGED, "length", "the file's content is shorter than the file");
}

static cf_err *plan(cf_restorer *run, cf_item *item, const cf_entry *entry) {
    CF_AUTO(cf_content_reader) content = NULL;
    CF_TRY(cf_content_reader_open(run->self.lane, run->point->map, &entry->content, &content));
    struct layout layout = {.sparse = entry->sparse, .extents = cf_cursor_of(entry->extents)};
    for (;;) {
        if (cf_restorer_stopped(run)) return NULL;
        cf_ref ref;
        bool more;
        CF_TRY(cf_content_reader_next(content, &ref, &more));
        if (!more) return complete(item, &layout);
        CF_TRY(lay(run, item, &layout, &ref));
        if (atomic_load(&item->failed)) return NULL; /* the rest need not be fetched */
    }
}

void cf_restorer_plan_file(cf_restorer *run, cf_item *item, const cf_entry *entry) {
    cf_err *err = plan(run, item, entry);
    if (err) cf_item_fail(item, err);
    cf_item_done(item, 1, &run->self);
    if (++run->slice_items >= run->files_open_max / 2) cf_restorer_flush(run);
}

static cf_item *take_different(cf_restorer *run) {
    pthread_mutex_lock(&run->lock);
    cf_item *item = run->different;
    if (item) run->different = item->next;
    pthread_mutex_unlock(&run->lock);
    return item;
}

void cf_restorer_different(cf_restorer *run) {
    for (cf_item *item = take_different(run); item; item = take_different(run)) {
        item->next = NULL;
        cf_entry entry;
        cf_err *err = cf_entry_decode(cf_buf_span(&item->entry), run->self.xattrs, &entry);
        if (err) {
            cf_item_fail(item, err);
            cf_item_done(item, 1, &run->self);
            continue;
        }
        cf_restorer_plan_file(run, item, &entry);
    }
}

void cf_restorer_compare(cf_lane_state *state, cf_item *item) {
    cf_restorer *run = state->run;
    bool same = false, skip = false;
    cf_restore_action action;
    cf_err *err = cf_restorer_stopped(run) ? NULL : cf_restorer_resolve(state, item, &same, &skip, &action);
    if (err) {
        cf_item_fail(item, err);
        cf_item_done(item, 1, state);
    } else if (atomic_load(&run->stop)) {
        cf_item_done(item, 1, state);
    } else if (same) {
        cf_item_same(item, state);
    } else if (skip) {
        cf_item_skip(item, state);
    } else {
        pthread_mutex_lock(&run->lock);
        item->next = run->different;
        run->different = item;
        cf_restorer_wake(run);
        pthread_mutex_unlock(&run->lock);
    }
}

/* ---- In a lane ---- */

static size_t same_segment(const cf_piece *pieces, size_t count) {
    size_t end = 1;
    while (end < count && pieces[end].ref.segment == pieces[0].ref.segment) end++;
    return end;
}

/* A chunk that is damaged where it should be. Takes why. */
static cf_err *write_elsewhere(cf_lane_state *state, const cf_piece *piece, cf_err *why) {
    CF_AUTO_BUF cf_buf bytes;
    cf_buf_init(&bytes, CF_CHUNK_MAX);
    CF_TRY(cf_lane_chunk_elsewhere(state->lane, state->run->point->map, CF_KIND_DATA, &piece->ref, why, &bytes));
    return cf_item_write(piece->item, piece->offset, cf_span_of(bytes.data + piece->skip, piece->length));
}

/* Takes why: the segment of all these is. */
static void write_all_elsewhere(cf_lane_state *state, cf_piece *pieces, size_t count, cf_err *why) {
    CF_AUTO(cf_err) owned = why;
    for (size_t i = 0; i < count; i++) {
        /* Each file gets an error of its own: it is named with it. */
        cf_err *err = cf_fail_reason(cf_err_code(owned), cf_err_reason(owned), "%s", cf_err_message(owned));
        bool wanted = !atomic_load(&pieces[i].item->failed) && !atomic_load(&state->run->stop);
        if (wanted) err = write_elsewhere(state, &pieces[i], err);
        if (err) cf_item_fail(pieces[i].item, err);
        cf_progress_add(state->run->options->progress, 0, pieces[i].length);
        cf_item_done(pieces[i].item, 1, state);
    }
}

static void write_one(cf_lane_state *state, const cf_segment *segment, const cf_piece *piece, cf_span *chunk,
                      const cf_piece *before) {
    cf_restorer *run = state->run;
    cf_err *err = NULL;
    bool same = before && before->ref.offset == piece->ref.offset && before->ref.length == piece->ref.length &&
                cf_id32_equal(&before->ref.id, &piece->ref.id) && chunk->size > 0;
    if (atomic_load(&piece->item->failed) || atomic_load(&run->stop)) return;
    if (!same) {
        *chunk = (cf_span){0};
        err = cf_lane_chunk_in(state->lane, segment, CF_KIND_DATA, &piece->ref, chunk);
    }
    if (err)
        err = write_elsewhere(state, piece, err);
    else
        err = cf_item_write(piece->item, piece->offset, cf_span_of(chunk->data + piece->skip, piece->length));
    if (err) cf_item_fail(piece->item, err);
    cf_progress_add(run->options->progress, 0, piece->length);
}

static void write_segment(cf_lane_state *state, cf_piece *pieces, size_t count, cf_span stored) {
    CF_AUTO(cf_segment) segment = NULL;
    const cf_ref *ref = &pieces[0].ref;
    cf_err *err = cf_lane_segment_from(state->lane, state->run->point->map, CF_KIND_DATA, ref->pack, ref->segment,
                                       stored, &segment);
    if (err) {
        write_all_elsewhere(state, pieces, count, err);
        return;
    }
    cf_span chunk = {0};
    for (size_t i = 0; i < count; i++) {
        write_one(state, segment, &pieces[i], &chunk, i > 0 ? &pieces[i - 1] : NULL);
        cf_item_done(pieces[i].item, 1, state);
    }
}

/* Is there more than one segment to fetch here, none of them at hand? Then all in one request, into the lane's
 * range buffer. */
static cf_err *fetch_range(cf_lane_state *state, const cf_piece *pieces, size_t count, uint64_t *start) {
    cf_restorer *run = state->run;
    cf_extent first, last;
    const cf_ref *ref = &pieces[0].ref;
    cf_buf_reset(&state->range);
    if (ref->segment == pieces[count - 1].ref.segment || cf_reader_cached(run->reader, ref->pack, ref->segment))
        return NULL;
    if (!extent_of(run, ref, &first) || !extent_of(run, &pieces[count - 1].ref, &last)) return NULL;
    if (last.offset < first.offset || last.offset + last.length - first.offset > CF_RANGE_MAX) return NULL;
    uint64_t size = last.offset + last.length - first.offset;
    cf_err *err = cf_reader_fetch(run->reader, ref->pack, first.offset, (size_t)size, &state->range);
    if (err) {
        cf_buf_reset(&state->range);
        if (!cf_err_has(err, CF_F_DAMAGE)) return err;
        cf_err_free(err); /* each segment is tried by itself: what can be read is */
        return NULL;
    }
    cf_progress_moved(run->options->progress, size);
    *start = first.offset;
    return NULL;
}

void cf_restorer_write_pieces(cf_lane_state *state, cf_piece *pieces, size_t count) {
    cf_restorer *run = state->run;
    uint64_t start = 0;
    cf_err *err = cf_restorer_stopped(run) ? NULL : fetch_range(state, pieces, count, &start);
    if (err) cf_restorer_fatal(run, err);
    if (atomic_load(&run->stop)) {
        drop_pieces(state, pieces, count);
        return;
    }
    for (size_t i = 0; i < count;) {
        size_t part = same_segment(pieces + i, count - i);
        cf_span stored = {0};
        cf_extent extent;
        if (state->range.size > 0 && extent_of(run, &pieces[i].ref, &extent) && extent.offset >= start &&
            extent.offset - start + extent.length <= state->range.size)
            stored = cf_span_of(state->range.data + (extent.offset - start), extent.length);
        write_segment(state, pieces + i, part, stored);
        i += part;
    }
}
