#include "repo/tree_cache.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/log.h"
#include "base/text.h"
#include "os/dir.h"
#include "os/fail.h"
#include "os/file.h"

enum {
    LOOK_AFTER = 64 << 20, /* bytes written since the folder was last looked through (others write too) */
    KEEP_PERCENT = 80,     /* of the limit, after it was reached */
    SPARE_PERCENT = 5,     /* of the file system is left to others ... */
    ENTRIES_MAX = 1 << 20, /* files looked at in one go */
    ROOM_EVERY = 16,       /* writes between two looks at the file system's room */
};
#define SPARE_MAX (UINT64_C(2) << 30) /* ... but not more than this */

struct cf_tree_cache {
    int fd;
    uint64_t limit;
    pthread_mutex_t lock; /* of what follows */
    bool looked;          /* total is known */
    bool full;            /* the file system has no room: nothing is written any more */
    uint64_t total, since;
    unsigned writes;
};

void cf_tree_cache_segment_name(uint64_t pack, uint16_t segment, char name[CF_TREE_CACHE_NAME]) {
    snprintf(name, CF_TREE_CACHE_NAME, "%016llx-%04x", (unsigned long long)pack, segment);
}

void cf_tree_cache_id_name(char kind, cf_span id, char name[CF_TREE_CACHE_NAME]) {
    name[0] = kind;
    cf_hex_encode(id.data, id.size < 32 ? id.size : 32, name + 1);
}

/* Of a registration that is no more: nobody else would ever remove it. */
static cf_err *remove_others(int trees, const char *own) {
    CF_AUTO(cf_dir) dir = NULL;
    cf_dir_entry entry;
    bool more = false;
    CF_TRY(cf_dir_new(&dir));
    CF_TRY(cf_dir_start(dir, trees, "trees"));
    for (;;) {
        CF_TRY(cf_dir_next(dir, &entry, &more));
        if (!more) return NULL;
        if (strcmp(entry.name, own) != 0) CF_TRY(cf_dir_remove_tree(trees, entry.name));
    }
}

