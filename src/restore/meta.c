/* Metadata of what has been restored. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include <linux/fs.h>

#include "base/text.h"
#include "restore/run.h"

/* A file whose inode flags forbid further names: they are given when all is done. */
struct cf_late {
    struct cf_late *next;
    cf_target *target;
    cf_name name;
    cf_buf entry;
};

/* With the report lock held. */
static void add(cf_restorer *run, int kind, int err_no, cf_span path, const char xattr[256]) {
    if (run->kinds.count[kind]++ > 0) return;
    run->kinds.err_no[kind] = err_no;
    run->kinds.first[kind] = cf_span_dup_text(path);
    memcpy(run->kinds.xattr[kind], xattr, 256);
}

static void gather(cf_restorer *run, const cf_meta_warnings *warnings, cf_span path) {
    pthread_mutex_lock(&run->report_lock);
    for (int kind = 0; kind < CF_META_WARNINGS; kind++)
        if (cf_meta_warned(warnings, (cf_meta_warning)kind))
            add(run, kind, warnings->err_no[kind], path, warnings->xattr);
    pthread_mutex_unlock(&run->report_lock);
}

void cf_restorer_no_device(cf_restorer *run, cf_span path, int err_no) {
    static const char none[256];
    pthread_mutex_lock(&run->report_lock);
    add(run, CF_KIND_DEVICE, err_no, path, none);
    pthread_mutex_unlock(&run->report_lock);
}

cf_err *cf_restorer_meta(cf_lane_state *state, cf_entry *entry, int dirfd, const char *name, int fd, cf_span path) {
    cf_restorer *run = state->run;
    cf_err *err = cf_entry_xattrs(state->lane, run->point->map, entry, &state->xattr_bytes, state->xattrs_chunked);
    if (err) { /* the content is worth more than its attributes: give the rest */
        if (!cf_err_has(err, CF_F_DAMAGE)) return err;
        cf_restorer_damaged(run, path, cf_note(err, "extended attributes"));
        entry->meta.xattr_count = 0;
    }
    cf_meta_warnings warnings = {0};
    CF_TRY(cf_meta_apply(state->store, dirfd, name, fd, &entry->meta, &run->apply, &warnings));
    if (warnings.kinds) gather(run, &warnings, path);
    return NULL;
}

void cf_restorer_meta_summary(cf_restorer *run) {
    for (int kind = 0; kind < CF_KINDS; kind++) {
        uint64_t count = run->kinds.count[kind];
        if (count == 0) continue;
        const char *word = kind == CF_KIND_DEVICE ? "device" : cf_meta_warning_word((cf_meta_warning)kind);
        cf_span path = run->kinds.first[kind] ? cf_span_text(run->kinds.first[kind]) : (cf_span){0};
        CF_AUTO_FREE char *printable = cf_text_printable(path);
        bool attribute =
            kind == CF_META_XATTR || kind == CF_META_ACL || kind == CF_META_CAPABILITY || kind == CF_META_NTFS;
        cf_err *err = cf_fail_errno(CF_ERR_METADATA_NOT_APPLIED, run->kinds.err_no[kind],
                                    "%s%s%s%s of %llu object%s, the first: %s", word, attribute ? " (" : "",
                                    attribute ? run->kinds.xattr[kind] : "", attribute ? ")" : "",
                                    (unsigned long long)count, count == 1 ? "" : "s", printable ? printable : "");
        cf_err_set_reason(err, word);
        cf_restorer_warn(run, path, err);
    }
}

cf_err *cf_restorer_late(cf_restorer *run, cf_target *target, const char *name, const cf_entry *entry) {
    struct cf_late *late = calloc(1, sizeof *late);
    if (!late) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for inode flags");
    cf_buf_init(&late->entry, 2u * CF_NODE_MAX);
    cf_err *err = cf_name_from(cf_span_text(name), &late->name);
    if (!err) err = cf_entry_encode(entry, &late->entry);
    if (err) {
        cf_buf_wipe(&late->entry);
        free(late);
        return err;
    }
    late->target = target;
    cf_target_hold(late->target);
    pthread_mutex_lock(&run->lock);
    late->next = run->late;
    run->late = late;
    pthread_mutex_unlock(&run->lock);
    return NULL;
}

static cf_err *late_one(cf_restorer *run, struct cf_late *late, cf_span path) {
    cf_entry entry;
    CF_TRY(cf_entry_decode(cf_buf_span(&late->entry), run->self.xattrs, &entry));
    CF_AUTO_FD int folder = -1;
    CF_TRY(cf_target_open(late->target, &folder));
    CF_AUTO_FD int fd = openat(folder, late->name.text, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) return cf_fail_errno(CF_ERR_IO, errno, "cannot open %s again", late->name.text);
    return cf_restorer_meta(&run->self, &entry, fd, "", fd, path);
}

void cf_restorer_late_apply(cf_restorer *run) {
    while (run->late) {
        struct cf_late *late = run->late;
        run->late = late->next;
        CF_AUTO_BUF cf_buf path;
        cf_buf_init(&path, 16u << 20);
        cf_restorer_path(late->target, cf_span_text(late->name.text), &path);
        cf_err *err = late_one(run, late, cf_buf_span(&path));
        if (err) cf_restorer_warn(run, cf_buf_span(&path), cf_wrap(err, CF_ERR_FILE_NOT_RESTORED, "inode flags"));
        cf_target_release(late->target);
        cf_buf_wipe(&late->entry);
        free(late);
    }
}
