#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "index/state.h"

cf_err *cf_dead_new(cf_ranges *set, cf_dead **dead) {
    cf_dead *made = calloc(1, sizeof *made);
    if (!made) return cf_fail(CF_ERR_OUT_OF_MEMORY, "chunk index: dead segments");
    atomic_init(&made->references, 1);
    made->set = *set;
    *set = (cf_ranges){0};
    *dead = made;
    return NULL;
}

cf_dead *cf_dead_ref(cf_dead *dead) {
    atomic_fetch_add_explicit(&dead->references, 1, memory_order_relaxed);
    return dead;
}

void cf_dead_unref(cf_dead *dead) {
    if (!dead || atomic_fetch_sub_explicit(&dead->references, 1, memory_order_acq_rel) != 1) return;
    cf_ranges_wipe(&dead->set);
    free(dead);
}

cf_err *cf_view_new(cf_run *const *runs, size_t count, cf_dead *dead, cf_view **view) {
    if (count > CF_MANIFEST_RUNS_MAX)
        return cf_fail(CF_ERR_TOO_LARGE, "chunk index: %zu runs, merging does not keep up", count);
    cf_view *made = calloc(1, sizeof *made);
    if (!made) return cf_fail(CF_ERR_OUT_OF_MEMORY, "chunk index: a view");
    atomic_init(&made->references, 1);
    made->dead = cf_dead_ref(dead);
    made->count = count;
    for (size_t i = 0; i < count; i++) made->runs[i] = cf_run_ref(runs[i]);
    *view = made;
    return NULL;
}

cf_view *cf_view_get(cf_index *index) {
    pthread_rwlock_rdlock(&index->lock);
    cf_view *view = index->view;
    atomic_fetch_add_explicit(&view->references, 1, memory_order_relaxed);
    pthread_rwlock_unlock(&index->lock);
    return view;
}

void cf_view_unref(cf_view *view) {
    if (!view || atomic_fetch_sub_explicit(&view->references, 1, memory_order_acq_rel) != 1) return;
    for (size_t i = 0; i < view->count; i++) cf_run_unref(view->runs[i]);
    cf_dead_unref(view->dead);
    free(view);
}

void cf_index_set_view(cf_index *index, cf_view *view) {
    pthread_rwlock_wrlock(&index->lock);
    cf_view *old = index->view;
    index->view = view;
    pthread_rwlock_unlock(&index->lock);
    cf_view_unref(old);
}

void cf_index_remove_file(const cf_index *index, const char *kind, uint64_t number) {
    char name[CF_IIO_NAME_SIZE];
    cf_iio_name(name, kind, number);
    (void)unlinkat(index->dir, name, 0); /* what stays is removed by the next open */
}

void cf_index_drop_new(const cf_index *index, const char *kind, uint64_t number) {
    if (!index->uncertain) cf_index_remove_file(index, kind, number);
}

cf_err *cf_index_publish(cf_index *index, const cf_step *step) {
    const cf_view *view = step->view ? step->view : index->view;
    const cf_journal *journal = step->journal ? step->journal : index->journal;
    cf_manifest manifest = {
        .generation = step->generation ? *step->generation : index->generation,
        .clean = step->clean,
        .next_number = index->next_number,
        .journal_number = cf_journal_number(journal),
        .journal_bytes = step->clean ? cf_journal_bytes(journal) : 0,
        .has_dead = view->dead->has_file,
        .dead_number = view->dead->number,
        .run_count = view->count,
        .packs = step->settled ? *step->settled : index->settled, /* borrowed: not wiped */
    };
    memcpy(manifest.server_id, index->server_id, 16);
    memcpy(manifest.epoch, step->epoch ? step->epoch : index->epoch, 16);
    memcpy(manifest.boot_id, index->boot_id, CF_BOOT_ID_SIZE);
    for (size_t i = 0; i < view->count; i++) {
        manifest.runs[i] = view->runs[i]->number;
        manifest.run_entries[i] = view->runs[i]->entries;
    }
    bool placed = false;
    cf_err *err = cf_manifest_store(index->dir, &manifest, &placed);
    if (err && placed) index->uncertain = true;
    if (err) return err;
    index->uncertain = false;
    index->marked = !step->clean;
    return NULL;
}

