#include "../keys/help.h"

#include "visible/map.h"

static cf_map *map_new(void) {
    cf_map *map = NULL;
    assert_ok(cf_map_new(&map));
    return map;
}

static const cf_map_header WHOLE = {.exact = true};

/* Encodes, decodes and compares; returns the encoded size. */
static size_t round_trip(const cf_map *map, const cf_map_header *header, const cf_map *base, cf_map_fill fill,
                         size_t cuts) {
    CF_AUTO_BUF cf_buf out;
    cf_buf_init(&out, 64u << 20);
    assert_ok(cf_map_encode(map, header, base, fill, NULL, &out));
    CF_AUTO_FREE uint8_t *exact = exact_copy(out.data, out.size);
    cf_map_header got, peeked;
    CF_AUTO(cf_map) again = NULL;
    assert_ok(cf_map_decode(cf_span_of(exact, out.size), base, &got, &again));
    assert_true(cf_map_equal(map, again));
    assert_int_equal(cf_map_segment_count(map), cf_map_segment_count(again));
    assert_int_equal(got.delta, header->delta);
    assert_int_equal(got.exact, header->exact);
    assert_int_equal(got.chain, header->chain);
    assert_int_equal(got.has_fill, fill != NULL);
    assert_true(cf_id32_equal(&got.base, &header->base));
    assert_ok(cf_map_peek(cf_buf_span(&out), &peeked));
    assert_int_equal(peeked.chain, got.chain);
    for (size_t size = 0; size < out.size && size < cuts; size++) {
        CF_AUTO_FREE uint8_t *cut = exact_copy(out.data, size);
        cf_map *none = NULL;
        assert_fails(cf_map_decode(cf_span_of(cut, size), base, &got, &none), CF_ERR_FORMAT, NULL);
    }
    for (size_t i = 0; i < out.size && i < cuts; i++) {
        out.data[i] ^= 0x21;
        CF_AUTO(cf_map) other = NULL;
        cf_err_free(cf_map_decode(cf_buf_span(&out), base, &got, &other));
        out.data[i] ^= 0x21;
    }
    return out.size;
}

static uint8_t some_fill(void *context, uint64_t pack, uint16_t segment) {
    (void)context;
    return (uint8_t)((pack + segment) % 4);
}

static void what_was_added_is_there(void **state) {
    (void)state;
    CF_AUTO(cf_map) map = map_new();
    static const uint16_t segments[] = {0, 63, 64, 65, 1000, 65533};
    for (size_t i = 0; i < 6; i++) {
        assert_ok(cf_map_add(map, 10, segments[i]));
        assert_ok(cf_map_add(map, 10, segments[i]));
    }
    for (uint16_t s = 0; s < 200; s++) assert_ok(cf_map_add(map, 5, s)); /* inline, then full */
    assert_ok(cf_map_add(map, 5, 300));
    assert_int_equal(cf_map_pack_count(map), 2);
    assert_int_equal(cf_map_segment_count(map), 207);
    assert_true(cf_map_has(map, 10, 65533) && cf_map_has(map, 5, 199) && cf_map_has(map, 5, 300));
    assert_false(cf_map_has(map, 10, 1) || cf_map_has(map, 5, 200) || cf_map_has(map, 7, 0) ||
                 cf_map_has(map, 10, 0xFFFF));
    assert_true(cf_map_has_pack(map, 5));
    assert_false(cf_map_has_pack(map, 6));
    uint32_t segment = 0;
    for (size_t i = 0; i < 6; i++, segment++) {
        assert_true(cf_map_next_segment(map, 10, &segment));
        assert_int_equal(segment, segments[i]);
    }
    assert_false(cf_map_next_segment(map, 10, &segment));
    segment = UINT32_MAX;
    assert_false(cf_map_next_segment(map, 10, &segment));
    size_t cursor = 0;
    uint64_t pack;
    assert_true(cf_map_next_pack(map, &cursor, &pack));
    assert_int_equal(pack, 5);
    assert_true(cf_map_next_pack(map, &cursor, &pack));
    assert_int_equal(pack, 10);
    assert_false(cf_map_next_pack(map, &cursor, &pack));
    assert_fails(cf_map_add(map, 0, 1), CF_ERR_INTERNAL, NULL);
    assert_fails(cf_map_add(map, CF_PACK_NUMBER_MAX + 1, 1), CF_ERR_INTERNAL, NULL);
    assert_fails(cf_map_add(map, 1, 65534), CF_ERR_INTERNAL, NULL);
    (void)round_trip(map, &WHOLE, NULL, some_fill, 4096);
}

