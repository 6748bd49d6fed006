/* Measures the chunk index: bench-index FOLDER CHUNKS [MEMORY_MIB]
 * Fills a new index in packs of 1,000 chunks, then looks up, kills and repairs. Prints one table row per figure. */
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "index/index.h"

#define PACK 1000

static double now(void) {
    cf_clock clock = cf_clock_system();
    return (double)cf_clock_ms(&clock) / 1000;
}

static void must(cf_err *err) {
    if (!err) return;
    cf_err_print(stderr, err);
    exit(1);
}

static uint64_t mix(uint64_t x) { /* splitmix64 */
    x += UINT64_C(0x9E3779B97F4A7C15);
    x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
    return x ^ x >> 31;
}

static void make_id(uint64_t number, uint8_t id[16]) {
    uint64_t a = mix(number), b = mix(a ^ number);
    memcpy(id, &a, 8);
    memcpy(id + 8, &b, 8);
}

static void apply(cf_index *index, uint64_t pack) {
    static cf_index_entry entries[PACK];
    for (uint32_t i = 0; i < PACK; i++) {
        make_id(pack * PACK + i, entries[i].id);
        entries[i].segment = (uint16_t)(i / 16);
        entries[i].offset = i % 16 * 32768;
        entries[i].length = 32768;
    }
    must(cf_index_apply_pack(index, pack, entries, PACK));
}

static cf_index *open_index(const char *folder, size_t memory) {
    cf_index_options options = {.server_id = "bench server id", .memory_bytes = memory};
    cf_index *index = NULL;
    must(cf_index_open(folder, &options, &index));
    return index;
}

/* The index's own files leave the page cache; nobody else's. */
static void forget_cache(const char *folder) {
    DIR *list = opendir(folder);
    struct dirent *item;
    while (list && (item = readdir(list))) {
        int fd = openat(dirfd(list), item->d_name, O_RDONLY);
        if (fd < 0) continue;
        (void)fdatasync(fd);
        (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        close(fd);
    }
    if (list) closedir(list);
}

typedef struct work {
    cf_index *index;
    uint64_t first, count, chunks, seed, wrong;
    bool hit;
} work;

static void *look_up(void *argument) {
    work *w = argument;
    for (uint64_t i = 0; i < w->count; i++) {
        uint64_t number = mix(w->seed + i) % w->chunks + (w->hit ? 0 : UINT64_C(1) << 40);
        uint8_t id[16];
        bool found;
        cf_index_address address;
        make_id(number, id);
        must(cf_index_lookup(w->index, id, &found, &address));
        if (found != w->hit) w->wrong++;
    }
    return NULL;
}

static void measure(cf_index *index, const char *what, uint64_t chunks, uint64_t count, bool hit, int threads) {
    pthread_t ids[8];
    work works[8];
    static uint64_t seed = 1;
    double start = now();
    for (int i = 0; i < threads; i++) {
        works[i] = (work){.index = index, .count = count, .chunks = chunks, .seed = seed++ << 32, .hit = hit};
        if (pthread_create(&ids[i], NULL, look_up, &works[i]) != 0) exit(1);
    }
    uint64_t wrong = 0;
    for (int i = 0; i < threads; i++) {
        pthread_join(ids[i], NULL);
        wrong += works[i].wrong;
    }
    double seconds = now() - start;
    printf("%-34s %12.0f /s   (%.2f s%s)\n", what, (double)count * threads / seconds, seconds,
           wrong ? ", WRONG ANSWERS" : "");
}

static void print_stats(cf_index *index, const char *when) {
    cf_index_stats s;
    cf_index_get_stats(index, &s);
    printf("%-34s %12llu chunks, %llu bytes = %.2f B/chunk, %llu runs, %llu merges, written %.1f B/chunk\n", when,
           (unsigned long long)s.chunks, (unsigned long long)s.bytes, (double)s.bytes / (double)s.chunks,
           (unsigned long long)s.runs, (unsigned long long)s.merged_runs, (double)s.written / (double)s.chunks);
}

static void print_memory(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf("%-34s %12ld KiB\n", "peak resident set", usage.ru_maxrss);
}

static void fill(const char *folder, uint64_t chunks, size_t memory) {
    cf_index *index = open_index(folder, memory);
    double start = now(), worst = 0;
    for (uint64_t pack = 0; pack < chunks / PACK; pack++) {
        double before = now();
        apply(index, pack);
        if (now() - before > worst) worst = now() - before;
    }
    must(cf_index_flush(index));
    double seconds = now() - start;
    printf("%-34s %12.0f /s   (%.2f s, longest call %.2f s)\n", "insert", (double)chunks / seconds, seconds, worst);
    print_stats(index, "right after");
    start = now();
    must(cf_index_settle(index));
    printf("%-34s %12.2f s\n", "merges left over", now() - start);
    print_stats(index, "settled");
    start = now();
    must(cf_index_close(index));
    printf("%-34s %12.3f s\n", "close", now() - start);
}

/* Another process applies packs and is killed; then the index is opened. */
static void kill_and_open(const char *folder, uint64_t chunks, size_t memory) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        cf_index *index = open_index(folder, memory);
        for (uint64_t pack = 0; pack < 90; pack++) apply(index, chunks / PACK + pack);
        raise(SIGKILL);
    }
    int status;
    if (child < 0 || waitpid(child, &status, 0) < 0) exit(1);
    double start = now();
    cf_index *index = open_index(folder, memory);
    printf("%-34s %12.3f s\n", "open after kill, 90 packs later", now() - start);
    if (!cf_index_has_pack(index, chunks / PACK + 89)) exit(1);
    must(cf_index_close(index));
}

int main(int argc, char **argv) {
    if (argc < 3) {
        fprintf(stderr, "usage: bench-index FOLDER CHUNKS [MEMORY_MIB]\n");
        return 2;
    }
    const char *folder = argv[1];
    uint64_t chunks = strtoull(argv[2], NULL, 10) / PACK * PACK;
    size_t memory = argc > 3 ? (size_t)strtoull(argv[3], NULL, 10) << 20 : 0;
    if (chunks == 0) return 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    must(cf_index_destroy(folder));
    fill(folder, chunks, memory);
    print_memory();

    double start = now();
    cf_index *index = open_index(folder, memory);
    printf("%-34s %12.3f s\n", "open", now() - start);
    forget_cache(folder);
    measure(index, "miss, cold", chunks, 20000, false, 1);
    forget_cache(folder);
    measure(index, "hit, cold", chunks, 5000, true, 1);
    measure(index, "hit, warming", chunks, chunks < 2000000 ? chunks : 2000000, true, 1);
    measure(index, "hit, warm", chunks, 500000, true, 1);
    measure(index, "hit, warm, 2 threads", chunks, 500000, true, 2);
    measure(index, "miss, warm", chunks, 1000000, false, 1);
    measure(index, "miss, warm, 2 threads", chunks, 1000000, false, 2);
    start = now();
    must(cf_index_check(index));
    printf("%-34s %12.2f s\n", "check of every page", now() - start);
    must(cf_index_close(index));
    kill_and_open(folder, chunks, memory);
    print_memory();
    must(cf_index_destroy(folder));
    return 0;
}
