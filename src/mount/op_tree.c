/* Names, attributes, folders. */
#include <errno.h>
#include <stdlib.h>

#include "mount/fs.h"

/* The attributes of "latest" and of the folder of points may change; nothing else does. */
enum { SOON_S = 10 };

/* ---- Entries ---- */

/* Of what was not backed up, neither size nor target is known. Nobody would ask for the content of a file of no bytes,
 * and would take it for what the file held: so it fails when it is looked at. An unread folder fails when it is listed. */
static bool can_be_shown(const cf_entry *entry) {
    cf_file_type type = entry->meta.type;
    return !entry->not_read || type == CF_TYPE_DIRECTORY || type == CF_TYPE_FIFO || type == CF_TYPE_SOCKET;
}

/* Fills what the kernel learns of an entry. *code: it was not backed up, and cannot be shown. */
static void describe(cf_fuse_call *call, const cf_place *place, struct fuse_entry_param *param, uint32_t *code) {
    cf_entry entry;
    *param = (struct fuse_entry_param){.attr_timeout = CF_MOUNT_FOREVER, .entry_timeout = CF_MOUNT_FOREVER};
    cf_page_lock(place->page);
    cf_page_entry(place->page, place->index, &entry);
    *code = can_be_shown(&entry) ? 0 : entry.code ? entry.code : CF_ERR_ENTRY_NOT_BACKED_UP;
    param->ino = cf_inode_of(call->fs, call->slot, place->number);
    cf_inode_stat(call->fs, call->slot, place->number, &entry, &param->attr);
    cf_volume_learn(call->volume, place, &entry);
    cf_page_unlock(place->page);
}

static cf_err *open_folder(cf_fuse_call *call, cf_folder *folder, bool *is_folder) {
    CF_TRY(cf_volume_folder(call->volume, call->desk->lane, call->number, folder, is_folder));
    return *is_folder && folder->unread ? cf_call_unread(folder->unread) : NULL;
}

static cf_err *lookup_in_point(cf_fuse_call *call, const char *name, struct fuse_entry_param *param) {
    CF_AUTO_PLACE cf_place place = {0};
    cf_folder folder;
    bool found = false, is_folder;
    *param = (struct fuse_entry_param){.entry_timeout = CF_MOUNT_FOREVER}; /* "there is no such name" */
    CF_TRY(open_folder(call, &folder, &is_folder));
    if (is_folder) CF_TRY(cf_volume_child(call->volume, call->desk->lane, &folder, cf_span_text(name), &place, &found));
    if (!found) return NULL;
    uint32_t code;
    describe(call, &place, param, &code);
    return code ? cf_call_unread(code) : NULL;
}

static void describe_latest(struct fuse_entry_param *param, const cf_point_info *info) {
    *param = (struct fuse_entry_param){.ino = CF_INODE_LATEST, .attr_timeout = SOON_S, .entry_timeout = SOON_S};
    cf_inode_stat_root(CF_INODE_LATEST, (int64_t)info->summary.started, &param->attr);
    param->attr.st_mode = S_IFLNK | 0777;
    param->attr.st_size = (off_t)strlen(info->name);
}

static void describe_point(const cf_fs *fs, size_t slot, const cf_point_info *info, struct fuse_entry_param *param) {
    *param = (struct fuse_entry_param){
        .ino = cf_inode_of(fs, slot, 0), .attr_timeout = CF_MOUNT_FOREVER, .entry_timeout = CF_MOUNT_FOREVER};
    cf_inode_stat_root(param->ino, (int64_t)info->summary.started, &param->attr);
}

static void lookup_point(cf_fuse_call *call, const char *name, struct fuse_entry_param *param) {
    cf_points *points = call->fs->points;
    cf_point_info info;
    size_t slot;
    *param = (struct fuse_entry_param){0}; /* no such name; it may come */
    if (call->inode != FUSE_ROOT_ID) return;
    if (call->fs->look) call->fs->look(call->fs->look_context);
    if (strcmp(name, "latest") == 0 && cf_points_latest(points, &slot) && cf_points_info(points, slot, &info))
        describe_latest(param, &info);
    else if (cf_points_find(points, cf_span_text(name), &slot) && cf_points_info(points, slot, &info))
        describe_point(call->fs, slot, &info, param);
}

