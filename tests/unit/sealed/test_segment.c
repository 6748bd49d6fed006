#include "../keys/help.h"

#include <zstd.h>

#include "sealed/segment.h"
#include "sealed/segment_internal.h"

static const uint8_t KEY[32] = {1, 2, 3};

static cf_segment_place place_of(cf_kind kind, uint16_t segment) {
    cf_segment_place place = {.kind = kind, .pack = 77, .segment = segment};
    memset(place.server.bytes, 0xaa, 16);
    memset(place.session.bytes, 0xbb, 16);
    return place;
}

static cf_segment_codec *codec_new(void) {
    cf_segment_codec *codec = NULL;
    assert_ok(cf_segment_codec_new(3, &codec));
    return codec;
}

static void round_trip(cf_segment_codec *codec, cf_segment_place place, cf_span raw, bool verify) {
    CF_AUTO_BUF cf_buf stored;
    CF_AUTO_BUF cf_buf opened;
    cf_buf_init(&stored, SIZE_MAX);
    cf_buf_init(&opened, raw.size + 1);
    cf_buf_put_u8(&stored, 0x55); /* both append */
    cf_buf_put_u8(&opened, 0x66);
    assert_ok(cf_segment_seal(codec, KEY, &place, raw, verify, &stored));
    assert_true(stored.size - 1 <= cf_segment_stored_max(raw.size));
    CF_AUTO_FREE uint8_t *exact = exact_copy(stored.data + 1, stored.size - 1);
    assert_ok(cf_segment_open(codec, KEY, &place, cf_span_of(exact, stored.size - 1), &opened));
    assert_int_equal(opened.size, raw.size + 1);
    assert_int_equal(opened.data[0], 0x66);
    assert_memory_equal(opened.data + 1, raw.data, raw.size);
}

static void segments_of_every_kind_and_size_round_trip(void **state) {
    (void)state;
    CF_AUTO(cf_segment_codec) codec = codec_new();
    static const size_t sizes[] = {1, 2, 3, 9, 100, 1000, 4095, 65536, 524287, 524288};
    CF_AUTO_FREE uint8_t *text = malloc(CF_DIRECTORY_RAW_MAX);
    CF_AUTO_FREE uint8_t *noise = malloc(CF_DIRECTORY_RAW_MAX);
    assert_true(text && noise);
    fill_text(text, CF_DIRECTORY_RAW_MAX, 1);
    fill_random(noise, CF_DIRECTORY_RAW_MAX, 2);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        round_trip(codec, place_of(CF_KIND_DATA, 0), cf_span_of(text, sizes[i]), i % 2);
        round_trip(codec, place_of(CF_KIND_TREE, 65533), cf_span_of(noise, sizes[i]), true);
    }
    round_trip(codec, place_of(CF_KIND_DATA, CF_SEGMENT_DIRECTORY), cf_span_of(text, CF_DIRECTORY_RAW_MAX), true);
    round_trip(codec, place_of(CF_KIND_TREE, CF_SEGMENT_DIRECTORY), cf_span_of(noise, CF_DIRECTORY_RAW_MAX), true);
}

static void noise_is_stored_raw_and_text_is_compressed(void **state) {
    (void)state;
    CF_AUTO(cf_segment_codec) codec = codec_new();
    uint8_t data[4096];
    cf_segment_place place = place_of(CF_KIND_DATA, 0);
    CF_AUTO_BUF cf_buf out;
    cf_buf_init(&out, 1 << 20);
    fill_random(data, sizeof data, 5);
    assert_ok(cf_segment_seal(codec, KEY, &place, cf_span_of(data, sizeof data), false, &out));
    assert_int_equal(out.data[0], 0);
    assert_int_equal(out.size, 1 + cf_segment_padded(8 + sizeof data) + 16);
    cf_buf_reset(&out);
    fill_text(data, sizeof data, 5);
    assert_ok(cf_segment_seal(codec, KEY, &place, cf_span_of(data, sizeof data), false, &out));
    assert_int_equal(out.data[0], 1);
    assert_true(out.size < sizeof data / 2);
}

