#include "../keys/help.h"

#include "digest/digest.h"
#include "visible/pack.h"

static cf_pack_header header_of(void) {
    cf_pack_header header = {.kind = CF_KIND_TREE, .server = {{1}}, .session = {{2}}, .number = CF_PACK_NUMBER_MAX};
    memset(header.commitment, 3, 32);
    memset(header.directory_commitment, 4, 32);
    return header;
}

static void headers_round_trip(void **state) {
    (void)state;
    const cf_pack_header header = header_of();
    uint8_t bytes[CF_PACK_HEADER_SIZE];
    cf_pack_header got;
    cf_pack_header_encode(&header, bytes);
    assert_ok(cf_pack_header_decode(cf_span_of(bytes, sizeof bytes), &got));
    assert_int_equal(got.kind, header.kind);
    assert_true(cf_id16_equal(&got.server, &header.server) && cf_id16_equal(&got.session, &header.session));
    assert_int_equal(got.number, header.number);
    assert_memory_equal(got.commitment, header.commitment, 32);
    assert_memory_equal(got.directory_commitment, header.directory_commitment, 32);
    for (size_t size = 0; size < sizeof bytes; size++) {
        CF_AUTO_FREE uint8_t *cut = exact_copy(bytes, size);
        assert_fails(cf_pack_header_decode(cf_span_of(cut, size), &got), CF_ERR_FORMAT, "truncated");
    }
    uint8_t longer[CF_PACK_HEADER_SIZE + 1] = {0};
    memcpy(longer, bytes, sizeof bytes);
    assert_fails(cf_pack_header_decode(cf_span_of(longer, sizeof longer), &got), CF_ERR_FORMAT, "trailing");
}

static void header_fields_are_checked(void **state) {
    (void)state;
    static const struct {
        size_t at;
        uint8_t byte;
        cf_code code;
        const char *reason;
    } cases[] = {{0, 'X', CF_ERR_FORMAT, "magic"},         {4, 2, CF_ERR_FORMAT_VERSION, "version"},
                 {5, 1, CF_ERR_FORMAT_VERSION, "version"}, {6, 2, CF_ERR_FORMAT, "kind"},
                 {7, 1, CF_ERR_FORMAT, "reserved"},        {46, 1, CF_ERR_FORMAT, "number"}};
    cf_pack_header header = header_of(), got;
    uint8_t bytes[CF_PACK_HEADER_SIZE];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cf_pack_header_encode(&header, bytes);
        bytes[cases[i].at] = cases[i].byte;
        assert_fails(cf_pack_header_decode(cf_span_of(bytes, sizeof bytes), &got), cases[i].code, cases[i].reason);
    }
    header.number = 0;
    cf_pack_header_encode(&header, bytes);
    assert_fails(cf_pack_header_decode(cf_span_of(bytes, sizeof bytes), &got), CF_ERR_FORMAT, "number");
}

/* A pack of 3 segments of 100 bytes and a directory of 50. */
enum { TABLE_AT = 112 + 350, OBJECT = TABLE_AT + 4 * 32 + 40 };
static void good_extents(cf_extent extents[4]) {
    for (size_t i = 0; i < 4; i++) {
        extents[i] = (cf_extent){
            .segment = (uint16_t)(i == 3 ? 0xFFFF : i * 7), .offset = 112 + 100 * i, .length = i == 3 ? 50 : 100};
        memset(extents[i].xxh3, (int)i, 16);
    }
}

