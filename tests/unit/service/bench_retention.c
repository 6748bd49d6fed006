/* How long a run of retention over many servers takes: bench_retention [SERVERS [POINTS [HISTORY]]], a second of work by
 * default as a test; docs/retention.md has the figures. Fails above a minute. */
#include <time.h>

#include "retention_world.h"

#define POLICY                                                                                                    \
    "{\"sources\":[{\"path\":\"/data\"}],\"schedule\":{\"kind\":\"daily\",\"times\":[\"03:00\",\"15:00\"]},"      \
    "\"time_zone\":\"Europe/Berlin\",\"retention\":{\"days\":14,\"weeks\":8,\"weekly_on\":\"sat\",\"months\":12," \
    "\"monthly_on\":\"last sat\",\"years\":10,\"yearly_on\":\"jan last sun\"}}"
enum { RUN_MS_MAX = 60000 };

static uint64_t real_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static cf_id16 server_id(unsigned number) {
    return (cf_id16){{1, (uint8_t)(number >> 8), (uint8_t)number}};
}

/* Two points a day up to now; the first `history` of them have expired. */
static void fill_server(world *w, unsigned number, unsigned points, unsigned history) {
    cf_id16 id = server_id(number);
    world_add_server(w, &id);
    world_set_policy(w, &id, 1, POLICY);
    for (unsigned i = 1; i <= points + history; i++) {
        cf_point_row row = world_point(&id, i, w->wall - (int64_t)(points + history - i) * DAY / 2 - 600);
        row.expired = i <= history;
        row.expired_at = row.expired ? row.received + 15 * DAY : 0;
        OK(cf_records_add_point(w->vault->records, &row));
    }
}

static void fill(world *w, unsigned servers, unsigned points, unsigned history) {
    for (unsigned i = 0; i < servers; i++) {
        OK(cf_records_begin(w->vault->records));
        fill_server(w, i, points, history);
        OK(cf_records_finish(w->vault->records, NULL));
    }
}

static uint64_t measure(world *w, bool all, uint64_t *expired) {
    uint64_t started = real_ms();
    OK(cf_retention_run(w->vault, all, expired));
    return real_ms() - started;
}

int main(int argc, char **argv) {
    unsigned numbers[3] = {1000, 40, 40};
    for (int i = 1; i < argc && i < 4; i++) numbers[i - 1] = (unsigned)strtoul(argv[i], NULL, 10);
    world w;
    uint64_t expired = 0, nothing = 0;
    world_open(&w);
    w.clock.context = &w;
    uint64_t started = real_ms();
    fill(&w, numbers[0], numbers[1], numbers[2]);
    printf("%u servers with %u points and %u that expired, made in %llu ms\n", numbers[0], numbers[1], numbers[2],
           (unsigned long long)(real_ms() - started));
    uint64_t first = measure(&w, true, &expired), again = measure(&w, true, &nothing),
             tick = measure(&w, false, &nothing);
    printf("run in which %llu points go: %llu ms; one over all in which none goes: %llu ms; a tick: %llu ms\n",
           (unsigned long long)expired, (unsigned long long)first, (unsigned long long)again, (unsigned long long)tick);
    world_close(&w);
    return expired >= numbers[0] && nothing == 0 && first <= RUN_MS_MAX ? 0 : 1;
}