/* Random packs in random order against a plain table. */
static void random_additions_match_a_plain_table(void **state) {
    (void)state;
    enum { PACKS = 5000, SEGMENTS = 130 };
    CF_AUTO_FREE uint8_t *table = calloc(PACKS, SEGMENTS);
    assert_non_null(table);
    CF_AUTO(cf_map) map = map_new();
    uint64_t random = 99;
    for (int i = 0; i < 60000; i++) {
        uint64_t draw = next_random(&random);
        size_t pack = draw % PACKS, segment = draw >> 32;
        segment = draw & 0x40000000 ? segment % SEGMENTS : segment % 40;
        if (pack % 7 == 0) continue;
        table[pack * SEGMENTS + segment] = 1;
        assert_ok(cf_map_add(map, pack + 1, (uint16_t)segment));
    }
    size_t packs = 0, segments = 0, cursor = 0;
    uint64_t got;
    for (size_t pack = 0; pack < PACKS; pack++) {
        size_t here = 0;
        for (size_t s = 0; s < SEGMENTS; s++) {
            assert_int_equal(cf_map_has(map, pack + 1, (uint16_t)s), table[pack * SEGMENTS + s]);
            here += table[pack * SEGMENTS + s];
        }
        assert_int_equal(cf_map_has_pack(map, pack + 1), here > 0);
        if (here) {
            assert_true(cf_map_next_pack(map, &cursor, &got));
            assert_int_equal(got, pack + 1);
        }
        packs += here > 0;
        segments += here;
    }
    assert_int_equal(cf_map_pack_count(map), packs);
    assert_int_equal(cf_map_segment_count(map), segments);
    (void)round_trip(map, &WHOLE, NULL, NULL, 300);
    (void)round_trip(map, &WHOLE, NULL, some_fill, 300);
    CF_AUTO(cf_map) sum = map_new();
    for (uint64_t p = 1; p < 9000; p += 3) assert_ok(cf_map_add(sum, p, 129));
    assert_ok(cf_map_add_all(sum, map));
    for (size_t pack = 0; pack < PACKS; pack++)
        for (size_t s = 0; s < SEGMENTS; s++)
            assert_int_equal(cf_map_has(sum, pack + 1, (uint16_t)s),
                             table[pack * SEGMENTS + s] || (s == 129 && pack % 3 == 0));
}

static void the_shortest_code_is_chosen(void **state) {
    (void)state;
    CF_AUTO(cf_map) all = map_new();
    CF_AUTO(cf_map) ranges = map_new();
    CF_AUTO(cf_map) mask = map_new();
    for (uint16_t s = 0; s < 64; s++) {
        assert_ok(cf_map_add(all, 1, s));
        if (s >= 8) assert_ok(cf_map_add(ranges, 1, s));
        if (s % 2) assert_ok(cf_map_add(mask, 1, s));
    }
    assert_int_equal(round_trip(all, &WHOLE, NULL, NULL, 99), 3 + 3);
    assert_int_equal(round_trip(ranges, &WHOLE, NULL, NULL, 99), 3 + 5);
    assert_int_equal(round_trip(mask, &WHOLE, NULL, NULL, 99), 3 + 11);
}

