/* Measures reclaiming at the level of metadata: bench-reclaim FOLDER [PACKS [POINTS [FILES]]]
 * Makes a vault in FOLDER (which must not exist) whose one server has PACKS packs (312,500: 10 TB of 32 MiB) of 64
 * segments and POINTS recovery points (100, one a day), of which the older half has expired; FILES of the packs that die
 * stand in the store as empty objects. Then it reclaims while another thread does what requests of a backup do, and
 * prints times, memory, and how long those requests waited. */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
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
static const cf_id16 server = {{7}}, session = {{8}};

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

/* ---- Requests meanwhile ---- */

typedef struct waits {
    atomic_bool stop;
    uint64_t count, over_100;
    double worst, sum;
} waits;

/* The server's lock, a transaction, a row: as a commit or a heartbeat does. */
static void *requests(void *context) {
    waits *all = context;
    while (!atomic_load(&all->stop)) {
        double start = seconds();
        cf_service_lock(&service, &server);
        must(cf_records_begin(vault->records));
        cf_err *err = cf_records_renew_session(vault->records, &server, &session, wall + 120);
        must(cf_records_finish(vault->records, err));
        cf_service_unlock(&service, &server);
        double took = seconds() - start;
        all->count++;
        all->sum += took;
        if (took > all->worst) all->worst = took;
        all->over_100 += took > 0.1;
        usleep(2000);
    }
    return NULL;
}

/* pass: else only the requests, for five seconds: what the disk makes them wait. */
static void one_pass(const char *what, bool pass) {
    cf_reclaimer reclaimer = {vault, &service, NULL};
    cf_reclaim_report report = {0};
    waits all = {0};
    pthread_t thread;
    reset_peak();
    uint64_t before = peak_kib();
    if (pthread_create(&thread, NULL, requests, &all) != 0) exit(1);
    double start = seconds();
    if (pass)
        must(cf_reclaim_server(&reclaimer, &server, true, &report));
    else
        sleep(5);
    double took = seconds() - start;
    atomic_store(&all.stop, true);
    (void)pthread_join(thread, NULL);
    printf(
        "%-28s %7.1f s  %6.0f MiB (%.0f before)  retired %llu segments, removed %llu packs, %llu points; %llu requests waited "
        "%.1f ms on average, %.1f ms at most, %llu over 100 ms\n",
        what, took, (double)peak_kib() / 1024, (double)before / 1024, (unsigned long long)report.retired_segments,
        (unsigned long long)report.deleted_packs, (unsigned long long)report.deleted_points,
        (unsigned long long)all.count, all.count ? all.sum / (double)all.count * 1e3 : 0, all.worst * 1e3,
        (unsigned long long)all.over_100);
    (void)fflush(stdout);
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
    for (size_t i = 0; i < CF_STRIPES; i++) pthread_mutex_init(&service.stripes[i], NULL);
    must(cf_records_add_server(vault->records, &(cf_server_row){.id = server, .name = "big", .next_number = 1}));
    must(cf_setting_change(vault, "compact_percent", "0"));
    double start = seconds();
    add_packs();
    add_points();
    printf("%llu packs, %llu points made in %.1f s\n", (unsigned long long)packs, (unsigned long long)points,
           seconds() - start);
    one_pass("no reclaiming", false);
    one_pass("first pass (retires)", true);
    one_pass("nothing changed", true);
    wall += 8 * DAY;
    one_pass("the grace is over (deletes)", true);
    one_pass("nothing changed", true);
    cf_vault_close(vault);
    return 0;
}