/* Padmé: at most 12 % more, and few different sizes. */
static void padding_follows_padme(void **state) {
    (void)state;
    static const size_t known[][2] = {{9, 10},          {10, 10},         {16, 16},          {17, 18},
                                      {100, 104},       {1000, 1024},     {4104, 4352},      {65544, 67584},
                                      {524296, 540672}, {524289, 540672}, {1048576, 1048576}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        assert_int_equal(cf_segment_padded(known[i][0]), known[i][1]);
    for (size_t size = 9; size < 600000; size += 7) {
        size_t padded = cf_segment_padded(size);
        assert_true(padded >= size && padded - size <= size / 8 + 1);
        assert_int_equal(cf_segment_padded(padded), padded);
    }
}

static void anything_changed_breaks_the_seal(void **state) {
    (void)state;
    CF_AUTO(cf_segment_codec) codec = codec_new();
    uint8_t data[64];
    fill_text(data, sizeof data, 9);
    cf_segment_place place = place_of(CF_KIND_DATA, 3);
    CF_AUTO_BUF cf_buf stored;
    CF_AUTO_BUF cf_buf out;
    cf_buf_init(&stored, 4096);
    cf_buf_init(&out, 4096);
    assert_ok(cf_segment_seal(codec, KEY, &place, cf_span_of(data, sizeof data), true, &stored));
    for (size_t i = 0; i < stored.size; i++) {
        CF_AUTO_FREE uint8_t *copy = exact_copy(stored.data, stored.size);
        copy[i] ^= 1;
        assert_fails(cf_segment_open(codec, KEY, &place, cf_span_of(copy, stored.size), &out), CF_ERR_SEAL_BROKEN,
                     "tag");
    }
    for (size_t size = 0; size < stored.size; size++) {
        CF_AUTO_FREE uint8_t *copy = exact_copy(stored.data, size);
        assert_fails(cf_segment_open(codec, KEY, &place, cf_span_of(copy, size), &out),
                     size < 26 ? CF_ERR_FORMAT : CF_ERR_SEAL_BROKEN, NULL);
    }
    const cf_segment_place good = place;
    cf_span all = cf_buf_span(&stored);
    place.kind = CF_KIND_TREE;
    assert_fails(cf_segment_open(codec, KEY, &place, all, &out), CF_ERR_SEAL_BROKEN, "tag");
    place = good, place.server.bytes[15] ^= 1;
    assert_fails(cf_segment_open(codec, KEY, &place, all, &out), CF_ERR_SEAL_BROKEN, "tag");
    place = good, place.session.bytes[0] ^= 1;
    assert_fails(cf_segment_open(codec, KEY, &place, all, &out), CF_ERR_SEAL_BROKEN, "tag");
    place = good, place.pack++;
    assert_fails(cf_segment_open(codec, KEY, &place, all, &out), CF_ERR_SEAL_BROKEN, "tag");
    place = good, place.segment++;
    assert_fails(cf_segment_open(codec, KEY, &place, all, &out), CF_ERR_SEAL_BROKEN, "tag");
    place = good, place.segment = CF_SEGMENT_DIRECTORY;
    assert_fails(cf_segment_open(codec, KEY, &place, all, &out), CF_ERR_SEAL_BROKEN, "tag");
    assert_int_equal(out.size, 0);
    assert_ok(cf_segment_open(codec, KEY, &good, all, &out));
}

static void sizes_outside_the_limits_are_refused(void **state) {
    (void)state;
    CF_AUTO(cf_segment_codec) codec = codec_new();
    CF_AUTO_FREE uint8_t *data = calloc(1, CF_DIRECTORY_RAW_MAX + 1);
    assert_non_null(data);
    CF_AUTO_BUF cf_buf out;
    cf_buf_init(&out, SIZE_MAX);
    cf_segment_place place = place_of(CF_KIND_DATA, 0), directory = place_of(CF_KIND_DATA, CF_SEGMENT_DIRECTORY);
    assert_fails(cf_segment_seal(codec, KEY, &place, cf_span_of(data, 0), false, &out), CF_ERR_INTERNAL, NULL);
    assert_fails(cf_segment_seal(codec, KEY, &place, cf_span_of(data, 524289), false, &out), CF_ERR_INTERNAL, NULL);
    assert_fails(cf_segment_seal(codec, KEY, &directory, cf_span_of(data, CF_DIRECTORY_RAW_MAX + 1), false, &out),
                 CF_ERR_INTERNAL, NULL);
    place.pack = 0;
    assert_fails(cf_segment_seal(codec, KEY, &place, cf_span_of(data, 1), false, &out), CF_ERR_INTERNAL, NULL);
    assert_int_equal(out.size, 0);
    cf_segment_codec *none = NULL;
    assert_fails(cf_segment_codec_new(0, &none), CF_ERR_INTERNAL, NULL);
    assert_fails(cf_segment_codec_new(20, &none), CF_ERR_INTERNAL, NULL);
    place = place_of(CF_KIND_DATA, 0);
    assert_fails(cf_segment_open(codec, KEY, &place, cf_span_of(data, cf_segment_stored_max(524288) + 1), &out),
                 CF_ERR_FORMAT, "size");
    data[0] = 2;
    assert_fails(cf_segment_open(codec, KEY, &place, cf_span_of(data, 100), &out), CF_ERR_FORMAT, "method");
    /* The caller's buffer bounds the output. */
    CF_AUTO_BUF cf_buf stored;
    CF_AUTO_BUF cf_buf small;
    cf_buf_init(&stored, 4096);
    cf_buf_init(&small, 99);
    memset(data, 0, 100);
    assert_ok(cf_segment_seal(codec, KEY, &place, cf_span_of(data, 100), false, &stored));
    assert_fails(cf_segment_open(codec, KEY, &place, cf_buf_span(&stored), &small), CF_ERR_TOO_LARGE, NULL);
}

/* The plaintext of a segment: sizes, payload, padding as given. */
static cf_err *unpack(cf_segment_codec *codec, uint8_t method, uint32_t stored_size, uint32_t raw_size, cf_span payload,
                      size_t padded, cf_buf *out) {
    CF_AUTO_BUF cf_buf plain;
    cf_buf_init(&plain, 1 << 20);
    cf_buf_put_u32(&plain, stored_size);
    cf_buf_put_u32(&plain, raw_size);
    cf_buf_put_span(&plain, payload);
    if (padded > plain.size) cf_buf_put_zero(&plain, padded - plain.size);
    CF_AUTO_FREE uint8_t *exact = exact_copy(plain.data, plain.size);
    cf_buf_reset(out);
    return cf_segment_unpack(codec, method, cf_span_of(exact, plain.size), CF_SEGMENT_RAW_MAX, out);
}

static void a_malformed_plaintext_is_refused(void **state) {
    (void)state;
    CF_AUTO(cf_segment_codec) codec = codec_new();
    CF_AUTO_BUF cf_buf out;
    cf_buf_init(&out, SIZE_MAX);
    uint8_t text[1000], frame[1100];
    fill_text(text, sizeof text, 3);
    cf_span raw = cf_span_of(text, 20);
    assert_ok(unpack(codec, 0, 20, 20, raw, 28, &out));
    assert_fails(unpack(codec, 2, 20, 20, raw, 28, &out), CF_ERR_FORMAT, "method");
    assert_fails(unpack(codec, 0, 20, 19, raw, 28, &out), CF_ERR_FORMAT, "size");
    assert_fails(unpack(codec, 0, 0, 0, raw, 28, &out), CF_ERR_FORMAT, "size");
    assert_fails(unpack(codec, 0, 21, 21, raw, 28, &out), CF_ERR_FORMAT, "size");
    assert_fails(unpack(codec, 0, UINT32_MAX, UINT32_MAX, raw, 28, &out), CF_ERR_FORMAT, "size");
    assert_fails(unpack(codec, 0, 20, 20, raw, 30, &out), CF_ERR_FORMAT, "padding");
    assert_fails(unpack(codec, 0, 19, 19, raw, 28, &out), CF_ERR_FORMAT, "padding"); /* the last byte is not 0 */
    size_t size = ZSTD_compress(frame, sizeof frame, text, sizeof text, 3);
    assert_false(ZSTD_isError(size));
    size_t padded = cf_segment_padded(8 + size);
    cf_span packed = cf_span_of(frame, size);
    assert_ok(unpack(codec, 1, (uint32_t)size, 1000, packed, padded, &out));
    assert_memory_equal(out.data, text, 1000);
    assert_fails(unpack(codec, 1, (uint32_t)size, 999, packed, padded, &out), CF_ERR_FORMAT, "zstd");
    assert_fails(unpack(codec, 1, (uint32_t)size, 1001, packed, padded, &out), CF_ERR_FORMAT, "zstd");
    assert_fails(unpack(codec, 1, (uint32_t)size, 524289, packed, padded, &out), CF_ERR_FORMAT, "size");
    assert_fails(
        unpack(codec, 1, (uint32_t)size - 1, 1000, cf_span_of(frame, size - 1), cf_segment_padded(7 + size), &out),
        CF_ERR_FORMAT, "zstd");
    frame[size] = 0; /* something behind the frame */
    assert_fails(
        unpack(codec, 1, (uint32_t)size + 1, 1000, cf_span_of(frame, size + 1), cf_segment_padded(9 + size), &out),
        CF_ERR_FORMAT, "zstd");
    uint8_t skippable[] = {0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4};
    assert_fails(unpack(codec, 1, 12, 4, cf_span_of(skippable, 12), 20, &out), CF_ERR_FORMAT, "zstd");
    assert_int_equal(out.size, 0);
    for (size_t i = 0; i < size; i++) { /* damage inside the seal: refused or at least bounded */
        frame[i] ^= 0x10;
        CF_AUTO(cf_err) err = unpack(codec, 1, (uint32_t)size, 1000, packed, padded, &out);
        if (!err) assert_int_equal(out.size, 1000);
        frame[i] ^= 0x10;
    }
}

static void frames_without_a_content_size_are_refused(void **state) {
    (void)state;
    CF_AUTO(cf_segment_codec) codec = codec_new();
    CF_AUTO_BUF cf_buf out;
    cf_buf_init(&out, SIZE_MAX);
    uint8_t text[1000], frame[1100];
    fill_text(text, sizeof text, 3);
    ZSTD_CCtx *context = ZSTD_createCCtx();
    assert_false(ZSTD_isError(ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 0)));
    size_t size = ZSTD_compress2(context, frame, sizeof frame, text, sizeof text);
    assert_false(ZSTD_isError(size));
    assert_int_equal(ZSTD_freeCCtx(context), 0);
    assert_fails(unpack(codec, 1, (uint32_t)size, 1000, cf_span_of(frame, size), cf_segment_padded(8 + size), &out),
                 CF_ERR_FORMAT, "zstd");
}

