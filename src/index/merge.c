#include "index/merge.h"

#include "index/manifest.h"

typedef struct merge {
    cf_run_reader readers[CF_MANIFEST_RUNS_MAX];
    size_t count; /* readers not at their end */
    const cf_ranges *dead;
    const atomic_bool *stop;
    cf_run_writer *writer;
} merge;

static cf_err *advance(merge *m, size_t i) {
    CF_TRY(cf_run_reader_next(&m->readers[i]));
    if (m->readers[i].head) return NULL;
    cf_run_reader_wipe(&m->readers[i]);
    m->readers[i] = m->readers[--m->count];
    m->readers[m->count] = (cf_run_reader){0};
    return NULL;
}

/* At most eight or so runs: looking at each is cheaper than a heap. */
static const uint8_t *smallest(const merge *m) {
    const uint8_t *best = m->readers[0].head;
    for (size_t i = 1; i < m->count; i++) {
        if (cf_entry_compare_id(m->readers[i].head, best) < 0) best = m->readers[i].head;
    }
    return best;
}

/* Takes every entry with the smallest ID from the inputs, writes the best of them. */
static cf_err *step(merge *m) {
    uint8_t id[CF_INDEX_ID_SIZE], best[CF_ENTRY_SIZE];
    bool has_best = false;
    memcpy(id, smallest(m), sizeof id);
    for (size_t i = 0; i < m->count;) {
        const uint8_t *head = m->readers[i].head;
        if (cf_entry_compare_id(head, id) != 0) {
            i++;
            continue;
        }
        bool dead = m->dead->count > 0 && cf_ranges_contains(m->dead, cf_entry_key(head));
        if (!dead && (!has_best || cf_entry_pack(head) > cf_entry_pack(best))) {
            memcpy(best, head, sizeof best);
            has_best = true;
        }
        size_t before = m->count;
        CF_TRY(advance(m, i));
        if (m->count == before) i++; /* else another reader has moved here */
    }
    return has_best ? cf_run_writer_add(m->writer, best) : NULL;
}

static cf_err *run_merge(merge *m) {
    for (uint64_t steps = 0; m->count > 0; steps++) {
        if (steps % 4096 == 0 && atomic_load_explicit(m->stop, memory_order_relaxed)) {
            return cf_fail(CF_ERR_CANCELLED, "chunk index: merge stopped");
        }
        CF_TRY(step(m));
    }
    return NULL;
}

cf_err *cf_merge_runs(int dir, uint64_t number, const uint8_t server_id[16], cf_run *const *inputs, size_t count,
                      const cf_ranges *dead, const atomic_bool *stop, atomic_size_t *spare, cf_run **output,
                      uint64_t *written) {
    if (count < 1 || count > CF_MANIFEST_RUNS_MAX)
        return cf_fail(CF_ERR_INTERNAL, "chunk index: merge of %zu runs", count);
    merge m = {.dead = dead, .stop = stop};
    uint64_t entries = 0;
    for (size_t i = 0; i < count; i++) entries += inputs[i]->entries;
    CF_AUTO(cf_run_writer) writer = NULL;
    CF_TRY(cf_run_writer_new(dir, number, server_id, entries, &writer));
    m.writer = writer;
    cf_err *err = NULL;
    for (size_t i = 0; !err && i < count; i++) {
        err = cf_run_reader_init(&m.readers[m.count++], inputs[i]); /* a run has at least one entry */
    }
    if (!err) err = run_merge(&m);
    for (size_t i = 0; i < CF_MANIFEST_RUNS_MAX; i++) cf_run_reader_wipe(&m.readers[i]);
    if (err) return err;
    CF_TRY(cf_run_writer_finish(writer, spare, output));
    *written = *output ? cf_run_writer_bytes(writer) : 0;
    return NULL;
}
