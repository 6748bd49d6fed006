#include "mount/layout.h"

#include <pthread.h>
#include <stdlib.h>

/* A file's data without its holes is called its stream. */
struct piece {      /* one chunk */
    uint64_t start; /* in the stream */
    cf_ref ref;
    bool checked;
};

struct extent {
    uint64_t offset, length, stream;
};

/* A leaf of the lists of references, and where in the stream it begins. */
struct window {
    uint64_t start;
    cf_ref list;
};

struct level { /* of lists, on the way to the next leaf */
    cf_buf bytes;
    cf_node_reader *reader;
};

enum { TABLES = 2 };
struct table { /* a decoded leaf */
    uint32_t window;
    bool used;
    struct piece *pieces;
    uint32_t count;
};

struct cf_layout {
    uint64_t size, stream_size;
    bool sparse;
    struct extent *extents;
    uint32_t extent_count;
    pthread_mutex_t lock;        /* all below */
    struct table tables[TABLES]; /* of a content without lists: one, for ever */
    unsigned newest;
    uint8_t depth;
    cf_buf refs; /* the entry's, when there are lists */
    cf_cursor cursor;
    uint32_t left;
    struct level level[CF_DEPTH_MAX];
    unsigned levels;
    struct window *windows;
    uint32_t window_count, window_room;
    uint64_t known; /* of the stream, by the windows */
    uint64_t read_end, streak, ahead;
};

void cf_layout_free(cf_layout *layout) {
    if (!layout) return;
    free(layout->extents);
    for (unsigned i = 0; i < TABLES; i++) free(layout->tables[i].pieces);
    for (unsigned i = 0; i < CF_DEPTH_MAX; i++) {
        cf_node_reader_close(layout->level[i].reader);
        cf_buf_wipe(&layout->level[i].bytes);
    }
    cf_buf_wipe(&layout->refs);
    free(layout->windows);
    pthread_mutex_destroy(&layout->lock);
    free(layout);
}

static cf_err *wrong_length(void) {
    return cf_fail_reason(CF_ERR_NODE_DAMAGED, "length", "the file's content is not as long as the file");
}

static cf_err *take_extents(cf_layout *layout, const cf_entry *entry) {
    layout->stream_size = entry->meta.size;
    if (!entry->sparse) return NULL;
    layout->extents = calloc(entry->extent_count + 1u, sizeof *layout->extents);
    if (!layout->extents) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a sparse file");
    cf_cursor cursor = cf_cursor_of(entry->extents);
    uint64_t end = 0, stream = 0;
    cf_data_extent data;
    while (layout->extent_count < entry->extent_count && cf_extents_next(&cursor, &end, &data)) {
        layout->extents[layout->extent_count++] = (struct extent){data.offset, data.length, stream};
        stream += data.length; /* the extents lie within the file's size, so this cannot overflow */
    }
    layout->stream_size = stream;
    return NULL;
}

/* Chunk references, count of them, to pieces from start on. */
static cf_err *decode_pieces(cf_cursor *cursor, uint32_t count, uint64_t start, uint64_t most, struct piece **out) {
    CF_AUTO_FREE struct piece *pieces = malloc((size_t)count * sizeof *pieces + 1);
    if (!pieces) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a file's references");
    for (uint32_t i = 0; i < count; i++) {
        pieces[i] = (struct piece){.start = start};
        cf_ref_decode(cursor, &pieces[i].ref);
        if (pieces[i].ref.length > most - start) return wrong_length();
        start += pieces[i].ref.length;
    }
    *out = cf_take(pieces);
    return cf_cursor_check(cursor, CF_ERR_FORMAT, "a file's references");
}

static cf_err *take_content(cf_layout *layout, const cf_content *content) {
    layout->depth = content->depth;
    if (content->depth > CF_DEPTH_MAX)
        return cf_fail_reason(CF_ERR_NODE_DAMAGED, "level", "a file's lists are nested too deeply");
    if (content->depth == 0) {
        cf_cursor cursor = cf_cursor_of(content->refs);
        struct table *table = &layout->tables[0];
        CF_TRY(decode_pieces(&cursor, content->count, 0, layout->stream_size, &table->pieces));
        table->count = content->count;
        table->used = true;
        const struct piece *last = content->count ? &table->pieces[content->count - 1] : NULL;
        return (last ? last->start + last->ref.length : 0) == layout->stream_size ? NULL : wrong_length();
    }
    cf_buf_put_span(&layout->refs, content->refs);
    CF_TRY(cf_buf_check(&layout->refs, "a file's references"));
    layout->cursor = cf_cursor_of(cf_buf_span(&layout->refs));
    layout->left = content->count;
    return NULL;
}

