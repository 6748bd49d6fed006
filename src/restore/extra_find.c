/* Finding what the destination has and the point has not. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/cachedir.h"
#include "os/dir.h"
#include "os/fail.h"
#include "os/mounts.h"
#include "policy/exclude.h"
#include "repo/tree.h"
#include "restore/extra_internal.h"
#include "restore/select.h"
#include "restore/strip.h"

enum { NAMES_MAX = 1 << 30 };

/* A folder of the point that is to be looked at. */
struct pending {
    cf_ref node;
    char *path;        /* in the point                                                              */
    size_t size, dest; /* from dest on: below the destination                                       */
    bool meant, clean; /* clean: extras in it go; meant alone: on the way, or above a source        */
};

/* An entry at the destination. */
struct listed {
    size_t name;
    size_t size;
    uint64_t inode;
    bool known; /* the point has it */
};

/* A folder that is the program's own, or above one. */
struct kept {
    uint64_t inode, device;
    bool above;
};

struct finder {
    cf_extras *out;
    const cf_restore_options *options;
    const cf_point *point;
    cf_lane *lane;
    cf_select *select;
    cf_exclude *excluded; /* NULL: nothing is */
    bool exclude_caches, exclude_nodump;
    cf_strip strip;
    struct pending *stack;
    size_t depth, room;
    struct kept *kept;
    size_t kept_count;
    cf_dir *dir;
    cf_buf names;
    struct listed *list;
    size_t listed, list_room;
    uint64_t *folded; /* inodes that names of the point lead to without being listed: names that differ in case */
    size_t folded_count, folded_room;
};

static cf_err *grow(void **array, size_t *room, size_t item) {
    size_t more = *room ? 2 * *room : 64;
    void *grown = reallocarray(*array, more, item);
    if (!grown) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for what is extra");
    *array = grown;
    *room = more;
    return NULL;
}

static cf_span dest_of(const struct pending *at) {
    return cf_span_of(at->path + at->dest, at->size - at->dest);
}

/* ---- What is never removed ---- */

