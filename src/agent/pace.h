/* The throttle at work: one token bucket for all processes of this agent, and the rates that hold at the moment.
 *
 *   <state>/throttle.conf    the rates, see policy/throttle.h; looked at again every half second
 *   <state>/throttle.bucket  the shared number
 *
 * A process that dies, however it dies, leaves at most one small promise behind. When the bucket's file cannot be
 * used, each process keeps to the rate by itself.
 * Threads: any number.                                                                                         */
#ifndef CF_AGENT_PACE_H
#define CF_AGENT_PACE_H

#include "base/clock.h"
#include "base/err.h"
#include "http/client.h"
#include "policy/throttle.h"

typedef struct cf_agent_pace cf_agent_pace;

/* cf_agent_pace_open: never fails for what is wrong with the files: that is logged. dirfd: the state folder, borrowed.
 * Fails: OUT_OF_MEMORY. */
cf_err *cf_agent_pace_open(int dirfd, const cf_clock *clock, cf_agent_pace **pace) __attribute__((warn_unused_result));
void cf_agent_pace_free(cf_agent_pace *pace); /* NULL-safe; no request may be running */
CF_DEFINE_AUTO(cf_agent_pace, cf_agent_pace_free)
/* cf_agent_pace_http: what clients are handed; borrowed. */
const cf_http_pace *cf_agent_pace_http(const cf_agent_pace *pace);

/* The stored rates. *throttle is off when nothing was ever set. Fails: IO, 900901 CONFIG. */
cf_err *cf_throttle_load(int dirfd, cf_throttle *throttle) __attribute__((warn_unused_result));
cf_err *cf_throttle_save(int dirfd, const cf_throttle *throttle) __attribute__((warn_unused_result));
/* cf_throttle_local: weekday (0 Monday) and minute of the day in this machine's zone. */
void cf_throttle_local(cf_time time, unsigned *weekday, unsigned *minute);

#endif
