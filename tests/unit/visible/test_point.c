#include "../keys/help.h"

#include "digest/digest.h"
#include "visible/journal.h"
#include "visible/point.h"

static const uint8_t RECORD[132] = {9};

static cf_point_frame frame_of(void) {
    cf_point_frame frame = {.server = {{1}},
                            .session = {{2}},
                            .counter = 5,
                            .previous = {{3}},
                            .key_record = cf_span_of(RECORD, sizeof RECORD),
                            .summary = cf_span_text("sum"),
                            .pack_list = cf_span_text("list"),
                            .map = cf_span_text("map"),
                            .root = cf_span_text("root!")};
    memset(frame.root_commitment, 4, 32);
    return frame;
}

static void points_round_trip(void **state) {
    (void)state;
    const cf_point_frame frame = frame_of();
    cf_point_frame got;
    CF_AUTO_BUF cf_buf out;
    cf_buf_init(&out, CF_POINT_MAX);
    assert_ok(cf_point_encode(&frame, &out));
    CF_AUTO_FREE uint8_t *exact = exact_copy(out.data, out.size);
    assert_ok(cf_point_decode(cf_span_of(exact, out.size), &got));
    assert_true(cf_id16_equal(&got.server, &frame.server) && cf_id16_equal(&got.session, &frame.session));
    assert_int_equal(got.counter, 5);
    assert_true(cf_id32_equal(&got.previous, &frame.previous));
    assert_memory_equal(got.root_commitment, frame.root_commitment, 32);
    assert_true(cf_span_equal(got.key_record, frame.key_record));
    assert_true(cf_span_equal(got.summary, frame.summary));
    assert_true(cf_span_equal(got.pack_list, frame.pack_list));
    assert_true(cf_span_equal(got.map, frame.map));
    assert_true(cf_span_equal(got.root, frame.root));
    assert_int_equal(got.header.size, CF_POINT_HEADER_SIZE);
    uint8_t prefix[80];
    cf_point_prefix_encode(&frame, prefix);
    assert_memory_equal(prefix, out.data, 80);
    for (size_t size = 0; size < out.size; size++) {
        CF_AUTO_FREE uint8_t *cut = exact_copy(out.data, size);
        assert_fails(cf_point_decode(cf_span_of(cut, size), &got), CF_ERR_FORMAT, NULL);
    }
    for (size_t i = 0; i < out.size; i++) {
        out.data[i] ^= 1;
        assert_fails(cf_point_decode(cf_buf_span(&out), &got), i == 4 || i == 5 ? CF_ERR_FORMAT_VERSION : CF_ERR_FORMAT,
                     NULL);
        out.data[i] ^= 1;
    }
    cf_buf_put_u8(&out, 0);
    assert_fails(cf_point_decode(cf_buf_span(&out), &got), CF_ERR_FORMAT, "trailing");
}

static void parts_and_chain_are_checked_in_both_directions(void **state) {
    (void)state;
    CF_AUTO_FREE uint8_t *big = calloc(1, CF_POINT_MAP_MAX + 1u);
    assert_non_null(big);
    CF_AUTO_BUF cf_buf out;
    cf_buf_init(&out, CF_POINT_MAX);
    cf_point_frame frame = frame_of();
    frame.key_record.size = 131;
    assert_fails(cf_point_encode(&frame, &out), CF_ERR_FORMAT, "size");
    frame = frame_of(), frame.summary = cf_span_of(big, 65537);
    assert_fails(cf_point_encode(&frame, &out), CF_ERR_FORMAT, "size");
    frame = frame_of(), frame.pack_list = cf_span_of(big, (32u << 20) + 1);
    assert_fails(cf_point_encode(&frame, &out), CF_ERR_FORMAT, "size");
    frame = frame_of(), frame.map = cf_span_of(big, CF_POINT_MAP_MAX + 1u);
    assert_fails(cf_point_encode(&frame, &out), CF_ERR_FORMAT, "size");
    frame = frame_of(), frame.root = cf_span_of(big, CF_POINT_ROOT_MAX + 1u);
    assert_fails(cf_point_encode(&frame, &out), CF_ERR_FORMAT, "size");
    frame = frame_of(), frame.counter = 0;
    assert_fails(cf_point_encode(&frame, &out), CF_ERR_FORMAT, "counter");
    frame = frame_of(), frame.counter = 1;
    assert_fails(cf_point_encode(&frame, &out), CF_ERR_FORMAT, "previous");
    frame = frame_of(), memset(&frame.previous, 0, 32);
    assert_fails(cf_point_encode(&frame, &out), CF_ERR_FORMAT, "previous");
    frame.counter = 1;
    assert_ok(cf_point_encode(&frame, &out));
    /* The same lie with a right sum. */
    out.data[40] = 2;
    cf_xxh3_128(cf_span_of(out.data, out.size - 16), out.data + out.size - 16);
    cf_point_frame got;
    assert_fails(cf_point_decode(cf_buf_span(&out), &got), CF_ERR_FORMAT, "previous");
    cf_buf_reset(&out);
    frame = frame_of(); /* everything at its limit */
    frame.summary = cf_span_of(big, 65536);
    frame.pack_list = cf_span_of(big, 32u << 20);
    frame.map = cf_span_of(big, CF_POINT_MAP_MAX);
    frame.root = cf_span_of(big, CF_POINT_ROOT_MAX);
    assert_ok(cf_point_encode(&frame, &out));
    assert_ok(cf_point_decode(cf_buf_span(&out), &got));
}

