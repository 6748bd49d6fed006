/* The content of files. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "mount/fs.h"

enum {
    STRETCHES = 64,
    LARGE = 2 << 20,   /* from this size on, a file is read ahead by its own references */
    WINDOW = 10 << 20, /* how far */
    WANTED = 64,
};

/* NULL: it is no file. */
static cf_err *layout_at(const cf_place *place, cf_layout **layout) {
    cf_entry entry;
    *layout = NULL;
    cf_page_lock(place->page);
    cf_page_entry(place->page, place->index, &entry);
    cf_err *err = entry.not_read ? cf_call_unread(entry.code) : NULL;
    if (!err && entry.meta.type == CF_TYPE_FILE) err = cf_layout_new(&entry, layout);
    cf_page_unlock(place->page);
    return err;
}

/* *small instead of *file: a small file, which is not kept. Both NULL: it is no file. */
static cf_err *open_layout(cf_fuse_call *call, cf_file **file, cf_layout **small) {
    *file = cf_files_get(call->fs->files, call->inode);
    if (*file) return NULL;
    CF_AUTO_PLACE cf_place place = {0};
    cf_folder folder;
    cf_layout *layout;
    CF_TRY(cf_volume_at_in(call->volume, call->desk->lane, call->number, &folder, &place));
    CF_TRY(layout_at(&place, &layout));
    if (layout && small && cf_layout_size(layout) <= CF_PUSH_FILE_MAX) {
        cf_push_seen(call->fs->push, call->slot, &folder, call->number);
        *small = layout;
        return NULL;
    }
    return layout ? cf_files_put(call->fs->files, call->inode, layout, file) : NULL;
}

/* ---- Reading ---- */

/* What was stored again elsewhere, because its segment is damaged. */
static void resolve(cf_fuse_call *call, cf_stretch *stretches, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (!stretches[i].hole && cf_lane_resolve(call->desk->lane, cf_call_map(call), &stretches[i].ref))
            stretches[i].checked = false; /* the copy was not */
}

/* The stretches' segments, each once. */
static void want(cf_fuse_call *call, const cf_stretch *stretches, size_t count) {
    uint16_t segments[STRETCHES];
    size_t fill = 0;
    for (size_t i = 0; i < count; i++) {
        const cf_ref *ref = &stretches[i].ref;
        if (stretches[i].hole) continue;
        bool new_pack = i == 0 || stretches[i - 1].hole || stretches[i - 1].ref.pack != ref->pack;
        if (new_pack && fill) {
            cf_ahead_want(call->fs->ahead, CF_KIND_DATA, stretches[i - 1].ref.pack, segments, fill);
            fill = 0;
        }
        bool again = fill && segments[fill - 1] == ref->segment;
        if (!again && cf_map_has(cf_call_map(call), ref->pack, ref->segment)) segments[fill++] = ref->segment;
        if (i + 1 == count || stretches[i + 1].hole) {
            cf_ahead_want(call->fs->ahead, CF_KIND_DATA, ref->pack, segments, fill);
            fill = 0;
        }
    }
}

static cf_err *read_ahead(cf_fuse_call *call, cf_layout *layout, uint64_t offset, uint64_t end) {
    uint64_t from, to;
    if (!cf_layout_ahead(layout, offset, end, WINDOW, &from, &to)) return NULL;
    cf_stretch stretches[STRETCHES];
    while (from < to) {
        size_t count;
        CF_TRY(
            cf_layout_map(layout, call->desk->lane, cf_call_map(call), from, to - from, stretches, STRETCHES, &count));
        if (count == 0) return NULL;
        resolve(call, stretches, count);
        want(call, stretches, count);
        from = stretches[count - 1].offset + stretches[count - 1].length;
    }
    return NULL;
}

/* segment: the one of the stretch before, used again when it is the same. */
static cf_err *read_stretch(cf_fuse_call *call, cf_layout *layout, const cf_stretch *stretch, const cf_ref *before,
                            cf_segment **segment, uint8_t *out) {
    const cf_ref *ref = &stretch->ref;
    cf_ahead *ahead = call->fs->ahead;
    if (!*segment || before->pack != ref->pack || before->segment != ref->segment) {
        cf_segment_release(cf_take(*segment));
        cf_ahead_wait(ahead, ref->pack, ref->segment);
        CF_TRY(cf_lane_segment(call->desk->lane, cf_call_map(call), CF_KIND_DATA, ref->pack, ref->segment, segment));
        if (cf_layout_size(layout) < LARGE)
            cf_ahead_touch(ahead, cf_call_map(call), CF_KIND_DATA, ref->pack, ref->segment);
    }
    cf_span chunk = cf_segment_raw(*segment);
    if (!stretch->checked) {
        CF_TRY(cf_lane_chunk_in(call->desk->lane, *segment, CF_KIND_DATA, ref, &chunk));
        cf_layout_checked(layout, stretch);
    } else { /* its place in the segment was checked with it */
        chunk = cf_span_of(chunk.data + ref->offset, ref->length);
    }
    memcpy(out, chunk.data + stretch->skip, stretch->length);
    return NULL;
}

