#include "objects/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "os/dir.h"
#include "os/fail.h"
#include "os/file.h"

enum { FOLDER_MODE = 0700, FILE_MODE = 0600 };

typedef struct cf_objects_folder {
    cf_objects base;
    int fd;
    char *name;
} cf_objects_folder;

typedef struct folder_writer {
    cf_object_writer base;
    cf_file_writer *file;
} folder_writer;

typedef struct folder_reader {
    cf_object_reader base;
    int fd;
    char key[CF_OBJECT_KEY_MAX + 1];
} folder_reader;

static cf_err *writer_write(cf_object_writer *base, cf_span bytes) {
    return cf_file_writer_write(((folder_writer *)base)->file, bytes);
}

static cf_err *writer_commit(cf_object_writer *base, bool *created) {
    return cf_file_writer_commit_new(((folder_writer *)base)->file, created);
}

static void writer_free(cf_object_writer *base) {
    cf_file_writer_free(((folder_writer *)base)->file);
    free(base);
}

static cf_err *open_file_writer(cf_objects_folder *folder, const char *key, cf_file_writer **file) {
    cf_err *err = cf_file_writer_open(folder->fd, key, FILE_MODE, file);
    const char *end = strrchr(key, '/');
    if (!err || cf_err_code(err) != CF_ERR_NOT_FOUND || !end) return err;
    cf_err_free(err); /* the first object of its kind: make the folder */
    char parent[CF_OBJECT_KEY_MAX + 1];
    snprintf(parent, sizeof parent, "%.*s", (int)(end - key), key);
    CF_TRY(cf_dir_make_durable(folder->fd, parent, FOLDER_MODE));
    return cf_file_writer_open(folder->fd, key, FILE_MODE, file);
}

static cf_err *folder_put_open(cf_objects *base, const char *key, cf_object_writer **out) {
    folder_writer *writer = calloc(1, sizeof *writer);
    if (!writer) return cf_fail(CF_ERR_OUT_OF_MEMORY, "an object writer");
    writer->base = (cf_object_writer){writer_write, writer_commit, writer_free};
    cf_err *err = open_file_writer((cf_objects_folder *)base, key, &writer->file);
    if (err)
        free(writer);
    else
        *out = &writer->base;
    return err;
}

static cf_err *folder_has(cf_objects *base, const char *key, bool *exists, uint64_t *size) {
    struct stat now;
    if (fstatat(((cf_objects_folder *)base)->fd, key, &now, AT_SYMLINK_NOFOLLOW) < 0) {
        if (errno != ENOENT && errno != ENOTDIR) return cf_os_fail(errno, "examine", key);
        *exists = false;
        return NULL;
    }
    *exists = S_ISREG(now.st_mode);
    if (*exists) *size = (uint64_t)now.st_size;
    return NULL;
}

static cf_err *reader_read(cf_object_reader *base, uint64_t offset, void *out, size_t size, size_t *got) {
    folder_reader *reader = (folder_reader *)base;
    return cf_file_read_at(reader->fd, offset, out, size, reader->key, got);
}

static void reader_free(cf_object_reader *base) {
    close(((folder_reader *)base)->fd);
    free(base);
}

static cf_err *folder_open(cf_objects *base, const char *key, cf_object_reader **out) {
    CF_AUTO_FD int fd = -1;
    cf_err *err = cf_file_open(((cf_objects_folder *)base)->fd, key, &fd);
    if (err && cf_err_code(err) == CF_ERR_NOT_FOUND)
        return cf_wrap(err, CF_ERR_OBJECT_MISSING, "object %s is not in the store", key);
    CF_TRY(err);
    struct stat now;
    if (fstat(fd, &now) < 0) return cf_os_fail(errno, "examine", key);
    folder_reader *reader = calloc(1, sizeof *reader);
    if (!reader) return cf_fail(CF_ERR_OUT_OF_MEMORY, "an object reader");
    reader->base = (cf_object_reader){(uint64_t)now.st_size, (int64_t)now.st_mtime, reader_read, reader_free};
    reader->fd = fd;
    fd = -1;
    snprintf(reader->key, sizeof reader->key, "%s", key);
    *out = &reader->base;
    return NULL;
}

