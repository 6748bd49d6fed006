#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "index/state.h"

#define MEMORY_LEAST ((size_t)1 << 20)
#define MEMORY_MOST ((size_t)1 << 30)
#define JOURNAL_MOST (UINT64_C(1) << 32) /* no writer lets one grow so long */

static cf_err *read_boot_id(char out[CF_BOOT_ID_SIZE]) {
    static const char path[] = "/proc/sys/kernel/random/boot_id";
    CF_AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return cf_iio_fail(errno, "open", path);
    ssize_t got = read(fd, out, CF_BOOT_ID_SIZE - 1);
    if (got < 0) return cf_iio_fail(errno, "read", path);
    out[got] = '\0';
    out[strcspn(out, "\n")] = '\0';
    return NULL;
}

static cf_err *init_locks(cf_index *index) {
    pthread_rwlockattr_t attributes;
    pthread_rwlockattr_init(&attributes);
    /* Else readers that come one after another would keep the writer out for ever. */
    pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    int failed = pthread_rwlock_init(&index->lock, &attributes);
    pthread_rwlockattr_destroy(&attributes);
    if (failed) return cf_fail_errno(CF_ERR_OUT_OF_MEMORY, failed, "chunk index: a lock");
    pthread_mutex_init(&index->writer, NULL); /* these two cannot fail on Linux */
    pthread_cond_init(&index->changed, NULL);
    index->has_locks = true;
    return NULL;
}

/* Half of the budget for the table, a quarter for guide pages, the rest for merging and sorting. */
static cf_err *apply_options(cf_index *index, const cf_index_options *options) {
    size_t memory = options->memory_bytes ? options->memory_bytes : CF_INDEX_MEMORY_DEFAULT;
    if (memory < MEMORY_LEAST) memory = MEMORY_LEAST;
    if (memory > MEMORY_MOST) memory = MEMORY_MOST;
    index->slots = 16;
    while (index->slots * 2 * 32 <= memory / 2) index->slots *= 2;
    atomic_init(&index->spare, memory / 4);
    index->merge_inline = options->merge_inline;
    memcpy(index->server_id, options->server_id, 16);
    if (!options->boot_id) return read_boot_id(index->boot_id);
    if (strlen(options->boot_id) >= CF_BOOT_ID_SIZE)
        return cf_fail(CF_ERR_TOO_LARGE, "chunk index: boot ID of %zu bytes", strlen(options->boot_id));
    memcpy(index->boot_id, options->boot_id, strlen(options->boot_id));
    return NULL;
}

static cf_err *open_folder(const char *folder, int *dir) {
    bool made = mkdir(folder, 0700) == 0;
    if (!made && errno != EEXIST) return cf_iio_fail(errno, "create", folder);
    *dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*dir < 0) return cf_iio_fail(errno, "open", folder);
    if (!made) return NULL;
    CF_AUTO_FD int parent = openat(*dir, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (parent < 0) return cf_iio_fail(errno, "open the folder of", folder);
    return cf_iio_sync(parent, folder);
}

/* Is it a file that an index makes? Those with a number tell it. */
static bool is_ours(const char *name, const char **kind, uint64_t *number) {
    static const char *const kinds[] = {"run", "log", "dead"};
    char bare[CF_IIO_NAME_SIZE + 8];
    size_t length = strlen(name);
    *kind = NULL;
    if (length >= sizeof bare) return false;
    bool temporary = length > 4 && strcmp(name + length - 4, ".new") == 0;
    memcpy(bare, name, length + 1);
    if (temporary) bare[length - 4] = '\0';
    if (strcmp(bare, CF_MANIFEST_NAME) == 0) return true;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (!cf_iio_parse_name(bare, kinds[i], number)) continue;
        if (!temporary) *kind = kinds[i];
        return true;
    }
    return false;
}

static bool in_use(const cf_manifest *manifest, const char *name, const char *kind, uint64_t number) {
    if (!manifest) return false;
    if (!kind) return strcmp(name, CF_MANIFEST_NAME) == 0;
    if (strcmp(kind, "log") == 0) return number == manifest->journal_number;
    if (strcmp(kind, "dead") == 0) return manifest->has_dead && number == manifest->dead_number;
    for (size_t i = 0; i < manifest->run_count; i++) {
        if (manifest->runs[i] == number) return true;
    }
    return false;
}