static cf_err *open_folder(const char *scratch, const cf_id16 *server, int *out) {
    char hex[CF_HEX_SIZE(16)];
    cf_hex_encode(server->bytes, 16, hex);
    CF_AUTO_FREE char *path = cf_text_format("%s/trees", scratch);
    if (!path) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a path");
    CF_TRY(cf_dir_make(AT_FDCWD, path, 0700));
    int trees = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (trees < 0) return cf_os_fail(errno, "open", path);
    cf_err *err = remove_others(trees, hex);
    if (!err) err = cf_dir_make(trees, hex, 0700);
    if (!err) {
        *out = openat(trees, hex, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (*out < 0) err = cf_os_fail(errno, "open", path);
    }
    close(trees);
    return err;
}

cf_err *cf_tree_cache_open(const char *scratch, const cf_id16 *server, uint64_t limit_bytes, cf_tree_cache **out) {
    cf_tree_cache *cache = calloc(1, sizeof *cache);
    if (!cache) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for the cache of trees");
    cache->fd = -1;
    cache->limit = limit_bytes;
    pthread_mutex_init(&cache->lock, NULL);
    cf_err *err = open_folder(scratch, server, &cache->fd);
    if (err) {
        cf_tree_cache_close(cache);
        return err;
    }
    *out = cache;
    return NULL;
}

void cf_tree_cache_close(cf_tree_cache *cache) {
    if (!cache) return;
    if (cache->fd >= 0) close(cache->fd);
    pthread_mutex_destroy(&cache->lock);
    free(cache);
}

bool cf_tree_cache_get(cf_tree_cache *cache, const char *name, cf_buf *out) {
    cf_buf_reset(out);
    cf_err *err = cf_file_read(cache->fd, name, out->max, out);
    if (err) {
        cf_err_free(err);
        cf_buf_reset(out);
        return false;
    }
    /* Its age is that of its last use; where it cannot be set, it only goes sooner. */
    (void)utimensat(cache->fd, name, NULL, AT_SYMLINK_NOFOLLOW);
    return true;
}

void cf_tree_cache_drop(cf_tree_cache *cache, const char *name) {
    (void)unlinkat(cache->fd, name, 0); /* another process may have been faster */
}

/* ---- Keeping within bounds ---- */

struct file {
    char name[CF_TREE_CACHE_NAME];
    struct timespec used;
    uint64_t size;
};

static int older_first(const void *a, const void *b) {
    const struct file *x = a, *y = b;
    if (x->used.tv_sec != y->used.tv_sec) return x->used.tv_sec < y->used.tv_sec ? -1 : 1;
    return x->used.tv_nsec < y->used.tv_nsec ? -1 : x->used.tv_nsec > y->used.tv_nsec;
}

static cf_err *list_files(int fd, struct file **out, size_t *count) {
    CF_AUTO(cf_dir) dir = NULL;
    CF_AUTO_FREE struct file *files = NULL;
    size_t used = 0, room = 0;
    CF_TRY(cf_dir_new(&dir));
    CF_TRY(cf_dir_start(dir, fd, "the cache of trees"));
    while (used < ENTRIES_MAX) {
        cf_dir_entry entry;
        struct stat info;
        bool more = false;
        CF_TRY(cf_dir_next(dir, &entry, &more));
        if (!more) break;
        if (entry.size >= CF_TREE_CACHE_NAME || fstatat(fd, entry.name, &info, AT_SYMLINK_NOFOLLOW) < 0) continue;
        if (used == room) {
            room = room ? 2 * room : 256;
            struct file *grown = reallocarray(files, room, sizeof *grown);
            if (!grown) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory to look through the cache of trees");
            files = grown;
        }
        files[used] = (struct file){.used = info.st_mtim, .size = (uint64_t)info.st_blocks * 512};
        memcpy(files[used++].name, entry.name, entry.size + 1);
    }
    *out = cf_take(files);
    *count = used;
    return NULL;
}

/* Bytes that are missing for what others should find free; 0: there is room. */
static uint64_t missing_room(int fd) {
    struct statvfs info;
    if (fstatvfs(fd, &info) < 0) return 0; /* then writing will tell */
    uint64_t all = info.f_blocks * info.f_frsize, left = info.f_bavail * info.f_frsize;
    uint64_t spare = all / 100 * SPARE_PERCENT < SPARE_MAX ? all / 100 * SPARE_PERCENT : SPARE_MAX;
    return left < spare ? spare - left : 0;
}

static cf_err *trim(cf_tree_cache *cache) {
    CF_AUTO_FREE struct file *files = NULL;
    size_t count = 0;
    uint64_t total = 0;
    CF_TRY(cf_file_remove_leftovers(cache->fd, "the cache of trees", NULL));
    CF_TRY(list_files(cache->fd, &files, &count));
    for (size_t i = 0; i < count; i++) total += files[i].size;
    uint64_t missing = missing_room(cache->fd), keep = cache->limit;
    if (total > cache->limit) keep = cache->limit / 100 * KEEP_PERCENT;
    if (missing) keep = missing < total && total - missing < keep ? total - missing : missing < total ? keep : 0;
    if (total > keep) qsort(files, count, sizeof *files, older_first);
    for (size_t i = 0; i < count && total > keep; i++) {
        cf_tree_cache_drop(cache, files[i].name);
        total -= files[i].size;
    }
    cache->total = total;
    cache->since = 0;
    cache->looked = true;
    cache->full = missing_room(cache->fd) > 0;
    return NULL;
}

static void trim_quietly(cf_tree_cache *cache) {
    cf_err *err = trim(cache);
    if (!err) return;
    cf_log_error(CF_LOG_DEBUG, err);
    cf_err_free(err);
    cache->full = true; /* what cannot be kept in bounds is not written to */
}

void cf_tree_cache_trim(cf_tree_cache *cache) {
    pthread_mutex_lock(&cache->lock);
    trim_quietly(cache);
    pthread_mutex_unlock(&cache->lock);
}

void cf_tree_cache_make_room(const char *scratch, const cf_id16 *server) {
    CF_AUTO(cf_tree_cache) cache = NULL;
    cf_err *err = cf_tree_cache_open(scratch, server, CF_TREE_CACHE_LIMIT, &cache);
    if (!err) cf_tree_cache_trim(cache);
    cf_err_free(err); /* no cache: nothing to make smaller */
}

static bool has_room(cf_tree_cache *cache, uint64_t size) {
    pthread_mutex_lock(&cache->lock);
    bool look = !cache->looked || cache->total + size > cache->limit || cache->since > LOOK_AFTER;
    if (!look && cache->writes++ % ROOM_EVERY == 0) look = missing_room(cache->fd) > 0;
    if (look && !cache->full) trim_quietly(cache);
    bool room = !cache->full && cache->total + size <= cache->limit;
    if (room) {
        cache->total += size;
        cache->since += size;
    }
    pthread_mutex_unlock(&cache->lock);
    return room;
}

static bool write_all(int fd, const cf_span *spans, size_t count) {
    uint64_t offset = 0;
    for (size_t i = 0; i < count; i++) {
        cf_err *err = cf_file_write_at(fd, offset, spans[i], "the cache of trees");
        if (err) {
            cf_err_free(err);
            return false;
        }
        offset += spans[i].size;
    }
    return true;
}

void cf_tree_cache_put(cf_tree_cache *cache, const char *name, const cf_span *spans, size_t count) {
    uint64_t size = 0;
    char temporary[CF_FILE_TEMPORARY_SIZE];
    for (size_t i = 0; i < count; i++) size += spans[i].size;
    if (!has_room(cache, size)) return;
    cf_file_temporary_name(temporary);
    int fd = openat(cache->fd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    bool written = fd >= 0 && write_all(fd, spans, count);
    if (fd >= 0) close(fd);
    if (written && renameat(cache->fd, temporary, cache->fd, name) == 0) return;
    (void)unlinkat(cache->fd, temporary, 0);
    pthread_mutex_lock(&cache->lock);
    cache->full = true; /* for this process; the next one tries again */
    pthread_mutex_unlock(&cache->lock);
}
