/* May points expire? Time decides what goes, so a clock that jumps must not: while the service runs, wall time is held
 * against monotonic time, and the time that was seen last is kept across restarts. What stops expiry stays in force until
 * an administrator confirms (cf_retention_confirm).                                                        */
#ifndef CF_SERVICE_TIME_GUARD_H
#define CF_SERVICE_TIME_GUARD_H

#include "service/vault.h"

enum {
    CF_CLOCK_BACK_SECONDS = 60,         /* what a clock may be put back without being noticed    */
    CF_CLOCK_AHEAD_SECONDS = 3600,      /* the same ahead, while the service runs: a short pause  */
    CF_CLOCK_AWAY_SECONDS = 30 * 86400, /* and across restarts                                    */
    CF_CLOCK_DRIFT_PER_MILLE = 1,       /* of the time since it was looked at first               */
};

typedef struct cf_expiry_stop {
    char reason[CF_WORD_MAX + 1]; /* "" (it is not stopped), "clock" or "rebuild" */
    char why[CF_SETTING_VALUE_MAX + 1];
} cf_expiry_stop;

/* cf_time_guard_check: of the service, every few seconds, one thread at a time. Stops expiry when the clock is not to be
 * trusted, and logs that once.                                                                           */
cf_err *cf_time_guard_check(cf_vault *vault) __attribute__((warn_unused_result));
/* cf_expiry_stopped: what stops it; also what nobody but `coffer-vault rebuild --merge` ends (reason "frozen"). */
cf_err *cf_expiry_stopped(cf_vault *vault, cf_expiry_stop *stop) __attribute__((warn_unused_result));
/* cf_expiry_stop_now: the first reason stays. Inside or outside of a transaction. tell: log it. */
cf_err *cf_expiry_stop_now(cf_vault *vault, const char *reason, const char *why, bool tell)
    __attribute__((warn_unused_result));
/* cf_expiry_go_on: the clock is right as it is now. Inside a transaction. sequence: of the journal entry that says so. */
cf_err *cf_expiry_go_on(cf_vault *vault, uint64_t sequence) __attribute__((warn_unused_result));

#endif