/* Removes the files of an index that manifest (NULL: none) does not name: leftovers of steps that did not finish. */
static cf_err *sweep(int dir, const cf_manifest *manifest) {
    int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = copy < 0 ? NULL : fdopendir(copy);
    if (!list) {
        int err_no = errno;
        if (copy >= 0) close(copy);
        return cf_iio_fail(err_no, "read", "folder");
    }
    cf_err *err = NULL;
    struct dirent *item;
    while (!err && (errno = 0, item = readdir(list))) {
        const char *kind;
        uint64_t number = 0;
        if (!is_ours(item->d_name, &kind, &number) || in_use(manifest, item->d_name, kind, number)) continue;
        if (unlinkat(dir, item->d_name, 0) < 0 && errno != ENOENT) err = cf_iio_fail(errno, "remove", item->d_name);
    }
    if (!err && errno) err = cf_iio_fail(errno, "read", "folder");
    closedir(list);
    return err;
}

static cf_err *create_fresh(cf_index *index) {
    CF_TRY(sweep(index->dir, NULL));
    CF_AUTO_RANGES cf_ranges none = {0};
    CF_AUTO(cf_dead) dead = NULL;
    CF_TRY(cf_index_table_new(index->slots, &index->table));
    CF_TRY(cf_dead_new(&none, &dead));
    CF_TRY(cf_view_new(NULL, 0, dead, &index->view));
    index->next_number = 1;
    CF_TRY(cf_journal_create(index->dir, index->next_number++, index->server_id, &index->journal));
    CF_TRY(cf_index_publish(index, &(cf_step){0}));
    index->fresh = true;
    return NULL;
}

static cf_err *open_runs(cf_index *index, const cf_manifest *manifest, cf_dead *dead) {
    cf_run *runs[CF_MANIFEST_RUNS_MAX];
    size_t count = 0;
    cf_err *err = NULL;
    while (!err && count < manifest->run_count) {
        err = cf_run_open(index->dir, manifest->runs[count], index->server_id, &index->spare, &runs[count]);
        if (err) break;
        if (runs[count]->entries != manifest->run_entries[count])
            err = cf_iio_damaged(runs[count]->name, "not the run of the manifest");
        count++;
    }
    if (!err) err = cf_view_new(runs, count, dead, &index->view);
    for (size_t i = 0; i < count; i++) cf_run_unref(runs[i]);
    return err;
}

static cf_err *open_dead(cf_index *index, const cf_manifest *manifest, cf_dead **dead) {
    CF_AUTO_RANGES cf_ranges set = {0};
    if (manifest->has_dead) CF_TRY(cf_dead_load(index->dir, manifest->dead_number, &set));
    CF_TRY(cf_dead_new(&set, dead));
    (*dead)->has_file = manifest->has_dead;
    (*dead)->number = manifest->dead_number;
    return NULL;
}

/* A record of the journal: what apply_pack did, again. */
static cf_err *replay(void *context, uint64_t pack, const cf_index_entry *entries, size_t count) {
    cf_index *index = context;
    for (size_t i = 0; i < count; i++) {
        cf_index_address address = {pack, entries[i].segment, entries[i].offset, entries[i].length};
        if (!cf_index_table_put(index->table, entries[i].id, &address)) {
            return cf_fail(CF_ERR_INTERNAL, "chunk index: the journal does not fit the table made for it");
        }
    }
    return cf_ranges_add(&index->applied, pack);
}

/* The table must take all of the journal, also one that was written with a larger budget. */
static cf_err *table_for_journal(cf_index *index, const cf_manifest *manifest) {
    char name[CF_IIO_NAME_SIZE];
    cf_iio_name(name, "log", manifest->journal_number);
    CF_AUTO_FD int fd = -1;
    CF_TRY(cf_iio_open(index->dir, name, &fd));
    uint64_t size = 0;
    CF_TRY(cf_iio_size(fd, name, &size));
    if (size > JOURNAL_MOST) return cf_iio_damaged(name, "larger than any that was written");
    size_t slots = index->slots;
    while (slots / 4 * 3 < size / 24) slots *= 2; /* 24: bytes of an entry there */
    return cf_index_table_new(slots, &index->table);
}

