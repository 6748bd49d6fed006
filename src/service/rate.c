#include "service/rate.h"

#include <pthread.h>
#include <stdlib.h>

#define MINUTE_MS ((uint64_t)60000)

typedef struct window {
    cf_id16 key;
    uint64_t start_ms; /* of the minute */
    unsigned count;    /* 0: free       */
} window;

struct cf_rate {
    pthread_mutex_t lock;
    window windows[CF_RATE_SERVERS_MAX];
    size_t used;
};

cf_err *cf_rate_new(cf_rate **out) {
    cf_rate *rate = calloc(1, sizeof *rate);
    if (!rate) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a rate limit");
    pthread_mutex_init(&rate->lock, NULL);
    *out = rate;
    return NULL;
}

void cf_rate_free(cf_rate *rate) {
    if (!rate) return;
    pthread_mutex_destroy(&rate->lock);
    free(rate);
}

/* The key's window, a new one, or one whose minute is over; NULL when there is none. */
static window *find(cf_rate *rate, const cf_id16 *key, uint64_t now_ms) {
    window *old = NULL;
    for (size_t i = 0; i < rate->used; i++) {
        window *at = &rate->windows[i];
        if (cf_id16_equal(&at->key, key)) return at;
        if (now_ms - at->start_ms >= MINUTE_MS) old = at;
    }
    if (!old && rate->used < CF_RATE_SERVERS_MAX) old = &rate->windows[rate->used++];
    if (old) *old = (window){*key, now_ms, 0};
    return old;
}

cf_err *cf_rate_take(cf_rate *rate, const cf_id16 *key, uint64_t now_ms) {
    uint64_t wait_ms = 0;
    pthread_mutex_lock(&rate->lock);
    window *at = find(rate, key, now_ms);
    if (at && now_ms - at->start_ms >= MINUTE_MS) *at = (window){*key, now_ms, 0};
    if (!at)
        wait_ms = MINUTE_MS;
    else if (at->count >= CF_RATE_PER_MINUTE)
        wait_ms = MINUTE_MS - (now_ms - at->start_ms);
    else
        at->count++;
    pthread_mutex_unlock(&rate->lock);
    if (wait_ms == 0) return NULL;
    unsigned seconds = (unsigned)((wait_ms + 999) / 1000);
    cf_err *err = cf_fail(CF_ERR_RATE_LIMITED, "too many attempts for this server: wait %u seconds", seconds);
    cf_err_set_retry_after(err, seconds);
    return err;
}

void cf_rate_give_back(cf_rate *rate, const cf_id16 *key, unsigned count) {
    pthread_mutex_lock(&rate->lock);
    for (size_t i = 0; i < rate->used; i++) {
        window *at = &rate->windows[i];
        if (cf_id16_equal(&at->key, key)) at->count -= at->count < count ? at->count : count;
    }
    pthread_mutex_unlock(&rate->lock);
}