static cf_err *keep_one(struct finder *self, const char *path, size_t *room) {
    CF_AUTO_FD int fd = -1;
    cf_err *missing = cf_dir_open_path(AT_FDCWD, cf_span_text(path), &fd);
    if (missing) { /* there is nothing to lose */
        cf_err_free(missing);
        return NULL;
    }
    uint64_t inode = 0, device = 0;
    for (bool above = false;; above = true) {
        cf_stat stat;
        CF_TRY(cf_os_stat(fd, "", &stat));
        if (above && stat.inode == inode && stat.device == device) return NULL; /* "/" */
        inode = stat.inode;
        device = stat.device;
        if (self->kept_count == *room) CF_TRY(grow((void **)&self->kept, room, sizeof *self->kept));
        self->kept[self->kept_count++] = (struct kept){inode, device, above};
        int up = openat(fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (up < 0) return cf_os_fail(errno, "open the folder above", path);
        close(fd);
        fd = up;
    }
}

static bool is_kept(const struct finder *self, const cf_stat *stat, bool *above) {
    bool found = false;
    *above = true;
    for (size_t i = 0; i < self->kept_count; i++)
        if (self->kept[i].inode == stat->inode && self->kept[i].device == stat->device) {
            found = true;
            *above = *above && self->kept[i].above;
        }
    return found;
}

/* ---- The stack ---- */

static cf_err *push(struct finder *self, const struct pending *parent, cf_span name, struct pending child) {
    size_t before = parent->size > 1 ? parent->size : 0; /* "/" itself */
    child.size = before + 1 + name.size;
    child.path = malloc(child.size + 1);
    if (!child.path) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a path");
    memcpy(child.path, parent->path, before);
    child.path[before] = '/';
    memcpy(child.path + before + 1, name.data, name.size);
    child.path[child.size] = 0;
    child.dest = parent->dest == parent->size ? before + 1 : parent->dest;
    bool is_source;
    if (cf_strip_here(&self->strip, cf_span_of(child.path, child.size), &is_source)) child.dest = child.size;
    cf_err *err = self->depth == self->room ? grow((void **)&self->stack, &self->room, sizeof *self->stack) : NULL;
    if (err) {
        free(child.path);
        return err;
    }
    self->stack[self->depth++] = child;
    return NULL;
}

/* ---- One folder's names ---- */

static int by_name(const void *a, const void *b, void *context) {
    const uint8_t *names = context;
    const struct listed *x = a, *y = b;
    return cf_span_compare(cf_span_of(names + x->name, x->size), cf_span_of(names + y->name, y->size));
}

static cf_err *list_folder(struct finder *self, int fd) {
    cf_buf_reset(&self->names);
    self->listed = self->folded_count = 0;
    CF_TRY(cf_dir_start(self->dir, fd, "a folder of the destination"));
    for (;;) {
        cf_dir_entry entry;
        bool more = false;
        CF_TRY(cf_dir_next(self->dir, &entry, &more));
        if (!more) break;
        if (self->listed == self->list_room) CF_TRY(grow((void **)&self->list, &self->list_room, sizeof *self->list));
        self->list[self->listed++] = (struct listed){self->names.size, entry.size, entry.inode, false};
        cf_buf_put_span(&self->names, cf_span_of(entry.name, entry.size + 1));
        CF_TRY(cf_buf_check(&self->names, "the names of a folder"));
    }
    if (self->listed) qsort_r(self->list, self->listed, sizeof *self->list, by_name, self->names.data);
    return NULL;
}

static struct listed *find_listed(struct finder *self, cf_span name) {
    size_t low = 0, high = self->listed;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        struct listed *at = &self->list[middle];
        int order = cf_span_compare(cf_span_of(self->names.data + at->name, at->size), name);
        if (order == 0) return at;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* A name of the point. Where the file system takes names of other case (or other characters) for the same, what it
 * leads to stands there under the name that was given first. */
static cf_err *mark_known(struct finder *self, int fd, cf_span name) {
    struct listed *listed = find_listed(self, name);
    if (listed) {
        listed->known = true;
        return NULL;
    }
    cf_name text;
    struct stat st;
    CF_TRY(cf_name_from(name, &text));
    if (self->listed == 0 || fstatat(fd, text.text, &st, AT_SYMLINK_NOFOLLOW) < 0) return NULL;
    if (self->folded_count == self->folded_room)
        CF_TRY(grow((void **)&self->folded, &self->folded_room, sizeof *self->folded));
    self->folded[self->folded_count++] = st.st_ino;
    return NULL;
}

static bool is_folded(const struct finder *self, uint64_t inode) {
    for (size_t i = 0; i < self->folded_count; i++)
        if (self->folded[i] == inode) return true;
    return false;
}

/* Every object that the point's names lead to must be one of those listed; otherwise it is not known which name is whose. */
static bool folding_understood(const struct finder *self) {
    for (size_t i = 0; i < self->folded_count; i++) {
        bool found = false;
        for (size_t j = 0; j < self->listed && !found; j++) found = self->list[j].inode == self->folded[i];
        if (!found) return false;
    }
    return true;
}

/* ---- One folder ---- */

static void warn(struct finder *self, const struct pending *at, cf_span name, cf_err *why) {
    cf_extras_hold(self->out, dest_of(at), name, why);
}

static cf_err *mounted(void) {
    return cf_os_fail(EXDEV, "remove", "what another file system is mounted on");
}

static cf_err *path_in_point(const struct pending *at, cf_span name, cf_buf *out) {
    cf_buf_init(out, CF_EXTRA_PATH_MAX);
    if (at->size > 1) cf_buf_put_span(out, cf_span_of(at->path, at->size));
    cf_buf_put_u8(out, '/');
    cf_buf_put_span(out, name);
    return cf_buf_check(out, "a path");
}

/* Would a backup have left it out? Then the point does not tell whether it was there. */
static cf_err *is_excluded(struct finder *self, const struct pending *at, cf_span name, const cf_stat *stat,
                           bool *excluded) {
    *excluded = self->exclude_nodump && stat->nodump;
    if (!self->excluded || *excluded) return NULL;
    CF_AUTO_BUF cf_buf path = {0};
    cf_exclude_match match;
    CF_TRY(path_in_point(at, name, &path));
    CF_TRY(cf_exclude_test(self->excluded, cf_buf_span(&path), stat->type == CF_TYPE_DIRECTORY, &match));
    *excluded = match.excluded;
    return NULL;
}

/* The root's exclusions, in order; those that begin with # are options (format, section 8). */
static cf_err *take_exclusions(struct finder *self, const cf_root *root) {
    if (root->exclusion_count == 0) return NULL;
    CF_TRY(cf_exclude_new(&self->excluded));
    for (size_t i = 0; i < root->exclusion_count; i++) {
        CF_AUTO_FREE char *pattern = cf_span_dup_text(root->exclusions[i]);
        if (!pattern) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for an exclusion");
        self->exclude_caches |= strcmp(pattern, "#caches") == 0;
        self->exclude_nodump |= strcmp(pattern, "#nodump") == 0;
        CF_TRY(cf_exclude_add(self->excluded, NULL, pattern));
    }
    for (size_t i = 0; i < root->source_count; i++) {
        CF_AUTO_FREE char *source = cf_span_dup_text(root->sources[i]);
        if (!source) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a source");
        CF_TRY(cf_exclude_add_source(self->excluded, source));
    }
    return NULL;
}

static bool is_source(const struct finder *self, const struct pending *at) {
    const cf_root *root = &self->point->root;
    for (size_t i = 0; i < root->source_count; i++)
        if (cf_span_equal(root->sources[i], cf_span_of(at->path, at->size))) return true;
    return false;
}

/* Is it a cache folder here, whose content a backup leaves out? The point names the tag in any case. */
static bool is_cache(const struct finder *self, const struct pending *at, int fd) {
    return self->exclude_caches && !is_source(self, at) && cf_cachedir_is(fd);
}

static cf_err *add(struct finder *self, const struct pending *at, size_t *folder, cf_span name, const cf_stat *stat) {
    cf_extras *out = self->out;
    cf_span dest = dest_of(at);
    if (*folder == SIZE_MAX) {
        *folder = out->names.size;
        cf_buf_put_span(&out->names, dest);
    }
    if (out->count == out->room) CF_TRY(grow((void **)&out->list, &out->room, sizeof *out->list));
    out->list[out->count++] = (cf_extra){*folder, dest.size, out->names.size, stat->inode, stat->device, stat->type};
    cf_buf_put_span(&out->names, name);
    cf_buf_put_u8(&out->names, 0);
    return cf_buf_check(&out->names, "the list of what is extra");
}

static cf_err *judge(struct finder *self, const struct pending *at, int fd, const cf_stat *folder_stat) {
    size_t folder = SIZE_MAX;
    if (is_cache(self, at, fd)) return NULL;
    if (!folding_understood(self)) {
        warn(self, at, (cf_span){0},
             cf_fail(CF_ERR_IO, "the file system takes different names for the same: nothing is removed here"));
        return NULL;
    }
    for (size_t i = 0; i < self->listed; i++) {
        const struct listed *listed = &self->list[i];
        const char *text = (const char *)self->names.data + listed->name;
        cf_span name = cf_span_of(text, listed->size);
        bool excluded = false;
        if (listed->known || is_folded(self, listed->inode)) continue;
        cf_stat stat;
        bool above = false;
        cf_err *err = cf_os_stat(fd, text, &stat);
        if (cf_err_code(err) == CF_ERR_NOT_FOUND) {
            cf_err_free(err);
            continue;
        }
        if (!err) CF_TRY(is_excluded(self, at, name, &stat, &excluded));
        if (excluded) continue;
        if (!err && cf_mount_crossed(folder_stat, &stat)) err = mounted();
        if (!err && stat.type == CF_TYPE_DIRECTORY && is_kept(self, &stat, &above)) {
            if (!above) continue;
            err = cf_fail(CF_ERR_PATH_REFUSED, "it holds a folder that Coffer works with");
        }
        if (err)
            warn(self, at, name, err);
        else
            CF_TRY(add(self, at, &folder, name, &stat));
    }
    return NULL;
}

/* Is the child another file system whose content the point does not have, or that was not asked for by itself? */
static bool closed_off(struct finder *self, const struct pending *at, const cf_entry *entry,
                       const struct pending *child, const cf_stat *above, const cf_stat *stat) {
    if (!child->meant || !cf_mount_crossed(above, stat)) return false;
    bool empty = entry->totals.files == 0 && entry->totals.directories == 0 && entry->totals.others == 0;
    if (!at->clean && !empty) return false; /* a source, or what a pattern names: a file system of its own */
    if (!empty) warn(self, at, entry->name, mounted());
    return true;
}

static cf_err *subfolder(struct finder *self, const struct pending *at, int fd, const cf_stat *above,
                         const cf_entry *entry) {
    CF_AUTO_BUF cf_buf path = {0};
    CF_TRY(path_in_point(at, entry->name, &path));
    cf_selected selected = at->meant ? CF_SELECTED_ALL : cf_select_test(self->select, cf_buf_span(&path));
    if (selected == CF_SELECTED_NOT) return NULL;
    struct pending child = {.node = entry->node, .meant = selected == CF_SELECTED_ALL};
    child.clean = child.meant && !entry->implied;
    bool is_source;
    if (!cf_strip_here(&self->strip, cf_buf_span(&path), &is_source)) {
        cf_name name;
        cf_stat stat;
        CF_TRY(cf_name_from(entry->name, &name));
        cf_err *err = cf_os_stat(fd, name.text, &stat);
        bool there = !err && stat.type == CF_TYPE_DIRECTORY;
        cf_err_free(err); /* the restore itself reports what it cannot look at */
        if (!there || closed_off(self, at, entry, &child, above, &stat)) return NULL;
    }
    return push(self, at, entry->name, child);
}

/* *whole: every part of the folder's record could be read. */
static cf_err *read_record(struct finder *self, const struct pending *at, int fd, const cf_stat *stat, bool list,
                           bool *whole) {
    CF_AUTO(cf_dir_reader) reader = NULL;
    *whole = true;
    cf_err *err = cf_dir_reader_open(self->lane, self->point->map, &at->node, &reader);
    for (bool more = !err; more;) {
        cf_entry entry;
        err = cf_dir_reader_next(reader, &entry, &more);
        if (!err && more) {
            if (list) CF_TRY(mark_known(self, fd, entry.name));
            if (entry.meta.type == CF_TYPE_DIRECTORY && !entry.not_read) CF_TRY(subfolder(self, at, fd, stat, &entry));
            continue;
        }
        if (!err) break;
        if (!cf_err_has(err, CF_F_DAMAGE)) return err;
        cf_err_free(err); /* the restore itself names it */
        err = NULL;
        *whole = false;
        more = true;
    }
    if (!err) return NULL;
    *whole = false;
    if (!cf_err_has(err, CF_F_DAMAGE)) return err;
    cf_err_free(err);
    return NULL;
}

static cf_err *look_into(struct finder *self, const struct pending *at) {
    CF_AUTO_FD int fd = -1;
    cf_err *err = cf_beneath_openat(self->out->top, dest_of(at), O_RDONLY | O_DIRECTORY, &fd);
    cf_stat stat;
    if (!err) err = cf_os_stat(fd, "", &stat);
    bool nothing_there =
        cf_err_code(err) == CF_ERR_NOT_FOUND || cf_err_code(err) == CF_ERR_PATH_REFUSED || cf_err_errno(err) == ENOTDIR;
    if (err && (nothing_there || !at->clean)) {
        cf_err_free(err);
        return NULL;
    }
    bool above = true, whole = false;
    if (!err && is_kept(self, &stat, &above) && !above) return NULL;
    if (!err && at->clean) err = list_folder(self, fd);
    if (cf_err_code(err) == CF_ERR_OUT_OF_MEMORY) return err;
    if (err) {
        warn(self, at, (cf_span){0}, err);
        return NULL;
    }
    CF_TRY(read_record(self, at, fd, &stat, at->clean, &whole));
    return at->clean && whole ? judge(self, at, fd, &stat) : NULL;
}

static cf_err *find_all(struct finder *self) {
    bool root_is_source = false;
    for (size_t i = 0; i < self->point->root.source_count; i++)
        if (cf_span_equal(self->point->root.sources[i], cf_span_text("/"))) root_is_source = true;
    bool all = self->options->pattern_count == 0;
    struct pending root = {.node = self->point->root.tree, .path = strdup("/"), .size = 1, .dest = 1, .meant = all};
    root.clean = all && root_is_source;
    if (!root.path) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a path");
    cf_err *err = look_into(self, &root);
    free(root.path);
    while (!err && self->depth > 0) {
        struct pending at = self->stack[--self->depth];
        err = look_into(self, &at);
        free(at.path);
        if (!err) err = cf_cancel_check(self->options->cancel);
    }
    return err;
}

static cf_err *prepare(struct finder *self, cf_reader *reader, const char *const *keep, size_t keep_count) {
    const cf_root *root = &self->point->root;
    if (!self->point->map)
        return cf_fail(CF_ERR_INTERNAL, "a look at the destination was begun without the point's map");
    CF_TRY(cf_strip_init(self->options, self->point, &self->strip));
    CF_TRY(cf_select_new(self->options->patterns, self->options->pattern_count, &self->select));
    CF_TRY(take_exclusions(self, root));
    CF_TRY(cf_lane_new(reader, &self->lane));
    CF_TRY(cf_dir_new(&self->dir));
    size_t room = 0;
    for (size_t i = 0; i < keep_count; i++) CF_TRY(keep_one(self, keep[i], &room));
    return NULL;
}

static void wipe(struct finder *self) {
    cf_strip_wipe(&self->strip);
    cf_select_free(self->select);
    cf_exclude_free(self->excluded);
    cf_lane_free(self->lane);
    cf_dir_free(self->dir);
    while (self->depth > 0) free(self->stack[--self->depth].path);
    free(self->stack);
    free(self->kept);
    free(self->list);
    free(self->folded);
    cf_buf_wipe(&self->names);
}

static int by_place(const void *a, const void *b, void *context) {
    const uint8_t *names = context;
    const cf_extra *x = a, *y = b;
    int order =
        cf_span_compare(cf_span_of(names + x->folder, x->folder_size), cf_span_of(names + y->folder, y->folder_size));
    return order ? order : strcmp((const char *)names + x->name, (const char *)names + y->name);
}

cf_err *cf_extras_find(cf_reader *reader, const cf_point *point, const cf_restore_options *options,
                       const char *const *keep, size_t keep_count, cf_extras **out) {
    CF_AUTO(cf_extras) extras = calloc(1, sizeof *extras);
    if (!extras) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for what is extra");
    cf_buf_init(&extras->names, NAMES_MAX);
    if (options->to && !(extras->to = strdup(options->to)))
        return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a path");
    cf_err *err = cf_beneath_open(AT_FDCWD, cf_span_text(options->to ? options->to : "/"), &extras->top);
    if (cf_err_code(err) == CF_ERR_NOT_FOUND) { /* a new destination has nothing extra */
        cf_err_free(err);
        *out = cf_take(extras);
        return NULL;
    }
    if (err) return cf_wrap(err, CF_ERR_DESTINATION_REFUSED, "%s", options->to ? options->to : "/");
    struct finder self = {.out = extras, .options = options, .point = point};
    cf_buf_init(&self.names, NAMES_MAX);
    err = prepare(&self, reader, keep, keep_count);
    if (!err) err = find_all(&self);
    wipe(&self);
    if (err) return err;
    if (extras->count) qsort_r(extras->list, extras->count, sizeof *extras->list, by_place, extras->names.data);
    *out = cf_take(extras);
    return NULL;
}