static void tails_round_trip(void **state) {
    (void)state;
    const cf_pack_header header = header_of();
    uint8_t bytes[CF_PACK_HEADER_SIZE];
    cf_pack_header_encode(&header, bytes);
    cf_extent extents[4];
    good_extents(extents);
    CF_AUTO_BUF cf_buf tail;
    cf_buf_init(&tail, 4096);
    cf_pack_tail_encode(bytes, TABLE_AT, extents, 4, &tail);
    assert_ok(cf_buf_check(&tail, "tail"));
    assert_int_equal(tail.size, OBJECT - TABLE_AT);
    uint64_t table;
    uint32_t number;
    assert_ok(cf_pack_trailer_decode(cf_span_of(tail.data + tail.size - 40, 40), OBJECT, &table, &number));
    assert_int_equal(table, TABLE_AT);
    assert_int_equal(number, 4);
    CF_AUTO_FREE cf_extent *got = NULL;
    size_t count = 0;
    assert_ok(cf_pack_tail_decode(cf_span_of(bytes, sizeof bytes), cf_buf_span(&tail), OBJECT, &got, &count));
    assert_int_equal(count, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(got[i].segment, extents[i].segment);
        assert_int_equal(got[i].offset, extents[i].offset);
        assert_int_equal(got[i].length, extents[i].length);
        assert_memory_equal(got[i].xxh3, extents[i].xxh3, 16);
    }
    cf_extent *none = NULL;
    for (size_t size = 0; size < tail.size; size++) { /* cut at the front, as a reader with a wrong offset would */
        CF_AUTO_FREE uint8_t *cut = exact_copy(tail.data + tail.size - size, size);
        assert_fails(cf_pack_tail_decode(cf_span_of(bytes, sizeof bytes), cf_span_of(cut, size), OBJECT, &none, &count),
                     CF_ERR_FORMAT, NULL);
    }
    for (size_t size = 0; size < 40; size++) /* cut at the end, as a torn upload is */
        assert_fails(cf_pack_trailer_decode(cf_span_of(tail.data, size), OBJECT, &table, &number), CF_ERR_FORMAT, NULL);
    for (size_t i = 0; i < tail.size; i++) {
        tail.data[i] ^= 1;
        assert_fails(cf_pack_tail_decode(cf_span_of(bytes, sizeof bytes), cf_buf_span(&tail), OBJECT, &none, &count),
                     CF_ERR_FORMAT, NULL);
        tail.data[i] ^= 1;
    }
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] ^= 1;
        assert_fails(cf_pack_tail_decode(cf_span_of(bytes, sizeof bytes), cf_buf_span(&tail), OBJECT, &none, &count),
                     CF_ERR_FORMAT, "sum");
        bytes[i] ^= 1;
    }
    assert_fails(cf_pack_tail_decode(cf_span_of(bytes, sizeof bytes), cf_buf_span(&tail), OBJECT + 1, &none, &count),
                 CF_ERR_FORMAT, "size");
    assert_fails(cf_pack_tail_decode(cf_span_of(bytes, 111), cf_buf_span(&tail), OBJECT, &none, &count), CF_ERR_FORMAT,
                 "truncated");
    assert_null(none);
}

/* Tables that are whole but lie. */
static void tables_that_make_no_sense_are_refused(void **state) {
    (void)state;
    const cf_pack_header header = header_of();
    uint8_t bytes[CF_PACK_HEADER_SIZE];
    cf_pack_header_encode(&header, bytes);
    for (int i = 0; i < 10; i++) {
        cf_extent extents[4];
        good_extents(extents);
        switch (i) {
        case 0:
            extents[1].segment = 0;
            break; /* twice                       */
        case 1:
            extents[1].segment = 20;
            break; /* not ascending               */
        case 2:
            extents[3].segment = 100;
            break; /* no directory                */
        case 3:
            extents[2].segment = 0xFFFE;
            break; /* not a segment's number      */
        case 4:
            extents[1].length = 0;
            break; /* empty                       */
        case 5:
            extents[1].length = 101;
            break; /* overlaps                    */
        case 6:
            extents[0].offset = 111;
            break; /* in the header               */
        case 7:
            extents[3].length = 51;
            break; /* in the table                */
        case 8:
            extents[3].offset = UINT64_MAX - 10;
            break;
        case 9:
            extents[0].offset = extents[1].offset;
            break;
        }
        CF_AUTO_BUF cf_buf tail;
        cf_buf_init(&tail, 4096);
        cf_pack_tail_encode(bytes, TABLE_AT, extents, 4, &tail);
        cf_extent *none = NULL;
        size_t count;
        assert_fails(cf_pack_tail_decode(cf_span_of(bytes, sizeof bytes), cf_buf_span(&tail), OBJECT, &none, &count),
                     CF_ERR_FORMAT, "extent");
    }
}

