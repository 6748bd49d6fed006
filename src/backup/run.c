/* The tasks of a scan and the threads that take them. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "backup/internal.h"
#include "base/log.h"
#include "base/text.h"

#define NAMES_MAX ((size_t)2 << 30)

cf_err *cf_run_stopped(cf_scan_run *run) {
    pthread_mutex_lock(&run->lock);
    bool stopping = run->stopping;
    pthread_mutex_unlock(&run->lock);
    if (stopping) return cf_fail(CF_ERR_STOPPED, "the scan has failed");
    return cf_cancel_check(run->options.cancel);
}

void cf_run_push(cf_scan_run *run, cf_scan_task *first) {
    cf_scan_task *last = first;
    while (last->next) last = last->next;
    pthread_mutex_lock(&run->lock);
    last->next = run->stack;
    run->stack = first;
    pthread_cond_broadcast(&run->changed);
    pthread_mutex_unlock(&run->lock);
}

cf_err *cf_run_folder(cf_scan_run *run, cf_scan_folder *parent, size_t slot_index, cf_scan_folder **out) {
    cf_scan_folder *made = calloc(1, sizeof *made);
    if (!made) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a folder");
    made->task = (cf_scan_task){NULL, made, SIZE_MAX};
    made->parent = parent;
    made->slot_in_parent = slot_index;
    made->fd = -1;
    atomic_init(&made->users, 1);
    atomic_init(&made->pending, 1);
    pthread_mutex_init(&made->arena_lock, NULL);
    cf_buf_init(&made->base, NAMES_MAX);
    cf_buf_init(&made->names, NAMES_MAX);
    cf_buf_init(&made->arena, NAMES_MAX);
    cf_buf_init(&made->own, (size_t)64 << 20);
    cf_buf_init(&made->own_pairs, 65536);
    pthread_mutex_lock(&run->lock);
    made->live_next = run->live;
    if (run->live) run->live->live_previous = made;
    run->live = made;
    pthread_mutex_unlock(&run->lock);
    *out = made;
    return NULL;
}

void cf_folder_release_fd(cf_scan_folder *folder) {
    if (atomic_fetch_sub(&folder->users, 1) == 1 && folder->fd >= 0) {
        close(folder->fd);
        folder->fd = -1;
    }
}

void cf_folder_free(cf_scan_run *run, cf_scan_folder *folder) {
    pthread_mutex_lock(&run->lock);
    if (folder->live_previous)
        folder->live_previous->live_next = folder->live_next;
    else
        run->live = folder->live_next;
    if (folder->live_next) folder->live_next->live_previous = folder->live_previous;
    pthread_mutex_unlock(&run->lock);
    if (folder->fd >= 0) close(folder->fd);
    cf_buf_wipe(&folder->base);
    cf_buf_wipe(&folder->names);
    cf_buf_wipe(&folder->arena);
    cf_buf_wipe(&folder->own);
    cf_buf_wipe(&folder->own_pairs);
    free(folder->slots);
    cf_exclude_state_free(folder->rules);
    pthread_mutex_destroy(&folder->arena_lock);
    free(folder);
}

/* Names are put in from the end. */
static void prepend(cf_buf *path, cf_span part) {
    size_t old = path->size;
    cf_buf_put_zero(path, part.size + 1);
    if (path->failed) return;
    memmove(path->data + part.size + 1, path->data, old);
    path->data[0] = '/';
    if (part.size) memcpy(path->data + 1, part.data, part.size);
}

cf_span cf_run_path(cf_scan_lane *lane, const cf_scan_folder *folder, const char *name) {
    cf_buf *path = &lane->path;
    cf_buf_reset(path);
    if (name) prepend(path, cf_span_text(name));
    for (; folder->parent; folder = folder->parent) {
        const cf_scan_slot *slot = &folder->parent->slots[folder->slot_in_parent];
        prepend(path, cf_span_of(slot_name(folder->parent, slot), slot->name.length));
    }
    if (path->size == 0) cf_buf_put_u8(path, '/');
    return cf_buf_span(path);
}

