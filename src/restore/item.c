/* A file on its way to its name. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <linux/fs.h>

#include "os/fail.h"
#include "os/file.h"
#include "os/stat.h"
#include "restore/run.h"

enum { NAME_BYTES_MAX = 255 };

cf_err *cf_item_new(cf_restorer *run, cf_target *target, const cf_entry *entry, bool content, cf_item **out) {
    cf_item *item = calloc(1, sizeof *item);
    if (!item) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a file");
    cf_buf_init(&item->entry, 2u * CF_NODE_MAX);
    cf_buf_init(&item->source_name, 4096);
    cf_buf_put_span(&item->source_name, entry->name);
    item->size = entry->meta.size;
    item->inode_flags = entry->meta.has_flags ? entry->meta.inode_flags : 0;
    item->set_size = entry->sparse || item->size > CF_CHUNK_MAX; /* a small one gets it by being written */
    item->part.fd = -1;
    atomic_init(&item->pending, 1);
    cf_entry kept = *entry;
    if (!content) {
        kept.meta.size = 0; /* so that size and (no) content agree */
        kept.sparse = false;
        kept.extents = (cf_span){0};
        kept.extent_count = 0;
        kept.content = (cf_content){0};
    }
    cf_err *err = cf_name_from(entry->name, &item->name);
    if (!err) err = cf_buf_check(&item->source_name, "a name");
    if (!err) err = cf_entry_encode(&kept, &item->entry);
    if (err) {
        cf_buf_wipe(&item->entry);
        cf_buf_wipe(&item->source_name);
        free(item);
        return err;
    }
    item->weight = item->entry.capacity;
    item->target = target;
    cf_target_hold(target);
    cf_target_begin(target);
    pthread_mutex_lock(&run->lock);
    run->open_items++;
    run->open_bytes += item->weight;
    pthread_mutex_unlock(&run->lock);
    *out = item;
    return NULL;
}

void cf_item_free(cf_item *item, cf_lane_state *state) {
    cf_restorer *run = state->run;
    if (item->partly) cf_partial_wipe(&item->part);
    cf_target_end(item->target, state);
    cf_target_release(item->target);
    size_t weight = item->weight;
    cf_buf_wipe(&item->entry);
    cf_buf_wipe(&item->source_name);
    free(item);
    pthread_mutex_lock(&run->lock);
    run->open_items--;
    run->open_bytes -= weight;
    cf_restorer_wake(run);
    pthread_mutex_unlock(&run->lock);
}

void cf_item_fail(cf_item *item, cf_err *err) {
    bool damage = cf_err_has(err, CF_F_DAMAGE);
    bool told = damage && atomic_exchange(&item->damaged, true);
    /* With best_effort a damaged file goes on: its other pieces are wanted. */
    bool goes_on = damage && item->target->run->options->best_effort;
    if (!goes_on && atomic_exchange(&item->failed, true)) told = true;
    if (told) {
        cf_err_free(err);
        return;
    }
    cf_restorer_trouble(item->target->run, item->target, cf_buf_span(&item->source_name), err);
}

static cf_err *begin_part(cf_item *item) {
    CF_TRY(cf_partial_open(item->target->fd, &item->part));
    item->partly = true;
    cf_meta_warnings ignored = {0}; /* giving all the metadata at the end reports what cannot be done */
    cf_meta_apply_new(
        item->part.fd,
        &(cf_meta){.type = CF_TYPE_FILE, .has_flags = item->inode_flags != 0, .inode_flags = item->inode_flags},
        &ignored);
    if (item->set_size && ftruncate(item->part.fd, (off_t)item->size) < 0 && errno != EPERM)
        return cf_os_fail(errno, "set the size of", item->name.text);
    return NULL;
}

cf_err *cf_item_write(cf_item *item, uint64_t offset, cf_span bytes) {
    pthread_mutex_t *lock = &item->target->run->file_lock[((uintptr_t)item >> 6) % CF_FILE_LOCKS];
    pthread_mutex_lock(lock);
    cf_err *err = item->partly ? NULL : begin_part(item);
    pthread_mutex_unlock(lock);
    if (err) return err;
    return cf_file_write_at(item->part.fd, offset, bytes, item->name.text);
}

/* Flags under which the name could not be given afterwards. */
static bool flags_lock(const cf_meta *meta) {
    return meta->has_flags && (meta->inode_flags & (FS_IMMUTABLE_FL | FS_APPEND_FL)) != 0;
}

/* What is to be replaced may be marked immutable. False when that is not what is in the way. */
static bool unlock(const cf_item *item) {
    uint32_t had = 0;
    CF_AUTO_FD int fd = openat(item->target->fd, item->name.text, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) return false;
    CF_AUTO(cf_err) err = cf_meta_clear_flags(fd, item->name.text, &had);
    return !err && had != 0;
}

static cf_err *place(cf_item *item) {
    bool placed = false;
    cf_err *err = cf_partial_place(&item->part, &item->name, item->replace, &placed);
    if (err && item->replace && unlock(item)) {
        cf_err_free(err);
        err = cf_partial_place(&item->part, &item->name, true, &placed);
    }
    if (err) return err;
    if (!placed)
        return cf_fail(CF_ERR_RESTORE_CONFLICT, "%s: somebody made a file of this name meanwhile", item->name.text);
    return NULL;
}