static void deltas_replace_add_and_remove_packs(void **state) {
    (void)state;
    CF_AUTO(cf_map) base = map_new();
    CF_AUTO(cf_map) next = map_new();
    for (uint64_t p = 1; p <= 1000; p++) {
        for (uint16_t s = 0; s < 100; s++) {
            assert_ok(cf_map_add(base, p, s));
            if (p != 500 && p != 1 && p != 1000) assert_ok(cf_map_add(next, p, s));
        }
    }
    assert_ok(cf_map_add(next, 600, 200));
    assert_ok(cf_map_add(next, 2000, 1));
    cf_map_header header = {.delta = true, .base = {{7}}, .chain = 8};
    assert_true(round_trip(next, &header, base, NULL, 999) < 80);
    (void)round_trip(next, &header, base, some_fill, 999);
    assert_true(round_trip(base, &header, base, NULL, 99) == 2 + 33 + 1);
    CF_AUTO(cf_map) empty = map_new();
    (void)round_trip(empty, &header, base, NULL, 99);
    (void)round_trip(base, &header, empty, NULL, 99);
    (void)round_trip(empty, &WHOLE, NULL, NULL, 99);
    /* Header and base must fit. */
    CF_AUTO_BUF cf_buf out;
    cf_buf_init(&out, 1 << 20);
    assert_fails(cf_map_encode(next, &header, NULL, NULL, NULL, &out), CF_ERR_INTERNAL, NULL);
    assert_fails(cf_map_encode(next, &WHOLE, base, NULL, NULL, &out), CF_ERR_INTERNAL, NULL);
    header.chain = 9;
    assert_fails(cf_map_encode(next, &header, base, NULL, NULL, &out), CF_ERR_INTERNAL, NULL);
    header.chain = 0;
    assert_fails(cf_map_encode(next, &header, base, NULL, NULL, &out), CF_ERR_INTERNAL, NULL);
    header.chain = 1;
    cf_buf_reset(&out);
    assert_ok(cf_map_encode(next, &header, base, NULL, NULL, &out));
    cf_map *none = NULL;
    assert_fails(cf_map_decode(cf_buf_span(&out), NULL, &header, &none), CF_ERR_FORMAT, "base");
    assert_fails(cf_map_decode(cf_buf_span(&out), empty, &header, &none), CF_ERR_FORMAT,
                 "base"); /* removes what is not there */
}

static void malformed_maps_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *hex;
        cf_code code;
        const char *reason;
    } cases[] = {
        {"", CF_ERR_FORMAT, "truncated"},
        {"020000", CF_ERR_FORMAT_VERSION, "version"},
        {"010800", CF_ERR_FORMAT, "flags"},
        {"010000ff", CF_ERR_FORMAT, "trailing"},
        {"010001"
         "0001"
         "01",
         CF_ERR_FORMAT, "order"}, /* pack 0                      */
        {"010002"
         "010101"
         "000101",
         CF_ERR_FORMAT, "order"}, /* twice                       */
        {"010001"
         "0100",
         CF_ERR_FORMAT, "truncated"}, /* none, but no delta          */
        {"010001"
         "0104",
         CF_ERR_FORMAT, "code"},
        {"010001"
         "010100",
         CF_ERR_FORMAT, "truncated"}, /* all of none                 */
        {"010001"
         "0101ffff03",
         CF_ERR_FORMAT, "truncated"}, /* all of 65,535               */
        {"010001"
         "010200",
         CF_ERR_FORMAT, "truncated"}, /* no range                    */
        {"010001"
         "01020100"
         "00",
         CF_ERR_FORMAT, "truncated"}, /* an empty range              */
        {"010001"
         "010202"
         "0101"
         "0001",
         CF_ERR_FORMAT, "truncated"}, /* ranges that touch    */
        {"010001"
         "010201"
         "fdff03"
         "02",
         CF_ERR_FORMAT, "truncated"}, /* beyond the last      */
        {"010001"
         "010300",
         CF_ERR_FORMAT, "truncated"},
        {"010001"
         "01030100",
         CF_ERR_FORMAT, "truncated"}, /* the last byte is 0          */
        {"010401"
         "010101"
         "04",
         CF_ERR_FORMAT, "truncated"}, /* fill: unused bits           */
        {"010401"
         "0101"
         "05"
         "ff",
         CF_ERR_FORMAT, "truncated"},
        {"010081808008", CF_ERR_FORMAT, "truncated"}, /* 16,777,217 packs            */
        {"010001"
         "8080808080804001"
         "01",
         CF_ERR_FORMAT, "truncated"}, /* pack 2^48           */
        {"0101"
         "0000000000000000000000000000000000000000000000000000000000000000"
         "00"
         "00",
         CF_ERR_FORMAT, "chain"},
        {"0101"
         "0000000000000000000000000000000000000000000000000000000000000000"
         "09"
         "00",
         CF_ERR_FORMAT, "chain"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t size;
        uint8_t *bytes = unhex(cases[i].hex, &size);
        cf_map_header header;
        cf_map *none = NULL;
        assert_fails(cf_map_decode(cf_span_of(bytes, size), NULL, &header, &none), cases[i].code, cases[i].reason);
        assert_null(none);
        free(bytes);
    }
    /* A mask of 8,192 bytes reaches segment 65,535, which is none. */
    CF_AUTO_BUF cf_buf out;
    cf_buf_init(&out, 1 << 20);
    for (uint8_t bit = 0x20; bit; bit = (uint8_t)(bit << 1)) {
        cf_buf_reset(&out);
        cf_buf_put(&out, "\1\0\1\1\3\x80\x40", 7);
        cf_buf_put_zero(&out, 8191);
        cf_buf_put_u8(&out, bit);
        cf_map_header header;
        CF_AUTO(cf_map) map = NULL;
        CF_AUTO(cf_err) err = cf_map_decode(cf_buf_span(&out), NULL, &header, &map);
        assert_int_equal(cf_err_code(err), bit == 0x20 ? CF_OK : CF_ERR_FORMAT);
    }
}

