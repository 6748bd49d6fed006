/* How long to wait before asking again: exponential backoff with jitter, bounded by a total. Pure.      */
#ifndef CF_REMOTE_RETRY_H
#define CF_REMOTE_RETRY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum {
    CF_RETRY_FIRST_MS = 500,
    CF_RETRY_MOST_MS = 60000,
    CF_RETRY_JOB_MS = 3600 * 1000,  /* patience of a job                 */
    CF_RETRY_PERSON_MS = 30 * 1000, /* patience of somebody who waits    */
};

typedef struct cf_retry {
    uint64_t total_ms; /* give up when the next try would begin later than this after the first            */
    uint64_t started_ms;
    uint32_t tries;
} cf_retry;

/* cf_retry_next: whether to try again after err (trouble that may pass: the caller has decided that), and how
 * long to wait before.
 *   random  a fresh random number, for the jitter: half to the whole of the current step.
 * The other side's Retry-After is kept to when it is longer than our own step. False when the next try would
 * begin after the total.                                                                                */
bool cf_retry_next(cf_retry *retry, const cf_err *err, uint64_t now_ms, uint32_t random, uint64_t *wait_ms);

#endif
