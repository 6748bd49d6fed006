/* Which runs to merge, and when.
 *
 * Runs stand newest first. The newest k are merged when each of them has less than twice the entries of all that are newer
 * together; so sizes at least triple from run to run in the end, 100 million entries are at most seven or eight runs, and an
 * entry is rewritten a bounded number of times. Small merges are done by the writer at once; large ones by a thread, on the
 * side: meanwhile the writer goes on merging what is newer. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "index/merge.h"
#include "index/state.h"

#define RATIO 2
#define MANY_RUNS 8      /* while the thread is busy: the writer merges on from here  */
#define TOO_MANY_RUNS 12 /* and from here whatever the sizes                          */
#define SMALL_MERGE 8    /* tables full of entries                                    */

typedef struct job {
    size_t count;
    cf_run *inputs[CF_MANIFEST_RUNS_MAX];
    cf_dead *dead;
    bool full;
    cf_ranges packs; /* when full: settled at its start */
    uint64_t number;
} job;

/* How many of the newest runs nobody is merging. */
static size_t available(const cf_index *index) {
    size_t count = 0;
    while (count < index->view->count && !index->view->runs[count]->merging) count++;
    return count;
}

static size_t pick(const cf_index *index, uint64_t *entries, bool *full) {
    size_t most = available(index), count = 0;
    const cf_view *view = index->view;
    *entries = 0;
    *full = index->want_full && most == view->count && view->count > 0;
    if (*full) return view->count;
    while (count < most && (count == 0 || view->runs[count]->entries < RATIO * *entries))
        *entries += view->runs[count++]->entries;
    return count;
}

static cf_err *prepare(cf_index *index, size_t count, bool full, job *work) {
    *work = (job){.full = full};
    if (full) CF_TRY(cf_ranges_copy(&index->settled, &work->packs));
    work->number = index->next_number++;
    work->dead = cf_dead_ref(index->view->dead);
    work->count = count;
    for (size_t i = 0; i < count; i++) {
        work->inputs[i] = cf_run_ref(index->view->runs[i]);
        work->inputs[i]->merging = true;
    }
    if (full) index->want_full = false;
    return NULL;
}

static void release(cf_index *index, job *work) {
    for (size_t i = 0; i < work->count; i++) {
        work->inputs[i]->merging = false;
        cf_run_unref(work->inputs[i]);
    }
    cf_dead_unref(work->dead);
    cf_ranges_wipe(&work->packs);
    /* The inputs gave back what their guide pages took: the newest runs may have it. */
    for (size_t i = 0; i < index->view->count; i++) {
        cf_err_free(cf_run_keep_guide(index->view->runs[i])); /* a damaged page is told by the lookup that needs it */
    }
}

static cf_err *execute(cf_index *index, const job *work, cf_run **output) {
    uint64_t written = 0;
    CF_TRY(cf_merge_runs(index->dir, work->number, index->server_id, work->inputs, work->count, &work->dead->set,
                         &index->stop, &index->spare, output, &written));
    atomic_fetch_add(&index->written, written);
    atomic_fetch_add(&index->merges, 1);
    return NULL;
}

/* The dead segments of work that no run has entries of any more: those of packs that were all in its runs. The packs that
 * are not applied yet may still come. */
static cf_err *forgettable(const job *work, cf_ranges *out) {
    CF_AUTO_RANGES cf_ranges segments = {0};
    CF_AUTO_RANGES cf_ranges kept = {0};
    for (size_t i = 0; i < work->packs.count; i++) {
        const cf_range *packs = &work->packs.items[i];
        CF_TRY(cf_ranges_append(&segments, packs->first << 16, packs->last << 16 | 0xFFFF));
    }
    CF_TRY(cf_ranges_subtract(&work->dead->set, &segments, &kept));
    return cf_ranges_subtract(&work->dead->set, &kept, out);
}

static cf_err *dead_after(cf_index *index, const job *work, cf_dead **dead) {
    CF_AUTO_RANGES cf_ranges gone = {0};
    if (work->full) CF_TRY(forgettable(work, &gone));
    if (gone.count == 0) {
        *dead = cf_dead_ref(index->view->dead);
        return NULL;
    }
    CF_AUTO_RANGES cf_ranges left = {0};
    CF_AUTO(cf_dead) made = NULL;
    CF_TRY(cf_ranges_subtract(&index->view->dead->set, &gone, &left));
    CF_TRY(cf_dead_new(&left, &made));
    if (made->set.count > 0) {
        made->number = index->next_number++;
        CF_TRY(cf_dead_store(index->dir, made->number, &made->set));
        made->has_file = true;
    }
    *dead = cf_take(made);
    return NULL;
}

/* The inputs stand together in the current view: new runs only come in front, and nobody else merges these. */
static cf_err *view_after(cf_index *index, const job *work, cf_run *output, cf_dead *dead, cf_view **view) {
    cf_run *runs[CF_MANIFEST_RUNS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < index->view->count; i++) {
        cf_run *run = index->view->runs[i];
        if (run == work->inputs[0] && output) runs[count++] = output;
        bool input = false;
        for (size_t j = 0; j < work->count; j++) input |= run == work->inputs[j];
        if (!input) runs[count++] = run;
    }
    return cf_view_new(runs, count, dead, view);
}

