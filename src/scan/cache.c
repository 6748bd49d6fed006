#include "scan/cache.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/text.h"
#include "digest/digest.h"
#include "os/dir.h"
#include "os/file.h"

/* Root file: "CFTC", u16 version, u16 0, server ID, selection ID, u64 generation (names the data file), point ID, scan
 * start (zigzag seconds, varint nanoseconds), u64 offset and u32 length of the root block, u8 map chain, u64 live
 * bytes, u64 size of the data file, bytes map, XXH3-64 of all that. */
enum { CACHE_VERSION = 1, ROOT_MAX = 80 << 20, BLOCK_MAX = 1 << 30, REWRITE_FLOOR = 4 << 20 };

struct cf_cache {
    int dirfd;
    cf_id16 server, selection;
    char root_name[64];
    uint64_t generation; /* of the file that is read */
    int read_fd;         /* -1: no data file */
    bool has_root;
    cf_cache_root root;
    cf_buf root_bytes;
    cf_span map;
    uint64_t valid_size;  /* of the file that is read */
    pthread_mutex_t lock; /* the two below */
    int write_fd;
    uint64_t write_end;
    bool rewriting;
};

static void data_name(const cf_cache *cache, uint64_t generation, char out[96]) {
    char hex[CF_HEX_SIZE(16)];
    cf_hex_encode(cache->selection.bytes, 16, hex);
    snprintf(out, 96, "tree-%s.%llu", hex, (unsigned long long)generation);
}

static bool parse_root(cf_cache *cache, cf_span bytes) {
    if (bytes.size < 8) return false;
    cf_span body = cf_span_of(bytes.data, bytes.size - 8);
    cf_cursor end = cf_cursor_of(cf_span_of(bytes.data + body.size, 8));
    if (cf_cursor_u64(&end) != cf_xxh3_64(body, 0)) return false;
    cf_cursor cursor = cf_cursor_of(body);
    cf_id16 server, selection;
    if (!cf_span_equal(cf_cursor_take(&cursor, 4), cf_span_text("CFTC"))) return false;
    if (cf_cursor_u16(&cursor) != CACHE_VERSION || cf_cursor_u16(&cursor) != 0) return false;
    cf_cursor_copy(&cursor, server.bytes, 16);
    cf_cursor_copy(&cursor, selection.bytes, 16);
    if (!cf_id16_equal(&server, &cache->server) || !cf_id16_equal(&selection, &cache->selection)) return false;
    cache->generation = cf_cursor_u64(&cursor);
    cf_cursor_copy(&cursor, cache->root.point.bytes, 32);
    cache->root.scan_started.seconds = cf_cursor_zigzag(&cursor);
    cache->root.scan_started.nanoseconds = (uint32_t)cf_cursor_varint_max(&cursor, 999999999);
    cache->root.block.offset = cf_cursor_u64(&cursor);
    cache->root.block.length = cf_cursor_u32(&cursor);
    cache->root.map_chain = cf_cursor_u8(&cursor);
    cache->root.live_bytes = cf_cursor_u64(&cursor);
    cache->valid_size = cf_cursor_u64(&cursor);
    cache->map = cf_cursor_bytes(&cursor, ROOT_MAX);
    return !cursor.failed && cf_cursor_left(&cursor) == 0;
}

