/* Lock files: one writer or many readers among processes (and among threads: each lock is its own), gone
 * with the process that holds it, whatever ends it. The file itself stays and is never removed: removing
 * it would let two holders in.
 *
 * Open-file-description locks (fcntl(2), F_OFD_SETLK). A child made by fork shares its parent's locks
 * until it runs another program or closes its descriptors.
 * Fails, all of these: 900101 IO, 900102 DISK_FULL, 900103 NOT_FOUND (no such folder).
 * Threads: any number; a cf_lock belongs to one at a time.                                             */
#ifndef CF_OS_LOCK_H
#define CF_OS_LOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/clock.h"
#include "base/err.h"

typedef enum cf_lock_kind { CF_LOCK_SHARED, CF_LOCK_EXCLUSIVE } cf_lock_kind;

/* Who has a lock. */
enum { CF_LOCK_NOTE_MAX = 199 };
typedef struct cf_lock_holder {
    pid_t pid; /* 0: not known (it has only just taken it)                       */
    cf_time since;
    char note[CF_LOCK_NOTE_MAX + 1]; /* what it said: "backup job 17"; cut to fit                       */
} cf_lock_holder;

typedef struct cf_lock cf_lock;

/* cf_lock_try: take the lock if it is free.
 *   path    the lock file; made (0600) when missing.
 *   note    what a refused caller is told; one line.
 *   now     the wall time to write down.
 *   lock    NULL when somebody else has it; then *holder (may be NULL) says who: one of them.
 * A shared lock goes together with shared ones.                                                       */
cf_err *cf_lock_try(int dirfd, const char *path, cf_lock_kind kind, const char *note, cf_time now, cf_lock **lock,
                    cf_lock_holder *holder) __attribute__((warn_unused_result));
/* cf_lock_wait: the same, waiting until it is free. Fails also: 900004 CANCELLED when a signal came.   */
cf_err *cf_lock_wait(int dirfd, const char *path, cf_lock_kind kind, const char *note, cf_time now, cf_lock **lock)
    __attribute__((warn_unused_result));
/* cf_lock_peek: is anybody holding it? *held false also when the file is missing. Takes nothing.       */
cf_err *cf_lock_peek(int dirfd, const char *path, bool *held, cf_lock_holder *holder)
    __attribute__((warn_unused_result));
/* cf_lock_free: release. NULL-safe.                                                                   */
void cf_lock_free(cf_lock *lock);
CF_DEFINE_AUTO(cf_lock, cf_lock_free)

#endif
