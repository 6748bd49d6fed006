/* Relocation records: round trip, what is sealed along, what a reader refuses, and one that was kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sealed/relocation.h"

#define OK(call)                              \
    do {                                      \
        cf_err *err_ = (call);                \
        if (err_) cf_err_print(stderr, err_); \
        assert_null(err_);                    \
    } while (0)
#define FAILS(expected, call)                          \
    do {                                               \
        CF_AUTO(cf_err) err_ = (call);                 \
        assert_int_equal(cf_err_code(err_), expected); \
    } while (0)

#define GOLDEN CF_SOURCE "/tests/golden/relocation.cfrl"

static cf_secret *key_of(uint8_t byte) {
    uint8_t bytes[32];
    cf_secret *key = NULL;
    memset(bytes, byte, sizeof bytes);
    OK(cf_secret_from(bytes, sizeof bytes, &key));
    return key;
}

static void make_refs(cf_ref refs[3]) {
    for (int i = 0; i < 3; i++) {
        refs[i] =
            (cf_ref){.pack = 1000 + (uint64_t)i, .segment = (uint16_t)i, .offset = (uint32_t)i * 70, .length = 40};
        memset(refs[i].id.bytes, 10 * (i + 1), 32);
    }
}

typedef struct parts {
    cf_buf points, map, sealed, object;
    uint8_t record[132];
} parts;

static void make_frame(parts *p, cf_relocation_frame *frame) {
    cf_id32 points[2];
    CF_AUTO(cf_map) map = NULL;
    memset(points[0].bytes, 1, 32);
    memset(points[1].bytes, 2, 32);
    memset(p->record, 7, sizeof p->record);
    cf_buf_init(&p->points, 4096);
    cf_buf_init(&p->map, 4096);
    cf_buf_init(&p->sealed, 4096);
    cf_buf_init(&p->object, 8192);
    cf_relocation_points_encode(points, 2, &p->points);
    OK(cf_map_new(&map));
    for (uint64_t i = 0; i < 3; i++) OK(cf_map_add(map, 1000 + i, (uint16_t)i));
    OK(cf_map_encode(map, &(cf_map_header){0}, NULL, NULL, NULL, &p->map));
    *frame = (cf_relocation_frame){.number = 3,
                                   .key_record = cf_span_of(p->record, sizeof p->record),
                                   .points = cf_buf_span(&p->points),
                                   .extra = cf_buf_span(&p->map),
                                   .healed = cf_buf_span(&p->map)};
    memset(frame->server.bytes, 0x11, 16);
    memset(frame->session.bytes, 0x22, 16);
}

static void wipe(parts *p) {
    cf_buf_wipe(&p->points);
    cf_buf_wipe(&p->map);
    cf_buf_wipe(&p->sealed);
    cf_buf_wipe(&p->object);
}

static void check_refs(const cf_relocation_frame *frame, const cf_secret *key) {
    CF_AUTO_FREE cf_ref *refs = NULL;
    size_t count = 0;
    cf_ref expected[3];
    make_refs(expected);
    OK(cf_relocation_open(frame, key, &refs, &count));
    assert_int_equal(count, 3);
    for (int i = 0; i < 3; i++) {
        assert_memory_equal(refs[i].id.bytes, expected[i].id.bytes, 32);
        assert_int_equal(refs[i].pack, expected[i].pack);
        assert_int_equal(refs[i].segment, expected[i].segment);
        assert_int_equal(refs[i].offset, expected[i].offset);
        assert_int_equal(refs[i].length, expected[i].length);
    }
}

static void test_round_trip(void **state) {
    (void)state;
    parts p = {0};
    cf_relocation_frame frame, again;
    cf_ref refs[3];
    CF_AUTO(cf_secret) key = key_of(5);
    CF_AUTO(cf_secret) other = key_of(6);
    make_refs(refs);
    make_frame(&p, &frame);
    OK(cf_relocation_seal(&frame, key, refs, 3, frame.commitment, &p.sealed));
    frame.sealed = cf_buf_span(&p.sealed);
    OK(cf_relocation_encode(&frame, &p.object));
    OK(cf_relocation_decode(cf_buf_span(&p.object), &again));
    assert_int_equal(again.number, 3);
    check_refs(&again, key);
    CF_AUTO_FREE cf_ref *none = NULL;
    size_t count = 0;
    FAILS(CF_ERR_SEAL_BROKEN, cf_relocation_open(&again, other, &none, &count));
    /* What is visible is sealed along: another number, other points, another map. */
    again.number = 4;
    FAILS(CF_ERR_SEAL_BROKEN, cf_relocation_open(&again, key, &none, &count));
    again.number = 3;
    again.points = again.extra;
    FAILS(CF_ERR_SEAL_BROKEN, cf_relocation_open(&again, key, &none, &count));
    again.points = frame.points;
    again.extra = frame.points;
    FAILS(CF_ERR_SEAL_BROKEN, cf_relocation_open(&again, key, &none, &count));
    /* Each byte counts. */
    for (size_t i = 0; i < p.object.size; i++) {
        p.object.data[i] ^= 1;
        CF_AUTO(cf_err) err = cf_relocation_decode(cf_buf_span(&p.object), &again);
        assert_non_null(err);
        p.object.data[i] ^= 1;
    }
    wipe(&p);
}

