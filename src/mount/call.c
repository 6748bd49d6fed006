#include <errno.h>
#include <stdlib.h>

#include "base/text.h"
#include "mount/fs.h"

enum { AGAIN_DAMAGE_MS = 600000, AGAIN_PASSING_MS = 15000 };

/* ---- Desks ---- */

static void desk_free(cf_desk *desk) {
    if (!desk) return;
    cf_lane_free(desk->lane);
    free(desk->buffer);
    free(desk);
}
CF_DEFINE_AUTO(cf_desk, desk_free)

static cf_err *desk_new(cf_fs *fs, cf_desk **out) {
    CF_AUTO(cf_desk) desk = calloc(1, sizeof *desk);
    if (desk) desk->buffer = malloc(CF_MOUNT_READ_MAX);
    if (!desk || !desk->buffer) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory to answer a request");
    CF_TRY(cf_lane_new(fs->options->reader, &desk->lane));
    *out = cf_take(desk);
    return NULL;
}

static cf_err *desk_take(cf_fs *fs, cf_desk **desk) {
    pthread_mutex_lock(&fs->lock);
    cf_desk *free_one = fs->desks;
    if (free_one) fs->desks = free_one->next;
    pthread_mutex_unlock(&fs->lock);
    if (!free_one) return desk_new(fs, desk);
    *desk = free_one;
    return NULL;
}

static void desk_give(cf_fs *fs, cf_desk *desk) {
    pthread_mutex_lock(&fs->lock);
    desk->next = fs->desks;
    fs->desks = desk;
    pthread_mutex_unlock(&fs->lock);
}

/* ---- The state ---- */

cf_err *cf_fs_new(const cf_mount_options *options, cf_fs **out) {
    CF_AUTO(cf_fs) fs = calloc(1, sizeof *fs);
    if (!fs) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a mount");
    fs->options = options;
    pthread_mutex_init(&fs->lock, NULL);
    atomic_store(&fs->used_ms, cf_clock_ms(&options->clock));
    CF_TRY(cf_ahead_new(options->reader, CF_MOUNT_AHEAD_THREADS, &fs->ahead));
    CF_TRY(cf_pages_new(CF_MOUNT_PAGES, fs->ahead, &fs->pages));
    CF_TRY(cf_files_new(CF_MOUNT_FILES, &fs->files));
    CF_TRY(cf_points_new(options->reader, fs->pages, options->rows, options->count, &fs->points));
    *out = cf_take(fs);
    return NULL;
}

void cf_fs_free(cf_fs *fs) {
    if (!fs) return;
    cf_fs_push_stop(fs);
    free(fs->push_buffer);
    cf_points_free(fs->points);
    cf_files_free(fs->files);
    cf_pages_free(fs->pages);
    cf_ahead_free(fs->ahead);
    while (fs->desks) {
        cf_desk *next = fs->desks->next;
        desk_free(fs->desks);
        fs->desks = next;
    }
    pthread_mutex_destroy(&fs->lock);
    free(fs);
}

/* ---- Requests ---- */

static cf_err *begin(cf_fuse_call *call) {
    CF_TRY(desk_take(call->fs, &call->desk));
    if (!call->of_point) return NULL;
    return cf_points_pin(call->fs->points, call->slot, &call->volume);
}

bool cf_call_begin(cf_fuse_call *call, fuse_req_t request, fuse_ino_t inode) {
    cf_fs *fs = fuse_req_userdata(request);
    *call = (cf_fuse_call){.fs = fs, .request = request, .inode = inode};
    atomic_store_explicit(&fs->used_ms, cf_clock_ms(&fs->options->clock), memory_order_relaxed);
    call->of_point = cf_inode_parse(fs, inode, &call->slot, &call->number);
    cf_err *err = begin(call);
    if (!err) return true;
    cf_call_fail(call, err);
    cf_call_end(call);
    return false;
}

void cf_call_end(cf_fuse_call *call) {
    if (call->volume) cf_points_unpin(call->fs->points, call->slot);
    if (call->desk) desk_give(call->fs, call->desk);
    /* A request that takes long (the vault was away) is use until its end. */
    atomic_store_explicit(&call->fs->used_ms, cf_clock_ms(&call->fs->options->clock), memory_order_relaxed);
}

/* ---- Failures ---- */

/* Whoever reads a damaged file tries again and again: each thing is told once, and told again only after a while. */
static bool is_news(cf_fs *fs, fuse_ino_t inode, const cf_err *err) {
    bool lasting = cf_err_has(err, CF_F_DAMAGE | CF_F_WARNING);
    cf_report report = {lasting ? inode : 0, cf_err_code(err), cf_clock_ms(&fs->options->clock)};
    uint64_t again = lasting ? AGAIN_DAMAGE_MS : AGAIN_PASSING_MS;
    bool news = true;
    pthread_mutex_lock(&fs->lock);
    for (unsigned i = 0; news && i < CF_MOUNT_REPORTS; i++) {
        const cf_report *before = &fs->reports[i];
        news = before->code != report.code || before->inode != report.inode || report.when_ms - before->when_ms > again;
    }
    if (news) fs->reports[fs->next_report++ % CF_MOUNT_REPORTS] = report;
    pthread_mutex_unlock(&fs->lock);
    return news;
}

/* walk: also the path within the point, which may have to be read. */
static void put_path(cf_fuse_call *call, bool walk, cf_buf *path) {
    cf_point_info info;
    cf_buf_init(path, 1 << 20);
    if (call->fs->options->all && call->of_point && cf_points_info(call->fs->points, call->slot, &info)) {
        cf_buf_put_u8(path, '/');
        cf_buf_put_span(path, cf_span_text(info.name));
    }
    CF_AUTO_BUF cf_buf within;
    cf_buf_init(&within, 1 << 20);
    if (call->volume && walk) cf_volume_path(call->volume, call->desk->lane, call->number, &within);
    cf_buf_put_span(path, cf_buf_span(&within));
}

void cf_call_fail(cf_fuse_call *call, cf_err *err) {
    CF_AUTO(cf_err) owned = err;
    if (is_news(call->fs, call->inode, owned)) {
        CF_AUTO_BUF cf_buf path;
        put_path(call, cf_err_has(owned, CF_F_DAMAGE | CF_F_WARNING), &path);
        call->fs->options->failed(call->fs->options->context, cf_buf_span(&path), owned);
    }
    fuse_reply_err(call->request, cf_err_code(owned) == CF_ERR_OUT_OF_MEMORY ? ENOMEM : EIO);
}

cf_err *cf_call_unread(uint32_t code) {
    return cf_fail(CF_ERR_ENTRY_NOT_BACKED_UP, "it could not be read when the backup ran (error %u)", code);
}
