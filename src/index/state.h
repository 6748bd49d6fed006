/* The inside of an open index, shared by index.c (calls), open.c (open and close), publish.c (changes of the set of files)
 * and compact.c (which runs to merge, and when).
 *
 * Locks: writer is held by whoever changes anything on disk; lock guards what readers see. Order: writer, lock.
 * A view is immutable; readers hold a reference while they read its files.                               */
#ifndef CF_INDEX_STATE_H
#define CF_INDEX_STATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "index/index.h"
#include "index/journal.h"
#include "index/manifest.h"
#include "index/ranges.h"
#include "index/run.h"
#include "index/table.h"

typedef struct cf_dead { /* retired segments that runs may still have entries of */
    atomic_uint references;
    cf_ranges set; /* of cf_entry_segment_key */
    bool has_file;
    uint64_t number;
} cf_dead;

typedef struct cf_view {
    atomic_uint references;
    cf_dead *dead;
    size_t count;
    cf_run *runs[CF_MANIFEST_RUNS_MAX]; /* newest first */
} cf_view;

struct cf_index {
    int dir;
    uint8_t server_id[16];
    char boot_id[CF_BOOT_ID_SIZE];
    bool merge_inline;
    bool fresh;
    bool recovered;
    size_t slots;            /* of the table, by the budget        */
    atomic_size_t spare;     /* left of the budget for guide pages */
    atomic_ullong log_bytes; /* of the current journal             */
    atomic_ullong merges;
    atomic_ullong written;
    bool has_locks;

    pthread_rwlock_t lock; /* guards: */
    cf_index_table *table;
    cf_view *view;
    cf_ranges applied; /* packs */
    uint8_t epoch[16];
    uint64_t generation;

    pthread_mutex_t writer; /* guards: */
    cf_ranges settled;      /* packs whose entries are in runs: applied without those in the journal */
    cf_journal *journal;
    uint64_t next_number;
    bool marked;    /* the manifest on disk says "in use"                                            */
    bool uncertain; /* storing a manifest failed: which one is on disk is not known until one is stored */
    pthread_cond_t changed;
    pthread_t thread;
    bool has_thread;
    bool closing;
    bool wanted;      /* the thread should look for runs to merge        */
    bool busy;        /* it is merging                                   */
    bool want_full;   /* merge everything, to get rid of dead segments   */
    char damage[200]; /* what a merge found: told to the writer          */
    atomic_bool stop;
};

/* publish.c */
cf_err *cf_dead_new(cf_ranges *set, cf_dead **dead) __attribute__((warn_unused_result)); /* takes *set */
cf_dead *cf_dead_ref(cf_dead *dead);
void cf_dead_unref(cf_dead *dead); /* NULL-safe */
CF_DEFINE_AUTO(cf_dead, cf_dead_unref)
/* cf_view_new: takes references of its own of runs and dead. TOO_LARGE when there are too many runs.     */
cf_err *cf_view_new(cf_run *const *runs, size_t count, cf_dead *dead, cf_view **view)
    __attribute__((warn_unused_result));
cf_view *cf_view_get(cf_index *index); /* the current one, with a reference; takes lock */
void cf_view_unref(cf_view *view);     /* NULL-safe */
CF_DEFINE_AUTO(cf_view, cf_view_unref)

/* What one step changes; NULL means: as it is. */
typedef struct cf_step {
    cf_view *view;
    const cf_ranges *settled;
    const cf_journal *journal;
    const uint8_t *epoch;
    const uint64_t *generation;
    bool clean;
} cf_step;
/* cf_index_publish: the new manifest, on disk. Memory is the caller's to change after it.                */
cf_err *cf_index_publish(cf_index *index, const cf_step *step) __attribute__((warn_unused_result));
/* cf_index_mark: before the journal is written or trusted: the manifest on disk is this state's, and says "in use". */
cf_err *cf_index_mark(cf_index *index) __attribute__((warn_unused_result));
/* cf_index_rebase: one step: the table's entries become a run, with the journal's packs settled, a new journal;
 * and when feed is given: its dead segments, epoch and generation. Under writer.                         */
typedef struct cf_feed {
    cf_dead *dead;
    const uint8_t *epoch;
    uint64_t generation;
} cf_feed;
cf_err *cf_index_rebase(cf_index *index, const cf_feed *feed) __attribute__((warn_unused_result));
/* cf_index_add_run: a pack too large for the table, as a run of its own, in one step. Under writer.      */
cf_err *cf_index_add_run(cf_index *index, uint64_t pack, const cf_index_entry *entries, size_t count)
    __attribute__((warn_unused_result));
/* cf_index_set_view: what readers see from now on. Takes view; under writer.                             */
void cf_index_set_view(cf_index *index, cf_view *view);
/* cf_index_remove_file: "run", "log" or "dead"; a failure only leaves a file that the next open removes. */
void cf_index_remove_file(const cf_index *index, const char *kind, uint64_t number);
/* cf_index_drop_new: a new file, after its step failed. It stays when the manifest on disk may name it.   */
void cf_index_drop_new(const cf_index *index, const char *kind, uint64_t number);

/* compact.c; all under writer */
cf_err *cf_index_compact(cf_index *index) __attribute__((warn_unused_result));     /* after a run was added */
cf_err *cf_index_compact_all(cf_index *index) __attribute__((warn_unused_result)); /* and wait */
cf_err *cf_index_start_thread(cf_index *index) __attribute__((warn_unused_result));
void cf_index_stop_thread(cf_index *index);                                          /* not under writer */
cf_err *cf_index_failure(const cf_index *index) __attribute__((warn_unused_result)); /* what a merge found */

#endif