static void extents_may_stand_in_any_order_with_gaps(void **state) {
    (void)state;
    const cf_pack_header header = header_of();
    uint8_t bytes[CF_PACK_HEADER_SIZE];
    cf_pack_header_encode(&header, bytes);
    cf_extent extents[4];
    good_extents(extents);
    extents[0].offset = 312, extents[0].length = 20;
    extents[2].offset = 112;
    extents[3].offset = 400, extents[3].length = 10;
    CF_AUTO_BUF cf_buf tail;
    cf_buf_init(&tail, 4096);
    cf_pack_tail_encode(bytes, TABLE_AT, extents, 4, &tail);
    CF_AUTO_FREE cf_extent *got = NULL;
    size_t count;
    assert_ok(cf_pack_tail_decode(cf_span_of(bytes, sizeof bytes), cf_buf_span(&tail), OBJECT, &got, &count));
}

/* A writer has the whole pack in one buffer, which moves while the tail is put behind the header. */
static void the_header_may_stand_in_the_same_buffer(void **state) {
    (void)state;
    const cf_pack_header header = header_of();
    cf_extent extents[4];
    good_extents(extents);
    CF_AUTO_BUF cf_buf apart;
    CF_AUTO_BUF cf_buf whole;
    cf_buf_init(&apart, 4096);
    cf_buf_init(&whole, 4096);
    uint8_t bytes[CF_PACK_HEADER_SIZE];
    cf_pack_header_encode(&header, bytes);
    cf_pack_tail_encode(bytes, TABLE_AT, extents, 4, &apart);
    cf_buf_put(&whole, bytes, sizeof bytes);
    cf_pack_tail_encode(whole.data, TABLE_AT, extents, 4, &whole);
    assert_ok(cf_buf_check(&whole, "pack"));
    assert_int_equal(whole.size, sizeof bytes + apart.size);
    assert_memory_equal(whole.data + sizeof bytes, apart.data, apart.size);
}

static void counts_and_sizes_are_limited(void **state) {
    (void)state;
    uint8_t bytes[CF_PACK_HEADER_SIZE] = {0};
    cf_extent extents[4];
    good_extents(extents);
    CF_AUTO_BUF cf_buf tail;
    cf_buf_init(&tail, 1 << 23);
    cf_pack_tail_encode(bytes, TABLE_AT, extents, 1, &tail);
    assert_fails(cf_buf_check(&tail, "tail"), CF_ERR_TOO_LARGE, NULL);
    cf_buf_reset(&tail);
    cf_pack_tail_encode(bytes, TABLE_AT, extents, 65536, &tail);
    assert_fails(cf_buf_check(&tail, "tail"), CF_ERR_TOO_LARGE, NULL);
    cf_buf_reset(&tail);
    cf_pack_tail_encode(bytes, TABLE_AT, extents, 4, &tail);
    uint8_t *trailer = tail.data + tail.size - 40;
    uint64_t table;
    uint32_t number;
    assert_fails(cf_pack_trailer_decode(cf_span_of(trailer, 40), CF_PACK_MAX + 1, &table, &number), CF_ERR_FORMAT,
                 "size");
    assert_fails(cf_pack_trailer_decode(cf_span_of(trailer, 40), 10, &table, &number), CF_ERR_FORMAT, "size");
    trailer[11] = 0x80; /* 2^31 extents */
    assert_fails(cf_pack_trailer_decode(cf_span_of(trailer, 40), OBJECT, &table, &number), CF_ERR_FORMAT, "count");
    trailer[11] = 0;
    trailer[12] = 1;
    assert_fails(cf_pack_trailer_decode(cf_span_of(trailer, 40), OBJECT, &table, &number), CF_ERR_FORMAT, "reserved");
    trailer[39] = '2';
    assert_fails(cf_pack_trailer_decode(cf_span_of(trailer, 40), OBJECT, &table, &number), CF_ERR_FORMAT, "magic");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers_round_trip),
        cmocka_unit_test(header_fields_are_checked),
        cmocka_unit_test(tails_round_trip),
        cmocka_unit_test(tables_that_make_no_sense_are_refused),
        cmocka_unit_test(extents_may_stand_in_any_order_with_gaps),
        cmocka_unit_test(the_header_may_stand_in_the_same_buffer),
        cmocka_unit_test(counts_and_sizes_are_limited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
