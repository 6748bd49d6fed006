/* One lane of a backup over a sink in memory, always with the same keys and content, for measure.py to count its
 * instructions and system calls:
 *   lane-guard make FOLDER         the trees: empty, small (2,000 files in 20 folders), big (one file of 8 MiB)
 *   lane-guard run FOLDER TREE     back one of them up; prints what it came to as JSON. Cache and index are kept in
 *                                  FOLDER/scratch-TREE: the second run of a tree is one in which nothing changed. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backup/backup.h"
#include "os/dir.h"

enum { FOLDERS = 20, FILES = 100, BIG = 8 << 20, PATH_ROOM = 1024 };

/* Bytes that our own code copies: the linker puts these in the way (meson.build). Copies of a small fixed size are no
 * calls and are not counted. */
static uint64_t copied;
void *__real_memcpy(void *to, const void *from, size_t size);
void *__real_memmove(void *to, const void *from, size_t size);
void *__wrap_memcpy(void *to, const void *from, size_t size);
void *__wrap_memmove(void *to, const void *from, size_t size);
void *__wrap___memcpy_chk(void *to, const void *from, size_t size, size_t room);
void *__wrap___memmove_chk(void *to, const void *from, size_t size, size_t room);

void *__wrap_memcpy(void *to, const void *from, size_t size) {
    __atomic_add_fetch(&copied, size, __ATOMIC_RELAXED);
    return __real_memcpy(to, from, size);
}

void *__wrap_memmove(void *to, const void *from, size_t size) {
    __atomic_add_fetch(&copied, size, __ATOMIC_RELAXED);
    return __real_memmove(to, from, size);
}

void *__wrap___memcpy_chk(void *to, const void *from, size_t size, size_t room) {
    if (size > room) abort();
    return __wrap_memcpy(to, from, size);
}

void *__wrap___memmove_chk(void *to, const void *from, size_t size, size_t room) {
    if (size > room) abort();
    return __wrap_memmove(to, from, size);
}

static void must(cf_err *err) {
    if (!err) return;
    cf_err_print(stderr, err);
    exit(1);
}

static void check(bool good, const char *what) {
    if (good) return;
    perror(what);
    exit(1);
}

static const char *path_of(char room[PATH_ROOM], const char *folder, const char *name) {
    check(snprintf(room, PATH_ROOM, "%s/%s", folder, name) < PATH_ROOM, "path");
    return room;
}

/* Words drawn by a linear congruential generator: compresses about as source code does. */
static void fill(uint8_t *out, size_t size, uint64_t *state) {
    static const char *const words[] = {"static ", "return ", "struct cf_", "(const ", "size_t ", "= NULL;\n",
                                        "if (",    ") {\n",   "    ",       "err",     "->",      "buffer",
                                        "0x",      ", ",      "for",        "*/\n"};
    for (size_t at = 0; at < size;) {
        *state = *state * 6364136223846793005u + 1442695040888963407u;
        unsigned draw = (unsigned)(*state >> 33);
        if (draw % 5 == 0) {
            for (unsigned i = 0; i < 3 && at < size; i++) out[at++] = (uint8_t)('a' + (draw >> (5 + 5 * i)) % 26);
            continue;
        }
        for (const char *word = words[(draw >> 8) % 16]; *word && at < size; word++) out[at++] = (uint8_t)*word;
    }
}

static void write_file(const char *path, const uint8_t *bytes, size_t size) {
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    check(fd >= 0 && write(fd, bytes, size) == (ssize_t)size && close(fd) == 0, path);
}

static int make(const char *folder) {
    char path[PATH_ROOM], name[64];
    uint64_t state = 20261120;
    uint8_t *bytes = malloc(BIG);
    check(bytes != NULL, "memory");
    must(cf_dir_make(AT_FDCWD, path_of(path, folder, "empty"), 0755));
    must(cf_dir_make(AT_FDCWD, path_of(path, folder, "big"), 0755));
    for (int i = 0; i < FOLDERS * FILES; i++) {
        snprintf(name, sizeof name, "small/folder%02d", i / FILES);
        if (i % FILES == 0) must(cf_dir_make(AT_FDCWD, path_of(path, folder, name), 0755));
        size_t size = 500 + (size_t)(i * 7919 % 3000);
        fill(bytes, size, &state);
        snprintf(name, sizeof name, "small/folder%02d/file%04d", i / FILES, i);
        write_file(path_of(path, folder, name), bytes, size);
    }
    fill(bytes, BIG, &state);
    write_file(path_of(path, folder, "big/file"), bytes, BIG);
    free(bytes);
    return 0;
}

/* The sink: packs are counted and forgotten. Numbers start anew with each process, which only a memory sink may do. */
static cf_err *give_numbers(void *context, uint64_t after, uint64_t *first, uint64_t *count) {
    (void)context;
    *first = after + 1;
    *count = 64;
    return NULL;
}

