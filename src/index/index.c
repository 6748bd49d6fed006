#include "index/index.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "index/state.h"

/* More dead ranges than this (16 bytes each) are worth a merge of everything. */
#define DEAD_MANY 65536

bool cf_index_fresh(const cf_index *index) {
    return index->fresh;
}

bool cf_index_recovered(const cf_index *index) {
    return index->recovered;
}

cf_err *cf_index_lookup(cf_index *index, const uint8_t id[CF_INDEX_ID_SIZE], bool *found, cf_index_address *address) {
    cf_index_address hit;
    pthread_rwlock_rdlock(&index->lock);
    bool has = cf_index_table_find(index->table, id, &hit); /* never dead: see cf_index_apply_pack, cf_index_rebase */
    CF_AUTO(cf_view) view = NULL;
    if (!has && index->view->count > 0) {
        view = index->view;
        atomic_fetch_add_explicit(&view->references, 1, memory_order_relaxed);
    }
    pthread_rwlock_unlock(&index->lock);
    for (size_t i = 0; view && !has && i < view->count; i++) {
        CF_TRY(cf_run_find(view->runs[i], id, &has, &hit));
        if (has && cf_ranges_contains(&view->dead->set, cf_entry_segment_key(hit.pack, hit.segment))) has = false;
    }
    if (has) *address = hit;
    *found = has;
    return NULL;
}

static cf_err *check_entries(uint64_t pack, const cf_index_entry *entries, size_t count) {
    if (pack > CF_INDEX_PACK_MAX)
        return cf_fail(CF_ERR_TOO_LARGE, "chunk index: pack number %llu", (unsigned long long)pack);
    if (count > CF_JOURNAL_RECORD_MAX) return cf_fail(CF_ERR_TOO_LARGE, "chunk index: pack of %zu chunks", count);
    for (size_t i = 0; i < count; i++) {
        if (entries[i].offset > CF_INDEX_OFFSET_MAX || entries[i].length > CF_INDEX_LENGTH_MAX) {
            return cf_fail(CF_ERR_TOO_LARGE, "chunk index: chunk %zu of pack %llu: offset %u, length %u", i,
                           (unsigned long long)pack, entries[i].offset, entries[i].length);
        }
    }
    return NULL;
}

/* The entries that are not dead: entries itself when all are, else a fresh array in *filtered. */
static cf_err *live_entries(const cf_ranges *dead, uint64_t pack, const cf_index_entry **entries, size_t *count,
                            cf_index_entry **filtered) {
    size_t live = 0;
    if (dead->count == 0) return NULL;
    for (size_t i = 0; i < *count; i++)
        live += !cf_ranges_contains(dead, cf_entry_segment_key(pack, (*entries)[i].segment));
    if (live == *count) return NULL;
    cf_index_entry *kept = calloc(live ? live : 1, sizeof *kept);
    if (!kept) return cf_fail(CF_ERR_OUT_OF_MEMORY, "chunk index: %zu entries", live);
    live = 0;
    for (size_t i = 0; i < *count; i++) {
        if (!cf_ranges_contains(dead, cf_entry_segment_key(pack, (*entries)[i].segment))) kept[live++] = (*entries)[i];
    }
    *filtered = kept;
    *entries = kept;
    *count = live;
    return NULL;
}

/* The journal and the table take the pack. Memory for the watermark is there before the journal is written: after that
 * nothing can fail. */
static cf_err *enter_pack(cf_index *index, uint64_t pack, const cf_index_entry *entries, size_t count) {
    CF_AUTO_RANGES cf_ranges applied = {0};
    if (index->applied.count == index->applied.capacity) { /* else adding needs no memory */
        CF_TRY(cf_ranges_copy(&index->applied, &applied));
        CF_TRY(cf_ranges_add(&applied, pack));
    }
    CF_TRY(cf_journal_append(index->journal, pack, entries, count));
    atomic_store(&index->log_bytes, cf_journal_bytes(index->journal));
    cf_err *err = NULL;
    pthread_rwlock_wrlock(&index->lock);
    for (size_t i = 0; i < count; i++) {
        cf_index_address address = {pack, entries[i].segment, entries[i].offset, entries[i].length};
        (void)cf_index_table_put(index->table, entries[i].id, &address); /* the caller made room */
    }
    if (applied.count > 0) {
        cf_ranges old = index->applied;
        index->applied = applied;
        applied = old; /* wiped on the way out */
    } else {
        err = cf_ranges_add(&index->applied, pack);
    }
    pthread_rwlock_unlock(&index->lock);
    return err;
}

