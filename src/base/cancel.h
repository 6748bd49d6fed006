/* A request to stop, set by a signal handler or by another thread and looked at by every loop that can
 * take long. Once set it stays set.
 * Threads: any number; cf_cancel_request is safe in a signal handler.                                 */
#ifndef CF_BASE_CANCEL_H
#define CF_BASE_CANCEL_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/err.h"

typedef struct cf_cancel {
    atomic_int signal; /* 0: go on; otherwise the number of the signal that asked                      */
} cf_cancel;

static inline void cf_cancel_request(cf_cancel *cancel, int signal) {
    int none = 0;
    (void)atomic_compare_exchange_strong(&cancel->signal, &none, signal); /* the first request counts */
}
/* cancel may be NULL: nobody can ask then. */
static inline bool cf_cancel_requested(cf_cancel *cancel) {
    return cancel && atomic_load_explicit(&cancel->signal, memory_order_relaxed) != 0;
}
static inline int cf_cancel_signal(cf_cancel *cancel) {
    return cancel ? atomic_load(&cancel->signal) : 0;
}
/* cf_cancel_check: CF_ERR_CANCELLED once somebody asked. */
static inline cf_err *cf_cancel_check(cf_cancel *cancel) {
    return cf_cancel_requested(cancel) ? cf_fail(CF_ERR_CANCELLED, "cancelled on request") : NULL;
}

#endif
