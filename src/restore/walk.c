/* The planner: walks what is meant of the tree, in its order, and sets everything to work. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "base/text.h"
#include "os/dir.h"
#include "restore/run.h"
#include "restore/strip.h"

enum { READERS_OPEN = 48, COMPARING_MAX = 128, OPEN_BYTES_MAX = 24 << 20 };

/* A folder that the walk is in. */
struct frame {
    cf_ref node;
    cf_dir_reader *reader; /* NULL far up in a deep tree: opened again, behind last */
    cf_buf last;
    cf_target *target;   /* NULL: on the way only, and nothing meant was found in it yet */
    cf_entry_copy entry; /* while target is NULL */
    size_t path_size;    /* of the walk's path, this folder's included */
    bool meant, dead;    /* dead: it cannot be had at the destination */
};

struct walk {
    cf_restorer *run;
    struct frame *stack;
    size_t depth, room;
    cf_buf path; /* of the entry at hand */
    cf_strip strip;
};

/* ---- The stack ---- */

static void frame_close(struct walk *walk, struct frame *frame) {
    cf_dir_reader_close(frame->reader);
    cf_buf_wipe(&frame->last);
    cf_entry_copy_wipe(&frame->entry);
    if (frame->target) {
        cf_target_end(frame->target, &walk->run->self);
        cf_target_release(frame->target);
    }
}

/* target is taken. */
static cf_err *push(struct walk *walk, const cf_ref *node, cf_target *target, bool meant) {
    if (walk->depth == walk->room) {
        size_t room = walk->room ? 2 * walk->room : 64;
        struct frame *grown = reallocarray(walk->stack, room, sizeof *grown);
        if (!grown) {
            if (target) {
                cf_target_end(target, &walk->run->self);
                cf_target_release(target);
            }
            return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a deep tree");
        }
        walk->stack = grown;
        walk->room = room;
    }
    struct frame *frame = &walk->stack[walk->depth++];
    *frame = (struct frame){.node = *node, .target = target, .meant = meant, .path_size = walk->path.size};
    cf_buf_init(&frame->last, 4096);
    if (walk->depth > READERS_OPEN) { /* its place is in last */
        struct frame *far = &walk->stack[walk->depth - READERS_OPEN - 1];
        cf_dir_reader_close(far->reader);
        far->reader = NULL;
    }
    return NULL;
}

/* The reader of the topmost folder, behind the entry that was walked last. */
static cf_err *ready(struct walk *walk, struct frame *frame) {
    if (frame->reader) return NULL;
    CF_TRY(cf_dir_reader_open(walk->run->self.lane, walk->run->point->map, &frame->node, &frame->reader));
    return frame->last.size ? cf_dir_reader_seek(frame->reader, cf_buf_span(&frame->last)) : NULL;
}

static cf_target *nearest(const struct walk *walk) {
    for (size_t i = walk->depth; i > 0; i--)
        if (walk->stack[i - 1].target) return walk->stack[i - 1].target;
    return walk->run->top;
}

/* ---- Folders ---- */

static cf_err *enter(struct walk *walk, cf_target *parent, const cf_entry *entry, cf_span path, bool meant,
                     cf_target **target, bool *in) {
    bool is_source = false;
    *in = true;
    if (cf_strip_here(&walk->strip, path, &is_source))
        return cf_restorer_alias(walk->run, parent, entry, is_source, target);
    CF_TRY(cf_restorer_folder(walk->run, parent, entry, meant, target, in));
    if (*in) cf_restorer_count(walk->run, &walk->run->result->directories, 1);
    return NULL;
}

/* Something below is meant: the folders on the way to it are needed now. *in is false when one of them cannot be. */
static cf_err *materialise(struct walk *walk, bool *in) {
    *in = true;
    for (size_t i = 1; i < walk->depth && *in; i++) {
        struct frame *frame = &walk->stack[i];
        if (frame->target) continue;
        if (frame->dead) {
            *in = false;
            break;
        }
        cf_target *parent = walk->stack[i - 1].target;
        cf_err *err = enter(walk, parent, &frame->entry.entry, cf_span_of(walk->path.data, frame->path_size), false,
                            &frame->target, in);
        if (err) cf_restorer_trouble(walk->run, parent, frame->entry.entry.name, err);
        if (err) *in = false;
        if (!*in) frame->dead = true;
    }
    return NULL;
}

static cf_err *folder(struct walk *walk, const cf_entry *entry, bool meant) {
    if (!meant) { /* made when something in it turns out to be meant */
        CF_TRY(push(walk, &entry->node, NULL, false));
        return cf_entry_copy_set(&walk->stack[walk->depth - 1].entry, entry);
    }
    bool in;
    CF_TRY(materialise(walk, &in));
    if (!in) return NULL;
    cf_target *parent = walk->stack[walk->depth - 1].target, *target = NULL;
    cf_err *err = enter(walk, parent, entry, cf_buf_span(&walk->path), true, &target, &in);
    if (err) cf_restorer_trouble(walk->run, parent, entry->name, err);
    if (err || !in) return NULL;
    return push(walk, &entry->node, target, true);
}

