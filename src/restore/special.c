/* Symbolic links, FIFOs, devices, sockets: made at once by the planner. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/text.h"
#include "os/fail.h"
#include "os/file.h"
#include "os/hooks.h"
#include "restore/run.h"

/* Is what has this name the same object already, metadata aside? */
static cf_err *same_object(int dirfd, const char *name, const cf_meta *meta, bool *exists, bool *folder, bool *same) {
    struct stat st;
    *exists = *folder = *same = false;
    if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? NULL : cf_os_fail(errno, "look at", name);
    *exists = true;
    *folder = S_ISDIR(st.st_mode);
    dev_t device = makedev(meta->device_major, meta->device_minor);
    switch (meta->type) {
    case CF_TYPE_SYMLINK: {
        char target[4097];
        ssize_t size = S_ISLNK(st.st_mode) ? readlinkat(dirfd, name, target, sizeof target) : -1;
        *same = size >= 0 && cf_span_equal(cf_span_of(target, (size_t)size), meta->target);
        return NULL;
    }
    case CF_TYPE_FIFO:
        *same = S_ISFIFO(st.st_mode);
        return NULL;
    case CF_TYPE_CHARACTER:
        *same = S_ISCHR(st.st_mode) && st.st_rdev == device;
        return NULL;
    case CF_TYPE_BLOCK:
        *same = S_ISBLK(st.st_mode) && st.st_rdev == device;
        return NULL;
    default:
        return NULL;
    }
}

struct decision {
    cf_name name;
    bool same, skip, replace;
    cf_restore_action action;
};

static cf_err *decide(cf_restorer *run, int dirfd, const cf_meta *meta, const char *original, struct decision *out) {
    bool exists, folder;
    CF_TRY(same_object(dirfd, original, meta, &exists, &folder, &out->same));
    out->action = out->same ? CF_RESTORE_SAME : CF_RESTORE_CREATE;
    if (out->same || !exists) return NULL;
    if (run->options->conflict == CF_CONFLICT_SKIP) {
        out->skip = true;
        out->action = CF_RESTORE_SKIP;
        return NULL;
    }
    if (run->options->conflict == CF_CONFLICT_OVERWRITE) {
        if (folder) return cf_fail(CF_ERR_RESTORE_CONFLICT, "%s: a folder has this name", original);
        out->replace = true;
        out->action = CF_RESTORE_REPLACE;
        return NULL;
    }
    for (unsigned number = 1; number < 100; number++) {
        cf_restorer_copy_name(run, number, original, &out->name);
        CF_TRY(same_object(dirfd, out->name.text, meta, &exists, &folder, &out->same));
        out->action = out->same ? CF_RESTORE_SAME : CF_RESTORE_COPY;
        if (out->same || !exists) return NULL;
    }
    return cf_fail(CF_ERR_RESTORE_CONFLICT, "%s: too many copies stand beside it", original);
}

/* Complete under a temporary name, then given its own in one step. */
static cf_err *make(cf_restorer *run, cf_target *target, cf_entry *entry, const struct decision *what, cf_span path,
                    bool *made) {
    char temporary[CF_FILE_TEMPORARY_SIZE];
    cf_file_temporary_name(temporary);
    bool device = entry->meta.type == CF_TYPE_CHARACTER || entry->meta.type == CF_TYPE_BLOCK;
    cf_err *err = cf_meta_create(target->fd, temporary, &entry->meta, made);
    if (err && device && strcmp(cf_err_reason(err), "denied") == 0) {
        cf_restorer_no_device(run, path, cf_err_errno(err));
        cf_err_free(err);
        *made = false;
        return NULL;
    }
    if (err || !*made) return err;
    err = cf_restorer_meta(&run->self, entry, target->fd, temporary, -1, path);
    if (!err &&
        cf_sys_rename(target->fd, temporary, target->fd, what->name.text, what->replace ? 0 : RENAME_NOREPLACE) < 0) {
        int err_no = errno;
        bool retried = !what->replace && (err_no == EINVAL || err_no == ENOSYS) &&
                       cf_sys_link(target->fd, temporary, target->fd, what->name.text) == 0;
        if (!retried)
            err = cf_os_fail(err_no, "write", what->name.text);
        else if (cf_sys_unlink(target->fd, temporary) < 0)
            err = cf_os_fail(errno, "remove", temporary);
    }
    if (err) (void)cf_sys_unlink(target->fd, temporary); /* the first error is the one to tell */
    return err;
}

static cf_err *restore_special(cf_restorer *run, cf_target *target, const cf_entry *given, cf_span path,
                               cf_links **links) {
    cf_entry entry = *given;
    struct decision what = {0};
    CF_TRY(cf_name_from(entry.name, &what.name));
    if (entry.meta.type == CF_TYPE_SOCKET) {
        cf_restorer_count(run, &run->result->skipped, 1);
        return NULL;
    }
    char original[CF_NAME_SIZE];
    memcpy(original, what.name.text, sizeof original);
    if (!target->fresh && target->fd >= 0) CF_TRY(decide(run, target->fd, &entry.meta, original, &what));
    if (run->options->dry_run) {
        if (run->options->planned) run->options->planned(run->options->context, path, what.action, 0);
        if (!what.skip) cf_restorer_count(run, &run->result->others, 1);
        return NULL;
    }
    if (what.skip) {
        cf_restorer_count(run, &run->result->skipped, 1);
        return NULL;
    }
    bool first = true;
    if (entry.link_group) CF_TRY(cf_links_join(run, target, &entry, links, &first));
    if (!first) return NULL;
    bool made = true;
    if (what.same)
        CF_TRY(cf_restorer_meta(&run->self, &entry, target->fd, what.name.text, -1, path));
    else
        CF_TRY(make(run, target, &entry, &what, path, &made));
    if (*links) cf_links_made(run, *links, target, what.name.text, &run->self);
    *links = NULL;
    cf_restorer_count(run, &run->result->others, 1);
    return NULL;
}

void cf_restorer_special(cf_restorer *run, cf_target *target, const cf_entry *entry) {
    CF_AUTO_BUF cf_buf path;
    cf_buf_init(&path, 16u << 20);
    cf_restorer_path(target, entry->name, &path);
    cf_links *links = NULL;
    cf_err *err = restore_special(run, target, entry, cf_buf_span(&path), &links);
    if (err) cf_restorer_trouble(run, target, entry->name, err);
    if (links) cf_links_failed(run, links, CF_LINKS_FAILED, &run->self);
}