cf_err *cf_index_mark(cf_index *index) {
    return index->marked && !index->uncertain ? NULL : cf_index_publish(index, &(cf_step){0});
}

/* The live entries of the table as a run; *run is NULL when there are none. */
static cf_err *write_table(cf_index *index, const cf_ranges *dead, cf_run **run) {
    *run = NULL;
    size_t count = cf_index_table_count(index->table);
    if (count == 0) return NULL;
    CF_AUTO_FREE uint32_t *order = malloc(count * sizeof *order);
    if (!order) return cf_fail(CF_ERR_OUT_OF_MEMORY, "chunk index: sorting %zu entries", count);
    cf_index_table_sort(index->table, order);
    CF_AUTO(cf_run_writer) writer = NULL;
    CF_TRY(cf_run_writer_new(index->dir, index->next_number++, index->server_id, count, &writer));
    for (size_t i = 0; i < count; i++) {
        uint8_t entry[CF_ENTRY_SIZE];
        cf_index_table_entry(index->table, order[i], entry);
        if (dead->count > 0 && cf_ranges_contains(dead, cf_entry_key(entry))) continue;
        CF_TRY(cf_run_writer_add(writer, entry));
    }
    CF_TRY(cf_run_writer_finish(writer, &index->spare, run));
    if (*run) atomic_fetch_add(&index->written, cf_run_writer_bytes(writer));
    return NULL;
}

/* The current runs with run (may be NULL) in front. */
static cf_err *view_with(cf_index *index, cf_run *run, cf_dead *dead, cf_view **view) {
    cf_run *runs[CF_MANIFEST_RUNS_MAX + 1];
    size_t count = 0;
    if (run) runs[count++] = run;
    for (size_t i = 0; i < index->view->count; i++) runs[count++] = index->view->runs[i];
    return cf_view_new(runs, count, dead, view);
}

/* Readers see table, view and what the feed brought change at once. */
static void switch_over(cf_index *index, cf_view *view, const cf_feed *feed) {
    pthread_rwlock_wrlock(&index->lock);
    cf_view *old = index->view;
    index->view = view;
    cf_index_table_clear(index->table);
    if (feed) {
        memcpy(index->epoch, feed->epoch, 16);
        index->generation = feed->generation;
    }
    pthread_rwlock_unlock(&index->lock);
    if (old->dead->has_file && old->dead != view->dead) cf_index_remove_file(index, "dead", old->dead->number);
    cf_view_unref(old);
}

cf_err *cf_index_rebase(cf_index *index, const cf_feed *feed) {
    cf_dead *dead = feed ? feed->dead : index->view->dead;
    bool new_dead = dead != index->view->dead;
    CF_AUTO(cf_run) run = NULL;
    CF_AUTO(cf_journal) journal = NULL;
    CF_AUTO(cf_view) view = NULL;
    CF_AUTO_RANGES cf_ranges settled = {0};
    CF_TRY(write_table(index, &dead->set, &run));
    cf_err *err = cf_ranges_copy(&index->applied, &settled);
    if (!err) err = view_with(index, run, dead, &view);
    if (!err) err = cf_journal_create(index->dir, index->next_number++, index->server_id, &journal);
    if (!err && new_dead && dead->set.count > 0) {
        dead->number = index->next_number++;
        err = cf_dead_store(index->dir, dead->number, &dead->set);
        dead->has_file = !err;
    }
    if (!err) {
        err = cf_index_publish(index, &(cf_step){.view = view,
                                                 .settled = &settled,
                                                 .journal = journal,
                                                 .epoch = feed ? feed->epoch : NULL,
                                                 .generation = feed ? &feed->generation : NULL});
    }
    if (err) {
        if (run) cf_index_drop_new(index, "run", run->number);
        if (journal) cf_index_drop_new(index, "log", cf_journal_number(journal));
        if (new_dead && dead->has_file) cf_index_drop_new(index, "dead", dead->number);
        return err;
    }
    switch_over(index, cf_take(view), feed);
    cf_index_remove_file(index, "log", cf_journal_number(index->journal));
    cf_journal_free(index->journal);
    index->journal = cf_take(journal);
    atomic_store(&index->log_bytes, cf_journal_bytes(index->journal));
    cf_ranges_wipe(&index->settled);
    index->settled = settled;
    settled = (cf_ranges){0};
    return NULL;
}