static cf_err *complete(cf_index *index, const job *work, cf_run *output) {
    CF_AUTO(cf_dead) dead = NULL;
    CF_AUTO(cf_view) view = NULL;
    cf_dead *old_dead = index->view->dead;
    bool old_file = old_dead->has_file;
    uint64_t old_number = old_dead->number;
    cf_err *err = dead_after(index, work, &dead);
    if (!err) err = view_after(index, work, output, dead, &view);
    if (!err) err = cf_index_publish(index, &(cf_step){.view = view});
    if (err) {
        if (output) cf_index_drop_new(index, "run", output->number);
        if (dead && dead != old_dead && dead->has_file) cf_index_drop_new(index, "dead", dead->number);
        return err;
    }
    bool dead_changed = dead != old_dead;
    cf_index_set_view(index, cf_take(view));
    for (size_t i = 0; i < work->count; i++) cf_index_remove_file(index, "run", work->inputs[i]->number);
    if (dead_changed && old_file) cf_index_remove_file(index, "dead", old_number);
    return NULL;
}

/* A merge that did not work out leaves everything as it was. Only damage is the caller's business: a disk that is full
 * or a lack of memory just means more runs until a later merge succeeds. */
static bool merge_failed(cf_index *index, cf_err *err) {
    if (!err) return false;
    if (cf_err_code(err) == CF_ERR_INDEX_UNREADABLE && !index->damage[0]) {
        snprintf(index->damage, sizeof index->damage, "%s", cf_err_message(err));
    }
    cf_err_free(err);
    return true;
}

cf_err *cf_index_failure(const cf_index *index) {
    if (!index->damage[0]) return NULL;
    return cf_fail_reason(CF_ERR_INDEX_UNREADABLE, "damaged", "%s", index->damage);
}

/* With the writer's lock held throughout. False: it failed. */
static bool merge_now(cf_index *index, size_t count, bool full) {
    job work;
    if (merge_failed(index, prepare(index, count, full, &work))) return false;
    CF_AUTO(cf_run) output = NULL;
    cf_err *err = execute(index, &work, &output);
    if (!err) err = complete(index, &work, output);
    release(index, &work);
    return !merge_failed(index, err);
}

/* With the lock let go while the files are merged. */
static bool merge_aside(cf_index *index, size_t count, bool full) {
    job work;
    if (merge_failed(index, prepare(index, count, full, &work))) return false;
    index->busy = true;
    pthread_mutex_unlock(&index->writer);
    CF_AUTO(cf_run) output = NULL;
    cf_err *err = execute(index, &work, &output);
    pthread_mutex_lock(&index->writer);
    index->busy = false;
    if (!err) err = complete(index, &work, output);
    release(index, &work);
    return !merge_failed(index, err);
}

static bool due(size_t count, bool full) {
    return full || count >= 2;
}

cf_err *cf_index_compact(cf_index *index) {
    for (;;) {
        uint64_t entries;
        bool full;
        size_t count = pick(index, &entries, &full);
        if (!due(count, full)) {
            count = index->view->count >= TOO_MANY_RUNS ? available(index) : 0;
            if (count < 2) break;
            entries = 0; /* the writer's work, whatever the size */
        }
        bool mine = index->merge_inline || (!full && entries <= SMALL_MERGE * cf_index_table_limit(index->table)) ||
                    (!full && index->busy && index->view->count >= MANY_RUNS);
        if (!mine) {
            index->wanted = true;
            pthread_cond_broadcast(&index->changed);
            break;
        }
        if (!merge_now(index, count, full)) break;
    }
    return cf_index_failure(index);
}

cf_err *cf_index_compact_all(cf_index *index) {
    if (index->merge_inline) return cf_index_compact(index);
    index->wanted = true;
    pthread_cond_broadcast(&index->changed);
    while (index->wanted || index->busy) pthread_cond_wait(&index->changed, &index->writer);
    return cf_index_failure(index);
}

static void *merge_thread(void *argument) {
    cf_index *index = argument;
    pthread_mutex_lock(&index->writer);
    while (!index->closing) {
        if (!index->wanted) {
            pthread_cond_wait(&index->changed, &index->writer);
            continue;
        }
        uint64_t entries;
        bool full;
        size_t count = pick(index, &entries, &full);
        /* After a failure: not again until the next run comes. */
        if (!due(count, full) || !merge_aside(index, count, full)) {
            index->wanted = false;
            pthread_cond_broadcast(&index->changed);
        }
    }
    index->wanted = false;
    pthread_cond_broadcast(&index->changed);
    pthread_mutex_unlock(&index->writer);
    return NULL;
}

cf_err *cf_index_start_thread(cf_index *index) {
    if (index->merge_inline) return NULL;
    int failed = pthread_create(&index->thread, NULL, merge_thread, index);
    if (failed) return cf_fail_errno(CF_ERR_OUT_OF_MEMORY, failed, "chunk index: starting a thread");
    index->has_thread = true;
    return NULL;
}

void cf_index_stop_thread(cf_index *index) {
    if (!index->has_thread) return;
    atomic_store(&index->stop, true);
    pthread_mutex_lock(&index->writer);
    index->closing = true;
    pthread_cond_broadcast(&index->changed);
    pthread_mutex_unlock(&index->writer);
    pthread_join(index->thread, NULL);
    index->has_thread = false;
    atomic_store(&index->stop, false);
}
