/* How far a job has come: filled by the job's threads, read by whoever shows it. Showing is elsewhere, so
 * a job does not know whether anybody looks.
 * Threads: any number write and read. All numbers only grow, except the totals, which are corrected as
 * the job learns more.                                                                                 */
#ifndef CF_BASE_PROGRESS_H
#define CF_BASE_PROGRESS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#include "base/buf.h"

enum { CF_PROGRESS_ITEM_MAX = 512 };

typedef struct cf_progress {
    _Atomic uint64_t bytes_total; /* what there is to do; 0: not known yet                              */
    _Atomic uint64_t bytes_done;  /* logical bytes dealt with, unchanged ones included                  */
    _Atomic uint64_t files_total; /* 0: not known yet                                                   */
    _Atomic uint64_t files_done;
    _Atomic uint64_t bytes_moved; /* sent to or fetched from the vault                                  */
    _Atomic uint64_t warnings;
    pthread_mutex_t lock;            /* item and phase                                                             */
    char item[CF_PROGRESS_ITEM_MAX]; /* bytes of the current path, its end when longer                  */
    size_t item_size;
    const char *phase; /* "scanning", "uploading"; a literal, may be NULL                               */
} cf_progress;

static inline void cf_progress_init(cf_progress *progress) {
    memset(progress, 0, sizeof *progress);
    pthread_mutex_init(&progress->lock, NULL);
}
static inline void cf_progress_wipe(cf_progress *progress) {
    pthread_mutex_destroy(&progress->lock);
}
/* All of the following accept progress == NULL: nobody looks. */
static inline void cf_progress_add(cf_progress *progress, uint64_t files, uint64_t bytes) {
    if (!progress) return;
    if (files) atomic_fetch_add_explicit(&progress->files_done, files, memory_order_relaxed);
    if (bytes) atomic_fetch_add_explicit(&progress->bytes_done, bytes, memory_order_relaxed);
}
static inline void cf_progress_total(cf_progress *progress, uint64_t files, uint64_t bytes) {
    if (!progress) return;
    atomic_store_explicit(&progress->files_total, files, memory_order_relaxed);
    atomic_store_explicit(&progress->bytes_total, bytes, memory_order_relaxed);
}
static inline void cf_progress_moved(cf_progress *progress, uint64_t bytes) {
    if (progress) atomic_fetch_add_explicit(&progress->bytes_moved, bytes, memory_order_relaxed);
}
static inline void cf_progress_warning(cf_progress *progress) {
    if (progress) atomic_fetch_add_explicit(&progress->warnings, 1, memory_order_relaxed);
}
static inline void cf_progress_phase(cf_progress *progress, const char *phase) {
    if (!progress) return;
    pthread_mutex_lock(&progress->lock);
    progress->phase = phase;
    pthread_mutex_unlock(&progress->lock);
}
/* The item being worked on. Skipped when another thread is writing its own: any of them will do. */
static inline void cf_progress_item(cf_progress *progress, cf_span path) {
    if (!progress || pthread_mutex_trylock(&progress->lock) != 0) return;
    size_t size = path.size < CF_PROGRESS_ITEM_MAX ? path.size : CF_PROGRESS_ITEM_MAX;
    if (size) memcpy(progress->item, path.data + (path.size - size), size);
    progress->item_size = size;
    pthread_mutex_unlock(&progress->lock);
}

#endif