static cf_err *take_pack(void *context, const cf_stored_pack *pack) {
    (void)context;
    return pack->bytes.size ? NULL : cf_fail(CF_ERR_INTERNAL, "an empty pack");
}

static void warn(void *context, cf_span path, const cf_err *why) {
    (void)context;
    (void)path;
    cf_err_print(stderr, why);
    exit(1);
}

typedef struct guard_run {
    char scratch[PATH_ROOM], index_folder[PATH_ROOM], tree[PATH_ROOM];
    cf_id16 server, session;
    cf_server_keys *keys;
    cf_secret *session_key;
    cf_index *index;
    int scratch_fd;
} guard_run;

static void open_guard(guard_run *guard, const char *folder, const char *tree) {
    uint8_t bytes[128];
    char name[64];
    CF_AUTO(cf_secret) packed = NULL;
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)(i * 37 + 11);
    must(cf_secret_from(bytes, sizeof bytes, &packed));
    must(cf_server_keys_unpack(packed, &guard->keys));
    must(cf_secret_from(bytes + 5, 32, &guard->session_key));
    memset(guard->server.bytes, 1, sizeof guard->server.bytes);
    memset(guard->session.bytes, 2, sizeof guard->session.bytes);
    snprintf(name, sizeof name, "scratch-%s", tree);
    path_of(guard->scratch, folder, name);
    path_of(guard->tree, folder, tree);
    must(cf_dir_make(AT_FDCWD, guard->scratch, 0700));
    path_of(guard->index_folder, guard->scratch, "index");
    guard->scratch_fd = open(guard->scratch, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    check(guard->scratch_fd >= 0, guard->scratch);
    cf_index_options options = {.boot_id = "00000000-0000-4000-8000-000000000000", .merge_inline = true};
    memcpy(options.server_id, guard->server.bytes, 16);
    must(cf_index_open(guard->index_folder, &options, &guard->index));
}

static void close_guard(guard_run *guard) {
    must(cf_index_close(guard->index));
    cf_server_keys_free(guard->keys);
    cf_secret_free(guard->session_key);
    close(guard->scratch_fd);
}

static void scan(guard_run *guard, cf_cache *cache, const cf_sources *sources, cf_backup_result *result) {
    cf_writer_options options = {.server = guard->server,
                                 .session = guard->session,
                                 .keys = guard->keys,
                                 .session_key = guard->session_key,
                                 .index = guard->index,
                                 .sink = {give_numbers, take_pack, NULL},
                                 .numbers_first = 1,
                                 .numbers_count = 64,
                                 .level = 3,
                                 .verify = true,
                                 .pack_target = {(size_t)16 << 20, (size_t)4 << 20},
                                 .sealers = 1,
                                 .uploaders = 1,
                                 .waiting = 2};
    CF_AUTO(cf_writer) writer = NULL;
    must(cf_writer_open(&options, &writer));
    cf_clock clock = cf_clock_system();
    cf_backup_options backup = {.keys = guard->keys,
                                .writer = writer,
                                .sources = sources,
                                .cache = cache,
                                .lanes = 1,
                                .started = cf_clock_wall(&clock),
                                .warn = warn};
    must(cf_backup_scan(&backup, result));
    CF_AUTO_FREE cf_pack_name *packs = NULL;
    size_t count = 0;
    must(cf_writer_finish(writer, &packs, &count));
    cf_cache_root root = {.scan_started = backup.started, .block = result->block, .live_bytes = result->live_bytes};
    must(cf_cache_commit(cache, &root, cf_span_of(NULL, 0)));
}

static int run(const char *folder, const char *tree) {
    guard_run guard = {0};
    cf_backup_result result = {0};
    CF_AUTO(cf_sources) sources = NULL;
    CF_AUTO(cf_cache) cache = NULL;
    cf_id16 selection = {{1}};
    open_guard(&guard, folder, tree);
    must(cf_sources_new(&sources));
    must(cf_sources_add(sources, guard.tree));
    must(cf_cache_open(guard.scratch_fd, &guard.server, &selection, &cache));
    uint64_t before = __atomic_load_n(&copied, __ATOMIC_RELAXED);
    scan(&guard, cache, sources, &result);
    printf("{\"files_new\": %llu, \"files_unchanged\": %llu, \"bytes_read\": %llu, \"copied\": %llu}\n",
           (unsigned long long)result.files_new, (unsigned long long)result.files_unchanged,
           (unsigned long long)result.bytes_read,
           (unsigned long long)(__atomic_load_n(&copied, __ATOMIC_RELAXED) - before));
    cf_map_free(result.map);
    close_guard(&guard);
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 3 && strcmp(argv[1], "make") == 0) return make(argv[2]);
    if (argc == 4 && strcmp(argv[1], "run") == 0) return run(argv[2], argv[3]);
    fprintf(stderr, "usage: lane-guard make FOLDER | lane-guard run FOLDER empty|small|big\n");
    return 2;
}