/* ---- Files ---- */

/* With the lock held. */
static bool full(const cf_restorer *run) {
    if (atomic_load(&run->stop)) return false;
    return run->open_items >= run->files_open_max || run->open_bytes >= OPEN_BYTES_MAX ||
           run->comparing >= COMPARING_MAX;
}

static void wait_for_room(cf_restorer *run) {
    for (;;) {
        pthread_mutex_lock(&run->lock);
        bool wait = full(run);
        bool different = run->different != NULL;
        pthread_mutex_unlock(&run->lock);
        if (different) {
            cf_restorer_different(run);
            continue;
        }
        if (!wait) return;
        cf_restorer_flush(run);
        pthread_mutex_lock(&run->lock);
        while (full(run) && !run->different) cf_restorer_wait(run);
        pthread_mutex_unlock(&run->lock);
    }
}

/* Without the holes. */
static uint64_t data_bytes(const cf_entry *entry) {
    if (!entry->sparse) return entry->meta.size;
    cf_cursor cursor = cf_cursor_of(entry->extents);
    cf_data_extent extent;
    uint64_t end = 0, bytes = 0;
    while (cf_extents_next(&cursor, &end, &extent)) bytes += extent.length;
    return bytes;
}

static cf_err *preview(cf_restorer *run, cf_item *item, const cf_entry *entry, cf_span path) {
    bool same = false, skip = false;
    cf_restore_action action = CF_RESTORE_CREATE;
    if (item->target->fd >= 0) CF_TRY(cf_restorer_resolve(&run->self, item, &same, &skip, &action));
    if (run->options->planned) run->options->planned(run->options->context, path, action, item->size);
    if (same)
        cf_item_same(item, &run->self);
    else if (skip)
        cf_item_skip(item, &run->self);
    else {
        cf_restorer_count(run, &run->result->files, 1);
        cf_restorer_count(run, &run->result->bytes, item->size);
        cf_restorer_count(run, &run->result->bytes_needed, data_bytes(entry));
        cf_restorer_count(run, &run->result->files_needed, action == CF_RESTORE_REPLACE ? 0 : 1);
        cf_item_free(item, &run->self);
    }
    return NULL;
}

static cf_err *push_compare(cf_restorer *run, cf_item *item) {
    cf_task *task = calloc(1, sizeof *task);
    if (!task) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a comparison");
    task->compare = item;
    cf_restorer_push(run, task, 1);
    return NULL;
}

static cf_err *file(struct walk *walk, cf_target *target, const cf_entry *entry) {
    cf_restorer *run = walk->run;
    cf_links *links = NULL;
    bool first = true;
    wait_for_room(run);
    if (cf_restorer_stopped(run)) return NULL;
    if (entry->link_group && !run->options->dry_run) CF_TRY(cf_links_join(run, target, entry, &links, &first));
    if (!first) return NULL;
    bool compare = !target->fresh;
    cf_item *item;
    cf_err *err = cf_item_new(run, target, entry, compare, &item);
    if (err) {
        if (links) cf_links_failed(run, links, CF_LINKS_FAILED, &run->self);
        return err;
    }
    item->links = links;
    if (run->options->dry_run) {
        err = preview(run, item, entry, cf_buf_span(&walk->path));
        if (err) cf_item_free(item, &run->self);
        return err;
    }
    if (!compare) {
        cf_restorer_plan_file(run, item, entry);
        return NULL;
    }
    err = push_compare(run, item);
    if (err) cf_item_free(item, &run->self);
    return err;
}

static void not_backed_up(struct walk *walk, const cf_entry *entry) {
    CF_AUTO_FREE char *printable = cf_text_printable(cf_buf_span(&walk->path));
    const cf_catalogue_row *row = cf_catalogue_find((cf_code)entry->code);
    cf_restorer_warn(walk->run, cf_buf_span(&walk->path),
                     cf_fail(CF_ERR_ENTRY_NOT_BACKED_UP, "%s: %u %s", printable ? printable : "", entry->code,
                             row ? row->name : "unknown"));
}

static cf_err *visit(struct walk *walk, const cf_entry *entry) {
    struct frame *frame = &walk->stack[walk->depth - 1];
    cf_selected selected = frame->meant ? CF_SELECTED_ALL : cf_select_test(walk->run->select, cf_buf_span(&walk->path));
    bool is_folder = entry->meta.type == CF_TYPE_DIRECTORY;
    if (selected == CF_SELECTED_NOT || (selected == CF_SELECTED_WAY && (!is_folder || entry->not_read))) return NULL;
    if (entry->not_read) {
        not_backed_up(walk, entry);
        return NULL;
    }
    if (is_folder) return folder(walk, entry, selected == CF_SELECTED_ALL);
    bool in;
    CF_TRY(materialise(walk, &in));
    if (!in) return NULL;
    cf_target *target = walk->stack[walk->depth - 1].target;
    cf_err *err = NULL;
    if (entry->meta.type == CF_TYPE_FILE)
        err = file(walk, target, entry);
    else
        cf_restorer_special(walk->run, target, entry);
    if (err) cf_restorer_trouble(walk->run, target, entry->name, err);
    return NULL;
}

