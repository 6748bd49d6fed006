/* New and changed objects that are no folders: content, metadata, entry. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "backup/internal.h"
#include "base/text.h"
#include "os/file.h"

enum { ATTEMPTS = 3 };

/* One number for all names of a file, the same in each run as long as the inode is. */
static cf_err *link_group(cf_scan_lane *lane, const cf_stat *stat, uint64_t *group) {
    uint8_t place[16], tag[32];
    for (unsigned i = 0; i < 8; i++) {
        place[i] = (uint8_t)(stat->device >> (8 * i));
        place[8 + i] = (uint8_t)(stat->inode >> (8 * i));
    }
    CF_TRY(cf_mac_tag(lane->mac, 3, cf_span_of(place, sizeof place), tag));
    *group = 0;
    for (unsigned i = 0; i < 8; i++) *group |= (uint64_t)tag[i] << (8 * i);
    if (*group == 0) *group = 1;
    return NULL;
}

/* Attributes that would make an entry large are stored like a small file. */
static cf_err *place_xattrs(cf_scan_lane *lane, cf_entry *entry, cf_buf *refs, cf_buf *pairs) {
    cf_buf_reset(refs);
    cf_buf_reset(&lane->scratch);
    if (entry->meta.xattr_count == 0) return NULL;
    cf_xattrs_encode(entry->meta.xattrs, entry->meta.xattr_count, &lane->scratch);
    CF_TRY(cf_buf_check(&lane->scratch, "extended attributes"));
    if (lane->scratch.size <= CF_XATTR_INLINE_MAX) return NULL;
    uint64_t last_pack = 0;
    uint32_t last_segment = UINT32_MAX, count = 0;
    for (size_t offset = 0; offset < lane->scratch.size; count++) {
        size_t size = lane->scratch.size - offset < CF_CHUNK_MAX ? lane->scratch.size - offset : CF_CHUNK_MAX;
        cf_ref ref;
        CF_TRY(cf_writer_lane_store(lane->store, CF_KIND_DATA, cf_span_of(lane->scratch.data + offset, size), &ref));
        CF_TRY(cf_map_add(lane->map, ref.pack, ref.segment));
        cf_pairs_add(pairs, &last_pack, &last_segment, ref.pack, ref.segment);
        cf_ref_encode(&ref, refs);
        offset += size;
    }
    entry->xattrs_chunked = true;
    entry->xattr_content = (cf_content){.depth = 0, .count = count, .refs = cf_buf_span(refs)};
    entry->meta.xattrs = NULL;
    entry->meta.xattr_count = 0;
    return cf_buf_check(refs, "extended attributes");
}

cf_err *cf_entry_finish(cf_scan_lane *lane, cf_entry *entry, const cf_stat *stat, cf_span content_pairs) {
    CF_AUTO_BUF cf_buf refs;
    cf_buf_init(&refs, 65536);
    cf_buf_reset(&lane->pairs);
    if (stat->type != CF_TYPE_DIRECTORY && stat->nlink > 1) CF_TRY(link_group(lane, stat, &entry->link_group));
    CF_TRY(place_xattrs(lane, entry, &refs, &lane->pairs));
    cf_buf_put_span(&lane->pairs, content_pairs); /* the last: what is used may stand behind them */
    cf_buf_reset(&lane->entry);
    CF_TRY(cf_entry_encode(entry, &lane->entry));
    CF_TRY(cf_buf_check(&lane->entry, "an entry"));
    return cf_buf_check(&lane->pairs, "the segments of an entry");
}

cf_err *cf_entry_for_failure(cf_scan_lane *lane, const cf_stat *stat, cf_span name, cf_code code, cf_buf *out) {
    (void)lane;
    cf_entry entry = {.name = name, .not_read = true, .code = (uint32_t)code};
    cf_meta_from_stat(stat, &entry.meta);
    cf_buf_reset(out);
    return cf_entry_encode(&entry, out);
}

