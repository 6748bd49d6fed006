/* A folder's task: list it beside the base's block, keep what has not changed, store what has. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "backup/internal.h"
#include "base/log.h"
#include "os/mounts.h"

/* A change within this time before a scan's start may have happened after the scan saw the file. */
enum { CLOCK_TICK_NS = 10 * 1000 * 1000 };

static cf_err *open_folder(cf_scan_lane *lane, cf_scan_folder *folder, cf_err **unreadable) {
    if (!folder->parent) {
        *unreadable = cf_os_open_folder(AT_FDCWD, "/", &folder->fd, &folder->stat_now);
        return NULL;
    }
    cf_scan_slot *slot = &folder->parent->slots[folder->slot_in_parent];
    *unreadable = cf_os_open_folder(folder->parent->fd, slot_name(folder->parent, slot), &folder->fd, NULL);
    cf_folder_release_fd(folder->parent);
    (void)lane;
    return NULL;
}

cf_err *cf_folder_add_name(cf_scan_folder *folder, const char *name, size_t size) {
    if (folder->count == folder->room) {
        size_t room = folder->room ? folder->room * 2 : 16;
        cf_scan_slot *slots = realloc(folder->slots, room * sizeof *slots);
        if (!slots) return cf_fail(CF_ERR_OUT_OF_MEMORY, "the entries of a folder");
        folder->slots = slots;
        folder->room = room;
    }
    cf_scan_slot *slot = &folder->slots[folder->count++];
    memset(slot, 0, sizeof *slot);
    slot->name = (text_place){(uint32_t)folder->names.size, (uint32_t)size};
    cf_buf_put(&folder->names, name, size);
    cf_buf_put_u8(&folder->names, 0);
    return cf_buf_check(&folder->names, "the names of a folder");
}

static int compare_slots(const void *a, const void *b, void *names) {
    const cf_scan_slot *x = a, *y = b;
    const uint8_t *base = names;
    return cf_span_compare(cf_span_of(base + x->name.offset, x->name.length),
                           cf_span_of(base + y->name.offset, y->name.length));
}

void cf_folder_sort(cf_scan_folder *folder) {
    if (folder->count > 1)
        qsort_r(folder->slots, folder->count, sizeof *folder->slots, compare_slots, folder->names.data);
}

static cf_err *list_names(cf_scan_lane *lane, cf_scan_folder *folder) {
    if (folder->closed_off) return NULL;
    if (folder->implied) {
        for (size_t i = 0; i < folder->sources->count; i++) {
            const char *name = folder->sources->children[i]->name;
            bool is_made =
                !folder->parent && lane->run->options.made && strcmp(name, lane->run->options.made->name) == 0;
            if (folder->sources->children[i]->missing || is_made) continue;
            CF_TRY(cf_folder_add_name(folder, name, strlen(name)));
        }
        return NULL;
    }
    bool filtered = folder->rules || (lane->run->options.made && !folder->parent);
    CF_TRY(
        cf_dir_start(lane->dir, folder->fd,
                     folder->parent ? slot_name(folder->parent, &folder->parent->slots[folder->slot_in_parent]) : "/"));
    for (;;) {
        cf_dir_entry entry;
        bool more = false;
        CF_TRY(cf_dir_next(lane->dir, &entry, &more));
        if (!more) break;
        if (filtered && cf_filter_drops(lane, folder, &entry)) continue;
        CF_TRY(cf_folder_add_name(folder, entry.name, entry.size));
    }
    cf_filter_cache_folder(lane, folder);
    return NULL;
}

static cf_err *list_folder(cf_scan_lane *lane, cf_scan_folder *folder) {
    const cf_backup_made *made = lane->run->options.made;
    CF_TRY(list_names(lane, folder));
    if (made && !folder->parent) CF_TRY(cf_folder_add_name(folder, made->name, strlen(made->name)));
    cf_folder_sort(folder);
    return NULL;
}