cf_err *cf_run_file_error(cf_err *err) {
    if (cf_err_code(err) != CF_ERR_IO) return err;
    switch (cf_err_errno(err)) {
    case EACCES:
    case EPERM:
        return cf_wrap(err, CF_ERR_FILE_DENIED, "it may not be read");
    case EIO:
    case EUCLEAN:
    case EBADMSG:
        return cf_wrap(err, CF_ERR_FILE_CORRUPT, "the disk or the file system does not give it out");
    case ENOTCONN:
    case ESTALE:
    case EHOSTDOWN:
    case EREMOTEIO:
    case ENODATA:
        return cf_wrap(err, CF_ERR_CLOUD_FILE, "what keeps its content does not answer");
    default:
        return err;
    }
}

void cf_run_warn(cf_scan_lane *lane, const cf_scan_folder *folder, const char *name, cf_err *err) {
    lane->warnings++;
    cf_progress_warning(lane->run->options.progress);
    if (lane->run->options.warn)
        lane->run->options.warn(lane->run->options.warn_context, cf_run_path(lane, folder, name), err);
    cf_err_free(err);
}

static bool has_none(const cf_map *map, cf_span pairs) {
    if (!map) return true;
    cf_cursor cursor = cf_cursor_of(pairs);
    uint64_t pack;
    uint16_t segment;
    while (cf_pairs_next(&cursor, &pack, &segment))
        if (cf_map_has(map, pack, segment)) return false;
    return !cursor.failed;
}

bool cf_run_pairs_alive(const cf_scan_run *run, cf_span pairs) {
    return has_none(run->options.dead, pairs);
}

bool cf_run_pairs_stay(const cf_scan_run *run, cf_span pairs) {
    return has_none(run->options.dead, pairs) && has_none(run->options.refresh, pairs);
}

cf_err *cf_run_mark(cf_scan_lane *lane, cf_span pairs) {
    cf_cursor cursor = cf_cursor_of(pairs);
    uint64_t pack;
    uint16_t segment;
    while (cf_pairs_next(&cursor, &pack, &segment)) CF_TRY(cf_map_add(lane->map, pack, segment));
    return NULL;
}

/* The next task; NULL when the scan is over. */
static cf_scan_task *take(cf_scan_run *run) {
    pthread_mutex_lock(&run->lock);
    while (!run->stack && !run->done && !run->stopping) pthread_cond_wait(&run->changed, &run->lock);
    cf_scan_task *taken = run->done || run->stopping ? NULL : run->stack;
    if (taken) run->stack = taken->next;
    pthread_mutex_unlock(&run->lock);
    return taken;
}

static void finish_run(cf_scan_run *run, cf_err *err) {
    pthread_mutex_lock(&run->lock);
    if (err) {
        if (run->failure)
            cf_err_free(err);
        else
            run->failure = err;
        run->stopping = true;
    } else {
        run->done = true;
    }
    pthread_cond_broadcast(&run->changed);
    pthread_mutex_unlock(&run->lock);
    if (err) cf_writer_stop(run->options.writer, NULL); /* lanes that wait for the vault */
}

/* One thing below folder is done; finishes it, and what is above, when it was the last. */
static cf_err *done_below(cf_scan_lane *lane, cf_scan_folder *folder) {
    while (folder && atomic_fetch_sub(&folder->pending, 1) == 1) {
        CF_TRY(cf_folder_finish(lane, folder));
        cf_scan_folder *parent = folder->parent;
        if (!parent) {
            finish_run(lane->run, NULL);
            return NULL;
        }
        folder = parent;
    }
    return NULL;
}

