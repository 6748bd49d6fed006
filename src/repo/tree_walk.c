#include "repo/tree_walk.h"

#include <stdlib.h>

enum { READERS_OPEN = 48, PATH_MAX_BYTES = 16 << 20 };

struct frame {
    cf_ref node;
    cf_dir_reader *reader; /* NULL: not open (any more) */
    cf_buf last;           /* the name it was left at   */
    size_t path_size;
};

struct walk {
    cf_lane *lane;
    const cf_map *map;
    const cf_tree_visitor *visitor;
    struct frame *stack;
    size_t depth, room;
    cf_buf path;
};

static void frame_close(struct frame *frame) {
    cf_dir_reader_close(frame->reader);
    cf_buf_wipe(&frame->last);
}

static cf_err *push(struct walk *walk, const cf_ref *node) {
    if (walk->depth == walk->room) {
        size_t room = walk->room ? 2 * walk->room : 64;
        struct frame *grown = reallocarray(walk->stack, room, sizeof *grown);
        if (!grown) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a deep tree");
        walk->stack = grown;
        walk->room = room;
    }
    struct frame *frame = &walk->stack[walk->depth++];
    *frame = (struct frame){.node = *node, .path_size = walk->path.size};
    cf_buf_init(&frame->last, 4096);
    if (walk->depth > READERS_OPEN) {
        struct frame *far = &walk->stack[walk->depth - READERS_OPEN - 1];
        cf_dir_reader_close(far->reader);
        far->reader = NULL;
    }
    return NULL;
}

static cf_err *next(struct walk *walk, struct frame *frame, cf_entry *entry, bool *more) {
    if (!frame->reader) {
        CF_TRY(cf_dir_reader_open(walk->lane, walk->map, &frame->node, &frame->reader));
        if (frame->last.size) CF_TRY(cf_dir_reader_seek(frame->reader, cf_buf_span(&frame->last)));
    }
    do CF_TRY(cf_dir_reader_next(frame->reader, entry, more));
    while (*more && cf_span_equal(entry->name, cf_buf_span(&frame->last)));
    return NULL;
}

static cf_err *name_entry(struct walk *walk, struct frame *frame, cf_span name) {
    cf_buf_reset(&frame->last);
    cf_buf_put_span(&frame->last, name);
    walk->path.size = frame->path_size;
    if (walk->path.size > 1) cf_buf_put_u8(&walk->path, '/');
    cf_buf_put_span(&walk->path, name);
    CF_TRY(cf_buf_check(&frame->last, "a name"));
    return cf_buf_check(&walk->path, "a path");
}

static cf_err *visit(struct walk *walk, struct frame *frame, const cf_entry *entry) {
    const cf_tree_visitor *visitor = walk->visitor;
    CF_TRY(name_entry(walk, frame, entry->name));
    bool enter = true;
    CF_TRY(visitor->entry(visitor->context, cf_buf_span(&walk->path), entry, &enter));
    if (!enter || entry->meta.type != CF_TYPE_DIRECTORY || entry->not_read) return NULL;
    if (visitor->node && !visitor->node(visitor->context, &entry->node)) return NULL;
    return push(walk, &entry->node);
}

static cf_err *run(struct walk *walk) {
    const cf_tree_visitor *visitor = walk->visitor;
    while (walk->depth > 0) {
        CF_TRY(cf_cancel_check(visitor->cancel));
        struct frame *frame = &walk->stack[walk->depth - 1];
        cf_entry entry;
        bool more = false;
        cf_err *err = next(walk, frame, &entry, &more);
        if (err) {
            if (!visitor->damaged || !cf_err_has(err, CF_F_DAMAGE)) return err;
            visitor->damaged(visitor->context, cf_span_of(walk->path.data, frame->path_size), err);
            if (frame->reader) continue; /* behind the damaged part */
        } else if (more) {
            CF_TRY(visit(walk, frame, &entry));
            continue;
        }
        frame_close(frame);
        walk->depth--;
    }
    return NULL;
}

cf_err *cf_tree_walk(cf_lane *lane, const cf_map *map, const cf_ref *node, cf_span path,
                     const cf_tree_visitor *visitor) {
    struct walk walk = {.lane = lane, .map = map, .visitor = visitor};
    cf_buf_init(&walk.path, PATH_MAX_BYTES);
    cf_buf_put_span(&walk.path, path);
    cf_err *err = push(&walk, node);
    if (!err) err = run(&walk);
    while (walk.depth > 0) frame_close(&walk.stack[--walk.depth]);
    free(walk.stack);
    cf_buf_wipe(&walk.path);
    return err;
}
