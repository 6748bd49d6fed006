/* The state folder of this server: registration, job history, head, locks. All that cannot be rebuilt.
 *
 *   <state>/registration/   see agent/identity.h
 *   <state>/coffer.db       SQLite (WAL, synchronous=FULL): jobs, warnings, the head, settings
 *   <state>/lock, lock.backup, lock.register
 *   <state>/throttle.conf, throttle.bucket    see agent/pace.h
 *   <state>/logs/LastBackupFailedFiles<job>.txt
 *
 * Threads: any number; the database connection is used by one at a time.                                 */
#ifndef CF_AGENT_STATE_H
#define CF_AGENT_STATE_H

#include "agent/identity.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/ids.h"

typedef struct cf_state cf_state;

/* cf_state_open: makes the folder (0700) and its parts when they are missing, and brings the database up to
 * date. clock NULL: the system's. Fails: IO, DISK_FULL; 900921 STATE_DAMAGED (the database cannot be used;
 * reason too_new when a newer version made it).                                                          */
cf_err *cf_state_open(const char *folder, const cf_clock *clock, cf_state **state) __attribute__((warn_unused_result));
void cf_state_close(cf_state *state); /* NULL-safe */
CF_DEFINE_AUTO(cf_state, cf_state_close)
/* cf_state_keep_history: how long ended jobs are kept; a year (366 days) unless told. */
enum { CF_JOB_HISTORY_DAYS = 366 };
void cf_state_keep_history(cf_state *state, uint32_t days);
const char *cf_state_folder(const cf_state *state);
int cf_state_fd(const cf_state *state); /* of the folder; borrowed */
const cf_clock *cf_state_clock(const cf_state *state);
/* cf_state_pace: the throttle of this agent's transfers (agent/pace.h); borrowed. */
const struct cf_http_pace *cf_state_pace(const cf_state *state);

/* The head: the newest recovery point that this server knows of. A vault whose newest is older, or another at
 * the same counter, was rolled back or lies.                                                             */
typedef struct cf_head {
    bool exists;
    cf_id32 id;
    uint64_t counter;
    cf_time time; /* when it was set */
} cf_head;
cf_err *cf_state_get_head(cf_state *state, cf_head *head) __attribute__((warn_unused_result));
/* cf_state_set_head: durable when it returns. A lower counter than the stored one is refused (INTERNAL) unless
 * force (the vault was rolled back and the administrator accepted it, or a new registration).             */
cf_err *cf_state_set_head(cf_state *state, const cf_id32 *id, uint64_t counter, bool force)
    __attribute__((warn_unused_result));
cf_err *cf_state_clear_head(cf_state *state) __attribute__((warn_unused_result));

/* Settings: small texts by name ("epoch", "generation", "last_status"). *value is fresh, NULL when not set.   */
cf_err *cf_state_get_setting(cf_state *state, const char *name, char **value) __attribute__((warn_unused_result));
/* value NULL removes it. */
cf_err *cf_state_set_setting(cf_state *state, const char *name, const char *value) __attribute__((warn_unused_result));

/* Locks, held until freed or until the process ends, however it ends.
 *   BACKUP excludes another BACKUP; SHARED (restore, verify, mount) runs beside a backup and each other;
 *   EXCLUSIVE (unregister, moving scratch) excludes everything; REGISTER two registrations.
 * Fails at once: 100092 JOB_RUNNING naming the running job (ID, pid, since) when it is known; 100090
 * REGISTRATION_RUNNING.                                                                                  */
typedef enum cf_state_lock_kind {
    CF_STATE_LOCK_SHARED,
    CF_STATE_LOCK_BACKUP,
    CF_STATE_LOCK_EXCLUSIVE,
    CF_STATE_LOCK_REGISTER,
} cf_state_lock_kind;
typedef struct cf_state_lock cf_state_lock;
/* note: what a refused caller is told: "backup job 1f2e...". */
cf_err *cf_state_lock_take(cf_state *state, cf_state_lock_kind kind, const char *note, cf_state_lock **lock)
    __attribute__((warn_unused_result));
void cf_state_lock_free(cf_state_lock *lock); /* NULL-safe */
CF_DEFINE_AUTO(cf_state_lock, cf_state_lock_free)

#endif
