/* How fast the parts of the data path are, per second of processor time and on one thread:
 * ninja bench-parts && ./src/sealed/bench-parts [SECONDS]
 * Data: text that zstd makes about four times smaller, and noise that it cannot. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "chunk/chunker.h"
#include "digest/digest.h"
#include "keys/keys.h"
#include "sealed/segment.h"

enum { CONTENT = 32 << 20, SEGMENT = CF_SEGMENT_RAW_MAX };

static uint8_t *text, *noise;
static double seconds = 1;

/* Processor time: other programs on the machine do not count. */
static double now(void) {
    struct timespec time;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static void must(cf_err *err) {
    if (!err) return;
    cf_err_print(stderr, err);
    exit(1);
}

static void fill(void) {
    static const char *const words[] = {
        "error ", "server ", "2026-11-20T22:34:21Z ", "GET /index.html ", "200 ", "timeout ", "disk ", "\n"};
    text = malloc(CONTENT);
    noise = malloc(CONTENT);
    if (!text || !noise) exit(1);
    must(cf_random(noise, CONTENT));
    for (size_t at = 0, draw = 0; at < CONTENT; draw++) {
        const char *word = words[noise[draw % CONTENT] % 8];
        for (; *word && at < CONTENT; word++) text[at++] = (uint8_t)*word;
        if (noise[draw] < 100 && at < CONTENT) text[at++] = noise[CONTENT - 1 - draw % CONTENT];
    }
}

/* One thing to measure: works through content in pieces and says how many bytes it took. */
typedef size_t (*work_function)(void *context, const uint8_t *content);

static void measure(const char *name, work_function work, void *context, const uint8_t *content, size_t piece) {
    (void)work(context, content); /* warm up */
    double start = now(), used;
    size_t bytes = 0;
    do {
        bytes += work(context, content);
        used = now() - start;
    } while (used < seconds);
    (void)printf("%-44s %8.2f GB/s", name, (double)bytes / used / 1e9);
    if (piece) (void)printf(" %10.0f ns a piece", used * 1e9 / ((double)bytes / (double)piece));
    (void)printf("\n");
}

static size_t cut(void *context, const uint8_t *content) {
    for (size_t at = 0; at < CONTENT;) at += cf_chunker_cut(context, content + at, CONTENT - at);
    return CONTENT;
}

typedef struct hashing {
    cf_mac *mac;
    size_t piece;
} hashing;

static size_t chunk_ids(void *context, const uint8_t *content) {
    hashing *h = context;
    cf_id32 id;
    for (size_t at = 0; at + h->piece <= CONTENT / 4; at += h->piece)
        must(cf_mac_chunk_id(h->mac, CF_KIND_DATA, cf_span_of(content + at, h->piece), &id));
    return CONTENT / 4 / h->piece * h->piece;
}

static size_t plain_sha256(void *context, const uint8_t *content) {
    hashing *h = context;
    uint8_t out[32];
    for (size_t at = 0; at + h->piece <= CONTENT / 4; at += h->piece)
        must(cf_sha256(cf_span_of(content + at, h->piece), out));
    return CONTENT / 4 / h->piece * h->piece;
}

static size_t xxh3(void *context, const uint8_t *content) {
    (void)context;
    uint8_t out[16];
    for (size_t at = 0; at < CONTENT; at += SEGMENT) cf_xxh3_128(cf_span_of(content + at, SEGMENT), out);
    return CONTENT;
}

typedef struct sealing {
    cf_segment_codec *codec;
    bool verify;
    cf_buf out, opened;
    size_t stored;
} sealing;

static const uint8_t KEY[32] = {1};
static cf_segment_place place = {.kind = CF_KIND_DATA, .pack = 1};

static size_t seal(void *context, const uint8_t *content) {
    sealing *s = context;
    for (size_t at = 0; at < CONTENT / 4; at += SEGMENT) {
        cf_buf_reset(&s->out);
        must(cf_segment_seal(s->codec, KEY, &place, cf_span_of(content + at, SEGMENT), s->verify, &s->out));
        s->stored = s->out.size;
    }
    return CONTENT / 4;
}

static size_t open_again(void *context, const uint8_t *content) {
    (void)content;
    sealing *s = context;
    size_t bytes = 0;
    for (int i = 0; i < 16; i++) {
        cf_buf_reset(&s->opened);
        must(cf_segment_open(s->codec, KEY, &place, cf_buf_span(&s->out), &s->opened));
        bytes += s->opened.size;
    }
    return bytes;
}

static size_t sealer_only(void *context, const uint8_t *content) {
    cf_sealer *sealer = context;
    static uint8_t out[SEGMENT + 16];
    const uint8_t nonce[12] = {0};
    must(cf_sealer_set_key(sealer, KEY));
    for (size_t at = 0; at < CONTENT / 4; at += SEGMENT)
        must(cf_sealer_seal(sealer, nonce, cf_span_of(KEY, 32), cf_span_of(content + at, SEGMENT), out));
    return CONTENT / 4;
}

static void segments(int level) {
    char name[64];
    sealing s = {.verify = false};
    must(cf_segment_codec_new(level, &s.codec));
    cf_buf_init(&s.out, SIZE_MAX);
    cf_buf_init(&s.opened, SEGMENT);
    for (int verify = 0; verify < 2; verify++) {
        s.verify = verify;
        const char *with = verify ? ", verified" : "";
        (void)snprintf(name, sizeof name, "seal text, zstd level %d%s", level, with);
        measure(name, seal, &s, text, SEGMENT);
        if (verify) {
            (void)snprintf(name, sizeof name, "open text (stored %.0f %%)", 100.0 * (double)s.stored / SEGMENT);
            measure(name, open_again, &s, text, SEGMENT);
        }
        (void)snprintf(name, sizeof name, "seal noise, zstd level %d%s", level, with);
        measure(name, seal, &s, noise, SEGMENT);
        if (verify) measure("open noise", open_again, &s, noise, SEGMENT);
    }
    cf_buf_wipe(&s.out);
    cf_buf_wipe(&s.opened);
    cf_segment_codec_free(s.codec);
}

int main(int argc, char **argv) {
    if (argc > 1) seconds = strtod(argv[1], NULL);
    fill();
    CF_AUTO(cf_secret) key = NULL;
    CF_AUTO(cf_gear) gear = NULL;
    CF_AUTO(cf_mac) mac = NULL;
    CF_AUTO(cf_sealer) sealer = NULL;
    must(cf_secret_from(KEY, sizeof KEY, &key));
    must(cf_gear_new(key, &gear));
    must(cf_mac_new(key, &mac));
    must(cf_sealer_new(&sealer));
    measure("cut text", cut, gear, text, 0);
    measure("cut noise", cut, gear, noise, 0);
    static const size_t pieces[] = {1024, 16384, 100000};
    for (size_t i = 0; i < 3; i++) {
        hashing h = {mac, pieces[i]};
        char name[64];
        (void)snprintf(name, sizeof name, "SHA-256 of %zu bytes", pieces[i]);
        measure(name, plain_sha256, &h, noise, pieces[i]);
        (void)snprintf(name, sizeof name, "chunk ID of %zu bytes", pieces[i]);
        measure(name, chunk_ids, &h, noise, pieces[i]);
    }
    measure("XXH3-128 of a segment", xxh3, NULL, noise, SEGMENT);
    measure("AES-256-GCM of a segment", sealer_only, sealer, noise, SEGMENT);
    segments(3);
    free(text);
    free(noise);
    return 0;
}
