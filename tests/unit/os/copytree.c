/* Copies a tree with nothing but this floor: capture, apply, holes, and a destination that cannot be left.
 *   copytree FROM TO
 * Prints warnings and what was left out (sockets). The round-trip test compares the two with other tools. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "os/beneath.h"
#include "os/dir.h"
#include "os/meta.h"
#include "os/sparse.h"
#include "os/stat.h"

typedef struct linked {
    uint64_t inode;
    int folder; /* a descriptor of its own, in the copy */
    cf_name name;
    uint32_t flags; /* set when all the names are there: an immutable file gets no further one */
} linked;

typedef struct copier {
    cf_meta_store *store;
    cf_meta_warnings warnings;
    cf_meta_apply_options options;
    linked *links;
    size_t link_count;
} copier;

static cf_err *copy_data(int from, int to, const char *name, const cf_stat *stat) {
    static uint8_t block[256 * 1024];
    cf_sparse_extents extents = {0};
    cf_err *err = cf_sparse_read(from, name, stat, &extents);
    if (!err) err = cf_file_truncate(to, stat->size, name);
    for (size_t i = 0; !err && i < extents.count; i++) {
        const uint64_t end = extents.list[i].offset + extents.list[i].size;
        for (uint64_t at = extents.list[i].offset; !err && at < end;) {
            size_t want = end - at < sizeof block ? (size_t)(end - at) : sizeof block;
            err = cf_file_read_exact(from, at, block, want, name);
            if (!err) err = cf_file_write_at(to, at, cf_span_of(block, want), name);
            at += want;
        }
    }
    cf_sparse_extents_wipe(&extents);
    return err;
}

static cf_err *copy_file(copier *self, int from, const cf_name *name, const cf_stat *seen, int to) {
    CF_AUTO_FD int fd = -1;
    cf_stat stat = *seen;
    cf_meta meta;
    CF_TRY(cf_os_open_file(from, name->text, &fd, &stat));
    CF_TRY(cf_meta_read(self->store, from, name->text, fd, &stat, &meta, &self->warnings));
    if (stat.nlink > 1) {
        self->links[self->link_count - 1].flags = meta.inode_flags;
        meta.inode_flags = 0;
    }
    cf_partial part;
    CF_TRY(cf_partial_open(to, &part));
    cf_meta_apply_new(part.fd, &meta, &self->warnings);
    cf_err *err = copy_data(fd, part.fd, name->text, &stat);
    bool placed = false;
    if (!err) err = cf_partial_place(&part, name, false, &placed);
    if (!err) err = cf_meta_apply(self->store, to, name->text, part.fd, &meta, &self->options, &self->warnings);
    cf_partial_wipe(&part);
    return err;
}

static cf_err *copy_other(copier *self, int from, const cf_name *name, const cf_stat *stat, int to) {
    cf_meta meta;
    CF_TRY(cf_meta_read(self->store, from, name->text, -1, stat, &meta, &self->warnings));
    bool made = false;
    CF_TRY(cf_meta_create(to, name->text, &meta, &made));
    if (!made) return NULL;
    return cf_meta_apply(self->store, to, name->text, -1, &meta, &self->options, &self->warnings);
}

/* Makes a further name when the object was copied before. */
static cf_err *link_again(copier *self, const cf_stat *stat, const cf_name *name, int to, bool *done) {
    *done = false;
    for (size_t i = 0; i < self->link_count; i++) {
        if (self->links[i].inode != stat->inode) continue;
        *done = true;
        return cf_beneath_link(self->links[i].folder, &self->links[i].name, to, name);
    }
    self->links = reallocarray(self->links, self->link_count + 1, sizeof *self->links);
    if (!self->links) abort();
    self->links[self->link_count++] = (linked){stat->inode, dup(to), *name, 0};
    return NULL;
}

static cf_err *copy_folder(copier *self, int from, int to, const char *label);

