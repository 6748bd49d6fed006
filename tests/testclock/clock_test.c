/* cf_clock_system for programs of the tests: time stands in the file that COFFER_TEST_CLOCK names, as
 * "<wall seconds> <monotonic milliseconds>\n", which a test replaces by renaming. Without the variable: the system's.
 * The ordinary programs are linked without this object.                                                       */
#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

typedef struct test_time {
    int64_t wall_seconds;
    uint64_t monotonic_ms;
} test_time;

/* A test that lost its clock must not go on with another time. */
static test_time read_file(const char *name) {
    test_time now;
    FILE *file = fopen(name, "re");
    if (!file || fscanf(file, "%" SCNd64 " %" SCNu64, &now.wall_seconds, &now.monotonic_ms) != 2) {
        fprintf(stderr, "COFFER_TEST_CLOCK: %s cannot be read as \"SECONDS MILLISECONDS\"\n", name);
        abort();
    }
    fclose(file);
    return now;
}

static cf_time test_wall(void *context) {
    return (cf_time){read_file(context).wall_seconds, 0};
}

static uint64_t test_monotonic_ms(void *context) {
    return read_file(context).monotonic_ms;
}

static cf_time real_wall(void *context) {
    (void)context;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (cf_time){now.tv_sec, (uint32_t)now.tv_nsec};
}

static uint64_t real_monotonic_ms(void *context) {
    (void)context;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

cf_clock cf_clock_system(void) {
    char *name = getenv("COFFER_TEST_CLOCK");
    if (!name) return (cf_clock){real_wall, real_monotonic_ms, NULL, false};
    return (cf_clock){test_wall, test_monotonic_ms, name, true};
}