cf_err *cf_layout_new(const cf_entry *entry, cf_layout **out) {
    CF_AUTO(cf_layout) layout = calloc(1, sizeof *layout);
    if (!layout) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a file");
    layout->size = entry->meta.size;
    layout->sparse = entry->sparse;
    layout->read_end = UINT64_MAX;
    pthread_mutex_init(&layout->lock, NULL);
    cf_buf_init(&layout->refs, CF_NODE_MAX);
    for (unsigned i = 0; i < CF_DEPTH_MAX; i++) cf_buf_init(&layout->level[i].bytes, CF_NODE_MAX);
    CF_TRY(take_extents(layout, entry));
    CF_TRY(take_content(layout, &entry->content));
    *out = cf_take(layout);
    return NULL;
}

uint64_t cf_layout_size(const cf_layout *layout) {
    return layout->size;
}

size_t cf_layout_cost(const cf_layout *layout) {
    size_t cost = sizeof *layout + layout->extent_count * sizeof *layout->extents;
    if (layout->depth == 0) return cost + layout->tables[0].count * sizeof(struct piece);
    /* Windows of a file of 1 TB: some 5,000. */
    return cost + TABLES * CF_LIST_REFS_MAX * sizeof(struct piece) + layout->depth * (size_t)100000 + 100000;
}

/* ---- Lists ---- */

static cf_err *open_list(cf_lane *lane, const cf_map *map, const cf_ref *ref, unsigned depth, struct level *level) {
    cf_node_reader_close(cf_take(level->reader));
    CF_TRY(cf_lane_chunk(lane, map, CF_KIND_TREE, ref, &level->bytes));
    CF_TRY(cf_node_reader_open(cf_buf_span(&level->bytes), &level->reader));
    if (cf_node_reader_kind(level->reader) != CF_NODE_LIST || cf_node_reader_level(level->reader) != depth)
        return cf_fail_reason(CF_ERR_NODE_DAMAGED, "level", "a list of references has the wrong kind or depth");
    return NULL;
}

/* The next leaf's reference. */
static cf_err *next_leaf(cf_layout *layout, cf_lane *lane, const cf_map *map, cf_ref *leaf, bool *more) {
    for (;;) {
        cf_ref ref;
        bool any = false;
        while (layout->levels > 0 && !any) {
            any = cf_node_reader_ref(layout->level[layout->levels - 1].reader, &ref);
            if (!any) layout->levels--;
        }
        if (!any) {
            *more = layout->left > 0;
            if (!*more) return NULL;
            cf_cursor before = layout->cursor;
            cf_ref_decode(&layout->cursor, &ref);
            if (layout->cursor.failed) {
                layout->cursor = before;
                return cf_cursor_check(&(cf_cursor){.failed = true}, CF_ERR_FORMAT, "a file's references");
            }
            layout->left--;
        }
        unsigned depth = layout->depth - 1u - layout->levels; /* of the list that the reference names */
        if (depth == 0) {
            *leaf = ref;
            *more = true;
            return NULL;
        }
        CF_TRY(open_list(lane, map, &ref, depth, &layout->level[layout->levels]));
        layout->levels++;
    }
}