static void keys_of_packs_and_directories_differ(void **state) {
    (void)state;
    CF_AUTO(cf_secret) key = secret_fill(5);
    cf_key_pair_bytes a, b, c, d;
    cf_id16 session = {{1}}, other = {{2}};
    assert_ok(cf_pack_keys_derive(key, 1, &a));
    assert_ok(cf_pack_keys_derive(key, 2, &b));
    assert_ok(cf_directory_keys_derive(key, &session, 1, &c));
    assert_ok(cf_directory_keys_derive(key, &other, 1, &d));
    const uint8_t *all[] = {a.key, a.commitment, b.key, b.commitment, c.key, c.commitment, d.key, d.commitment};
    for (size_t i = 0; i < 8; i++)
        for (size_t k = 0; k < i; k++) assert_memory_not_equal(all[i], all[k], 32);
}

static cf_directory_entry entry_of(uint16_t segment, uint32_t offset, uint32_t length, uint8_t id) {
    cf_directory_entry entry = {.segment = segment, .offset = offset, .length = length};
    memset(entry.id.bytes, id, 32);
    return entry;
}

static void directories_round_trip(void **state) {
    (void)state;
    const cf_directory_entry entries[] = {entry_of(0, 0, 1, 1), entry_of(0, 1, 524287, 2), entry_of(5, 0, 300, 3),
                                          entry_of(65533, 0, 524288, 4)};
    CF_AUTO_BUF cf_buf raw;
    cf_buf_init(&raw, CF_DIRECTORY_RAW_MAX);
    assert_ok(cf_directory_encode(entries, 4, &raw));
    CF_AUTO_FREE cf_directory_entry *got = NULL;
    size_t count = 0;
    CF_AUTO_FREE uint8_t *exact = exact_copy(raw.data, raw.size);
    assert_ok(cf_directory_decode(cf_span_of(exact, raw.size), &got, &count));
    assert_int_equal(count, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(got[i].segment, entries[i].segment);
        assert_int_equal(got[i].offset, entries[i].offset);
        assert_int_equal(got[i].length, entries[i].length);
        assert_true(cf_id32_equal(&got[i].id, &entries[i].id));
    }
    cf_directory_entry *none = NULL;
    for (size_t size = 0; size < raw.size; size++) {
        CF_AUTO_FREE uint8_t *cut = exact_copy(raw.data, size);
        assert_fails(cf_directory_decode(cf_span_of(cut, size), &none, &count), CF_ERR_FORMAT, "directory");
    }
    cf_buf_put_u8(&raw, 0);
    assert_fails(cf_directory_decode(cf_buf_span(&raw), &none, &count), CF_ERR_FORMAT, "directory");
}