/* Opens what the root file names; anything wrong means: no cache. */
static cf_err *load(cf_cache *cache) {
    bool exists = false;
    CF_TRY(cf_file_exists(cache->dirfd, cache->root_name, &exists));
    if (!exists) return NULL;
    cf_err *err = cf_file_read(cache->dirfd, cache->root_name, ROOT_MAX, &cache->root_bytes);
    if (err || !parse_root(cache, cf_buf_span(&cache->root_bytes))) {
        cf_log(CF_LOG_WARNING, "the tree cache %s does not check: everything is read again", cache->root_name);
        cf_err_free(err);
        cache->generation = 0;
        return NULL;
    }
    char name[96];
    data_name(cache, cache->generation, name);
    struct stat stat;
    cache->read_fd = openat(cache->dirfd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (cache->read_fd < 0 || fstat(cache->read_fd, &stat) != 0 || !S_ISREG(stat.st_mode) ||
        (uint64_t)stat.st_size < cache->valid_size) {
        cf_log(CF_LOG_WARNING, "the tree cache %s is missing or cut: everything is read again", name);
        return NULL;
    }
    cache->has_root = true;
    return NULL;
}

static cf_err *open_for_writing(cf_cache *cache, uint64_t generation) {
    char name[96];
    data_name(cache, generation, name);
    int fd = openat(cache->dirfd, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return cf_fail_errno(errno == ENOSPC || errno == EDQUOT ? CF_ERR_DISK_FULL : CF_ERR_IO, errno, "tree cache %s",
                             name);
    if (cache->write_fd >= 0 && cache->write_fd != cache->read_fd) close(cache->write_fd);
    cache->write_fd = fd;
    cache->write_end = 0;
    return NULL;
}

cf_err *cf_cache_open(int dirfd, const cf_id16 *server, const cf_id16 *selection, cf_cache **out) {
    CF_AUTO(cf_cache) cache = calloc(1, sizeof *cache);
    if (!cache) return cf_fail(CF_ERR_OUT_OF_MEMORY, "the tree cache");
    cache->dirfd = dirfd;
    cache->server = *server;
    cache->selection = *selection;
    cache->read_fd = cache->write_fd = -1;
    cf_buf_init(&cache->root_bytes, ROOT_MAX);
    pthread_mutex_init(&cache->lock, NULL);
    char hex[CF_HEX_SIZE(16)];
    cf_hex_encode(selection->bytes, 16, hex);
    snprintf(cache->root_name, sizeof cache->root_name, "tree-%s.root", hex);
    CF_TRY(load(cache));
    if (cache->has_root) {
        /* Behind valid_size stands what a scan that was never committed had appended. */
        CF_TRY(cf_file_truncate(cache->read_fd, cache->valid_size, cache->root_name));
        cache->write_fd = cache->read_fd;
        cache->write_end = cache->valid_size;
    } else {
        cache->rewriting = true;
        CF_TRY(open_for_writing(cache, cache->generation + 1));
    }
    *out = cf_take(cache);
    return NULL;
}

void cf_cache_close(cf_cache *cache) {
    if (!cache) return;
    if (cache->write_fd >= 0 && cache->write_fd != cache->read_fd) close(cache->write_fd);
    if (cache->read_fd >= 0) close(cache->read_fd);
    cf_buf_wipe(&cache->root_bytes);
    pthread_mutex_destroy(&cache->lock);
    free(cache);
}

bool cf_cache_has_root(const cf_cache *cache) {
    return cache->has_root;
}
const cf_cache_root *cf_cache_get_root(const cf_cache *cache) {
    return &cache->root;
}
cf_span cf_cache_map(const cf_cache *cache) {
    return cache->map;
}
void cf_cache_forget(cf_cache *cache) {
    cache->has_root = false;
}

bool cf_cache_wants_rewrite(const cf_cache *cache) {
    return cache->has_root && !cache->rewriting && cache->valid_size > REWRITE_FLOOR &&
           cache->root.live_bytes < cache->valid_size / 2;
}

cf_err *cf_cache_begin_rewrite(cf_cache *cache) {
    if (cache->rewriting) return NULL;
    CF_TRY(open_for_writing(cache, cache->generation + 1));
    cache->rewriting = true;
    return NULL;
}

cf_err *cf_cache_read(cf_cache *cache, cf_block_place place, cf_buf *block, bool *ok) {
    *ok = false;
    if (!cache->has_root || place.length < 24 || place.length > BLOCK_MAX || place.offset > cache->valid_size ||
        place.length > cache->valid_size - place.offset)
        return NULL;
    cf_buf_reset(block);
    if (!cf_buf_reserve(block, place.length)) return cf_buf_check(block, "a block of the tree cache");
    size_t got = 0;
    cf_err *err = cf_file_read_at(cache->read_fd, place.offset, block->data, place.length, cache->root_name, &got);
    if (err || got < place.length) { /* unreadable scratch is a reason to read more, not to fail */
        cf_err_free(err);
        return NULL;
    }
    block->size = place.length;
    cf_cursor cursor;
    cf_cache_folder folder;
    *ok = cf_block_open(cf_buf_span(block), &cursor, &folder);
    return NULL;
}

cf_err *cf_cache_append(cf_cache *cache, cf_span block, cf_block_place *place) {
    if (block.size > BLOCK_MAX)
        return cf_fail(CF_ERR_TOO_LARGE, "a folder's block in the tree cache: %zu bytes", block.size);
    pthread_mutex_lock(&cache->lock);
    place->offset = cache->write_end;
    place->length = (uint32_t)block.size;
    cache->write_end += block.size;
    int fd = cache->write_fd;
    pthread_mutex_unlock(&cache->lock);
    return cf_file_write_at(fd, place->offset, block, cache->root_name);
}

static void encode_root(const cf_cache *cache, const cf_cache_root *root, uint64_t generation, cf_span map,
                        cf_buf *out) {
    cf_buf_put_span(out, cf_span_text("CFTC"));
    cf_buf_put_u16(out, CACHE_VERSION);
    cf_buf_put_u16(out, 0);
    cf_buf_put(out, cache->server.bytes, 16);
    cf_buf_put(out, cache->selection.bytes, 16);
    cf_buf_put_u64(out, generation);
    cf_buf_put(out, root->point.bytes, 32);
    cf_buf_put_zigzag(out, root->scan_started.seconds);
    cf_buf_put_varint(out, root->scan_started.nanoseconds);
    cf_buf_put_u64(out, root->block.offset);
    cf_buf_put_u32(out, root->block.length);
    cf_buf_put_u8(out, root->map_chain);
    cf_buf_put_u64(out, root->live_bytes);
    cf_buf_put_u64(out, cache->write_end);
    cf_buf_put_bytes(out, map);
    cf_buf_put_u64(out, cf_xxh3_64(cf_buf_span(out), 0));
}

/* Data files of this selection that the root file does not name: the one before, and what damage left behind. */
static cf_err *remove_others(const cf_cache *cache, uint64_t generation) {
    char keep[96];
    data_name(cache, generation, keep);
    size_t prefix = strlen(cache->root_name) - strlen("root");
    CF_AUTO_FD int fd = openat(cache->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return cf_fail_errno(CF_ERR_IO, errno, "the scratch folder");
    CF_AUTO(cf_dir) dir = NULL;
    CF_TRY(cf_dir_new(&dir));
    CF_TRY(cf_dir_start(dir, fd, "the scratch folder"));
    for (;;) {
        cf_dir_entry entry;
        bool more = false;
        CF_TRY(cf_dir_next(dir, &entry, &more));
        if (!more) return NULL;
        bool ours = strncmp(entry.name, cache->root_name, prefix) == 0;
        if (!ours || strcmp(entry.name, cache->root_name) == 0 || strcmp(entry.name, keep) == 0) continue;
        CF_TRY(cf_file_remove(cache->dirfd, entry.name, NULL));
    }
}

cf_err *cf_cache_commit(cf_cache *cache, const cf_cache_root *root, cf_span map) {
    uint64_t generation = cache->generation + (cache->rewriting ? 1 : 0);
    CF_AUTO_BUF cf_buf bytes;
    cf_buf_init(&bytes, ROOT_MAX);
    encode_root(cache, root, generation, map, &bytes);
    CF_TRY(cf_buf_check(&bytes, "the tree cache's root"));
    /* Blocks are not synced: each carries its sum, and one that a power loss ate is read anew. */
    cf_span all = cf_buf_span(&bytes);
    CF_TRY(cf_file_write_durable(cache->dirfd, cache->root_name, &all, 1, 0600));
    return cache->rewriting ? remove_others(cache, generation) : NULL;
}