static cf_err *read_all(cf_fuse_call *call, cf_layout *layout, uint64_t offset, size_t size, size_t *got) {
    CF_AUTO(cf_segment) segment = NULL;
    cf_stretch stretches[STRETCHES];
    cf_ref before = {0};
    uint8_t *out = call->desk->buffer;
    for (*got = 0; *got < size;) {
        size_t count;
        CF_TRY(cf_layout_map(layout, call->desk->lane, cf_call_map(call), offset + *got, size - *got, stretches,
                             STRETCHES, &count));
        if (count == 0) return NULL;
        resolve(call, stretches, count);
        for (size_t i = 0; i < count; i++) {
            const cf_stretch *stretch = &stretches[i];
            if (stretch->hole) {
                memset(out + *got, 0, stretch->length);
            } else {
                CF_TRY(read_stretch(call, layout, stretch, &before, &segment, out + *got));
                before = stretch->ref;
            }
            *got += stretch->length;
        }
    }
    return NULL;
}

static cf_err *read_file(cf_fuse_call *call, uint64_t offset, size_t size, size_t *got) {
    CF_AUTO(cf_file) file = NULL;
    CF_AUTO(cf_layout) small = NULL;
    *got = 0;
    CF_TRY(open_layout(call, &file, &small));
    if (small) return read_all(call, small, offset, size, got);
    if (!file) return NULL;
    cf_layout *layout = cf_file_layout(file);
    if (cf_layout_size(layout) >= LARGE) CF_TRY(read_ahead(call, layout, offset, offset + size));
    return read_all(call, layout, offset, size, got);
}

void cf_op_read(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset, struct fuse_file_info *info) {
    (void)info;
    cf_fuse_call call;
    size_t got = 0;
    if (!cf_call_begin(&call, request, inode)) return;
    if (size > CF_MOUNT_READ_MAX) size = CF_MOUNT_READ_MAX;
    cf_err *err = call.of_point ? read_file(&call, (uint64_t)offset, size, &got) : NULL;
    if (err)
        cf_call_fail(&call, err);
    else
        fuse_reply_buf(request, (char *)call.desk->buffer, got);
    cf_call_end(&call);
}

void cf_op_open(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *info) {
    const cf_fs *fs = fuse_req_userdata(request);
    (void)inode;
    info->keep_cache = 1;
    if (fs->no_open)
        fuse_reply_err(request, ENOSYS); /* the kernel asks no more, and keeps what it has read */
    else
        fuse_reply_open(request, info);
}

static cf_err *seek(cf_fuse_call *call, uint64_t offset, int whence, uint64_t *found, bool *any) {
    CF_AUTO(cf_file) file = NULL;
    *any = false;
    CF_TRY(open_layout(call, &file, NULL));
    if (!file) return NULL;
    *any = whence == SEEK_DATA ? cf_layout_next_data(cf_file_layout(file), offset, found)
                               : cf_layout_next_hole(cf_file_layout(file), offset, found);
    return NULL;
}

void cf_op_lseek(fuse_req_t request, fuse_ino_t inode, off_t offset, int whence, struct fuse_file_info *info) {
    (void)info;
    cf_fuse_call call;
    uint64_t found = 0;
    bool any = false;
    if (offset < 0 || (whence != SEEK_DATA && whence != SEEK_HOLE)) {
        fuse_reply_err(request, EINVAL);
        return;
    }
    if (!cf_call_begin(&call, request, inode)) return;
    cf_err *err = call.of_point ? seek(&call, (uint64_t)offset, whence, &found, &any) : NULL;
    if (err)
        cf_call_fail(&call, err);
    else if (any)
        fuse_reply_lseek(request, (off_t)found);
    else
        fuse_reply_err(request, ENXIO);
    cf_call_end(&call);
}

/* ---- Giving small files ahead ---- */

static cf_err *push_pin(void *context, size_t slot, cf_volume **volume) {
    cf_fs *fs = context;
    return cf_points_pin(fs->points, slot, volume);
}

static void push_unpin(void *context, size_t slot) {
    cf_fs *fs = context;
    cf_points_unpin(fs->points, slot);
}

static cf_err *push_give(void *context, cf_lane *lane, size_t slot, cf_volume *volume, const cf_place *place,
                         bool *refused) {
    cf_fs *fs = context;
    CF_AUTO(cf_layout) layout = NULL;
    cf_desk desk = {.lane = lane, .buffer = fs->push_buffer};
    cf_fuse_call call = {
        .fs = fs, .desk = &desk, .of_point = true, .slot = slot, .number = place->number, .volume = volume};
    size_t got = 0;
    CF_TRY(layout_at(place, &layout));
    if (!layout || cf_layout_size(layout) > CF_PUSH_FILE_MAX) return NULL;
    CF_TRY(read_all(&call, layout, 0, (size_t)cf_layout_size(layout), &got));
    struct fuse_bufvec bytes = FUSE_BUFVEC_INIT(got);
    bytes.buf[0].mem = fs->push_buffer;
    fuse_ino_t inode = cf_inode_of(fs, slot, place->number);
    *refused = fuse_lowlevel_notify_store(fs->session, inode, 0, &bytes, FUSE_BUF_NO_SPLICE) != 0;
    return NULL;
}

cf_err *cf_fs_push_start(cf_fs *fs, struct fuse_session *session) {
    const cf_push_ops ops = {.pin = push_pin, .unpin = push_unpin, .give = push_give, .context = fs};
    fs->session = session;
    fs->push_buffer = malloc(CF_PUSH_FILE_MAX);
    if (!fs->push_buffer) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for giving files");
    return cf_push_new(fs->options->reader, &ops, &fs->push);
}

void cf_fs_push_stop(cf_fs *fs) {
    cf_push_free(cf_take(fs->push));
}