static cf_err *copy_sub(copier *self, int from, const cf_name *name, int to) {
    CF_AUTO_FD int from_sub = -1;
    CF_AUTO_FD int to_sub = -1;
    CF_TRY(cf_os_open_folder(from, name->text, &from_sub, NULL));
    const cf_meta folder = {.type = CF_TYPE_DIRECTORY};
    bool made = false;
    CF_TRY(cf_meta_create(to, name->text, &folder, &made));
    CF_TRY(cf_os_open_folder(to, name->text, &to_sub, NULL));
    return copy_folder(self, from_sub, to_sub, name->text);
}

static cf_err *copy_entry(copier *self, int from, const cf_name *name, int to) {
    cf_stat stat;
    CF_TRY(cf_os_stat(from, name->text, &stat));
    if (stat.type == CF_TYPE_DIRECTORY) return copy_sub(self, from, name, to);
    if (stat.type != CF_TYPE_SOCKET && stat.nlink > 1) {
        bool done = false;
        CF_TRY(link_again(self, &stat, name, to, &done));
        if (done) return NULL;
    }
    if (stat.type == CF_TYPE_FILE) return copy_file(self, from, name, &stat, to);
    return copy_other(self, from, name, &stat, to);
}

static cf_err *copy_folder(copier *self, int from, int to, const char *label) {
    CF_AUTO(cf_dir) dir = NULL;
    CF_TRY(cf_dir_new(&dir));
    CF_TRY(cf_dir_start(dir, from, label));
    cf_stat stat;
    CF_TRY(cf_os_stat(from, "", &stat));
    for (;;) {
        cf_dir_entry entry;
        cf_name name;
        bool more = false;
        CF_TRY(cf_dir_next(dir, &entry, &more));
        if (!more) break;
        CF_TRY(cf_name_from(cf_span_of(entry.name, entry.size), &name));
        CF_TRY(cf_note(copy_entry(self, from, &name, to), "%s/%s", label, name.text));
    }
    cf_meta meta;
    CF_TRY(cf_meta_read(self->store, from, "", from, &stat, &meta, &self->warnings));
    return cf_meta_apply(self->store, to, "", to, &meta, &self->options, &self->warnings);
}

static cf_err *apply_late_flags(copier *self, const linked *link) {
    if (!link->flags) return NULL;
    CF_AUTO_FD int fd = -1;
    cf_stat stat;
    cf_meta meta;
    CF_TRY(cf_os_open_file(link->folder, link->name.text, &fd, &stat));
    CF_TRY(cf_meta_read(self->store, link->folder, link->name.text, fd, &stat, &meta, &self->warnings));
    meta.inode_flags = link->flags;
    return cf_meta_apply(self->store, link->folder, link->name.text, fd, &meta, &self->options, &self->warnings);
}

static cf_err *copy(copier *self, const char *from, const char *to) {
    CF_TRY(cf_dir_make(AT_FDCWD, to, 0700));
    CF_AUTO(cf_beneath) root = NULL;
    CF_TRY(cf_beneath_open(AT_FDCWD, cf_span_text(to), &root));
    CF_AUTO_FD int top = -1;
    CF_TRY(cf_os_open_folder(AT_FDCWD, from, &top, NULL));
    CF_TRY(cf_meta_store_new(&self->store));
    cf_err *err = copy_folder(self, top, cf_beneath_fd(root), from);
    for (size_t i = 0; i < self->link_count; i++) {
        if (!err) err = apply_late_flags(self, &self->links[i]);
        close(self->links[i].folder);
    }
    cf_meta_store_free(self->store);
    free(self->links);
    return err;
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    copier self = {0};
    CF_AUTO(cf_err) err = copy(&self, argv[1], argv[2]);
    for (int kind = 0; kind < CF_META_WARNINGS; kind++)
        if (cf_meta_warned(&self.warnings, (cf_meta_warning)kind))
            printf("warning: %s: %s (%s)\n", cf_meta_warning_word((cf_meta_warning)kind),
                   strerror(self.warnings.err_no[kind]), self.warnings.xattr);
    if (err) cf_err_print(stderr, err);
    return err ? 1 : 0;
}