static bool table_has_room(const cf_index *index, size_t count) {
    size_t limit = cf_index_table_limit(index->table);
    /* IDs that come again do not fill the table, but they do fill the journal. */
    return cf_index_table_count(index->table) + count <= limit &&
           cf_journal_bytes(index->journal) <= 48 * (uint64_t)limit + 65536;
}

static cf_err *apply_pack(cf_index *index, uint64_t pack, const cf_index_entry *entries, size_t count) {
    if (cf_ranges_contains(&index->applied, pack)) return NULL;
    CF_TRY(cf_index_failure(index));
    CF_AUTO_FREE cf_index_entry *filtered = NULL;
    CF_TRY(live_entries(&index->view->dead->set, pack, &entries, &count, &filtered));
    CF_TRY(cf_index_mark(index));
    if (count > cf_index_table_limit(index->table)) {
        CF_TRY(cf_index_add_run(index, pack, entries, count));
        /* The pack is in: damage that merging meets here is for the next call to tell. */
        cf_err_free(cf_index_compact(index));
        return NULL;
    }
    if (!table_has_room(index, count)) {
        CF_TRY(cf_index_rebase(index, NULL));
        CF_TRY(cf_index_compact(index));
    }
    return enter_pack(index, pack, entries, count);
}

cf_err *cf_index_apply_pack(cf_index *index, uint64_t pack, const cf_index_entry *entries, size_t count) {
    CF_TRY(check_entries(pack, entries, count));
    pthread_mutex_lock(&index->writer);
    cf_err *err = apply_pack(index, pack, entries, count);
    pthread_mutex_unlock(&index->writer);
    return err;
}

bool cf_index_has_pack(cf_index *index, uint64_t pack) {
    pthread_rwlock_rdlock(&index->lock);
    bool has = cf_ranges_contains(&index->applied, pack);
    pthread_rwlock_unlock(&index->lock);
    return has;
}

cf_err *cf_index_applied_ranges(cf_index *index, cf_index_pack_range **ranges, size_t *count) {
    CF_AUTO_RANGES cf_ranges copy = {0};
    pthread_rwlock_rdlock(&index->lock);
    cf_err *err = cf_ranges_copy(&index->applied, &copy);
    pthread_rwlock_unlock(&index->lock);
    if (err) return err;
    cf_index_pack_range *out = copy.count ? calloc(copy.count, sizeof *out) : NULL;
    if (copy.count && !out) return cf_fail(CF_ERR_OUT_OF_MEMORY, "chunk index: %zu ranges", copy.count);
    for (size_t i = 0; i < copy.count; i++) out[i] = (cf_index_pack_range){copy.items[i].first, copy.items[i].last};
    *ranges = out;
    *count = copy.count;
    return NULL;
}

