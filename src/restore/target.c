/* Folders at the destination. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "os/fail.h"
#include "os/hooks.h"
#include "restore/run.h"

static int open_folder(int at, const char *name) {
    return openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

void cf_target_hold(cf_target *target) {
    atomic_fetch_add(&target->refs, 1);
}

void cf_target_release(cf_target *target) {
    while (target && atomic_fetch_sub(&target->refs, 1) == 1) {
        cf_target *parent = target->parent;
        if (target->fd >= 0) close(target->fd);
        cf_buf_wipe(&target->entry);
        cf_buf_wipe(&target->source);
        free(target);
        target = parent;
    }
}

cf_err *cf_target_new(cf_restorer *run, cf_target *parent, const cf_entry *entry, cf_target **out) {
    cf_target *target = calloc(1, sizeof *target);
    if (!target) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a folder");
    target->run = run;
    target->fd = -1;
    atomic_init(&target->refs, 1);
    atomic_init(&target->busy, 1);
    cf_buf_init(&target->entry, 2u * CF_NODE_MAX);
    cf_buf_init(&target->source, 4096);
    cf_err *err = NULL;
    if (entry) err = cf_entry_encode(entry, &target->entry);
    if (!err && entry) cf_buf_put_span(&target->source, entry->name);
    if (!err) err = cf_buf_check(&target->source, "a name");
    if (err) {
        cf_target_release(target);
        return err;
    }
    if (parent) {
        target->parent = parent;
        cf_target_hold(parent);
        cf_target_begin(parent);
    }
    *out = target;
    return NULL;
}

void cf_target_begin(cf_target *target) {
    atomic_fetch_add(&target->busy, 1);
}

static void give_metadata(cf_target *target, cf_lane_state *state) {
    if (!target->give_metadata || target->fd < 0 || atomic_load(&target->run->stop)) return;
    cf_entry entry;
    CF_AUTO_BUF cf_buf path;
    cf_buf_init(&path, 16u << 20);
    cf_restorer_path(target, (cf_span){0}, &path);
    cf_err *err = cf_entry_decode(cf_buf_span(&target->entry), state->xattrs, &entry);
    if (!err) err = cf_restorer_meta(state, &entry, target->fd, "", target->fd, cf_buf_span(&path));
    if (err) cf_restorer_trouble(target->run, target, (cf_span){0}, err);
}

void cf_target_end(cf_target *target, cf_lane_state *state) {
    while (target && atomic_fetch_sub(&target->busy, 1) == 1) {
        cf_target *parent = target->parent;
        give_metadata(target, state);
        if (target->fd >= 0 && parent) {
            close(target->fd);
            target->fd = -1;
        }
        target = parent;
    }
}

/* From the top, which stays open, one name at a time: no link can lead elsewhere, and no other thread closes
 * what is used here. */
cf_err *cf_target_open(const cf_target *target, int *fd) {
    size_t depth = 0;
    const cf_target *top = target;
    for (; top->parent; top = top->parent) depth++;
    int at = open_folder(top->fd, ".");
    int err_no = errno;
    for (; at >= 0 && depth > 0; depth--) {
        const cf_target *step = target;
        for (size_t up = 1; up < depth; up++) step = step->parent;
        int next = open_folder(at, step->name);
        err_no = errno;
        close(at);
        at = next;
    }
    if (at < 0) return cf_os_fail(err_no, "open", target->name);
    *fd = at;
    return NULL;
}

static cf_err *make_folder(cf_target *target, int at, const cf_entry *entry) {
    if (cf_sys_mkdir(at, target->name, 0700) < 0) return cf_os_fail(errno, "make the folder", target->name);
    target->fd = open_folder(at, target->name);
    if (target->fd < 0) return cf_os_fail(errno, "open", target->name);
    target->fresh = true;
    cf_meta_warnings ignored = {0}; /* what it cannot do, giving all the metadata at the end reports */
    cf_meta_apply_new(target->fd, &entry->meta, &ignored);
    return NULL;
}