cf_err *cf_slot_set(cf_scan_folder *folder, cf_scan_slot *slot, cf_span entry, cf_span segments) {
    pthread_mutex_lock(&folder->arena_lock);
    slot->from_base = false;
    slot->entry = (text_place){(uint32_t)folder->arena.size, (uint32_t)entry.size};
    cf_buf_put_span(&folder->arena, entry);
    slot->segments = (text_place){(uint32_t)folder->arena.size, (uint32_t)segments.size};
    cf_buf_put_span(&folder->arena, segments);
    cf_err *err = cf_buf_check(&folder->arena, "the entries of a folder");
    pthread_mutex_unlock(&folder->arena_lock);
    return err;
}

/* Metadata that could not be read is a warning about the object. */
static void warn_meta(cf_scan_lane *lane, const cf_scan_folder *folder, const char *name,
                      const cf_meta_warnings *warnings) {
    for (int kind = 0; kind < CF_META_WARNINGS; kind++) {
        if (!cf_meta_warned(warnings, (cf_meta_warning)kind)) continue;
        cf_run_warn(lane, folder, name,
                    cf_fail_errno(CF_ERR_META_UNREADABLE, warnings->err_no[kind], "its %s could not be read",
                                  cf_meta_warning_word((cf_meta_warning)kind)));
    }
}

cf_err *cf_meta_read_warned(cf_scan_lane *lane, const cf_scan_folder *folder, const char *name, int fd,
                            const cf_stat *stat, cf_meta *meta) {
    cf_meta_warnings warnings = {0};
    bool is_folder_itself = name == NULL;
    CF_TRY(cf_meta_read(lane->meta, is_folder_itself ? fd : folder->fd, is_folder_itself ? "" : name, fd, stat, meta,
                        &warnings));
    if (warnings.kinds) warn_meta(lane, folder, name, &warnings);
    return NULL;
}

static bool same_content_state(const cf_stat *a, const cf_stat *b) {
    return a->size == b->size && cf_time_compare(a->mtime, b->mtime) == 0 && cf_time_compare(a->ctime, b->ctime) == 0;
}

/* An entry holds so many data extents and no more (format, section 7): the smallest holes are stored as zeroes. */
static void join_extents(cf_sparse_extents *extents) {
    for (uint64_t least = 65536; extents->count > CF_EXTENTS_MAX; least *= 2) {
        size_t kept = 0;
        for (size_t i = 1; i < extents->count; i++) {
            cf_sparse_extent *last = &extents->list[kept];
            const cf_sparse_extent *next = &extents->list[i];
            if (next->offset - (last->offset + last->size) < least)
                last->size = next->offset + next->size - last->offset;
            else
                extents->list[++kept] = *next;
        }
        extents->count = kept + 1;
    }
}

/* The file was cut while it was read: only the first so many bytes of its data are there. */
static void cut_extents(cf_sparse_extents *extents, uint64_t bytes) {
    size_t kept = 0;
    for (; kept < extents->count && bytes; kept++) {
        if (extents->list[kept].size > bytes) extents->list[kept].size = bytes;
        bytes -= extents->list[kept].size;
    }
    extents->count = kept;
}

/* One reading of an open file into lane->entry and lane->pairs. *quiet: nothing changed meanwhile. */
static cf_err *read_once(cf_scan_lane *lane, cf_scan_folder *folder, const char *name, int fd, cf_stat *stat, bool last,
                         bool *quiet, cf_err **unreadable) {
    *unreadable = cf_sparse_read(fd, name, stat, &lane->sparse);
    if (*unreadable) return NULL;
    join_extents(&lane->sparse);
    bool dense = lane->sparse.count == 1 && lane->sparse.list[0].offset == 0 && lane->sparse.list[0].size == stat->size;
    cf_scan_stream from = {.fd = fd, .name = name, .extents = &lane->sparse};
    uint64_t bytes = 0, expected = 0;
    for (size_t i = 0; i < lane->sparse.count; i++) expected += lane->sparse.list[i].size;
    cf_content_builder_reset(lane->content);
    CF_TRY(cf_scan_store_content(lane, &from, expected, &bytes, unreadable));
    if (*unreadable) return NULL;
    cf_entry entry = {.name = cf_span_text(name)};
    cf_err *err = cf_meta_read_warned(lane, folder, name, fd, stat, &entry.meta);
    cf_stat after;
    if (!err) err = cf_os_stat(fd, "", &after);
    if (err) {
        *unreadable = err;
        return NULL;
    }
    *quiet = bytes == expected && same_content_state(stat, &after);
    if (!*quiet && !last) {
        *stat = after;
        return NULL;
    }
    entry.changed = !*quiet;
    CF_AUTO_BUF cf_buf extents;
    cf_buf_init(&extents, (size_t)64 << 20);
    if (bytes < expected && !dense) cut_extents(&lane->sparse, bytes);
    if (stat->size && !dense) {
        uint64_t end = 0;
        entry.sparse = true;
        entry.extent_count = (uint32_t)lane->sparse.count;
        for (size_t i = 0; i < lane->sparse.count; i++)
            cf_extents_add(&extents, &end, lane->sparse.list[i].offset, lane->sparse.list[i].size);
        CF_TRY(cf_buf_check(&extents, "holes"));
        entry.extents = cf_buf_span(&extents);
    } else {
        entry.meta.size = bytes; /* of a file that was cut while it was read: what there is */
    }
    cf_span pairs;
    CF_TRY(cf_content_builder_finish(lane->content, &entry.content, &pairs));
    return cf_entry_finish(lane, &entry, stat, pairs);
}