static void directories_that_make_no_sense_are_refused(void **state) {
    (void)state;
    CF_AUTO_BUF cf_buf raw;
    cf_buf_init(&raw, CF_DIRECTORY_RAW_MAX);
    const cf_directory_entry bad[][2] = {
        {entry_of(1, 0, 5, 1), entry_of(0, 0, 5, 1)},           /* descending            */
        {entry_of(0, 0, 5, 1), entry_of(0, 6, 5, 1)},           /* a gap                 */
        {entry_of(0, 1, 5, 1), entry_of(1, 0, 5, 1)},           /* does not start at 0   */
        {entry_of(0, 0, 0, 1), entry_of(1, 0, 5, 1)},           /* empty                 */
        {entry_of(0, 0, 524288, 1), entry_of(0, 524288, 1, 1)}, /* beyond the segment    */
        {entry_of(0, 0, 5, 1), entry_of(65534, 0, 5, 1)},       /* no segment's number   */
        {entry_of(0, 0, 5, 1), entry_of(65535, 0, 5, 1)},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cf_buf_reset(&raw);
        assert_fails(cf_directory_encode(bad[i], 2, &raw), CF_ERR_INTERNAL, NULL);
    }
    assert_fails(cf_directory_encode(bad[0], 0, &raw), CF_ERR_INTERNAL, NULL);
    /* The same, written by hand. */
    static const uint32_t forms[][5] = {
        /* segments, number, chunks, length, length */
        {0, 0, 1, 5, 0},      {1, 0, 0, 5, 0},      {1, 65534, 1, 5, 0}, {1, 0, 1, 0, 0},
        {1, 0, 1, 524289, 0}, {1, 0, 2, 524288, 1}, {2, 0, 1, 5, 0},
    };
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        cf_buf_reset(&raw);
        for (size_t k = 0; k < 3; k++) cf_buf_put_varint(&raw, forms[i][k]);
        for (size_t k = 3; k < (forms[i][2] == 2 ? 5u : 4u); k++) {
            cf_buf_put_zero(&raw, 32);
            cf_buf_put_varint(&raw, forms[i][k]);
        }
        cf_directory_entry *none = NULL;
        size_t count;
        assert_fails(cf_directory_decode(cf_buf_span(&raw), &none, &count), CF_ERR_FORMAT, "directory");
    }
}