static int compare_entries(const void *a, const void *b, void *context) {
    const cf_index_entry *entries = context;
    uint32_t i = *(const uint32_t *)a, j = *(const uint32_t *)b;
    int order = cf_entry_compare_id(entries[i].id, entries[j].id);
    return order ? order : (i > j) - (i < j); /* the last of equals is the one that stays, as in the table */
}

static cf_err *write_entries(cf_index *index, uint64_t pack, const cf_index_entry *entries, size_t count,
                             cf_run **run) {
    CF_AUTO_FREE uint32_t *order = malloc(count * sizeof *order);
    if (!order) return cf_fail(CF_ERR_OUT_OF_MEMORY, "chunk index: sorting %zu entries", count);
    for (size_t i = 0; i < count; i++) order[i] = (uint32_t)i;
    qsort_r(order, count, sizeof *order, compare_entries, (void *)entries);
    CF_AUTO(cf_run_writer) writer = NULL;
    CF_TRY(cf_run_writer_new(index->dir, index->next_number++, index->server_id, count, &writer));
    const cf_ranges *dead = &index->view->dead->set;
    for (size_t i = 0; i < count; i++) {
        const cf_index_entry *from = &entries[order[i]];
        if (i + 1 < count && cf_entry_compare_id(from->id, entries[order[i + 1]].id) == 0) continue;
        if (cf_ranges_contains(dead, cf_entry_segment_key(pack, from->segment))) continue;
        uint8_t entry[CF_ENTRY_SIZE];
        cf_index_address address = {pack, from->segment, from->offset, from->length};
        cf_entry_encode(entry, from->id, &address);
        CF_TRY(cf_run_writer_add(writer, entry));
    }
    CF_TRY(cf_run_writer_finish(writer, &index->spare, run));
    if (*run) atomic_fetch_add(&index->written, cf_run_writer_bytes(writer));
    return NULL;
}

cf_err *cf_index_add_run(cf_index *index, uint64_t pack, const cf_index_entry *entries, size_t count) {
    /* First what is in memory: then the settled packs are all that were applied, and one step adds this one. */
    CF_TRY(cf_index_rebase(index, NULL));
    CF_AUTO(cf_run) run = NULL;
    CF_AUTO(cf_view) view = NULL;
    CF_AUTO_RANGES cf_ranges settled = {0};
    CF_AUTO_RANGES cf_ranges applied = {0};
    CF_TRY(cf_ranges_copy(&index->applied, &settled));
    CF_TRY(cf_ranges_add(&settled, pack));
    CF_TRY(cf_ranges_copy(&settled, &applied));
    CF_TRY(write_entries(index, pack, entries, count, &run));
    cf_err *err = view_with(index, run, index->view->dead, &view);
    if (!err) err = cf_index_publish(index, &(cf_step){.view = view, .settled = &settled});
    if (err) {
        if (run) cf_index_drop_new(index, "run", run->number);
        return err;
    }
    cf_ranges old_settled = index->settled, old_applied = index->applied;
    pthread_rwlock_wrlock(&index->lock);
    cf_view *old = index->view;
    index->view = cf_take(view);
    index->applied = applied;
    pthread_rwlock_unlock(&index->lock);
    index->settled = settled;
    settled = old_settled; /* wiped on the way out */
    applied = old_applied;
    cf_view_unref(old);
    return NULL;
}