static cf_err *complete(cf_item *item, cf_lane_state *state, cf_span path) {
    cf_entry entry;
    CF_TRY(cf_entry_decode(cf_buf_span(&item->entry), state->xattrs, &entry));
    if (!item->partly) CF_TRY(begin_part(item)); /* an empty file, or one hole */
    if (!flags_lock(&entry.meta)) {
        CF_TRY(cf_restorer_meta(state, &entry, item->part.fd, "", item->part.fd, path));
        return place(item);
    }
    cf_entry now = entry;
    now.meta.inode_flags &= ~(uint32_t)(FS_IMMUTABLE_FL | FS_APPEND_FL);
    CF_TRY(cf_restorer_meta(state, &now, item->part.fd, "", item->part.fd, path));
    CF_TRY(place(item));
    if (item->links) return cf_restorer_late(state->run, item->target, item->name.text, &entry);
    return cf_restorer_meta(state, &entry, item->part.fd, "", item->part.fd, path);
}

/* The name that tells what it is; cut so that it fits. False when there is nothing to keep, or something in the way. */
static bool keep_damaged(cf_item *item, cf_lane_state *state, cf_span path) {
    static const char suffix[] = ".damaged";
    size_t room = NAME_BYTES_MAX - (sizeof suffix - 1), size = strlen(item->name.text);
    if (!item->partly) return false; /* not one piece of it could be read */
    while (size > room || (size == room && ((unsigned char)item->name.text[size] & 0xC0) == 0x80)) size--;
    memcpy(item->name.text + size, suffix, sizeof suffix);
    item->replace = true; /* of an earlier try */
    cf_err *err = ftruncate(item->part.fd, (off_t)item->size) < 0
                      ? cf_os_fail(errno, "set the size of", item->name.text)
                      : complete(item, state, path);
    if (!err) return true;
    cf_restorer_trouble(item->target->run, item->target, cf_buf_span(&item->source_name), err);
    return false;
}

static void finish(cf_item *item, cf_lane_state *state) {
    cf_restorer *run = state->run;
    CF_AUTO_BUF cf_buf path;
    cf_buf_init(&path, 16u << 20);
    cf_restorer_path(item->target, cf_buf_span(&item->source_name), &path);
    bool stopped = atomic_load(&run->stop);
    if (!atomic_load(&item->failed) && !atomic_load(&item->damaged) && !stopped) {
        cf_err *err = complete(item, state, cf_buf_span(&path));
        if (err) cf_item_fail(item, err);
    } else if (!atomic_load(&item->failed) && !stopped && keep_damaged(item, state, cf_buf_span(&path))) {
        cf_restorer_count(run, &run->result->partial, 1);
    }
    bool done = !atomic_load(&item->failed) && !atomic_load(&item->damaged) && !stopped;
    if (done) {
        cf_restorer_count(run, &run->result->files, 1);
        cf_restorer_count(run, &run->result->bytes, item->size);
        cf_progress_item(run->options->progress, cf_buf_span(&path));
    }
    cf_progress_add(run->options->progress, 1, 0);
    if (item->links && done)
        cf_links_made(run, item->links, item->target, item->name.text, state);
    else if (item->links)
        cf_links_failed(run, item->links, atomic_load(&item->damaged) ? CF_LINKS_DAMAGED : CF_LINKS_FAILED, state);
    cf_item_free(item, state);
}

void cf_item_done(cf_item *item, unsigned count, cf_lane_state *state) {
    if (atomic_fetch_sub(&item->pending, count) == count) finish(item, state);
}

static cf_err *mend(cf_item *item, cf_lane_state *state, cf_span path) {
    cf_entry entry;
    CF_TRY(cf_entry_decode(cf_buf_span(&item->entry), state->xattrs, &entry));
    CF_AUTO_FD int fd = -1;
    cf_stat now;
    CF_TRY(cf_os_open_file(item->target->fd, item->name.text, &fd, &now));
    if (now.immutable) CF_TRY(cf_meta_clear_flags(fd, item->name.text, NULL));
    if (item->links && flags_lock(&entry.meta)) {
        CF_TRY(cf_restorer_late(state->run, item->target, item->name.text, &entry));
        entry.meta.inode_flags &= ~(uint32_t)(FS_IMMUTABLE_FL | FS_APPEND_FL);
    }
    return cf_restorer_meta(state, &entry, fd, "", fd, path);
}

void cf_item_same(cf_item *item, cf_lane_state *state) {
    cf_restorer *run = state->run;
    CF_AUTO_BUF cf_buf path;
    cf_buf_init(&path, 16u << 20);
    cf_restorer_path(item->target, cf_buf_span(&item->source_name), &path);
    if (!run->options->dry_run) {
        cf_err *err = mend(item, state, cf_buf_span(&path));
        if (err) cf_restorer_trouble(run, item->target, cf_buf_span(&item->source_name), err);
    }
    cf_restorer_count(run, &run->result->files, 1);
    cf_restorer_count(run, &run->result->bytes, item->size);
    cf_restorer_count(run, &run->result->identical, 1);
    cf_progress_add(run->options->progress, 1, item->size);
    if (item->links) cf_links_made(run, item->links, item->target, item->name.text, state);
    cf_item_free(item, state);
}

void cf_item_skip(cf_item *item, cf_lane_state *state) {
    cf_restorer *run = state->run;
    cf_restorer_count(run, &run->result->skipped, 1);
    cf_progress_add(run->options->progress, 1, item->size);
    if (item->links) cf_links_failed(run, item->links, CF_LINKS_SKIPPED, state);
    cf_item_free(item, state);
}