static void a_full_directory_fits(void **state) {
    (void)state;
    CF_AUTO_FREE cf_directory_entry *entries = calloc(CF_PACK_CHUNKS_MAX + 1, sizeof *entries);
    assert_non_null(entries);
    for (size_t i = 0; i <= CF_PACK_CHUNKS_MAX; i++)
        entries[i] =
            entry_of((uint16_t)(i < 65000 ? i : 65000), i < 65000 ? 0 : (uint32_t)(i - 65000) * 900, 900, (uint8_t)i);
    CF_AUTO_BUF cf_buf raw;
    cf_buf_init(&raw, CF_DIRECTORY_RAW_MAX);
    assert_ok(cf_directory_encode(entries, CF_PACK_CHUNKS_MAX, &raw));
    CF_AUTO_FREE cf_directory_entry *got = NULL;
    size_t count = 0;
    assert_ok(cf_directory_decode(cf_buf_span(&raw), &got, &count));
    assert_int_equal(count, CF_PACK_CHUNKS_MAX);
    cf_buf_reset(&raw);
    assert_fails(cf_directory_encode(entries, CF_PACK_CHUNKS_MAX + 1, &raw), CF_ERR_INTERNAL, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(segments_of_every_kind_and_size_round_trip),
        cmocka_unit_test(noise_is_stored_raw_and_text_is_compressed),
        cmocka_unit_test(padding_follows_padme),
        cmocka_unit_test(anything_changed_breaks_the_seal),
        cmocka_unit_test(sizes_outside_the_limits_are_refused),
        cmocka_unit_test(a_malformed_plaintext_is_refused),
        cmocka_unit_test(frames_without_a_content_size_are_refused),
        cmocka_unit_test(keys_of_packs_and_directories_differ),
        cmocka_unit_test(directories_round_trip),
        cmocka_unit_test(directories_that_make_no_sense_are_refused),
        cmocka_unit_test(a_full_directory_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