void cf_op_lookup(fuse_req_t request, fuse_ino_t parent, const char *name) {
    cf_fuse_call call;
    struct fuse_entry_param param;
    if (!cf_call_begin(&call, request, parent)) return;
    cf_err *err = NULL;
    if (call.of_point)
        err = lookup_in_point(&call, name, &param);
    else
        lookup_point(&call, name, &param);
    if (err)
        cf_call_fail(&call, err);
    else if (param.ino == 0 && param.entry_timeout == 0)
        fuse_reply_err(request, ENOENT);
    else
        fuse_reply_entry(request, &param);
    cf_call_end(&call);
}

/* ---- Attributes ---- */

static cf_err *attributes(cf_fuse_call *call, struct stat *stat, double *timeout) {
    cf_point_info info = {0};
    *timeout = CF_MOUNT_FOREVER;
    if (!call->of_point) { /* the folder of points, or "latest" */
        struct fuse_entry_param param;
        size_t slot;
        *timeout = SOON_S;
        if (cf_points_latest(call->fs->points, &slot)) (void)cf_points_info(call->fs->points, slot, &info);
        describe_latest(&param, &info);
        if (call->inode == FUSE_ROOT_ID)
            cf_inode_stat_root(FUSE_ROOT_ID, (int64_t)info.summary.started, stat);
        else
            *stat = param.attr;
        return NULL;
    }
    if (call->number == 0) {
        (void)cf_points_info(call->fs->points, call->slot, &info);
        cf_inode_stat_root(call->inode, (int64_t)info.summary.started, stat);
        return NULL;
    }
    CF_AUTO_PLACE cf_place place = {0};
    CF_TRY(cf_volume_at(call->volume, call->desk->lane, call->number, &place));
    struct fuse_entry_param param;
    uint32_t code;
    describe(call, &place, &param, &code);
    *stat = param.attr;
    return NULL;
}

void cf_op_getattr(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *info) {
    (void)info;
    cf_fuse_call call;
    struct stat stat;
    double timeout;
    if (!cf_call_begin(&call, request, inode)) return;
    cf_err *err = attributes(&call, &stat, &timeout);
    if (err)
        cf_call_fail(&call, err);
    else
        fuse_reply_attr(request, &stat, timeout);
    cf_call_end(&call);
}

static cf_err *read_link(cf_fuse_call *call, char target[4096]) {
    CF_AUTO_PLACE cf_place place = {0};
    CF_TRY(cf_volume_at(call->volume, call->desk->lane, call->number, &place));
    cf_entry entry;
    cf_page_lock(place.page);
    cf_page_entry(place.page, place.index, &entry);
    size_t size = entry.meta.target.size < 4095 ? entry.meta.target.size : 4095; /* the format allows no more */
    if (size) memcpy(target, entry.meta.target.data, size);
    target[size] = 0;
    cf_page_unlock(place.page);
    return NULL;
}

void cf_op_readlink(fuse_req_t request, fuse_ino_t inode) {
    cf_fuse_call call;
    char target[4096] = "";
    cf_point_info info;
    size_t slot;
    if (!cf_call_begin(&call, request, inode)) return;
    cf_err *err = NULL;
    if (call.of_point)
        err = read_link(&call, target);
    else if (cf_points_latest(call.fs->points, &slot) && cf_points_info(call.fs->points, slot, &info))
        memcpy(target, info.name, sizeof info.name);
    if (err)
        cf_call_fail(&call, err);
    else
        fuse_reply_readlink(request, target);
    cf_call_end(&call);
}

/* ---- Folders ---- */

/* A listing that is being put together. Offsets: 1 behind ".", 2 behind ".."; behind an entry of a point, 2 and how far
 * its last number is above the folder's; behind a point, 4 and its slot. So one can go on anywhere, and nothing is
 * kept between two requests. */
struct listing {
    cf_fuse_call *call;
    bool plus, full;
    char *at;
    size_t left;
};

enum { BEHIND_DOT = 1, BEHIND_DOTS = 2, BEHIND_LATEST = 3 };

static void add(struct listing *list, const char *name, const struct fuse_entry_param *param, off_t behind) {
    fuse_req_t request = list->call->request;
    size_t took = list->plus ? fuse_add_direntry_plus(request, list->at, list->left, name, param, behind)
                             : fuse_add_direntry(request, list->at, list->left, name, &param->attr, behind);
    list->full = took > list->left;
    if (list->full) return;
    list->at += took;
    list->left -= took;
}

static void add_dots(struct listing *list, off_t offset) {
    struct fuse_entry_param param = {.attr = {.st_ino = list->call->inode, .st_mode = S_IFDIR | 0755}};
    if (offset < BEHIND_DOT) add(list, ".", &param, BEHIND_DOT);
    if (offset < BEHIND_DOTS && !list->full) add(list, "..", &param, BEHIND_DOTS);
}

