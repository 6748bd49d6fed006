/* Time comes in from outside, so that tests own it. Wall time is for people and for the vault's
 * decisions about days; monotonic time is for waiting.                                                */
#ifndef CF_BASE_CLOCK_H
#define CF_BASE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

typedef struct cf_time { /* since 1970-01-01T00:00:00Z, may be negative */
    int64_t seconds;
    uint32_t nanoseconds; /* 0 .. 999999999 */
} cf_time;

/* A clock. Copy it freely; context must outlive the copies.                                           */
typedef struct cf_clock {
    cf_time (*wall)(void *context);
    uint64_t (*monotonic_ms)(void *context);
    void *context;
    bool artificial; /* a test moves it: who waits for a time must look again and again */
} cf_clock;

cf_clock cf_clock_system(void);
static inline cf_time cf_clock_wall(const cf_clock *clock) {
    return clock->wall(clock->context);
}
static inline uint64_t cf_clock_ms(const cf_clock *clock) {
    return clock->monotonic_ms(clock->context);
}
static inline int cf_time_compare(cf_time a, cf_time b) {
    if (a.seconds != b.seconds) return a.seconds < b.seconds ? -1 : 1;
    if (a.nanoseconds != b.nanoseconds) return a.nanoseconds < b.nanoseconds ? -1 : 1;
    return 0;
}
/* cf_time_format: RFC 3339 in UTC, "2026-11-20T22:34:21Z" (whole seconds). Years beyond 9999 or before
 * 0 are written with all their digits.                                                                */
void cf_time_format(cf_time time, char out[40]);
/* cf_time_parse: RFC 3339 with Z or an offset; false when it is not.                                  */
bool cf_time_parse(const char *text, cf_time *time);

#endif