/* The names of one folder in the order of the keys that they lead to: a sub-folder counts with its '/'. */
typedef struct names {
    char **item;
    size_t count;
} names;

static void names_wipe(names *list) {
    for (size_t i = 0; i < list->count; i++) free(list->item[i]);
    free(list->item);
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static cf_err *names_add(names *list, const cf_dir_entry *entry) {
    if ((list->count & (list->count - 1)) == 0) {
        char **grown = reallocarray(list->item, list->count ? 2 * list->count : 1, sizeof *grown);
        if (!grown) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a list of objects");
        list->item = grown;
    }
    char *name = malloc(entry->size + 2);
    if (!name) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a list of objects");
    memcpy(name, entry->name, entry->size);
    name[entry->size] = entry->type == CF_TYPE_DIRECTORY ? '/' : '\0';
    name[entry->size + 1] = '\0';
    list->item[list->count++] = name;
    return NULL;
}

/* File systems that do not tell the type in the folder: ask. */
static cf_err *learn_type(int fd, cf_dir_entry *entry) {
    if (entry->type != 0) return NULL;
    struct stat now;
    if (fstatat(fd, entry->name, &now, AT_SYMLINK_NOFOLLOW) < 0) return cf_os_fail(errno, "examine", entry->name);
    entry->type = S_ISDIR(now.st_mode) ? CF_TYPE_DIRECTORY : S_ISREG(now.st_mode) ? CF_TYPE_FILE : CF_TYPE_SOCKET;
    return NULL;
}

/* Temporary files, and names that are no keys (lost+found), are not the store's. */
static bool ours(const cf_dir_entry *entry) {
    return entry->name[0] != '.' && strchr(entry->name, '+') == NULL &&
           (entry->type == CF_TYPE_DIRECTORY || entry->type == CF_TYPE_FILE);
}

static cf_err *read_names(int fd, const char *name, names *list) {
    CF_AUTO(cf_dir) dir = NULL;
    CF_TRY(cf_dir_new(&dir));
    CF_TRY(cf_dir_start(dir, fd, name));
    for (bool more = true;;) {
        cf_dir_entry entry;
        CF_TRY(cf_dir_next(dir, &entry, &more));
        if (!more) break;
        CF_TRY(learn_type(fd, &entry));
        if (ours(&entry)) CF_TRY(names_add(list, &entry));
    }
    if (list->count) qsort(list->item, list->count, sizeof *list->item, compare_names);
    return NULL;
}

typedef struct walk {
    const char *prefix, *after;
    size_t limit;
    cf_object_page *page;
} walk;

/* Can a key that begins with path begin with prefix / come after `after`? */
static bool may_hold(const walk *what, const char *path) {
    size_t size = strlen(path), prefix = strlen(what->prefix);
    if (strncmp(path, what->prefix, size < prefix ? size : prefix) != 0) return false;
    return strncmp(path, what->after, size) >= 0;
}

static cf_err *add_file(int fd, const char *name, const char *path, walk *what) {
    if (strncmp(path, what->prefix, strlen(what->prefix)) != 0 || strcmp(path, what->after) <= 0) return NULL;
    if (what->page->count == what->limit) {
        what->page->more = true;
        return NULL;
    }
    struct stat now;
    if (fstatat(fd, name, &now, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? NULL : cf_os_fail(errno, "examine", path); /* removed meanwhile */
    return cf_object_page_add(what->page, path, (uint64_t)now.st_size);
}

static cf_err *walk_folder(int fd, const char *path, walk *what);

static cf_err *walk_names(int fd, const char *path, const names *list, walk *what) {
    for (size_t i = 0; i < list->count && !what->page->more; i++) {
        char *name = list->item[i], full[CF_OBJECT_KEY_MAX + 2];
        size_t size = strlen(name);
        if ((size_t)snprintf(full, sizeof full, "%s%s", path, name) > CF_OBJECT_KEY_MAX) continue; /* not ours */
        if (name[size - 1] != '/') {
            CF_TRY(add_file(fd, name, full, what));
        } else if (may_hold(what, full)) {
            name[size - 1] = '\0';
            CF_AUTO_FD int below = openat(fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
            if (below < 0) return cf_os_fail(errno, "open", full);
            CF_TRY(walk_folder(below, full, what)); /* depth is bounded by CF_OBJECT_KEY_MAX / 2 */
        }
    }
    return NULL;
}

static cf_err *walk_folder(int fd, const char *path, walk *what) {
    names list = {0};
    cf_err *err = read_names(fd, path, &list);
    if (!err) err = walk_names(fd, path, &list, what);
    names_wipe(&list);
    return err;
}

static cf_err *folder_list(cf_objects *base, const char *prefix, const char *after, size_t limit,
                           cf_object_page *page) {
    cf_objects_folder *folder = (cf_objects_folder *)base;
    CF_AUTO_FD int fd = openat(folder->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return cf_os_fail(errno, "open", folder->name);
    walk what = {prefix, after, limit, page};
    return walk_folder(fd, "", &what);
}

static cf_err *folder_remove(cf_objects *base, const char *key, bool *existed) {
    cf_objects_folder *folder = (cf_objects_folder *)base;
    bool exists = false;
    uint64_t size = 0;
    CF_TRY(folder_has(base, key, &exists, &size));
    *existed = exists;
    return exists ? cf_file_remove_durable(folder->fd, key, existed) : NULL;
}

static cf_err *folder_presign(cf_objects *base, const cf_object_presign *request, char **url) {
    (void)base;
    (void)request; /* a folder has no address of its own: the service moves the bytes */
    *url = NULL;
    return NULL;
}

static void folder_free(cf_objects *base) {
    cf_objects_folder *folder = (cf_objects_folder *)base;
    if (folder->fd >= 0) close(folder->fd);
    free(folder->name);
    free(folder);
}

static cf_err *clean_folder(int fd, const char *path, unsigned *total) {
    unsigned count = 0;
    CF_TRY(cf_file_remove_leftovers(fd, path, &count));
    *total += count;
    names list = {0};
    cf_err *err = read_names(fd, path, &list);
    for (size_t i = 0; i < list.count && !err; i++) {
        size_t size = strlen(list.item[i]);
        if (list.item[i][size - 1] != '/') continue;
        list.item[i][size - 1] = '\0';
        CF_AUTO_FD int below = openat(fd, list.item[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        err = below < 0 ? cf_os_fail(errno, "open", list.item[i]) : clean_folder(below, list.item[i], total);
    }
    names_wipe(&list);
    return err;
}

cf_err *cf_objects_folder_open(int dirfd, const char *name, bool clean, cf_objects **out) {
    cf_objects_folder *folder = calloc(1, sizeof *folder);
    CF_AUTO(cf_objects) store = folder ? &folder->base : NULL;
    if (!folder) return cf_fail(CF_ERR_OUT_OF_MEMORY, "an object store");
    folder->base =
        (cf_objects){folder_put_open, folder_has, folder_open, folder_list, folder_remove, folder_presign, folder_free};
    folder->fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder->fd < 0) return cf_os_fail(errno, "open", name);
    folder->name = strdup(name);
    if (!folder->name) return cf_fail(CF_ERR_OUT_OF_MEMORY, "an object store");
    if (clean) {
        CF_AUTO_FD int fd = openat(folder->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        unsigned count = 0;
        if (fd < 0) return cf_os_fail(errno, "open", name);
        CF_TRY(clean_folder(fd, name, &count));
        if (count) cf_log(CF_LOG_INFO, "%s: removed %u unfinished uploads", name, count);
    }
    *out = cf_take(store);
    return NULL;
}
