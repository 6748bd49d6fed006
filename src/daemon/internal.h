/* The inside of the daemon. Of this folder only. */
#ifndef CF_DAEMON_INTERNAL_H
#define CF_DAEMON_INTERNAL_H

#include "agent/jobs.h"
#include "agent/policy_store.h"
#include "daemon/daemon.h"
#include "daemon/slots.h"
#include "os/child.h"

enum { CF_WORK_WORDS_MAX = 12 };

typedef struct cf_daemon cf_daemon;
typedef struct cf_worker cf_worker;

/* When to look again at the latest. */
typedef struct cf_wake {
    int64_t wall;          /* seconds; INT64_MAX: no such time */
    uint64_t monotonic_ms; /* UINT64_MAX: no such time */
} cf_wake;

/* A kind of work that becomes due by itself. One process of each at a time. */
typedef struct cf_work_kind {
    const char *name;
    /* Starts its process (cf_worker_start) when it is due and nothing is in its way, else says when to look again.
     * Also called while its process runs. */
    cf_err *(*look)(cf_daemon *daemon, cf_worker *worker, cf_wake *wake);
    /* Its process has ended; status as of waitpid. */
    cf_err *(*ended)(cf_daemon *daemon, cf_worker *worker, int status);
} cf_work_kind;

struct cf_worker {
    const cf_work_kind *kind;
    cf_child child;
    int64_t slot; /* backup: the newest run that it covers */
};

/* What has to be asked of the vault, and when to ask. */
typedef struct cf_sync_times {
    uint64_t next_ms, begun_ms;
    unsigned failures;
} cf_sync_times;

/* Where the proof that the policy asks for stands. */
typedef enum cf_proof_step { CF_PROOF_NONE, CF_PROOF_DRILL, CF_PROOF_VERIFY } cf_proof_step;
typedef struct cf_proof {
    cf_proof_step step; /* that runs; VERIFY also: that is to follow */
    int64_t not_before; /* after a failure */
} cf_proof;

enum { CF_WORK_BACKUP, CF_WORK_SYNC, CF_WORK_DRILL, CF_WORK_KINDS };

struct cf_daemon {
    cf_daemon_options options;
    cf_state *state;
    cf_id16 server; /* zero while not registered */
    bool registered;
    cf_policy policy;
    bool has_policy, reload;
    cf_slots slots;
    int64_t waiting; /* a run that is due and cannot start yet; 0: none */
    cf_worker workers[CF_WORK_KINDS];
    cf_sync_times sync;
    cf_proof proof;
    int timer_fd, watch_fd;
    uint64_t tick_ms, watchdog_ms;
    char status[200]; /* as systemd was told */
};

int64_t cf_daemon_now(const cf_daemon *daemon);
uint64_t cf_daemon_ms(const cf_daemon *daemon);
/* cf_daemon_keep_slots: durable when it returns. */
cf_err *cf_daemon_keep_slots(cf_daemon *daemon) __attribute__((warn_unused_result));
/* cf_worker_start: coffer with these words (NULL-terminated). */
cf_err *cf_worker_start(cf_daemon *daemon, cf_worker *worker, const char *const *words)
    __attribute__((warn_unused_result));
/* cf_daemon_sync_soon: something is to be told to the vault. */
void cf_daemon_sync_soon(cf_daemon *daemon);

extern const cf_work_kind cf_work_backup, cf_work_sync, cf_work_drill;

#endif
