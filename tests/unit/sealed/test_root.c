#include "../keys/help.h"

#include "digest/digest.h"
#include "sealed/root.h"
#include "sealed/root_internal.h"

static cf_span sources[2], exclusions[1];

static cf_root root_of(void) {
    sources[0] = cf_span_text("/");
    sources[1] = cf_span_text("/srv/data");
    exclusions[0] = cf_span_text("*.tmp");
    cf_root root = {
        .server = {{1}},
        .session = {{2}},
        .counter = 2,
        .previous = {{3}},
        .selection = CF_SELECTION_MANUAL,
        .selection_id = {{4}},
        .time = {1700000000, 5},
        .tree = {.id = {{5}}, .pack = 6, .segment = 7, .offset = 8, .length = 9},
        .totals = {10, 11, 12, 13},
        .host = cf_span_text("host"),
        .agent_version = cf_span_text("0.1.0"),
        .sources = sources,
        .source_count = 2,
        .exclusions = exclusions,
        .exclusion_count = 1,
    };
    return root;
}

/* A frame with small visible parts, and a root that names them. */
static cf_point_frame frame_of(cf_root *root) {
    cf_point_frame frame = {.server = root->server,
                            .session = root->session,
                            .counter = root->counter,
                            .previous = root->previous,
                            .summary = cf_span_text("summary"),
                            .pack_list = cf_span_text("packs"),
                            .map = cf_span_text("map")};
    assert_ok(cf_sha256(frame.summary, root->summary_sha256));
    assert_ok(cf_sha256(frame.pack_list, root->pack_list_sha256));
    assert_ok(cf_sha256(frame.map, root->map_sha256));
    return frame;
}

static void a_root_round_trips_and_is_bound_to_its_point(void **state) {
    (void)state;
    cf_root root = root_of(), got;
    cf_point_frame frame = frame_of(&root);
    CF_AUTO(cf_secret) key = secret_fill(1);
    CF_AUTO(cf_secret) other = secret_fill(2);
    CF_AUTO_BUF cf_buf sealed;
    CF_AUTO_BUF cf_buf storage;
    cf_buf_init(&sealed, CF_POINT_ROOT_MAX);
    cf_buf_init(&storage, CF_POINT_ROOT_MAX);
    uint8_t header[CF_POINT_HEADER_SIZE] = {0};
    cf_point_prefix_encode(&frame, header);
    assert_ok(cf_root_seal(&root, key, header, frame.root_commitment, &sealed));
    frame.root = cf_buf_span(&sealed);
    frame.header = cf_span_of(header, sizeof header);
    assert_ok(cf_root_open(&frame, key, &got, &storage));
    assert_true(cf_id16_equal(&got.server, &root.server) && cf_id16_equal(&got.session, &root.session));
    assert_int_equal(got.counter, 2);
    assert_int_equal(got.selection, CF_SELECTION_MANUAL);
    assert_int_equal(got.time.seconds, 1700000000);
    assert_int_equal(got.tree.length, 9);
    assert_int_equal(got.totals.bytes, 13);
    assert_int_equal(got.source_count, 2);
    assert_true(cf_span_equal(got.sources[1], sources[1]));
    assert_int_equal(got.exclusion_count, 1);
    assert_true(cf_span_equal(got.exclusions[0], exclusions[0]));
    assert_true(cf_span_equal(got.host, root.host) && cf_span_equal(got.agent_version, root.agent_version));
    cf_root_wipe(&got, &storage);
    assert_null(got.sources);

    assert_fails(cf_root_open(&frame, other, &got, &storage), CF_ERR_SEAL_BROKEN, "commitment");
    for (size_t i = 0; i < 80; i++) { /* every byte of the prefix is bound */
        header[i] ^= 1;
        assert_fails(cf_root_open(&frame, key, &got, &storage), CF_ERR_SEAL_BROKEN, "tag");
        header[i] ^= 1;
    }
    for (size_t i = 0; i < sealed.size; i++) {
        sealed.data[i] ^= 1;
        assert_fails(cf_root_open(&frame, key, &got, &storage), CF_ERR_SEAL_BROKEN, "tag");
        sealed.data[i] ^= 1;
    }
    for (size_t size = 0; size < sealed.size; size++) {
        frame.root = cf_span_of(sealed.data, size);
        assert_fails(cf_root_open(&frame, key, &got, &storage), size < 28 ? CF_ERR_FORMAT : CF_ERR_SEAL_BROKEN, NULL);
    }
    frame.root = cf_buf_span(&sealed);
    const cf_point_frame good = frame;
    frame.summary = cf_span_text("Summary");
    assert_fails(cf_root_open(&frame, key, &got, &storage), CF_ERR_SEAL_BROKEN, "summary");
    frame = good, frame.pack_list = cf_span_text("");
    assert_fails(cf_root_open(&frame, key, &got, &storage), CF_ERR_SEAL_BROKEN, "pack_list");
    frame = good, frame.map = cf_span_text("mapp");
    assert_fails(cf_root_open(&frame, key, &got, &storage), CF_ERR_SEAL_BROKEN, "map");
    frame = good, frame.counter++; /* a frame that lies about its own header */
    assert_fails(cf_root_open(&frame, key, &got, &storage), CF_ERR_SEAL_BROKEN, "relabelled");
    frame = good, frame.root_commitment[31] ^= 1;
    assert_fails(cf_root_open(&frame, key, &got, &storage), CF_ERR_SEAL_BROKEN, "commitment");
}