static cf_err *load_table(cf_layout *layout, cf_lane *lane, const cf_map *map, uint32_t index) {
    struct table *table = &layout->tables[(layout->newest + 1) % TABLES];
    table->used = false;
    free(cf_take(table->pieces));
    struct level leaf = {0};
    cf_buf_init(&leaf.bytes, CF_NODE_MAX);
    const struct window *window = &layout->windows[index];
    cf_err *err = open_list(lane, map, &window->list, 0, &leaf);
    struct piece *pieces = NULL;
    uint32_t count = err ? 0 : cf_node_reader_count(leaf.reader);
    uint64_t at = window->start;
    if (!err && !(pieces = malloc((size_t)count * sizeof *pieces + 1)))
        err = cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a file's references");
    for (uint32_t i = 0; !err && i < count; i++) {
        pieces[i] = (struct piece){.start = at};
        (void)cf_node_reader_ref(leaf.reader, &pieces[i].ref); /* there are count of them */
        if (pieces[i].ref.length > layout->stream_size - at) err = wrong_length();
        at += pieces[i].ref.length;
    }
    cf_node_reader_close(leaf.reader);
    cf_buf_wipe(&leaf.bytes);
    if (err) {
        free(pieces);
        return err;
    }
    table->pieces = pieces;
    table->count = count;
    table->window = index;
    table->used = true;
    layout->newest = (layout->newest + 1) % TABLES;
    return NULL;
}

/* One more leaf is found, and read, to know where it ends. */
static cf_err *add_window(cf_layout *layout, cf_lane *lane, const cf_map *map) {
    if (layout->window_count == layout->window_room) {
        uint32_t room = layout->window_room ? 2 * layout->window_room : 16;
        struct window *grown = reallocarray(layout->windows, room, sizeof *grown);
        if (!grown) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a file's references");
        layout->windows = grown;
        layout->window_room = room;
    }
    /* A leaf that could not be read (the vault was away) is tried again: it is a window already, without an end. */
    uint32_t index = layout->window_count;
    if (index == 0 || layout->windows[index - 1].start != UINT64_MAX) {
        cf_ref leaf;
        bool more;
        CF_TRY(next_leaf(layout, lane, map, &leaf, &more));
        if (!more) return wrong_length();
        layout->windows[index] = (struct window){UINT64_MAX, leaf};
        layout->window_count = ++index;
    }
    index--;
    layout->windows[index].start = layout->known;
    cf_err *err = load_table(layout, lane, map, index);
    if (err) {
        layout->windows[index].start = UINT64_MAX;
        return err;
    }
    const struct table *table = &layout->tables[layout->newest];
    const struct piece *last = &table->pieces[table->count - 1];
    layout->known = last->start + last->ref.length;
    return NULL;
}

/* The table that has this place of the stream. */
static cf_err *table_at(cf_layout *layout, cf_lane *lane, const cf_map *map, uint64_t stream, struct table **out) {
    if (layout->depth == 0) {
        *out = &layout->tables[0];
        return NULL;
    }
    while (layout->known <= stream) CF_TRY(add_window(layout, lane, map));
    uint32_t low = 0, high = layout->window_count;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (layout->windows[middle].start <= stream)
            low = middle;
        else
            high = middle;
    }
    for (unsigned i = 0; i < TABLES; i++) {
        if (!layout->tables[i].used || layout->tables[i].window != low) continue;
        layout->newest = i;
        *out = &layout->tables[i];
        return NULL;
    }
    CF_TRY(load_table(layout, lane, map, low));
    *out = &layout->tables[layout->newest];
    return NULL;
}

static struct piece *piece_at(const struct table *table, uint64_t stream) {
    uint32_t low = 0, high = table->count;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (table->pieces[middle].start <= stream)
            low = middle;
        else
            high = middle;
    }
    return &table->pieces[low];
}

/* ---- Ranges ---- */