static cf_err *load_base(cf_scan_lane *lane, cf_scan_folder *folder, cf_block_place place, cf_cursor *cursor) {
    *cursor = cf_cursor_of(cf_span_of(NULL, 0));
    if (place.length == 0) return NULL;
    CF_TRY(cf_cache_read(lane->run->options.cache, place, &folder->base, &folder->has_base));
    if (!folder->has_base) return NULL;
    (void)cf_block_open(cf_buf_span(&folder->base), cursor, &folder->base_folder); /* was checked by the read */
    return NULL;
}

static bool is_skipped(const cf_scan_run *run, const cf_stat *stat) {
    for (size_t i = 0; i < run->options.skip_count; i++)
        if (run->options.skips[i].device == stat->device && run->options.skips[i].inode == stat->inode) return true;
    return false;
}

/* Is the live object the one that the base describes? (An entry that was not read, or not quietly, has inode 0 there.) A ctime at or after the base's scan proves nothing, because the
 * object may have changed after it was read; neither does one in the future. */
static bool is_unchanged(const cf_scan_run *run, const cf_stat *base, const cf_stat *now) {
    if (base->type != now->type || base->mode != now->mode || base->uid != now->uid || base->gid != now->gid ||
        base->inode != now->inode || cf_time_compare(base->mtime, now->mtime) != 0 ||
        cf_time_compare(base->ctime, now->ctime) != 0)
        return false;
    if (now->type != CF_TYPE_DIRECTORY && base->size != now->size) return false;
    cf_time trusted = cf_cache_get_root(run->options.cache)->scan_started;
    if (trusted.nanoseconds >= CLOCK_TICK_NS) {
        trusted.nanoseconds -= CLOCK_TICK_NS;
    } else {
        trusted.seconds--;
        trusted.nanoseconds += 1000000000 - CLOCK_TICK_NS;
    }
    return cf_time_compare(now->ctime, trusted) < 0;
}

static text_place place_in_base(const cf_scan_folder *folder, cf_span span) {
    return (text_place){span.size ? (uint32_t)(span.data - folder->base.data) : 0, (uint32_t)span.size};
}

static void keep_base(cf_scan_folder *folder, cf_scan_slot *slot, const cf_cache_entry *entry) {
    slot->from_base = true;
    slot->entry = place_in_base(folder, entry->entry);
    slot->segments = place_in_base(folder, entry->segments);
}

static cf_err *push_file(cf_scan_lane *lane, cf_scan_folder *folder, size_t index, cf_scan_task **tasks) {
    (void)lane;
    cf_scan_task *made = calloc(1, sizeof *made);
    if (!made) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a task");
    *made = (cf_scan_task){*tasks, folder, index};
    *tasks = made;
    return NULL;
}

/* May the scan go into this folder? Other file systems only when they are named, pseudo ones never. */
static bool is_closed_off(cf_scan_lane *lane, const cf_scan_folder *parent, const cf_scan_slot *slot,
                          const cf_source_node *sources) {
    if (!cf_mount_crossed(&parent->stat_now, &slot->stat)) return false;
    bool on_the_way = parent->implied && sources && !sources->is_source;
    if (on_the_way) return false;
    const cf_mount *mount = cf_mounts_find(lane->run->mounts, &slot->stat);
    if (mount && mount->kind == CF_FS_PSEUDO) return true;
    return !sources && !lane->run->options.cross_file_systems;
}

static bool is_made(const cf_scan_run *run, const cf_scan_folder *folder, const cf_scan_slot *slot) {
    return run->options.made && !folder->parent && strcmp(slot_name(folder, slot), run->options.made->name) == 0;
}

static cf_err *visit_folder(cf_scan_lane *lane, cf_scan_folder *parent, size_t index, const cf_cache_entry *base,
                            cf_scan_task **tasks) {
    cf_scan_slot *slot = &parent->slots[index];
    const cf_source_node *sources = cf_source_child(parent->sources, slot_name(parent, slot));
    cf_scan_folder *child = NULL;
    CF_TRY(cf_run_folder(lane->run, parent, index, &child));
    child->sources = sources;
    child->made = is_made(lane->run, parent, slot);
    bool shut = sources && !sources->is_source && cf_filter_closes(lane->run, parent, slot);
    child->implied = (parent->implied || shut) && !(sources && sources->is_source) && !child->made;
    if (parent->rules)
        CF_TRY(cf_exclude_enter(parent->rules, cf_span_of(slot_name(parent, slot), slot->name.length), &child->rules));
    child->closed_off = is_closed_off(lane, parent, slot, sources);
    child->stat_now = slot->stat;
    slot->child = child;
    if (base) {
        slot->child_base = base->child;
        keep_base(parent, slot, base);
    }
    child->meta_unchanged =
        base && is_unchanged(lane->run, &base->stat, &slot->stat) && cf_run_pairs_stay(lane->run, base->segments);
    child->task.next = *tasks;
    *tasks = &child->task;
    return NULL;
}