static void sealing_twice_uses_two_nonces(void **state) {
    (void)state;
    cf_root root = root_of();
    CF_AUTO(cf_secret) key = secret_fill(1);
    CF_AUTO_BUF cf_buf first;
    CF_AUTO_BUF cf_buf second;
    cf_buf_init(&first, CF_POINT_ROOT_MAX);
    cf_buf_init(&second, CF_POINT_ROOT_MAX);
    uint8_t prefix[80] = {0}, commitment[32];
    assert_ok(cf_root_seal(&root, key, prefix, commitment, &first));
    assert_ok(cf_root_seal(&root, key, prefix, commitment, &second));
    assert_memory_not_equal(first.data, second.data, 12);
    assert_memory_not_equal(first.data + 12, second.data + 12, first.size - 12);
}

static void malformed_roots_are_refused(void **state) {
    (void)state;
    cf_root root = root_of(), got;
    CF_AUTO_BUF cf_buf plain;
    cf_buf_init(&plain, CF_POINT_ROOT_MAX);
    assert_ok(cf_root_encode(&root, &plain));
    for (size_t size = 0; size < plain.size; size++) {
        CF_AUTO_FREE uint8_t *cut = exact_copy(plain.data, size);
        assert_fails(cf_root_decode(cf_span_of(cut, size), &got), CF_ERR_FORMAT, "truncated");
    }
    for (size_t i = 0; i < plain.size; i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            CF_AUTO_FREE uint8_t *copy = exact_copy(plain.data, plain.size);
            copy[i] ^= (uint8_t)(1u << bit);
            CF_AUTO(cf_err) err = cf_root_decode(cf_span_of(copy, plain.size), &got);
            if (err) continue;
            free(got.sources);
            free(got.exclusions);
        }
    }
    cf_buf_put_u8(&plain, 0);
    assert_fails(cf_root_decode(cf_buf_span(&plain), &got), CF_ERR_FORMAT, "trailing");
    plain.data[0] = 2;
    assert_fails(cf_root_decode(cf_buf_span(&plain), &got), CF_ERR_FORMAT_VERSION, "version");
    sources[0] = cf_span_text("relative");
    cf_buf_reset(&plain);
    assert_fails(cf_root_encode(&root, &plain), CF_ERR_INTERNAL, NULL);
    root = root_of();
    exclusions[0] = cf_span_of(NULL, 0);
    cf_buf_reset(&plain);
    assert_fails(cf_root_encode(&root, &plain), CF_ERR_INTERNAL, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_root_round_trips_and_is_bound_to_its_point),
        cmocka_unit_test(sealing_twice_uses_two_nonces),
        cmocka_unit_test(malformed_roots_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
