#include "base/clock.h"

#include <time.h>

/* Apart from the rest of clock.c, so that a program of the tests brings its own (tests/testclock/). */

static cf_time system_wall(void *context) {
    (void)context;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (cf_time){now.tv_sec, (uint32_t)now.tv_nsec};
}

static uint64_t system_monotonic_ms(void *context) {
    (void)context;
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now); /* goes on while the machine is suspended, as the wall clock does */
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

cf_clock cf_clock_system(void) {
    return (cf_clock){system_wall, system_monotonic_ms, NULL, false};
}