static void summaries_round_trip(void **state) {
    (void)state;
    const cf_summary summary = {.selection = CF_SELECTION_MANUAL,
                                .tracked = true,
                                .with_warnings = true,
                                .started = 1,
                                .finished = UINT64_MAX,
                                .files = 3,
                                .directories = 4,
                                .others = 5,
                                .bytes = 6,
                                .files_new = 7,
                                .files_changed = 8,
                                .files_unchanged = 9,
                                .bytes_read = 10,
                                .bytes_stored = 11,
                                .warnings = 12,
                                .selection_id = {{13}}};
    CF_AUTO_BUF cf_buf out;
    cf_buf_init(&out, 4096);
    cf_summary_encode(&summary, &out);
    assert_ok(cf_buf_check(&out, "summary"));
    cf_summary got;
    memset(&got, 0, sizeof got);
    assert_ok(cf_summary_decode(cf_buf_span(&out), &got));
    assert_int_equal(got.selection, summary.selection);
    assert_true(got.tracked && got.with_warnings);
    assert_int_equal(got.finished, UINT64_MAX);
    assert_int_equal(got.files_unchanged, 9);
    assert_int_equal(got.bytes_stored, 11);
    assert_int_equal(got.warnings, 12);
    assert_true(cf_id16_equal(&got.selection_id, &summary.selection_id));
    for (size_t size = 0; size < out.size; size++) {
        CF_AUTO_FREE uint8_t *cut = exact_copy(out.data, size);
        assert_fails(cf_summary_decode(cf_span_of(cut, size), &got), CF_ERR_FORMAT, "truncated");
    }
    static const struct {
        size_t at;
        cf_code code;
        const char *reason;
    } cases[] = {{0, CF_ERR_FORMAT_VERSION, "version"},
                 {1, CF_ERR_FORMAT, "type"},
                 {2, CF_ERR_FORMAT, "type"},
                 {3, CF_ERR_FORMAT, "flags"}};
    for (size_t i = 0; i < 4; i++) {
        uint8_t kept = out.data[cases[i].at];
        out.data[cases[i].at] = 2;
        assert_fails(cf_summary_decode(cf_buf_span(&out), &got), cases[i].code, cases[i].reason);
        out.data[cases[i].at] = kept;
    }
    out.data[out.size - 1] = 1;
    assert_fails(cf_summary_decode(cf_buf_span(&out), &got), CF_ERR_FORMAT, "flags");
    out.data[out.size - 1] = 0;
    cf_buf_put_u8(&out, 0);
    assert_fails(cf_summary_decode(cf_buf_span(&out), &got), CF_ERR_FORMAT, "trailing");
}