static void count_file(cf_scan_lane *lane, bool is_new) {
    if (is_new)
        lane->files_new++;
    else
        lane->files_changed++;
}

/* One live entry beside what the base has of that name (NULL: nothing). */
static cf_err *visit(cf_scan_lane *lane, cf_scan_folder *folder, size_t index, const cf_cache_entry *base,
                     cf_scan_task **tasks) {
    cf_scan_slot *slot = &folder->slots[index];
    cf_scan_run *run = lane->run;
    if (slot->stat.type == CF_TYPE_DIRECTORY)
        return visit_folder(lane, folder, index, base && base->stat.type == CF_TYPE_DIRECTORY ? base : NULL, tasks);
    bool is_file = slot->stat.type == CF_TYPE_FILE;
    bool same = base && is_unchanged(run, &base->stat, &slot->stat);
    if (same && cf_run_pairs_stay(run, base->segments)) {
        keep_base(folder, slot, base);
        if (is_file) lane->files_unchanged++;
        cf_progress_add(run->options.progress, is_file ? 1 : 0, is_file ? slot->stat.size : 0);
        return cf_run_mark(lane, base->segments);
    }
    atomic_store(&folder->stale, true);
    if (same && cf_run_pairs_alive(run, base->segments)) {
        keep_base(folder, slot, base);
        slot->base_good = true;
    }
    if (is_file && same) lane->files_unchanged++; /* read all the same, to be stored again */
    if (is_file && !same) count_file(lane, base == NULL);
    if (is_file) {
        cf_progress_add(run->options.progress, 1, 0);
    }
    if (!base) atomic_store(&folder->dirty, true);
    if (is_file && slot->stat.size >= FILE_TASK_MIN) return push_file(lane, folder, index, tasks);
    CF_TRY(cf_file_process(lane, folder, index));
    if (base && !slot->omit && cf_span_equal(slot_text(folder, slot, slot->entry), base->entry)) return NULL;
    atomic_store(&folder->dirty, true);
    return NULL;
}

/* Live entries and the base's, both ascending by name, side by side. */
static cf_err *merge(cf_scan_lane *lane, cf_scan_folder *folder, cf_cursor cursor, cf_scan_task **tasks) {
    cf_cache_entry base;
    bool has_base = folder->has_base && cf_block_next(&cursor, &base);
    bool holds_made = lane->run->options.made && !folder->parent, flags_tell = lane->run->options.exclude_nodump;
    for (size_t i = 0; i < folder->count; i++) {
        cf_scan_slot *slot = &folder->slots[i];
        cf_span name = cf_span_of(slot_name(folder, slot), slot->name.length);
        bool made = holds_made && is_made(lane->run, folder, slot);
        if (made) cf_made_stat(lane->run, &slot->stat);
        cf_err *err = made ? NULL : cf_os_stat(folder->fd, slot_name(folder, slot), &slot->stat);
        if (err) {
            bool vanished = cf_err_code(err) == CF_ERR_NOT_FOUND;
            slot->omit = true;
            if (!vanished || folder->implied)
                cf_run_warn(lane, folder, slot_name(folder, slot), cf_run_file_error(err));
            else
                cf_err_free(err);
            continue;
        }
        if (is_skipped(lane->run, &slot->stat) || (flags_tell && cf_filter_drops_flagged(lane->run, folder, slot))) {
            slot->omit = true;
            continue;
        }
        int order = -1;
        while (has_base && (order = cf_span_compare(base.name, name)) < 0) {
            atomic_store(&folder->dirty, true); /* the base has what is no longer here */
            has_base = cf_block_next(&cursor, &base);
        }
        bool same_name = has_base && order == 0;
        CF_TRY(visit(lane, folder, i, same_name ? &base : NULL, tasks));
        if (same_name) has_base = cf_block_next(&cursor, &base);
        if ((i & 255) == 255) CF_TRY(cf_run_stopped(lane->run));
    }
    if (has_base) atomic_store(&folder->dirty, true);
    return NULL;
}

