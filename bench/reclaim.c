/* Measures reclaiming at the level of metadata: bench-reclaim FOLDER [PACKS [POINTS [FILES]]]
 * Makes a vault in FOLDER (which must not exist) whose one server has PACKS packs (312,500: 10 TB of 32 MiB) of 64
 * segments and POINTS recovery points (100, one a day), of which the older half has expired; FILES of the packs that die
 * stand in the store as empty objects. Then it reclaims while another thread does what requests of a backup do, and
 * prints times, memory, and how long those requests waited. Within each pass reclaiming works and rests in turn, half a
 * second each, so that requests with it and without it meet the same disk at the same time. */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "digest/digest.h"
#include "service/call.h"
#include "service/reclaim.h"
#include "service/settings.h"
#include "visible/names.h"
#include "visible/point.h"

enum { SEGMENTS = 64, CHAIN = 8, PARTIAL_DAYS = 20, DAY = 86400 };

static uint64_t packs = 312500, points = 100, files = 1000, a_day;
static int64_t wall = 1800000000;
static cf_vault *vault;
static cf_service service;
static const cf_id16 server = {{7}}, session = {{8}}, asking = {{9}};

static void must(cf_err *err) {
    if (!err) return;
    cf_err_print(stderr, err);
    exit(1);
}

static cf_time fake_wall(void *context) {
    (void)context;
    return (cf_time){wall, 0};
}

static uint64_t real_ms(void *context) {
    (void)context;
    cf_clock clock = cf_clock_system();
    return cf_clock_ms(&clock);
}

