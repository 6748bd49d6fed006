#include "repo/tree_diff.h"

#include <stdlib.h>

enum { READERS_OPEN = 24, PATH_MAX_BYTES = 16 << 20 };

/* ---- Two entries ---- */

static bool same_refs(const cf_content *a, const cf_content *b) {
    return a->depth == b->depth && a->count == b->count && cf_span_equal(a->refs, b->refs);
}

/* By chunk IDs, through lists of any depth. */
static cf_err *contents_differ(const cf_tree_side *before, const cf_tree_side *after, const cf_content *a,
                               const cf_content *b, bool *differ) {
    CF_AUTO(cf_content_reader) old = NULL;
    CF_AUTO(cf_content_reader) new = NULL;
    *differ = false;
    if (same_refs(a, b)) return NULL;
    CF_TRY(cf_content_reader_open(before->lane, before->map, a, &old));
    CF_TRY(cf_content_reader_open(after->lane, after->map, b, &new));
    for (;;) {
        cf_ref x, y;
        bool more_old, more_new;
        CF_TRY(cf_content_reader_next(old, &x, &more_old));
        CF_TRY(cf_content_reader_next(new, &y, &more_new));
        *differ = more_old != more_new || (more_old && !cf_id32_equal(&x.id, &y.id));
        if (*differ || !more_old) return NULL;
    }
}

static bool metas_differ(const cf_meta *a, const cf_meta *b) {
    if (a->type != b->type || a->mode != b->mode || a->uid != b->uid || a->gid != b->gid || a->size != b->size)
        return true;
    if (a->type != CF_TYPE_DIRECTORY && cf_time_compare(a->mtime, b->mtime) != 0) return true;
    if (!cf_span_equal(a->user, b->user) || !cf_span_equal(a->group, b->group) || !cf_span_equal(a->target, b->target))
        return true;
    if (a->device_major != b->device_major || a->device_minor != b->device_minor) return true;
    if (a->has_flags != b->has_flags || (a->has_flags && a->inode_flags != b->inode_flags)) return true;
    if (a->has_project != b->has_project || (a->has_project && a->project_id != b->project_id)) return true;
    return false;
}

static bool xattrs_differ(const cf_meta *a, const cf_meta *b) {
    if (a->xattr_count != b->xattr_count) return true;
    for (uint32_t i = 0; i < a->xattr_count; i++)
        if (!cf_span_equal(a->xattrs[i].name, b->xattrs[i].name) ||
            !cf_span_equal(a->xattrs[i].value, b->xattrs[i].value))
            return true;
    return false;
}

cf_err *cf_entries_differ(const cf_tree_side *before, const cf_tree_side *after, const cf_entry *a, const cf_entry *b,
                          bool *differ) {
    *differ = true;
    if (metas_differ(&a->meta, &b->meta) || a->not_read != b->not_read || a->xattrs_chunked != b->xattrs_chunked)
        return NULL;
    if (a->xattrs_chunked) {
        CF_TRY(contents_differ(before, after, &a->xattr_content, &b->xattr_content, differ));
        if (*differ) return NULL;
    } else if (xattrs_differ(&a->meta, &b->meta)) {
        return NULL;
    }
    *differ = false;
    if (a->meta.type != CF_TYPE_FILE || a->not_read) return NULL;
    *differ = a->sparse != b->sparse || (a->sparse && !cf_span_equal(a->extents, b->extents));
    return *differ ? NULL : contents_differ(before, after, &a->content, &b->content, differ);
}

/* ---- Two trees ---- */

enum { BEFORE, AFTER };

struct frame {
    bool has[2]; /* the folder is there on this side */
    cf_ref node[2];
    cf_dir_reader *reader[2]; /* NULL: not open (any more), or at its end */
    bool ended[2];
    cf_buf last; /* the name that the walk is at */
    size_t path_size;
};

/* What comes next on one side. */
struct next {
    cf_dir_step what;
    const cf_entry *entry;
    const cf_part *part;
};

struct diff {
    const cf_tree_side *side[2];
    const cf_diff_visitor *visitor;
    struct frame *stack;
    size_t depth, room;
    cf_buf path;
    cf_entry_copy copy[2]; /* entries outlive the node that they were read from */
};

