/* Removing what was found extra, and nothing else. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "os/dir.h"
#include "os/fail.h"
#include "os/meta.h"
#include "restore/extra_internal.h"

void cf_extras_free(cf_extras *extras) {
    if (!extras) return;
    cf_extras_report(extras, NULL);
    cf_beneath_free(extras->top);
    cf_buf_wipe(&extras->names);
    free(extras->list);
    free(extras->to);
    free(extras);
}

size_t cf_extras_count(const cf_extras *extras) {
    return extras->count;
}

uint64_t cf_extras_warnings(const cf_extras *extras) {
    return extras->warnings;
}

cf_err *cf_extras_place(const cf_extras *extras, cf_span folder, cf_span name, cf_buf *out) {
    cf_buf_reset(out);
    if (extras->to) cf_buf_put_span(out, cf_span_text(extras->to));
    while (out->size > 0 && out->data[out->size - 1] == '/') out->size--;
    if (folder.size) cf_buf_put_u8(out, '/');
    cf_buf_put_span(out, folder);
    if (name.size || out->size == 0) cf_buf_put_u8(out, '/');
    cf_buf_put_span(out, name);
    return cf_buf_check(out, "a path");
}

static cf_span folder_of(const cf_extras *extras, const cf_extra *extra) {
    return cf_span_of(extras->names.data + extra->folder, extra->folder_size);
}

static const char *name_of(const cf_extras *extras, const cf_extra *extra) {
    return (const char *)extras->names.data + extra->name;
}

cf_err *cf_extras_path(const cf_extras *extras, size_t index, cf_buf *out, cf_file_type *type) {
    const cf_extra *extra = &extras->list[index];
    *type = extra->type;
    return cf_extras_place(extras, folder_of(extras, extra), cf_span_text(name_of(extras, extra)), out);
}

void cf_extras_hold(cf_extras *extras, cf_span folder, cf_span name, cf_err *why) {
    struct cf_extra_held *held = calloc(1, sizeof *held);
    extras->warnings++;
    if (!held) { /* counted at least */
        cf_err_free(why);
        return;
    }
    cf_buf_init(&held->path, CF_EXTRA_PATH_MAX);
    cf_err *too_long = cf_extras_place(extras, folder, name, &held->path);
    cf_err_free(too_long); /* then the cause names it */
    CF_AUTO_FREE char *printable = cf_text_printable(cf_buf_span(&held->path));
    held->err = cf_wrap(why, CF_ERR_EXTRA_NOT_REMOVED, "%s", printable ? printable : "");
    held->next = extras->held;
    extras->held = held;
}

void cf_extras_report(cf_extras *extras, const cf_restore_options *options) {
    struct cf_extra_held *ordered = NULL;
    while (extras->held) {
        struct cf_extra_held *next = extras->held->next;
        extras->held->next = ordered;
        ordered = extras->held;
        extras->held = next;
    }
    while (ordered) {
        struct cf_extra_held *next = ordered->next;
        if (options && options->warning) options->warning(options->context, cf_buf_span(&ordered->path), ordered->err);
        cf_buf_wipe(&ordered->path);
        cf_err_free(ordered->err);
        free(ordered);
        ordered = next;
    }
}

/* The folder that is being cleaned. What it had before is given back: it was restored already. */
struct place {
    int fd;
    bool changed;
    uint32_t flags;
    struct timespec mtime;
};

static void place_close(struct place *place) {
    if (place->fd < 0) return;
    const struct timespec times[2] = {{0, UTIME_OMIT}, place->mtime};
    if (place->changed) (void)futimens(place->fd, times); /* a stranger's folder: then it never had the point's time */
    cf_err *err = place->flags ? cf_meta_set_flags(place->fd, "a folder", place->flags) : NULL;
    cf_err_free(err); /* they were there and could be taken away: giving them back is allowed */
    close(place->fd);
    place->fd = -1;
}

