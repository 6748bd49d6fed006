/* How often something may be tried: per server, so many in a minute. Kept in memory: a restart forgives.
 * Threads: any number.                                                                                  */
#ifndef CF_SERVICE_RATE_H
#define CF_SERVICE_RATE_H

#include "base/err.h"
#include "base/ids.h"

typedef struct cf_rate cf_rate;

enum { CF_RATE_PER_MINUTE = 10, CF_RATE_SERVERS_MAX = 4096 };

cf_err *cf_rate_new(cf_rate **rate) __attribute__((warn_unused_result));
void cf_rate_free(cf_rate *rate); /* NULL-safe */
CF_DEFINE_AUTO(cf_rate, cf_rate_free)
/* cf_rate_take: one try for key at this time (any clock that does not go back, milliseconds). Fails: RATE_LIMITED with
 * the seconds to wait (cf_err_retry_after). When more than CF_RATE_SERVERS_MAX keys are at it within a minute,
 * everybody waits.                                                                                      */
cf_err *cf_rate_take(cf_rate *rate, const cf_id16 *key, uint64_t now_ms) __attribute__((warn_unused_result));

/* cf_rate_give_back: count tries that turned out to be right do not count.                              */
void cf_rate_give_back(cf_rate *rate, const cf_id16 *key, unsigned count);

#endif