static cf_err *read_file(cf_scan_lane *lane, cf_scan_folder *folder, const char *name, cf_stat *stat,
                         cf_err **unreadable) {
    CF_AUTO_FD int fd = -1;
    *unreadable = cf_os_open_file(folder->fd, name, &fd, stat);
    if (*unreadable) return NULL;
    bool quiet = false;
    for (int attempt = 1; attempt <= ATTEMPTS && !quiet && !*unreadable; attempt++)
        CF_TRY(read_once(lane, folder, name, fd, stat, attempt == ATTEMPTS, &quiet, unreadable));
    if (!quiet && !*unreadable) stat->inode = 0; /* read again next time */
    if (!quiet && !*unreadable)
        cf_run_warn(lane, folder, name,
                    cf_fail(CF_ERR_FILE_CHANGING, "it kept changing while it was read: what was read is stored"));
    return NULL;
}

static cf_err *read_other(cf_scan_lane *lane, cf_scan_folder *folder, const char *name, const cf_stat *stat,
                          cf_err **unreadable) {
    cf_entry entry = {.name = cf_span_text(name)};
    *unreadable = cf_meta_read_warned(lane, folder, name, -1, stat, &entry.meta);
    if (*unreadable) return NULL;
    return cf_entry_finish(lane, &entry, stat, cf_span_of(NULL, 0));
}

cf_err *cf_file_process(cf_scan_lane *lane, cf_scan_folder *folder, size_t slot_index) {
    cf_scan_slot *slot = &folder->slots[slot_index];
    const char *name = slot_name(folder, slot);
    cf_err *unreadable = NULL;
    bool done = false;
    CF_TRY(cf_file_again(lane, folder, slot, &done));
    if (done) return NULL;
    if (slot->stat.type == CF_TYPE_FILE)
        CF_TRY(read_file(lane, folder, name, &slot->stat, &unreadable));
    else
        CF_TRY(read_other(lane, folder, name, &slot->stat, &unreadable));
    if (!unreadable) return cf_slot_set(folder, slot, cf_buf_span(&lane->entry), cf_buf_span(&lane->pairs));
    if (cf_err_code(unreadable) == CF_ERR_NOT_FOUND) { /* deleted since it was listed: no warning */
        cf_err_free(unreadable);
        slot->omit = true;
        return NULL;
    }
    if (cf_err_code(unreadable) == CF_ERR_OUT_OF_MEMORY) return unreadable;
    if (slot->base_good) { /* what the vault has of it is right: it stays where it stands */
        cf_err_free(unreadable);
        CF_TRY(cf_file_from_vault(lane, folder, slot, &done));
        return done ? NULL : cf_run_mark(lane, slot_text(folder, slot, slot->segments));
    }
    unreadable = cf_run_file_error(unreadable);
    cf_code code = cf_err_code(unreadable);
    cf_run_warn(lane, folder, name, unreadable);
    slot->stat.inode = 0; /* tried again next time, whatever the file looks like then */
    CF_TRY(cf_entry_for_failure(lane, &slot->stat, cf_span_text(name), code, &lane->entry));
    return cf_slot_set(folder, slot, cf_buf_span(&lane->entry), cf_span_of(NULL, 0));
}