/* ---- The loop ---- */

/* The next entry of the topmost folder; *more is false when the folder is done. */
static cf_err *next_entry(struct walk *walk, cf_entry *entry, bool *more) {
    struct frame *frame = &walk->stack[walk->depth - 1];
    CF_TRY(ready(walk, frame));
    for (;;) {
        CF_TRY(cf_dir_reader_next(frame->reader, entry, more));
        if (!*more || !cf_span_equal(entry->name, cf_buf_span(&frame->last))) return NULL;
    }
}

static cf_err *remember(struct walk *walk, struct frame *frame, const cf_entry *entry) {
    cf_buf_reset(&frame->last);
    cf_buf_put_span(&frame->last, entry->name);
    walk->path.size = frame->path_size;
    if (walk->path.size > 1) cf_buf_put_u8(&walk->path, '/');
    cf_buf_put_span(&walk->path, entry->name);
    CF_TRY(cf_buf_check(&frame->last, "a name"));
    return cf_buf_check(&walk->path, "a path");
}

static cf_err *walk_all(struct walk *walk) {
    while (walk->depth > 0 && !cf_restorer_stopped(walk->run)) {
        struct frame *frame = &walk->stack[walk->depth - 1];
        cf_entry entry;
        bool more = false;
        cf_err *err = next_entry(walk, &entry, &more);
        if (err) { /* a damaged part of a folder: what can still be read of it is */
            bool opened = frame->reader != NULL;
            cf_target *at = frame->target ? frame->target : nearest(walk);
            walk->path.size = frame->path_size;
            if (cf_err_has(err, CF_F_DAMAGE))
                cf_restorer_damaged(walk->run, cf_buf_span(&walk->path), err);
            else
                cf_restorer_trouble(walk->run, at, (cf_span){0}, err);
            if (opened) continue;
        } else if (more) {
            CF_TRY(remember(walk, frame, &entry));
            CF_TRY(visit(walk, &entry));
            continue;
        }
        frame_close(walk, frame);
        walk->depth--;
    }
    return NULL;
}

static void settle(cf_restorer *run) {
    for (bool idle = false; !idle;) {
        cf_restorer_different(run);
        cf_restorer_flush(run);
        cf_restorer_drain(run);
        pthread_mutex_lock(&run->lock);
        idle = run->queued == 0 && !run->different;
        pthread_mutex_unlock(&run->lock);
    }
}

static cf_err *open_top(cf_restorer *run) {
    const cf_restore_options *options = run->options;
    const char *path = options->to ? options->to : "/";
    CF_TRY(cf_target_new(run, NULL, NULL, &run->top));
    bool exists = access(path, F_OK) == 0;
    if (!exists && !options->dry_run) {
        cf_err *err = cf_dir_make(AT_FDCWD, path, 0755);
        if (err) return cf_wrap(err, CF_ERR_DESTINATION_REFUSED, "%s", path);
        run->top->fresh = true;
    }
    run->top->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (run->top->fd >= 0 && !options->dry_run) run->sync_fd = fcntl(run->top->fd, F_DUPFD_CLOEXEC, 3);
    if (run->top->fd < 0 && !(options->dry_run && errno == ENOENT))
        return cf_fail_errno(CF_ERR_DESTINATION_REFUSED, errno, "%s", path);
    if (options->to && !options->dry_run && access(path, W_OK) < 0)
        return cf_fail_errno(CF_ERR_DESTINATION_REFUSED, errno, "%s", path);
    return NULL;
}

cf_err *cf_restorer_walk(cf_restorer *run) {
    struct walk walk = {.run = run};
    cf_buf_init(&walk.path, 16u << 20);
    cf_buf_put_u8(&walk.path, '/');
    cf_progress_phase(run->options->progress, "restoring");
    cf_err *err = open_top(run);
    if (!err) err = cf_strip_init(run->options, run->point, &walk.strip);
    if (!err) {
        cf_target_hold(run->top);
        cf_target_begin(run->top);
        bool all = run->options->pattern_count == 0;
        err = push(&walk, &run->point->root.tree, run->top, all);
    }
    if (!err) err = walk_all(&walk);
    if (err) cf_restorer_fatal(run, err);
    while (walk.depth > 0) frame_close(&walk, &walk.stack[--walk.depth]);
    settle(run);
    if (run->top) {
        cf_target_end(run->top, &run->self);
        cf_target_release(run->top);
        run->top = NULL;
    }
    free(walk.stack);
    cf_strip_wipe(&walk.strip);
    cf_buf_wipe(&walk.path);
    return NULL;
}