/* The first extent that ends behind offset; extent_count when there is none. */
static uint32_t extent_behind(const cf_layout *layout, uint64_t offset) {
    uint32_t low = 0, high = layout->extent_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (layout->extents[middle].offset + layout->extents[middle].length <= offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Is offset in a hole or in data, for how many bytes, and where in the stream? */
static bool in_hole(const cf_layout *layout, uint64_t offset, uint64_t *length, uint64_t *stream) {
    *length = layout->size - offset;
    *stream = offset;
    if (!layout->sparse) return false;
    uint32_t index = extent_behind(layout, offset);
    if (index == layout->extent_count) return true;
    const struct extent *extent = &layout->extents[index];
    bool hole = offset < extent->offset;
    *length = hole ? extent->offset - offset : extent->offset + extent->length - offset;
    *stream = hole ? 0 : extent->stream + (offset - extent->offset);
    return hole;
}

static uint32_t at_most(uint64_t length, uint64_t most) {
    uint64_t least = length < most ? length : most;
    return (uint32_t)(least < (1u << 30) ? least : 1u << 30);
}

static cf_err *map_range(cf_layout *layout, cf_lane *lane, const cf_map *map, uint64_t offset, uint64_t end,
                         cf_stretch *stretches, size_t room, size_t *count) {
    while (offset < end && *count < room) {
        uint64_t length, stream;
        cf_stretch stretch = {.offset = offset};
        stretch.hole = in_hole(layout, offset, &length, &stream);
        stretch.length = at_most(length, end - offset);
        if (!stretch.hole) {
            struct table *table;
            CF_TRY(table_at(layout, lane, map, stream, &table));
            const struct piece *piece = piece_at(table, stream);
            stretch.ref = piece->ref;
            stretch.checked = piece->checked;
            stretch.skip = (uint32_t)(stream - piece->start);
            stretch.length = at_most(stretch.length, piece->ref.length - stretch.skip);
        }
        stretches[(*count)++] = stretch;
        offset += stretch.length;
    }
    return NULL;
}

cf_err *cf_layout_map(cf_layout *layout, cf_lane *lane, const cf_map *map, uint64_t offset, uint64_t length,
                      cf_stretch *stretches, size_t room, size_t *count) {
    *count = 0;
    if (offset >= layout->size) return NULL;
    uint64_t end = length < layout->size - offset ? offset + length : layout->size;
    pthread_mutex_lock(&layout->lock);
    cf_err *err = map_range(layout, lane, map, offset, end, stretches, room, count);
    pthread_mutex_unlock(&layout->lock);
    return err;
}

void cf_layout_checked(cf_layout *layout, const cf_stretch *stretch) {
    uint64_t length, stream;
    pthread_mutex_lock(&layout->lock);
    (void)in_hole(layout, stretch->offset, &length, &stream); /* it is data */
    for (unsigned i = 0; i < TABLES; i++) {
        struct table *table = &layout->tables[i];
        if (!table->used || table->count == 0) continue;
        struct piece *piece = piece_at(table, stream);
        if (cf_id32_equal(&piece->ref.id, &stretch->ref.id) && piece->ref.pack == stretch->ref.pack &&
            piece->ref.segment == stretch->ref.segment && piece->ref.offset == stretch->ref.offset &&
            piece->ref.length == stretch->ref.length)
            piece->checked = true;
    }
    pthread_mutex_unlock(&layout->lock);
}

bool cf_layout_next_data(const cf_layout *layout, uint64_t offset, uint64_t *found) {
    if (offset >= layout->size) return false;
    uint64_t length, stream;
    bool hole = in_hole(layout, offset, &length, &stream);
    if (hole && offset + length >= layout->size) return false;
    *found = hole ? offset + length : offset;
    return true;
}

bool cf_layout_next_hole(const cf_layout *layout, uint64_t offset, uint64_t *found) {
    if (offset >= layout->size) return false;
    uint64_t length, stream;
    while (offset < layout->size && !in_hole(layout, offset, &length, &stream)) offset += length;
    *found = offset;
    return true;
}

bool cf_layout_ahead(cf_layout *layout, uint64_t offset, uint64_t end, uint64_t window, uint64_t *from, uint64_t *to) {
    enum { SLACK = 1 << 20, STREAK = 2 };
    pthread_mutex_lock(&layout->lock);
    /* The kernel's own read-ahead may ask a little out of order. */
    uint64_t before = layout->read_end;
    bool in_order = before != UINT64_MAX && offset <= before + SLACK && end + SLACK >= before;
    bool from_start = offset == 0 && before == UINT64_MAX;
    layout->streak = in_order ? layout->streak + 1 : from_start;
    if (!in_order) layout->ahead = end;
    layout->read_end = in_order && before > end ? before : end;
    uint64_t until = layout->read_end < layout->size - (window < layout->size ? window : layout->size)
                         ? layout->read_end + window
                         : layout->size;
    *from = layout->ahead > layout->read_end ? layout->ahead : layout->read_end;
    *to = until;
    /* In steps of a quarter window, so that neighbouring segments are fetched together. */
    bool due = layout->streak >= STREAK && until > *from && (until - *from >= window / 4 || until == layout->size);
    if (due) layout->ahead = until;
    pthread_mutex_unlock(&layout->lock);
    return due;
}