static void close_readers(struct frame *frame) {
    for (int i = 0; i < 2; i++) {
        cf_dir_reader_close(frame->reader[i]);
        frame->reader[i] = NULL;
    }
}

static void frame_close(struct frame *frame) {
    close_readers(frame);
    cf_buf_wipe(&frame->last);
}

static cf_err *push(struct diff *diff, const cf_ref *before, const cf_ref *after) {
    if (diff->depth == diff->room) {
        size_t room = diff->room ? 2 * diff->room : 64;
        struct frame *grown = reallocarray(diff->stack, room, sizeof *grown);
        if (!grown) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a deep tree");
        diff->stack = grown;
        diff->room = room;
    }
    struct frame *frame = &diff->stack[diff->depth++];
    *frame = (struct frame){.has = {before != NULL, after != NULL}, .path_size = diff->path.size};
    if (before) frame->node[BEFORE] = *before;
    if (after) frame->node[AFTER] = *after;
    cf_buf_init(&frame->last, 4096);
    if (diff->depth > READERS_OPEN) close_readers(&diff->stack[diff->depth - READERS_OPEN - 1]);
    return NULL;
}

/* Open, and behind the last name when it was open before. */
static cf_err *open_side(struct diff *diff, struct frame *frame, int side) {
    const cf_tree_side *tree = diff->side[side];
    CF_TRY(cf_dir_reader_open(tree->lane, tree->map, &frame->node[side], &frame->reader[side]));
    if (frame->last.size) CF_TRY(cf_dir_reader_seek(frame->reader[side], cf_buf_span(&frame->last)));
    return NULL;
}

static cf_err *peek_side(struct diff *diff, struct frame *frame, int side, struct next *next) {
    *next = (struct next){.what = CF_DIR_END};
    if (!frame->has[side] || frame->ended[side]) return NULL;
    if (!frame->reader[side]) CF_TRY(open_side(diff, frame, side));
    for (;;) {
        cf_entry passed;
        bool more;
        CF_TRY(cf_dir_reader_peek(frame->reader[side], &next->what, &next->entry, &next->part));
        if (next->what != CF_DIR_ENTRY || cf_span_compare(next->entry->name, cf_buf_span(&frame->last)) > 0)
            return NULL;
        if (frame->last.size == 0) return NULL;
        CF_TRY(
            cf_dir_reader_next(frame->reader[side], &passed, &more)); /* it was visited before the reader was closed */
    }
}

/* Damage is told, and passed over: one part of a folder, or all of it. */
static cf_err *after_damage(struct diff *diff, struct frame *frame, int side, cf_err *err) {
    const cf_diff_visitor *visitor = diff->visitor;
    if (!err) return NULL;
    if (!visitor->damaged || !cf_err_has(err, CF_F_DAMAGE)) return err;
    visitor->damaged(visitor->context, cf_span_of(diff->path.data, frame->path_size), side == BEFORE, err);
    if (!frame->reader[side]) frame->ended[side] = true;
    return NULL;
}

static cf_err *peek(struct diff *diff, struct frame *frame, struct next next[2]) {
    for (int side = 0; side < 2; side++) {
        cf_err *err;
        do {
            err = peek_side(diff, frame, side, &next[side]);
            if (!err) break;
            CF_TRY(after_damage(diff, frame, side, err));
        } while (!frame->ended[side]);
        if (frame->ended[side]) next[side].what = CF_DIR_END;
    }
    return NULL;
}

/* -1: the first side's comes first, 1: the second's, 0: the same name. Both have something. */
static int order(const struct next next[2]) {
    cf_span name[2];
    for (int i = 0; i < 2; i++) name[i] = next[i].what == CF_DIR_PART ? next[i].part->first_name : next[i].entry->name;
    return cf_span_compare(name[0], name[1]);
}