static cf_err *list_folder(struct listing *list, off_t offset) {
    cf_fuse_call *call = list->call;
    CF_AUTO_PLACE cf_place place = {0};
    cf_folder folder;
    bool is_folder, more;
    CF_TRY(open_folder(call, &folder, &is_folder));
    if (!is_folder) return cf_fail_reason(CF_ERR_NODE_DAMAGED, "kind", "it is no folder");
    uint64_t number = folder.number + (offset > BEHIND_DOTS ? (uint64_t)offset - BEHIND_DOTS : 1);
    for (;; number = place.end) {
        CF_TRY(cf_volume_from(call->volume, call->desk->lane, &folder, number, &place, &more));
        if (!more) return NULL;
        struct fuse_entry_param param;
        uint32_t code;
        char name[256];
        describe(call, &place, &param, &code);
        if (code) param.ino = 0; /* its name is shown; asking for it fails and says why */
        cf_span text = cf_page_name(place.page, place.index);
        memcpy(name, text.data, text.size);
        name[text.size] = 0;
        add(list, name, &param, (off_t)(place.end - folder.number + BEHIND_DOTS));
        if (list->full) return NULL;
    }
}

static void list_points(struct listing *list, off_t offset) {
    const cf_fs *fs = list->call->fs;
    struct fuse_entry_param param;
    cf_point_info info;
    size_t slot = offset > BEHIND_LATEST ? (size_t)(offset - BEHIND_LATEST) : 0, latest;
    if (offset < BEHIND_LATEST && cf_points_latest(fs->points, &latest) && cf_points_info(fs->points, latest, &info)) {
        describe_latest(&param, &info);
        add(list, "latest", &param, BEHIND_LATEST);
    }
    for (size_t count = cf_points_slots(fs->points); slot < count && !list->full; slot++) {
        if (!cf_points_info(fs->points, slot, &info)) continue;
        describe_point(fs, slot, &info, &param);
        add(list, info.name, &param, (off_t)(slot + 1 + BEHIND_LATEST));
    }
}

static void read_folder(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset, bool plus) {
    cf_fuse_call call;
    if (!cf_call_begin(&call, request, inode)) return;
    if (size > CF_MOUNT_READ_MAX) size = CF_MOUNT_READ_MAX;
    struct listing list = {.call = &call, .plus = plus, .at = (char *)call.desk->buffer, .left = size};
    cf_err *err = NULL;
    add_dots(&list, offset);
    if (!list.full && call.of_point)
        err = list_folder(&list, offset);
    else if (!list.full)
        list_points(&list, offset);
    if (err && list.left == size) {
        cf_call_fail(&call, err);
    } else {
        /* What comes first is given; the failure is met again, and told, by the next request. */
        cf_err_free(err);
        fuse_reply_buf(request, (char *)call.desk->buffer, size - list.left);
    }
    cf_call_end(&call);
}

void cf_op_readdir(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset, struct fuse_file_info *info) {
    (void)info;
    read_folder(request, inode, size, offset, false);
}

void cf_op_readdirplus(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset, struct fuse_file_info *info) {
    (void)info;
    read_folder(request, inode, size, offset, true);
}

void cf_op_opendir(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *info) {
    const cf_fs *fs = fuse_req_userdata(request);
    bool points = fs->options->all && inode == FUSE_ROOT_ID;
    info->keep_cache = 1;
    info->cache_readdir = !points;
    if (points && fs->look) fs->look(fs->look_context);
    if (fs->no_opendir)
        fuse_reply_err(request, ENOSYS); /* the kernel asks no more, and keeps listings */
    else
        fuse_reply_open(request, info);
}

void cf_op_statfs(fuse_req_t request, fuse_ino_t inode) {
    cf_fuse_call call;
    if (!cf_call_begin(&call, request, inode)) return;
    cf_point_info info = {0};
    size_t slot = call.slot;
    if (call.of_point || cf_points_latest(call.fs->points, &slot)) (void)cf_points_info(call.fs->points, slot, &info);
    const cf_summary *summary = &info.summary;
    struct statvfs out = {.f_bsize = 4096,
                          .f_frsize = 4096,
                          .f_blocks = (summary->bytes + 4095) / 4096,
                          .f_files = summary->files + summary->directories + summary->others + 1,
                          .f_flag = ST_RDONLY | ST_NOSUID | ST_NODEV,
                          .f_namemax = 255};
    fuse_reply_statfs(request, &out);
    cf_call_end(&call);
}