static void test_refused(void **state) {
    (void)state;
    parts p = {0};
    cf_relocation_frame frame;
    cf_ref refs[3];
    CF_AUTO(cf_secret) key = key_of(5);
    make_refs(refs);
    make_frame(&p, &frame);
    refs[2].id = refs[1].id; /* twice */
    FAILS(CF_ERR_INTERNAL, cf_relocation_seal(&frame, key, refs, 3, frame.commitment, &p.sealed));
    frame.number = 0;
    frame.sealed = frame.points;
    FAILS(CF_ERR_INTERNAL, cf_relocation_encode(&frame, &p.object));
    cf_buf_reset(&p.points);
    cf_id32 same[2];
    memset(same, 9, sizeof same);
    cf_relocation_points_encode(same, 2, &p.points);
    CF_AUTO_FREE cf_id32 *points = NULL;
    size_t count = 0;
    FAILS(CF_ERR_FORMAT, cf_relocation_points_decode(cf_buf_span(&p.points), &points, &count));
    wipe(&p);
}

/* Written once; the format does not change under records that exist. */
static void test_golden(void **state) {
    (void)state;
    static uint8_t bytes[4096];
    cf_relocation_frame frame;
    CF_AUTO(cf_secret) key = key_of(5);
    FILE *file = fopen(GOLDEN, "rb");
    if (!file && getenv("CF_MAKE_GOLDEN")) { /* how it was made */
        parts p = {0};
        cf_ref refs[3];
        make_refs(refs);
        make_frame(&p, &frame);
        OK(cf_relocation_seal(&frame, key, refs, 3, frame.commitment, &p.sealed));
        frame.sealed = cf_buf_span(&p.sealed);
        OK(cf_relocation_encode(&frame, &p.object));
        file = fopen(GOLDEN, "wbx");
        assert_non_null(file);
        assert_int_equal(fwrite(p.object.data, 1, p.object.size, file), p.object.size);
        assert_int_equal(fclose(file), 0);
        wipe(&p);
        file = fopen(GOLDEN, "rb");
    }
    assert_non_null(file);
    size_t size = fread(bytes, 1, sizeof bytes, file);
    assert_int_equal(fclose(file), 0);
    OK(cf_relocation_decode(cf_span_of(bytes, size), &frame));
    assert_int_equal(frame.number, 3);
    check_refs(&frame, key);
    CF_AUTO(cf_map) extra = NULL;
    OK(cf_relocation_map(frame.extra, &extra));
    assert_true(cf_map_has(extra, 1002, 2));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_golden),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