/* At least one side stands before a part: pass over equal ones, else read the one that comes first. *done: there was none. */
static cf_err *step_parts(struct diff *diff, struct frame *frame, const struct next next[2], bool *done) {
    bool part[2] = {next[0].what == CF_DIR_PART, next[1].what == CF_DIR_PART};
    *done = !part[0] && !part[1];
    if (*done) return NULL;
    if (part[0] && part[1] && cf_id32_equal(&next[0].part->node.id, &next[1].part->node.id)) {
        cf_dir_reader_skip(frame->reader[0]);
        cf_dir_reader_skip(frame->reader[1]);
        return NULL;
    }
    int first = next[0].what == CF_DIR_END ? 1 : next[1].what == CF_DIR_END ? -1 : order(next);
    if (first == 0 && part[0] && part[1]) /* one level down on both sides: their parts may be the same again */
        CF_TRY(after_damage(diff, frame, 1, cf_dir_reader_enter(frame->reader[1])));
    int side = first < 0 ? 0 : first > 0 ? 1 : part[0] ? 0 : 1;
    if (!part[side]) { /* an entry before the other side's part */
        *done = true;
        return NULL;
    }
    return after_damage(diff, frame, side, cf_dir_reader_enter(frame->reader[side]));
}

static cf_err *name_entry(struct diff *diff, struct frame *frame, cf_span name) {
    cf_buf_reset(&frame->last);
    cf_buf_put_span(&frame->last, name);
    diff->path.size = frame->path_size;
    if (diff->path.size > 1) cf_buf_put_u8(&diff->path, '/');
    cf_buf_put_span(&diff->path, name);
    CF_TRY(cf_buf_check(&frame->last, "a name"));
    return cf_buf_check(&diff->path, "a path");
}

static const cf_ref *node_of(const cf_entry *entry) {
    return entry && entry->meta.type == CF_TYPE_DIRECTORY && !entry->not_read ? &entry->node : NULL;
}

/* An entry that one side has, or both under the same name. */
static cf_err *visit(struct diff *diff, const cf_entry *before, const cf_entry *after) {
    const cf_diff_visitor *visitor = diff->visitor;
    cf_span path = cf_buf_span(&diff->path);
    bool differ = true;
    if (before && after) CF_TRY(cf_entries_differ(diff->side[0], diff->side[1], before, after, &differ));
    if (differ) CF_TRY(visitor->change(visitor->context, path, before, after));
    const cf_ref *old = node_of(before), *new = node_of(after);
    if ((!old && !new) || (old && new &&cf_id32_equal(&old->id, &new->id))) return NULL;
    return push(diff, old, new);
}

static cf_err *take(struct diff *diff, struct frame *frame, const struct next next[2]) {
    int first = next[0].what == CF_DIR_END ? 1 : next[1].what == CF_DIR_END ? -1 : order(next);
    const cf_entry *entry[2] = {NULL, NULL};
    for (int side = 0; side < 2; side++) {
        if (side == 0 ? first > 0 : first < 0) continue;
        cf_entry taken;
        bool more;
        CF_TRY(cf_dir_reader_next(frame->reader[side], &taken, &more)); /* peek found it: nothing is read here */
        CF_TRY(cf_entry_copy_set(&diff->copy[side], &taken));
        entry[side] = &diff->copy[side].entry;
    }
    CF_TRY(name_entry(diff, frame, entry[0] ? entry[0]->name : entry[1]->name));
    return visit(diff, entry[0], entry[1]);
}

static cf_err *run(struct diff *diff) {
    while (diff->depth > 0) {
        CF_TRY(cf_cancel_check(diff->visitor->cancel));
        struct frame *frame = &diff->stack[diff->depth - 1];
        struct next next[2];
        bool entries;
        CF_TRY(peek(diff, frame, next));
        if (next[0].what == CF_DIR_END && next[1].what == CF_DIR_END) {
            frame_close(frame);
            diff->depth--;
            continue;
        }
        CF_TRY(step_parts(diff, frame, next, &entries));
        if (entries) CF_TRY(take(diff, frame, next));
    }
    return NULL;
}

cf_err *cf_tree_diff(const cf_tree_side *before, const cf_tree_side *after, const cf_diff_visitor *visitor) {
    if (before->root && after->root && cf_id32_equal(&before->root->id, &after->root->id)) return NULL;
    struct diff diff = {.side = {before, after}, .visitor = visitor};
    cf_buf_init(&diff.path, PATH_MAX_BYTES);
    cf_buf_put_u8(&diff.path, '/');
    cf_err *err = push(&diff, before->root, after->root);
    if (!err) err = run(&diff);
    while (diff.depth > 0) frame_close(&diff.stack[--diff.depth]);
    free(diff.stack);
    cf_buf_wipe(&diff.path);
    for (int i = 0; i < 2; i++) cf_entry_copy_wipe(&diff.copy[i]);
    return err;
}