/* Six bytes each ask for 8 KiB: memory, not only input, is bounded. */
static void memory_is_bounded(void **state) {
    (void)state;
    enum { PACKS = 200000 };
    CF_AUTO_BUF cf_buf out;
    cf_buf_init(&out, 64u << 20);
    cf_buf_put(&out, "\1\0", 2);
    cf_buf_put_varint(&out, PACKS);
    for (size_t i = 0; i < PACKS; i++) cf_buf_put(&out, "\1\2\1\1\xfc\xff\3", 7); /* 1 .. 65,532 */
    cf_map_header header;
    cf_map *none = NULL;
    assert_fails(cf_map_decode(cf_buf_span(&out), NULL, &header, &none), CF_ERR_TOO_LARGE, NULL);
    /* "All" costs no bit set, however many there are. */
    cf_buf_reset(&out);
    cf_buf_put(&out, "\1\0", 2);
    cf_buf_put_varint(&out, PACKS);
    for (size_t i = 0; i < PACKS; i++) cf_buf_put(&out, "\1\1\xfe\xff\3", 5);
    CF_AUTO(cf_map) map = NULL;
    assert_ok(cf_map_decode(cf_buf_span(&out), NULL, &header, &map));
    assert_int_equal(cf_map_segment_count(map), PACKS * 65534ull);
}

static void a_large_map_is_quick(void **state) {
    (void)state;
    CF_AUTO(cf_map) map = map_new();
    for (uint64_t pack = 1; pack <= 300000; pack++)
        for (uint16_t s = 0; s < 64; s++)
            if ((pack + s) % 13) assert_ok(cf_map_add(map, pack * 2, s));
    CF_AUTO(cf_map) backwards = map_new();
    for (uint64_t pack = 300000; pack >= 1; pack--) assert_ok(cf_map_add(backwards, pack * 2 + 1, 3));
    assert_ok(cf_map_add_all(backwards, map));
    assert_int_equal(cf_map_pack_count(backwards), 600000);
    cf_map_header header = {.delta = true, .chain = 1};
    (void)round_trip(map, &WHOLE, NULL, NULL, 0);
    (void)round_trip(backwards, &header, map, NULL, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_added_is_there),     cmocka_unit_test(random_additions_match_a_plain_table),
        cmocka_unit_test(the_shortest_code_is_chosen), cmocka_unit_test(deltas_replace_add_and_remove_packs),
        cmocka_unit_test(malformed_maps_are_refused),  cmocka_unit_test(memory_is_bounded),
        cmocka_unit_test(a_large_map_is_quick),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