static cf_err *place_open(cf_extras *extras, cf_span folder, struct place *place) {
    struct stat st;
    *place = (struct place){.fd = -1};
    CF_TRY(cf_beneath_openat(extras->top, folder, O_RDONLY | O_DIRECTORY, &place->fd));
    if (fstat(place->fd, &st) == 0) {
        place->mtime = st.st_mtim;
        cf_err *err = cf_meta_clear_flags(place->fd, "a folder", &place->flags);
        if (!err) return NULL;
        cf_err_free(err); /* what then cannot be removed says so itself */
        place->flags = 0;
        return NULL;
    }
    cf_err *err = cf_os_fail_span(errno, "look at", folder);
    close(place->fd);
    place->fd = -1;
    return err;
}

/* A restore or backup of somebody else is writing it at this moment. */
static bool in_use(const cf_extra *extra, int fd, const char *name) {
    if (extra->type != CF_TYPE_FILE || strncmp(name, CF_FILE_TEMPORARY_PREFIX, strlen(CF_FILE_TEMPORARY_PREFIX)) != 0)
        return false;
    CF_AUTO_FD int file = openat(fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    return file >= 0 && flock(file, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

/* *gone: it was removed here. */
static cf_err *remove_one(const cf_extras *extras, const cf_extra *extra, int fd, bool *gone) {
    const char *name = name_of(extras, extra);
    cf_stat now;
    CF_AUTO(cf_err) err = cf_os_stat(fd, name, &now);
    if (cf_err_code(err) == CF_ERR_NOT_FOUND) return NULL;
    if (err) return cf_take(err);
    if (now.inode != extra->inode || now.device != extra->device || now.type != extra->type)
        return cf_fail(CF_ERR_IO, "something else has this name now");
    if (in_use(extra, fd, name)) return cf_fail(CF_ERR_IO, "another restore or backup is writing it");
    CF_TRY(cf_dir_remove_tree_forced(fd, name));
    *gone = true;
    return NULL;
}

static cf_err *report(const cf_extras *extras, size_t index, const cf_restore_options *options,
                      void (*removed)(void *context, cf_span path)) {
    if (!removed) return NULL;
    CF_AUTO_BUF cf_buf path;
    cf_buf_init(&path, CF_EXTRA_PATH_MAX);
    cf_file_type type;
    CF_TRY(cf_extras_path(extras, index, &path, &type));
    removed(options->context, cf_buf_span(&path));
    return NULL;
}

static cf_err *remove_all(cf_extras *extras, const cf_restore_options *options,
                          void (*removed)(void *context, cf_span path), struct place *place, uint64_t *deleted) {
    cf_span folder = {0};
    for (size_t i = 0; i < extras->count; i++) {
        const cf_extra *extra = &extras->list[i];
        cf_span its = folder_of(extras, extra), name = cf_span_text(name_of(extras, extra));
        CF_TRY(cf_cancel_check(options->cancel));
        if (place->fd >= 0 && !cf_span_equal(its, folder)) place_close(place);
        folder = its;
        bool gone = false;
        cf_err *err = place->fd < 0 ? place_open(extras, folder, place) : NULL;
        if (!err) err = remove_one(extras, extra, place->fd, &gone);
        if (cf_err_code(err) == CF_ERR_OUT_OF_MEMORY) return err;
        place->changed = place->changed || gone || err;
        if (err) cf_extras_hold(extras, folder, name, err);
        cf_extras_report(extras, options);
        if (!gone) continue;
        ++*deleted;
        CF_TRY(report(extras, i, options, removed));
    }
    return NULL;
}

cf_err *cf_extras_remove(cf_extras *extras, const cf_restore_options *options,
                         void (*removed)(void *context, cf_span path), uint64_t *deleted) {
    struct place place = {.fd = -1};
    *deleted = 0;
    cf_progress_phase(options->progress, "removing what is extra");
    cf_err *err = remove_all(extras, options, removed, &place, deleted);
    place_close(&place);
    if (*deleted == 0 || err) return err;
    if (syncfs(cf_beneath_fd(extras->top)) < 0) return cf_os_fail(errno, "sync", "the destination");
    if (!extras->to) sync(); /* in place, other file systems may lie below */
    return NULL;
}
