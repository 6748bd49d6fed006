#include "remote/retry.h"

bool cf_retry_next(cf_retry *retry, const cf_err *err, uint64_t now_ms, uint32_t random, uint64_t *wait_ms) {
    if (retry->tries == 0) retry->started_ms = now_ms;
    uint64_t step = CF_RETRY_FIRST_MS;
    for (uint32_t i = 0; i < retry->tries && step < CF_RETRY_MOST_MS; i++) step *= 2;
    if (step > CF_RETRY_MOST_MS) step = CF_RETRY_MOST_MS;
    uint64_t wait = step / 2 + random % (step / 2 + 1);
    uint64_t asked = (uint64_t)cf_err_retry_after(err) * 1000;
    if (wait < asked) wait = asked + random % (CF_RETRY_FIRST_MS + 1); /* not all servers in the same instant */
    uint64_t spent = now_ms - retry->started_ms;
    if (spent >= retry->total_ms || wait > retry->total_ms - spent) return false;
    retry->tries++;
    *wait_ms = wait;
    return true;
}