/* Something that is no folder has the name. */
static cf_err *obstacle(cf_restorer *run, cf_target *target, int at, const cf_entry *entry, bool *entered) {
    *entered = false;
    switch (run->options->conflict) {
    case CF_CONFLICT_SKIP:
        cf_restorer_count(run, &run->result->skipped, 1);
        return NULL;
    case CF_CONFLICT_OVERWRITE:
        if (cf_sys_unlink(at, target->name) < 0) return cf_os_fail(errno, "remove", target->name);
        *entered = true;
        return make_folder(target, at, entry);
    case CF_CONFLICT_COPY:
        break;
    }
    char original[CF_NAME_SIZE];
    memcpy(original, target->name, sizeof original);
    for (unsigned number = 1; number < 100; number++) {
        cf_name name;
        cf_restorer_copy_name(run, number, original, &name);
        memcpy(target->name, name.text, sizeof target->name);
        target->fd = open_folder(at, name.text);
        if (target->fd < 0 && errno != ENOENT) continue;
        *entered = true;
        return target->fd < 0 ? make_folder(target, at, entry) : NULL;
    }
    return cf_fail(CF_ERR_RESTORE_CONFLICT, "%s: too many copies stand beside it", original);
}

/* A folder that is there may be marked immutable; it gets its flags again with its metadata. */
static cf_err *unlock(cf_restorer *run, const cf_target *target) {
    if (run->options->dry_run || run->options->conflict != CF_CONFLICT_OVERWRITE) return NULL;
    CF_AUTO(cf_err) err = cf_meta_clear_flags(target->fd, target->name, NULL);
    return NULL; /* what then cannot be written says so itself */
}

static cf_err *enter(cf_restorer *run, cf_target *target, cf_target *parent, const cf_entry *entry, bool *entered) {
    *entered = true;
    if (run->options->dry_run && parent->fd < 0) return NULL;
    if (!parent->fresh) {
        target->fd = open_folder(parent->fd, target->name);
        if (target->fd >= 0) return unlock(run, target);
        if (errno == ENOTDIR || errno == ELOOP) {
            if (run->options->dry_run) return NULL;
            return obstacle(run, target, parent->fd, entry, entered);
        }
        if (errno != ENOENT) return cf_os_fail(errno, "open", target->name);
    }
    if (run->options->dry_run) return NULL;
    return make_folder(target, parent->fd, entry);
}

cf_err *cf_restorer_alias(cf_restorer *run, cf_target *parent, const cf_entry *entry, bool mend, cf_target **out) {
    cf_target *target;
    CF_TRY(cf_target_new(run, parent, entry, &target));
    target->name[0] = '.';
    target->fresh = parent->fresh;
    target->give_metadata = mend && parent->fresh;
    if (parent->fd >= 0) target->fd = open_folder(parent->fd, ".");
    if (parent->fd >= 0 && target->fd < 0) {
        cf_err *err = cf_os_fail(errno, "open", "the destination");
        cf_target_end(target, &run->self);
        cf_target_release(target);
        return err;
    }
    *out = target;
    return NULL;
}

cf_err *cf_restorer_folder(cf_restorer *run, cf_target *parent, const cf_entry *entry, bool meant, cf_target **out,
                           bool *entered) {
    cf_name name;
    CF_TRY(cf_name_from(entry->name, &name));
    cf_target *target;
    CF_TRY(cf_target_new(run, parent, entry, &target));
    memcpy(target->name, name.text, sizeof target->name);
    bool in = false;
    cf_err *err = enter(run, target, parent, entry, &in);
    if (err || !in) {
        cf_target_end(target, &run->self);
        cf_target_release(target);
        *entered = false;
        return err;
    }
    /* A folder that was there and is only on the way to what is meant keeps what it has. */
    bool mend = meant && !entry->implied && run->options->conflict != CF_CONFLICT_SKIP && !run->options->dry_run;
    target->give_metadata = target->fresh || mend;
    *out = target;
    *entered = true;
    return NULL;
}