static double seconds(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static uint64_t peak_kib(void) {
    FILE *status = fopen("/proc/self/status", "r");
    char line[256];
    unsigned long long kib = 0;
    while (status && fgets(line, sizeof line, status))
        if (sscanf(line, "VmHWM: %llu", &kib) == 1) break;
    if (status) (void)fclose(status);
    return kib;
}

static void reset_peak(void) {
    FILE *refs = fopen("/proc/self/clear_refs", "w");
    if (refs) {
        (void)fputs("5", refs);
        (void)fclose(refs);
    }
}

/* ---- What is stored ---- */

static void add_packs(void) {
    static const uint8_t header[112], tail[40];
    must(cf_records_begin(vault->records));
    for (uint64_t number = 1; number <= packs; number++) {
        cf_pack_row row = {
            .server = server, .session = session, .number = number, .size = 32 << 20, .segments = SEGMENTS};
        must(cf_records_add_pack(vault->records, &row, cf_span_of(header, 112), cf_span_of(tail, 40)));
        if (number % 10000) continue;
        must(cf_records_finish(vault->records, NULL));
        must(cf_records_begin(vault->records));
    }
    must(cf_records_finish(vault->records, NULL));
    must(cf_records_set_next_number(vault->records, &server, packs + 1));
    for (uint64_t number = 1; number <= files; number++) {
        char key[CF_NAME_MAX];
        bool created = false;
        cf_name_pack(&server, number, &session, 0, key);
        must(cf_objects_put(vault->objects, key, cf_span_text(""), &created));
    }
}

/* A pack on a day: 0 nothing of it is needed, 1 all, 2 half. The oldest die, some time before that they are halved. */
static int code_on(uint64_t number, uint64_t day) {
    if (number > packs - (points - day) * a_day || number <= day * a_day) return 0;
    return number <= (day + PARTIAL_DAYS) * a_day ? 2 : 1;
}

static void put_entry(cf_buf *map, uint64_t gap, int code) {
    cf_buf_put_varint(map, gap);
    cf_buf_put_u8(map, code == 2 ? 3 : (uint8_t)code);
    if (code == 1) cf_buf_put_varint(map, SEGMENTS);
    if (code != 2) return;
    cf_buf_put_varint(map, SEGMENTS / 8);
    for (int i = 0; i < SEGMENTS / 8; i++) cf_buf_put_u8(map, 0x55);
}

static void make_map(uint64_t day, const cf_id32 *base, uint8_t chain, cf_buf *map) {
    uint64_t count = 0, last = 0;
    for (uint64_t n = 1; n <= packs; n++) count += base ? code_on(n, day) != code_on(n, day - 1) : code_on(n, day) != 0;
    cf_buf_put_u8(map, 1);
    cf_buf_put_u8(map, base ? 1 : 0);
    if (base) {
        cf_buf_put(map, base->bytes, 32);
        cf_buf_put_u8(map, chain);
    }
    cf_buf_put_varint(map, count);
    for (uint64_t n = 1; n <= packs; n++) {
        int code = code_on(n, day);
        if (base ? code == code_on(n, day - 1) : code == 0) continue;
        put_entry(map, n - last, code);
        last = n;
    }
}

static void add_points(void) {
    cf_id32 before = {{0}};
    uint8_t junk[200] = {0}, chain = 0;
    for (uint64_t day = 1; day <= points; day++) {
        CF_AUTO_BUF cf_buf map;
        CF_AUTO_BUF cf_buf object;
        CF_AUTO_BUF cf_buf summary;
        CF_AUTO_BUF cf_buf list;
        cf_buf_init(&map, CF_POINT_MAP_MAX);
        cf_buf_init(&object, CF_POINT_MAX);
        cf_buf_init(&summary, 4096);
        cf_buf_init(&list, 4096);
        bool delta = (day - 1) % (CHAIN + 1) != 0, created = false;
        chain = delta ? (uint8_t)(chain + 1) : 0;
        make_map(day, delta ? &before : NULL, chain, &map);
        cf_summary_encode(&(cf_summary){.files = 1}, &summary);
        cf_pack_list_encode(NULL, 0, &list);
        cf_point_frame frame = {.server = server,
                                .session = session,
                                .counter = day,
                                .previous = before,
                                .key_record = cf_span_of(junk, 132),
                                .summary = cf_buf_span(&summary),
                                .pack_list = cf_buf_span(&list),
                                .map = cf_buf_span(&map),
                                .root = cf_span_of(junk, 200)};
        must(cf_point_encode(&frame, &object));
        cf_point_row row = {.server = server,
                            .session = session,
                            .counter = day,
                            .previous = before,
                            .size = object.size,
                            .received = wall - (int64_t)(points - day) * DAY,
                            .delta = delta,
                            .base = before,
                            .chain = chain,
                            .summary_size = summary.size};
        must(cf_sha256(cf_buf_span(&object), row.id.bytes));
        memcpy(row.summary, summary.data, summary.size);
        char key[CF_NAME_MAX];
        cf_name_point(&server, day, &row.id, key);
        must(cf_objects_put(vault->objects, key, cf_buf_span(&object), &created));
        must(cf_records_add_point(vault->records, &row));
        if (day <= points / 2) must(cf_records_expire_point(vault->records, &row.id, wall, NULL));
        before = row.id;
    }
}

/* ---- Reclaiming works and rests in turn ---- */

static struct gate {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool closed;
    atomic_bool resting; /* the pass stands at the gate */
    double rested;
} gate = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
static _Thread_local bool reclaims;

/* Only where a pass holds no lock. */
static void pass_gate(void) {
    if (!reclaims) return;
    pthread_mutex_lock(&gate.mutex);
    if (gate.closed) {
        double start = seconds();
        atomic_store(&gate.resting, true);
        while (gate.closed) pthread_cond_wait(&gate.changed, &gate.mutex);
        atomic_store(&gate.resting, false);
        gate.rested += seconds() - start;
    }
    pthread_mutex_unlock(&gate.mutex);
}

static void set_gate(bool closed) {
    pthread_mutex_lock(&gate.mutex);
    gate.closed = closed;
    pthread_cond_broadcast(&gate.changed);
    pthread_mutex_unlock(&gate.mutex);
}

/* Linked with --wrap: before it takes the server's lock, and before it removes an object. */
void __real_cf_service_lock(cf_service *of, const cf_id16 *id);
void __wrap_cf_service_lock(cf_service *of, const cf_id16 *id);
void __wrap_cf_service_lock(cf_service *of, const cf_id16 *id) {
    pass_gate();
    __real_cf_service_lock(of, id);
}

cf_err *__real_cf_objects_remove(cf_objects *objects, const char *key, bool *existed);
cf_err *__wrap_cf_objects_remove(cf_objects *objects, const char *key, bool *existed);
cf_err *__wrap_cf_objects_remove(cf_objects *objects, const char *key, bool *existed) {
    pass_gate();
    return __real_cf_objects_remove(objects, key, existed);
}

typedef struct turns_of {
    atomic_bool end;
} turns_of;

static void *open_and_close(void *context) {
    turns_of *self = context;
    for (bool closed = true; !atomic_load(&self->end); closed = !closed) {
        set_gate(closed);
        usleep(500000);
    }
    set_gate(false);
    return NULL;
}

/* ---- Requests meanwhile ---- */

enum { SAMPLES = 1 << 20 };

typedef struct waits {
    double *took;
    size_t count;
} waits;

typedef struct requester {
    atomic_bool stop;
    waits with, without;
} requester;

/* The server's lock, a transaction, a row: as a commit or a heartbeat does. One that saw both kinds counts as with. */
static void *requests(void *context) {
    requester *all = context;
    uint64_t renewals = 0;
    while (!atomic_load(&all->stop)) {
        bool rests = atomic_load(&gate.resting);
        double start = seconds();
        cf_service_lock(&service, &server);
        must(cf_records_begin(vault->records));
        cf_err *err = cf_records_renew_session(vault->records, &server, &asking, wall + (int64_t)++renewals);
        must(cf_records_finish(vault->records, err));
        cf_service_unlock(&service, &server);
        waits *kind = rests && atomic_load(&gate.resting) ? &all->without : &all->with;
        if (kind->count < SAMPLES) kind->took[kind->count++] = seconds() - start;
        usleep(2000);
    }
    return NULL;
}

static int compare_times(const void *a, const void *b) {
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

static double at(const waits *one, double share) {
    return one->count ? one->took[(size_t)((double)(one->count - 1) * share)] * 1e3 : 0;
}

static void print_waits(const char *what, waits *one) {
    size_t over = 0;
    qsort(one->took, one->count, sizeof *one->took, compare_times);
    for (size_t i = 0; i < one->count; i++) over += one->took[i] > 0.1;
    printf("    %-20s %6zu requests: median %6.1f ms, 99 %% %6.1f ms, at most %6.1f ms; %zu over 100 ms\n", what,
           one->count, at(one, 0.5), at(one, 0.99), at(one, 1), over);
}

static void init_waits(waits *one) {
    *one = (waits){calloc(SAMPLES, sizeof(double)), 0};
    if (!one->took) exit(1);
}

static void one_pass(const char *what) {
    cf_reclaimer reclaimer = {vault, &service, NULL};
    cf_reclaim_report report = {0};
    requester all = {0};
    turns_of turns = {0};
    pthread_t requesting, turning;
    init_waits(&all.with);
    init_waits(&all.without);
    reset_peak();
    uint64_t before = peak_kib();
    gate.rested = 0;
    if (pthread_create(&requesting, NULL, requests, &all) || pthread_create(&turning, NULL, open_and_close, &turns))
        exit(1);
    double start = seconds();
    reclaims = true;
    must(cf_reclaim_server(&reclaimer, &server, true, &report));
    reclaims = false;
    double took = seconds() - start;
    uint64_t peak = peak_kib();
    atomic_store(&turns.end, true);
    atomic_store(&all.stop, true);
    (void)pthread_join(requesting, NULL);
    (void)pthread_join(turning, NULL);
    printf(
        "%-28s %6.1f s and %.1f s of rest, %.0f MiB (%.0f before); retired %llu segments, removed %llu packs, %llu points\n",
        what, took - gate.rested, gate.rested, (double)peak / 1024, (double)before / 1024,
        (unsigned long long)report.retired_segments, (unsigned long long)report.deleted_packs,
        (unsigned long long)report.deleted_points);
    print_waits("without reclaiming", &all.without);
    print_waits("with reclaiming", &all.with);
    printf("    %-20s %28s %6.1f ms, 99 %% %6.1f ms, at most %6.1f ms\n", "difference", "median",
           at(&all.with, 0.5) - at(&all.without, 0.5), at(&all.with, 0.99) - at(&all.without, 0.99),
           at(&all.with, 1) - at(&all.without, 1));
    (void)fflush(stdout);
    free(all.with.took);
    free(all.without.took);
}

int main(int argc, char **argv) {
    if (argc < 2 || argc > 5) {
        fprintf(stderr, "usage: bench-reclaim FOLDER [PACKS [POINTS [FILES]]]\n");
        return 2;
    }
    if (argc > 2) packs = strtoull(argv[2], NULL, 10);
    if (argc > 3) points = strtoull(argv[3], NULL, 10);
    if (argc > 4) files = strtoull(argv[4], NULL, 10);
    a_day = packs / (2 * points) ? packs / (2 * points) : 1;
    cf_clock clock = {fake_wall, real_ms, NULL};
    cf_vault_row row;
    must(cf_vault_init(&(cf_vault_init_options){argv[1], "bench", "https://localhost:1", NULL}, clock, &row));
    must(cf_vault_open(argv[1], CF_VAULT_SERVE, clock, &vault));
    service.vault = vault;
    for (size_t i = 0; i < CF_STRIPES; i++) must(cf_turns_init(&service.stripes[i]));
    must(cf_records_add_server(vault->records, &(cf_server_row){.id = server, .name = "big", .next_number = 1}));
    must(cf_setting_change(vault, "compact_percent", "0"));
    cf_session_row row_of = {
        .server = server, .id = asking, .opened = wall, .lease_until = wall + 120, .state = "open"};
    must(cf_records_add_session(vault->records, &row_of));
    double start = seconds();
    add_packs();
    add_points();
    printf("%llu packs, %llu points made in %.1f s\n", (unsigned long long)packs, (unsigned long long)points,
           seconds() - start);
    one_pass("first pass (retires)");
    one_pass("nothing changed");
    wall += 8 * DAY;
    one_pass("the grace is over (deletes)");
    one_pass("nothing changed");
    cf_vault_close(vault);
    return 0;
}