static void pack_lists_round_trip(void **state) {
    (void)state;
    const cf_pack_name names[3] = {{1, {{1}}}, {2, {{2}}}, {CF_PACK_NUMBER_MAX, {{3}}}};
    CF_AUTO_BUF cf_buf out;
    cf_buf_init(&out, 4096);
    cf_pack_list_encode(names, 3, &out);
    CF_AUTO_FREE cf_pack_name *got = NULL;
    size_t count = 0;
    assert_ok(cf_pack_list_decode(cf_buf_span(&out), &got, &count));
    assert_int_equal(count, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(got[i].number, names[i].number);
        assert_true(cf_id16_equal(&got[i].session, &names[i].session));
    }
    cf_pack_name *none = NULL;
    for (size_t size = 0; size < out.size; size++) {
        CF_AUTO_FREE uint8_t *cut = exact_copy(out.data, size);
        assert_fails(cf_pack_list_decode(cf_span_of(cut, size), &none, &count), CF_ERR_FORMAT, "truncated");
    }
    cf_buf_put_u8(&out, 0);
    assert_fails(cf_pack_list_decode(cf_buf_span(&out), &none, &count), CF_ERR_FORMAT, "trailing");
    const cf_pack_name bad[][2] = {{{2, {{1}}}, {1, {{1}}}}, {{1, {{1}}}, {1, {{1}}}}, {{0, {{1}}}, {1, {{1}}}}};
    for (size_t i = 0; i < 3; i++) {
        cf_buf_reset(&out);
        cf_pack_list_encode(bad[i], 2, &out);
        assert_fails(cf_pack_list_decode(cf_buf_span(&out), &none, &count), CF_ERR_FORMAT, "order");
    }
    cf_buf_reset(&out);
    cf_buf_put_varint(&out, (1 << 20) + 1);
    assert_fails(cf_pack_list_decode(cf_buf_span(&out), &none, &count), CF_ERR_FORMAT, "truncated");
    assert_null(none);
    CF_AUTO_FREE cf_pack_name *empty = NULL;
    cf_buf_reset(&out);
    cf_pack_list_encode(NULL, 0, &out);
    assert_ok(cf_pack_list_decode(cf_buf_span(&out), &empty, &count));
    assert_int_equal(count, 0);
}

static void journal_objects_round_trip(void **state) {
    (void)state;
    CF_AUTO_BUF cf_buf out;
    cf_buf_init(&out, 2 << 20);
    for (uint16_t type = 1; type <= CF_JOURNAL_POINT_RETAINED; type++) {
        const cf_journal_entry entry = {
            .type = type, .sequence = UINT64_MAX, .time = 7, .body = cf_span_text("{\"name\":\"x\"}")};
        cf_journal_entry got;
        cf_buf_reset(&out);
        assert_ok(cf_journal_encode(&entry, &out));
        assert_ok(cf_journal_decode(cf_buf_span(&out), &got));
        assert_int_equal(got.type, type);
        assert_int_equal(got.sequence, UINT64_MAX);
        assert_int_equal(got.time, 7);
        assert_true(cf_span_equal(got.body, entry.body));
    }
    cf_journal_entry got;
    for (size_t size = 0; size < out.size; size++) {
        CF_AUTO_FREE uint8_t *cut = exact_copy(out.data, size);
        assert_fails(cf_journal_decode(cf_span_of(cut, size), &got), CF_ERR_FORMAT, NULL);
    }
    for (size_t i = 0; i < out.size; i++) {
        out.data[i] ^= 1;
        assert_fails(cf_journal_decode(cf_buf_span(&out), &got),
                     i == 4 || i == 5 ? CF_ERR_FORMAT_VERSION : CF_ERR_FORMAT, NULL);
        out.data[i] ^= 1;
    }
    /* A type of the future, whole. */
    out.data[6] = 0xf0;
    cf_xxh3_128(cf_span_of(out.data, out.size - 16), out.data + out.size - 16);
    assert_fails(cf_journal_decode(cf_buf_span(&out), &got), CF_ERR_FORMAT_VERSION, "type");
    cf_buf_put_u8(&out, 0);
    assert_fails(cf_journal_decode(cf_buf_span(&out), &got), CF_ERR_FORMAT, "trailing");
    CF_AUTO_FREE uint8_t *big = calloc(1, CF_JOURNAL_BODY_MAX + 1u);
    cf_journal_entry entry = {.type = 1, .body = cf_span_of(big, CF_JOURNAL_BODY_MAX + 1u)};
    assert_fails(cf_journal_encode(&entry, &out), CF_ERR_TOO_LARGE, NULL);
    entry = (cf_journal_entry){.type = 0xf0};
    assert_fails(cf_journal_encode(&entry, &out), CF_ERR_INTERNAL, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(points_round_trip),          cmocka_unit_test(parts_and_chain_are_checked_in_both_directions),
        cmocka_unit_test(summaries_round_trip),       cmocka_unit_test(pack_lists_round_trip),
        cmocka_unit_test(journal_objects_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
