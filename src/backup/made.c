/* A folder whose files are made by the program and streamed into the store as they come. */
#include <string.h>

#include "backup/internal.h"

struct cf_backup_maker {
    cf_scan_lane *lane;
    cf_scan_folder *folder;
    size_t slot;    /* of the file that is being written; SIZE_MAX: none */
    uint64_t bytes; /* of it */
    size_t held;    /* of these in lane->buffer */
    size_t same;    /* files that are as in the base */
};

void cf_made_stat(const cf_scan_run *run, cf_stat *stat) {
    *stat = (cf_stat){.type = CF_TYPE_DIRECTORY,
                      .mode = 0700,
                      .nlink = 1,
                      .mtime = run->options.started,
                      .ctime = run->options.started};
}

static bool is_name(const char *name) {
    size_t size = strlen(name);
    return size >= 1 && size <= 255 && !strchr(name, '/') && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

static bool has_name(const cf_scan_folder *folder, const char *name) {
    for (size_t i = 0; i < folder->count; i++)
        if (strcmp(slot_name(folder, &folder->slots[i]), name) == 0) return true;
    return false;
}

cf_err *cf_backup_make_begin(cf_backup_maker *maker, const char *name, uint32_t mode) {
    cf_scan_folder *folder = maker->folder;
    if (maker->slot != SIZE_MAX || !is_name(name) || has_name(folder, name))
        return cf_fail(CF_ERR_INTERNAL, "a made file cannot be called \"%s\" here", name);
    CF_TRY(cf_folder_add_name(folder, name, strlen(name)));
    maker->slot = folder->count - 1;
    maker->bytes = maker->held = 0;
    cf_stat *stat = &folder->slots[maker->slot].stat;
    cf_made_stat(maker->lane->run, stat);
    stat->type = CF_TYPE_FILE;
    stat->mode = mode & 07777;
    cf_content_builder_reset(maker->lane->content);
    return NULL;
}

static cf_err *store_held(cf_backup_maker *maker, bool end) {
    cf_scan_lane *lane = maker->lane;
    size_t cut = 0;
    while (maker->held > cut && (end || maker->held - cut >= CF_CUT_MAX)) {
        size_t size = cf_chunker_cut(lane->run->gear, lane->buffer + cut, maker->held - cut);
        cf_ref ref;
        CF_TRY(cf_writer_lane_store(lane->store, CF_KIND_DATA, cf_span_of(lane->buffer + cut, size), &ref));
        CF_TRY(cf_content_builder_add(lane->content, &ref));
        cut += size;
    }
    memmove(lane->buffer, lane->buffer + cut, maker->held - cut);
    maker->held -= cut;
    return cf_run_stopped(lane->run);
}

cf_err *cf_backup_make_write(cf_backup_maker *maker, cf_span bytes) {
    if (maker->slot == SIZE_MAX) return cf_fail(CF_ERR_INTERNAL, "bytes for no made file");
    while (bytes.size) {
        size_t size = READ_BUFFER - maker->held < bytes.size ? READ_BUFFER - maker->held : bytes.size;
        memcpy(maker->lane->buffer + maker->held, bytes.data, size);
        maker->held += size;
        maker->bytes += size;
        bytes = cf_span_of(bytes.data + size, bytes.size - size);
        if (maker->held == READ_BUFFER) CF_TRY(store_held(maker, false));
    }
    return NULL;
}

/* What the base has of that name. */
static bool find_in_base(const cf_scan_folder *folder, cf_span name, cf_cache_entry *base) {
    cf_cursor cursor;
    cf_cache_folder head;
    if (!folder->has_base || !cf_block_open(cf_buf_span(&folder->base), &cursor, &head)) return false;
    while (cf_block_next(&cursor, base))
        if (cf_span_equal(base->name, name)) return true;
    return false;
}

static bool same_content(cf_scan_lane *lane, const cf_entry *made, const cf_cache_entry *base, cf_time *mtime) {
    cf_entry old;
    cf_err *err = cf_entry_decode(base->entry, lane->xattrs, &old);
    bool same = !err && old.meta.type == CF_TYPE_FILE && old.meta.mode == made->meta.mode &&
                old.meta.size == made->meta.size && old.content.depth == made->content.depth &&
                cf_span_equal(old.content.refs, made->content.refs);
    if (same) *mtime = old.meta.mtime;
    cf_err_free(err); /* a cache that cannot be read is none */
    return same;
}

cf_err *cf_backup_make_end(cf_backup_maker *maker) {
    cf_scan_lane *lane = maker->lane;
    cf_scan_folder *folder = maker->folder;
    if (maker->slot == SIZE_MAX) return cf_fail(CF_ERR_INTERNAL, "the end of no made file");
    CF_TRY(store_held(maker, true));
    cf_scan_slot *slot = &folder->slots[maker->slot];
    slot->stat.size = maker->bytes;
    cf_entry entry = {.name = cf_span_of(slot_name(folder, slot), slot->name.length)};
    cf_meta_from_stat(&slot->stat, &entry.meta);
    entry.meta.user = entry.meta.group = cf_span_text("root");
    cf_span pairs;
    CF_TRY(cf_content_builder_finish(lane->content, &entry.content, &pairs));
    cf_cache_entry base;
    bool in_base = find_in_base(folder, entry.name, &base);
    bool same = in_base && same_content(lane, &entry, &base, &entry.meta.mtime);
    slot->stat.mtime = entry.meta.mtime;
    CF_TRY(cf_entry_finish(lane, &entry, &slot->stat, pairs));
    maker->same += same && cf_span_equal(base.entry, cf_buf_span(&lane->entry));
    if (same)
        lane->files_unchanged++;
    else if (in_base)
        lane->files_changed++;
    else
        lane->files_new++;
    cf_progress_add(lane->run->options.progress, 1, maker->bytes);
    maker->slot = SIZE_MAX;
    return cf_slot_set(folder, slot, cf_buf_span(&lane->entry), cf_buf_span(&lane->pairs));
}

static cf_err *own_entry(cf_scan_lane *lane, cf_scan_folder *folder) {
    cf_entry entry = {.name = cf_span_text(lane->run->options.made->name), .node = {.length = 1, .pack = 1}};
    cf_meta_from_stat(&folder->stat_now, &entry.meta);
    entry.meta.user = entry.meta.group = cf_span_text("root");
    CF_TRY(cf_entry_finish(lane, &entry, &folder->stat_now, cf_span_of(NULL, 0)));
    cf_buf_put_span(&folder->own, cf_buf_span(&lane->entry));
    return cf_buf_check(&folder->own, "a folder's entry");
}

cf_err *cf_folder_make(cf_scan_lane *lane, cf_scan_folder *folder) {
    cf_backup_maker maker = {.lane = lane, .folder = folder, .slot = SIZE_MAX};
    const cf_scan_slot *slot = &folder->parent->slots[folder->slot_in_parent];
    CF_TRY(lane->run->options.made->produce(lane->run->options.made->context, &maker));
    if (maker.slot != SIZE_MAX) return cf_fail(CF_ERR_INTERNAL, "a made file has no end");
    cf_folder_sort(folder);
    bool same = folder->has_base && maker.same == folder->count && folder->count == folder->base_folder.count;
    if (!same) {
        atomic_store(&folder->dirty, true);
        return own_entry(lane, folder);
    }
    folder->meta_unchanged = slot->from_base;
    return folder->meta_unchanged ? NULL : own_entry(lane, folder);
}