static cf_err *process_file_task(cf_scan_lane *lane, cf_scan_task *taken) {
    cf_scan_folder *owner = taken->owner;
    size_t index = taken->slot;
    free(taken);
    CF_TRY(cf_file_process(lane, owner, index));
    atomic_store(&owner->dirty, true);
    cf_folder_release_fd(owner);
    return done_below(lane, owner);
}

static cf_err *process(cf_scan_lane *lane, cf_scan_task *taken) {
    if (taken->slot != SIZE_MAX) return process_file_task(lane, taken);
    cf_scan_folder *folder = taken->owner;
    CF_TRY(cf_folder_process(lane, folder));
    cf_folder_release_fd(folder); /* the listing's share */
    return done_below(lane, folder);
}

static void *lane_loop(void *argument) {
    cf_scan_lane *lane = argument;
    for (cf_scan_task *taken = take(lane->run); taken; taken = take(lane->run)) {
        cf_err *err = process(lane, taken);
        if (err) {
            finish_run(lane->run, err);
            return NULL;
        }
    }
    cf_err *err = cf_writer_lane_flush(lane->store);
    if (err) finish_run(lane->run, err);
    return NULL;
}

static cf_err *lane_init(cf_scan_lane *lane, cf_scan_run *run) {
    lane->run = run;
    cf_buf_init(&lane->entry, (size_t)64 << 20);
    cf_buf_init(&lane->scratch, (size_t)16 << 20);
    cf_buf_init(&lane->block, (size_t)1 << 30);
    cf_buf_init(&lane->pairs, (size_t)256 << 20);
    cf_buf_init(&lane->path, (size_t)1 << 20);
    cf_buf_init(&lane->chunk, CF_CHUNK_MAX);
    CF_TRY(cf_writer_lane_new(run->options.writer, &lane->store));
    CF_TRY(cf_mac_new(run->options.keys->id, &lane->mac));
    CF_TRY(cf_map_new(&lane->map));
    CF_TRY(cf_dir_new(&lane->dir));
    CF_TRY(cf_meta_store_new(&lane->meta));
    CF_TRY(cf_content_builder_new(lane->store, lane->map, &lane->content));
    CF_TRY(cf_node_writer_new(&lane->node_writer));
    lane->xattrs = calloc(CF_XATTRS_MAX, sizeof *lane->xattrs);
    lane->buffer = malloc(READ_BUFFER);
    return lane->xattrs && lane->buffer ? NULL : cf_fail(CF_ERR_OUT_OF_MEMORY, "a lane's buffers");
}

static void lane_wipe(cf_scan_lane *lane) {
    cf_content_builder_free(lane->content);
    cf_node_writer_free(lane->node_writer);
    cf_writer_lane_free(lane->store);
    cf_mac_free(lane->mac);
    cf_map_free(lane->map);
    cf_dir_free(lane->dir);
    cf_meta_store_free(lane->meta);
    cf_sparse_extents_wipe(&lane->sparse);
    free(lane->xattrs);
    free(lane->buffer);
    free(lane->second_buffer);
    cf_buf_wipe(&lane->entry);
    cf_buf_wipe(&lane->scratch);
    cf_buf_wipe(&lane->block);
    cf_buf_wipe(&lane->pairs);
    cf_buf_wipe(&lane->path);
    cf_buf_wipe(&lane->chunk);
    cf_lane_free(lane->vault);
}

/* Deep trees keep a descriptor for each level. */
static void raise_descriptor_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= limit.rlim_max) return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit); /* refused: then very deep folders are warnings */
}

static void run_wipe(cf_scan_run *run) {
    for (unsigned i = 0; run->lanes && i < run->options.lanes; i++) lane_wipe(&run->lanes[i]);
    free(run->lanes);
    for (cf_scan_task *left = run->stack; left;) {
        cf_scan_task *next = left->next;
        if (left->slot != SIZE_MAX) free(left); /* a folder's task is part of the cf_scan_folder */
        left = next;
    }
    while (run->live) cf_folder_free(run, run->live);
    cf_gear_free(run->gear);
    cf_mounts_free(run->mounts);
    cf_err_free(run->failure);
    pthread_mutex_destroy(&run->lock);
    pthread_cond_destroy(&run->changed);
}