static cf_err *load_journal(cf_index *index, const cf_manifest *manifest) {
    uint64_t dropped = 0;
    CF_TRY(table_for_journal(index, manifest));
    CF_TRY(cf_ranges_copy(&manifest->packs, &index->applied));
    CF_TRY(cf_journal_open(index->dir, manifest->journal_number, index->server_id, replay, index, &index->journal,
                           &dropped));
    atomic_store(&index->log_bytes, cf_journal_bytes(index->journal));
    if (manifest->clean && (cf_journal_bytes(index->journal) != manifest->journal_bytes || dropped > 0)) {
        return cf_iio_damaged("log", "not as it was when the index was closed");
    }
    index->recovered = dropped > 0 || (!manifest->clean && strcmp(manifest->boot_id, index->boot_id) != 0);
    return NULL;
}

/* The table was made larger for a journal of a larger budget: put it into a run and go back to the budget. On a full disk it
 * stays large. */
static cf_err *back_to_budget(cf_index *index) {
    if (cf_index_table_limit(index->table) == index->slots / 4 * 3) return NULL;
    cf_err *err = cf_index_rebase(index, NULL);
    if (cf_err_code(err) == CF_ERR_DISK_FULL) {
        cf_err_free(err);
        return NULL;
    }
    if (err) return err;
    cf_index_table_free(cf_take(index->table));
    return cf_index_table_new(index->slots, &index->table);
}

static cf_err *load(cf_index *index, cf_manifest *manifest) {
    CF_AUTO(cf_dead) dead = NULL;
    memcpy(index->epoch, manifest->epoch, 16);
    index->generation = manifest->generation;
    index->next_number = manifest->next_number;
    index->marked = !manifest->clean && strcmp(manifest->boot_id, index->boot_id) == 0;
    CF_TRY(open_dead(index, manifest, &dead));
    CF_TRY(open_runs(index, manifest, dead));
    CF_TRY(load_journal(index, manifest));
    index->settled = manifest->packs;
    manifest->packs = (cf_ranges){0};
    CF_TRY(sweep(index->dir, manifest));
    return back_to_budget(index);
}

static cf_err *open_index(cf_index *index, const char *folder, const cf_index_options *options) {
    CF_TRY(apply_options(index, options));
    CF_TRY(init_locks(index));
    CF_TRY(open_folder(folder, &index->dir));
    cf_manifest manifest = {0};
    bool exists = false;
    cf_err *err = cf_manifest_load(index->dir, index->server_id, &manifest, &exists);
    if (!err) err = exists ? load(index, &manifest) : create_fresh(index);
    cf_manifest_wipe(&manifest);
    if (err) return cf_note(err, "%s", folder);
    return cf_index_start_thread(index);
}

cf_err *cf_index_open(const char *folder, const cf_index_options *options, cf_index **index) {
    CF_AUTO(cf_index) made = calloc(1, sizeof *made);
    if (!made) return cf_fail(CF_ERR_OUT_OF_MEMORY, "chunk index");
    made->dir = -1;
    CF_TRY(open_index(made, folder, options));
    *index = cf_take(made);
    return NULL;
}

void cf_index_discard(cf_index *index) {
    if (!index) return;
    cf_index_stop_thread(index);
    cf_view_unref(index->view);
    cf_index_table_free(index->table);
    cf_journal_free(index->journal);
    cf_ranges_wipe(&index->applied);
    cf_ranges_wipe(&index->settled);
    if (index->dir >= 0) close(index->dir);
    if (index->has_locks) {
        pthread_rwlock_destroy(&index->lock);
        pthread_mutex_destroy(&index->writer);
        pthread_cond_destroy(&index->changed);
    }
    free(index);
}

cf_err *cf_index_close(cf_index *index) {
    if (!index) return NULL;
    cf_index_stop_thread(index);
    cf_err *err = NULL;
    if (index->marked || index->recovered ||
        index->uncertain) { /* else nothing has changed since it was closed cleanly */
        err = cf_journal_sync(index->journal);
        if (!err) err = cf_index_publish(index, &(cf_step){.clean = true});
    }
    cf_index_discard(index);
    return err;
}

cf_err *cf_index_destroy(const char *folder) {
    CF_AUTO_FD int dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0) return errno == ENOENT ? NULL : cf_iio_fail(errno, "open", folder);
    /* The manifest first: without it, what is left after a crash is a new index. */
    if (unlinkat(dir, CF_MANIFEST_NAME, 0) < 0 && errno != ENOENT) return cf_iio_fail(errno, "remove", folder);
    CF_TRY(sweep(dir, NULL));
    if (rmdir(folder) < 0 && errno != ENOTEMPTY && errno != EEXIST && errno != EBUSY)
        return cf_iio_fail(errno, "remove", folder);
    return NULL;
}