static int compare_keys(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static cf_err *retired_set(const cf_index_segment *retired, size_t count, cf_ranges *out) {
    CF_AUTO_RANGES cf_ranges made = {0};
    CF_AUTO_FREE uint64_t *keys = calloc(count ? count : 1, sizeof *keys);
    if (!keys) return cf_fail(CF_ERR_OUT_OF_MEMORY, "chunk index: %zu retired segments", count);
    for (size_t i = 0; i < count; i++) {
        if (retired[i].pack > CF_INDEX_PACK_MAX) {
            return cf_fail(CF_ERR_TOO_LARGE, "chunk index: pack number %llu", (unsigned long long)retired[i].pack);
        }
        keys[i] = cf_entry_segment_key(retired[i].pack, retired[i].segment);
    }
    qsort(keys, count, sizeof *keys, compare_keys);
    for (size_t i = 0; i < count; i++) CF_TRY(cf_ranges_append(&made, keys[i], keys[i]));
    *out = made;
    made = (cf_ranges){0};
    return NULL;
}

static cf_err *apply_feed(cf_index *index, uint64_t generation, const uint8_t *epoch, const cf_ranges *retired) {
    CF_AUTO(cf_dead) dead = NULL;
    CF_TRY(cf_index_failure(index));
    if (retired->count == 0) {
        CF_TRY(cf_index_publish(index, &(cf_step){.epoch = epoch, .generation = &generation}));
        pthread_rwlock_wrlock(&index->lock);
        memcpy(index->epoch, epoch, 16);
        index->generation = generation;
        pthread_rwlock_unlock(&index->lock);
        return NULL;
    }
    CF_AUTO_RANGES cf_ranges all = {0};
    CF_TRY(cf_ranges_unite(&index->view->dead->set, retired, &all));
    CF_TRY(cf_dead_new(&all, &dead));
    CF_TRY(cf_index_rebase(index, &(cf_feed){dead, epoch, generation}));
    if (dead->set.count > DEAD_MANY) index->want_full = true;
    cf_err_free(cf_index_compact(index)); /* the feed is in: damage is for the next call to tell */
    return NULL;
}

cf_err *cf_index_apply_feed(cf_index *index, uint64_t generation, const uint8_t epoch[16],
                            const cf_index_segment *retired, size_t count) {
    CF_AUTO_RANGES cf_ranges set = {0};
    CF_TRY(retired_set(retired, count, &set));
    pthread_mutex_lock(&index->writer);
    cf_err *err = apply_feed(index, generation, epoch, &set);
    pthread_mutex_unlock(&index->writer);
    return err;
}

uint64_t cf_index_generation(cf_index *index) {
    pthread_rwlock_rdlock(&index->lock);
    uint64_t generation = index->generation;
    pthread_rwlock_unlock(&index->lock);
    return generation;
}

void cf_index_epoch(cf_index *index, uint8_t epoch[16]) {
    pthread_rwlock_rdlock(&index->lock);
    memcpy(epoch, index->epoch, 16);
    pthread_rwlock_unlock(&index->lock);
}

cf_err *cf_index_set_epoch(cf_index *index, const uint8_t epoch[16]) {
    pthread_mutex_lock(&index->writer);
    cf_err *err = cf_index_publish(index, &(cf_step){.epoch = epoch});
    if (!err) {
        pthread_rwlock_wrlock(&index->lock);
        memcpy(index->epoch, epoch, 16);
        pthread_rwlock_unlock(&index->lock);
    }
    pthread_mutex_unlock(&index->writer);
    return err;
}

cf_err *cf_index_flush(cf_index *index) {
    pthread_mutex_lock(&index->writer);
    cf_err *err = index->uncertain ? cf_index_mark(index) : NULL;
    if (!err) err = cf_journal_sync(index->journal);
    if (!err) err = cf_index_failure(index);
    pthread_mutex_unlock(&index->writer);
    return err;
}

cf_err *cf_index_settle(cf_index *index) {
    pthread_mutex_lock(&index->writer);
    cf_err *err = cf_index_compact_all(index);
    pthread_mutex_unlock(&index->writer);
    return err;
}

cf_err *cf_index_check(cf_index *index) {
    CF_AUTO(cf_view) view = cf_view_get(index);
    for (size_t i = 0; i < view->count; i++) CF_TRY(cf_run_check(view->runs[i]));
    return NULL;
}

static uint64_t file_size(const cf_index *index, const char *name) {
    struct stat st;
    return fstatat(index->dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 ? (uint64_t)st.st_size : 0;
}

void cf_index_get_stats(cf_index *index, cf_index_stats *stats) {
    pthread_rwlock_rdlock(&index->lock);
    *stats = (cf_index_stats){.chunks = cf_index_table_count(index->table), .packs = cf_ranges_total(&index->applied)};
    pthread_rwlock_unlock(&index->lock);
    CF_AUTO(cf_view) view = cf_view_get(index);
    for (size_t i = 0; i < view->count; i++) {
        stats->chunks += view->runs[i]->entries;
        stats->bytes += cf_run_bytes(view->runs[i]);
    }
    stats->runs = view->count;
    stats->dead = cf_ranges_total(&view->dead->set);
    stats->bytes += atomic_load(&index->log_bytes) + file_size(index, CF_MANIFEST_NAME);
    if (view->dead->has_file) {
        char name[CF_IIO_NAME_SIZE];
        cf_iio_name(name, "dead", view->dead->number);
        stats->bytes += file_size(index, name);
    }
    stats->merged_runs = atomic_load(&index->merges);
    stats->written = atomic_load(&index->written);
}