static cf_err *run_init(cf_scan_run *run, const cf_backup_options *options) {
    run->options = *options;
    if (run->options.lanes < 1) run->options.lanes = 1;
    pthread_mutex_init(&run->lock, NULL);
    pthread_cond_init(&run->changed, NULL);
    memcpy(&run->split_seed, cf_secret_bytes(options->keys->gear), sizeof run->split_seed);
    CF_TRY(cf_gear_new(options->keys->gear, &run->gear));
    cf_err *unknown = cf_mounts_read(&run->mounts);
    if (unknown) cf_log_error(CF_LOG_WARNING, unknown); /* without /proc: device numbers alone tell */
    cf_err_free(unknown);
    run->lanes = calloc(run->options.lanes, sizeof *run->lanes);
    if (!run->lanes) return cf_fail(CF_ERR_OUT_OF_MEMORY, "lanes");
    for (unsigned i = 0; i < run->options.lanes; i++) CF_TRY(lane_init(&run->lanes[i], run));
    run->write_all = !cf_cache_has_root(options->cache) || cf_cache_wants_rewrite(options->cache);
    if (run->write_all) CF_TRY(cf_cache_begin_rewrite(options->cache));
    CF_TRY(cf_run_folder(run, NULL, 0, &run->root));
    run->root->sources = cf_sources_root(options->sources);
    run->root->implied = !run->root->sources->is_source;
    if (options->exclude) CF_TRY(cf_exclude_root(options->exclude, &run->root->rules));
    raise_descriptor_limit();
    cf_run_push(run, &run->root->task);
    return NULL;
}

static cf_err *run_lanes(cf_scan_run *run) {
    unsigned started = 0;
    for (; started < run->options.lanes; started++) {
        int failed = pthread_create(&run->lanes[started].thread, NULL, lane_loop, &run->lanes[started]);
        if (failed) {
            finish_run(run, cf_fail_errno(CF_ERR_OUT_OF_MEMORY, failed, "a lane's thread"));
            break;
        }
    }
    for (unsigned i = 0; i < started; i++) pthread_join(run->lanes[i].thread, NULL);
    cf_err *err = cf_take(run->failure);
    if (cf_err_code(err) != CF_ERR_STOPPED) return err;
    cf_err *cause = cf_writer_failure(run->options.writer);
    if (!cause) return err;
    cf_err_free(err);
    return cause;
}

static cf_err *collect(cf_scan_run *run, cf_backup_result *result) {
    CF_AUTO(cf_map) map = NULL;
    CF_TRY(cf_map_new(&map));
    *result = (cf_backup_result){.tree = run->root->node, .totals = run->root->totals, .block = run->root->place};
    result->unchanged = !run->root->node_changed;
    for (unsigned i = 0; i < run->options.lanes; i++) {
        const cf_scan_lane *lane = &run->lanes[i];
        CF_TRY(cf_map_add_all(map, lane->map));
        result->files_new += lane->files_new;
        result->files_changed += lane->files_changed;
        result->files_unchanged += lane->files_unchanged;
        result->bytes_read += lane->bytes_read;
        result->chunks_fetched += lane->chunks_fetched;
        result->warnings += lane->warnings;
        result->live_bytes += lane->live_bytes;
    }
    result->map = cf_take(map);
    return NULL;
}

cf_err *cf_backup_scan(const cf_backup_options *options, cf_backup_result *result) {
    cf_scan_run run = {0};
    cf_err *err = run_init(&run, options);
    if (!err) err = run_lanes(&run);
    if (!err) err = collect(&run, result);
    run_wipe(&run);
    return err;
}