/* The folder's own entry: its metadata, with a node to be filled in when it is finished. */
static cf_err *own_entry(cf_scan_lane *lane, cf_scan_folder *folder) {
    if (!folder->parent || folder->meta_unchanged) return NULL;
    const cf_scan_slot *slot = &folder->parent->slots[folder->slot_in_parent];
    cf_entry entry = {.name = cf_span_of(slot_name(folder->parent, slot), slot->name.length),
                      .implied = folder->implied,
                      .node = {.length = 1, .pack = 1}};
    CF_TRY(cf_meta_read_warned(lane, folder, NULL, folder->fd, &folder->stat_now, &entry.meta));
    CF_TRY(cf_entry_finish(lane, &entry, &folder->stat_now, cf_span_of(NULL, 0)));
    cf_buf_reset(&folder->own);
    cf_buf_put_span(&folder->own, cf_buf_span(&lane->entry));
    cf_buf_reset(&folder->own_pairs);
    cf_buf_put_span(&folder->own_pairs, cf_buf_span(&lane->pairs));
    CF_TRY(cf_buf_check(&folder->own_pairs, "a folder's segments"));
    return cf_buf_check(&folder->own, "a folder's entry");
}

static cf_err *fail_folder(cf_scan_lane *lane, cf_scan_folder *folder, cf_err *why) {
    if (cf_err_code(why) == CF_ERR_OUT_OF_MEMORY || cf_err_code(why) == CF_ERR_STOPPED ||
        cf_err_code(why) == CF_ERR_CANCELLED)
        return why;
    if (!folder->parent) return cf_note(why, "/");
    why = cf_run_file_error(why);
    folder->own_failed = true;
    folder->vanished = cf_err_code(why) == CF_ERR_NOT_FOUND;
    folder->failure_code = cf_err_code(why);
    if (folder->vanished)
        cf_err_free(why);
    else
        cf_run_warn(lane, folder, NULL, why);
    return NULL;
}

cf_err *cf_folder_process(cf_scan_lane *lane, cf_scan_folder *folder) {
    cf_err *unreadable = NULL;
    if (folder->made)
        cf_folder_release_fd(folder->parent);
    else
        CF_TRY(open_folder(lane, folder, &unreadable));
    if (!unreadable && !folder->made) unreadable = list_folder(lane, folder);
    if (!unreadable && !folder->made) unreadable = own_entry(lane, folder);
    if (unreadable) return fail_folder(lane, folder, unreadable);
    cf_progress_item(lane->run->options.progress, cf_run_path(lane, folder, NULL));
    cf_block_place place = folder->parent ? folder->parent->slots[folder->slot_in_parent].child_base
                                          : cf_cache_get_root(lane->run->options.cache)->block;
    if (!folder->parent && !cf_cache_has_root(lane->run->options.cache)) place.length = 0;
    cf_cursor cursor;
    CF_TRY(load_base(lane, folder, place, &cursor));
    if (folder->made) return cf_folder_make(lane, folder);
    cf_scan_task *tasks = NULL;
    cf_err *err = merge(lane, folder, cursor, &tasks);
    cf_exclude_state_free(cf_take(folder->rules));
    /* Children first in the folder are taken first: the list was built backwards. */
    cf_scan_task *ordered = NULL;
    unsigned count = 0;
    while (tasks) {
        cf_scan_task *next = tasks->next;
        tasks->next = ordered;
        ordered = tasks;
        tasks = next;
        count++;
    }
    atomic_fetch_add(&folder->pending, count);
    atomic_fetch_add(&folder->users, count);
    if (ordered) cf_run_push(lane->run, ordered);
    return err;
}
