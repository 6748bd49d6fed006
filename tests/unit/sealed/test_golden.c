/* The files of tests/golden, which were written once and must stay readable for ever. */
#include "../keys/help.h"

#include <stdio.h>

#include "digest/digest.h"
#include "keys/keys.h"
#include "sealed/node.h"
#include "sealed/root.h"
#include "sealed/segment.h"
#include "sealed/slot_internal.h"
#include "visible/journal.h"
#include "visible/map.h"
#include "visible/names.h"
#include "visible/pack.h"

#define FOLDER CF_SOURCE "/tests/golden/"
#define SERVER FOLDER "vault/servers/a0a1a2a3a4a5a6a7a8a9aaabacadaeaf/"
#define FIRST "0000000000000001-1d3256976ad0e72547457e5a54c5cbf74817d4939b226aa97540a5d59eeee87d"
#define SECOND "0000000000000002-abd8c30fd4daf3cb717a959bdd38c5640c0da44bb938a3fd9048cc962e063b61"

static void load(const char *path, cf_buf *out) {
    cf_buf_init(out, 1 << 20);
    FILE *file = fopen(path, "rb");
    if (!file) fail_msg("%s is missing", path);
    uint8_t *at = cf_buf_reserve(out, 65536);
    assert_non_null(at);
    out->size = fread(at, 1, 65536, file);
    assert_int_equal(fclose(file), 0);
}

static void count_up(void *out, size_t size, uint8_t first) {
    uint8_t *at = out;
    for (size_t i = 0; i < size; i++) at[i] = (uint8_t)(first + i);
}

/* Everything that the passphrase opens. */
typedef struct vault {
    cf_id16 server;
    cf_server_keys *keys;
    cf_segment_codec *codec;
    cf_mac *mac;
} vault;

static void open_vault(vault *v) {
    CF_AUTO_BUF cf_buf slot;
    CF_AUTO(cf_secret) passphrase = secret_text("golden passphrase");
    load(SERVER "slots/00000001", &slot);
    memset(v, 0, sizeof *v);
    count_up(v->server.bytes, 16, 0xa0);
    assert_ok(cf_slot_open(cf_buf_span(&slot), passphrase, &v->keys, NULL));
    assert_ok(cf_segment_codec_new(3, &v->codec));
    assert_ok(cf_mac_new(v->keys->id, &v->mac));
}

static void close_vault(vault *v) {
    cf_server_keys_free(v->keys);
    cf_segment_codec_free(v->codec);
    cf_mac_free(v->mac);
}

static void the_slot_opens_and_is_sealed_the_same(void **state) {
    (void)state;
    CF_AUTO_BUF cf_buf slot;
    CF_AUTO(cf_secret) passphrase = secret_text("golden passphrase");
    CF_AUTO(cf_server_keys) keys = NULL;
    load(SERVER "slots/00000001", &slot);
    assert_ok(cf_slot_open(cf_buf_span(&slot), passphrase, &keys, NULL));
    const cf_secret *const all[] = {keys->master, keys->id, keys->gear, keys->directory};
    for (size_t i = 0; i < 4; i++) {
        CF_AUTO(cf_secret) want = secret_fill((uint8_t)(0x11 * (i + 1)));
        assert_memory_equal(cf_secret_bytes(all[i]), cf_secret_bytes(want), 32);
    }
    cf_slot_params params;
    assert_ok(cf_slot_peek(cf_buf_span(&slot), &params, NULL));
    assert_hex(params.server.bytes, 16, "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf");
    assert_int_equal(params.number, 1);
    assert_int_equal(params.memory_kib, 19456);
    assert_int_equal(params.passes, 2);
    uint8_t again[CF_SLOT_SIZE], salt[16], nonce[12];
    count_up(salt, 16, 0);
    count_up(nonce, 12, 0x60);
    assert_ok(cf_slot_seal_with(keys, &params, passphrase, salt, nonce, again));
    assert_int_equal(slot.size, sizeof again);
    assert_memory_equal(again, slot.data, sizeof again);
}

static void the_records_open_and_are_sealed_the_same(void **state) {
    (void)state;
    static const char *const names[] = {SERVER "records/b0b1b2b3b4b5b6b7b8b9babbbcbdbebf",
                                        SERVER "records/c0c1c2c3c4c5c6c7c8c9cacbcccdcecf"};
    vault v;
    open_vault(&v);
    for (size_t i = 0; i < 2; i++) {
        CF_AUTO_BUF cf_buf record;
        CF_AUTO(cf_secret) key = NULL;
        CF_AUTO(cf_secret) want = secret_fill((uint8_t)(0x55 + 0x11 * i));
        cf_id16 session;
        load(names[i], &record);
        assert_ok(cf_record_open(v.keys->master, &v.server, cf_buf_span(&record), &session, &key));
        assert_memory_equal(cf_secret_bytes(key), cf_secret_bytes(want), 32);
        uint8_t again[CF_RECORD_SIZE], nonce[12];
        count_up(nonce, 12, (uint8_t)(0x70 + i));
        assert_ok(cf_record_seal_with(v.keys->master, &v.server, &session, want, nonce, again));
        assert_memory_equal(again, record.data, sizeof again);
    }
    close_vault(&v);
}

/* A pack whose every segment is opened and every chunk checked; returns how many chunks. */
static size_t check_pack(vault *v, cf_span object, const cf_secret *session_key) {
    cf_pack_header header;
    cf_extent *extents = NULL;
    size_t count = 0, chunks = 0;
    cf_directory_entry *entries = NULL;
    cf_span head = cf_span_of(object.data, CF_PACK_HEADER_SIZE);
    uint64_t table;
    uint32_t number;
    assert_ok(cf_pack_header_decode(head, &header));
    assert_true(cf_id16_equal(&header.server, &v->server));
    assert_ok(cf_pack_trailer_decode(cf_span_of(object.data + object.size - 40, 40), object.size, &table, &number));
    assert_ok(
        cf_pack_tail_decode(head, cf_span_of(object.data + table, object.size - table), object.size, &extents, &count));
    assert_int_equal(count, number);
    cf_key_pair_bytes keys, directory_keys;
    assert_ok(cf_pack_keys_derive(session_key, header.number, &keys));
    assert_ok(cf_directory_keys_derive(v->keys->directory, &header.session, header.number, &directory_keys));
    assert_memory_equal(keys.commitment, header.commitment, 32);
    assert_memory_equal(directory_keys.commitment, header.directory_commitment, 32);
    for (size_t i = count; i-- > 0;) { /* the directory first */
        const cf_extent *extent = &extents[i];
        cf_span stored = cf_span_of(object.data + extent->offset, extent->length);
        uint8_t sum[16];
        cf_xxh3_128(stored, sum);
        assert_memory_equal(sum, extent->xxh3, 16);
        bool directory = extent->segment == CF_SEGMENT_DIRECTORY;
        const cf_segment_place place = {header.kind, header.server, header.session, header.number, extent->segment};
        CF_AUTO_BUF cf_buf raw;
        cf_buf_init(&raw, CF_DIRECTORY_RAW_MAX);
        assert_ok(cf_segment_open(v->codec, directory ? directory_keys.key : keys.key, &place, stored, &raw));
        if (directory) assert_ok(cf_directory_decode(cf_buf_span(&raw), &entries, &chunks));
        for (size_t k = 0; k < chunks && !directory; k++) {
            if (entries[k].segment != extent->segment) continue;
            cf_id32 id;
            assert_true(entries[k].offset + entries[k].length <= raw.size);
            assert_ok(
                cf_mac_chunk_id(v->mac, header.kind, cf_span_of(raw.data + entries[k].offset, entries[k].length), &id));
            assert_true(cf_id32_equal(&id, &entries[k].id));
        }
    }
    free(extents);
    free(entries);
    return chunks;
}

static void the_packs_open(void **state) {
    (void)state;
    vault v;
    open_vault(&v);
    static const struct {
        const char *name;
        uint8_t key;
        size_t chunks;
    } packs[] = {{SERVER "packs/0000000000000001-b0b1b2b3b4b5b6b7b8b9babbbcbdbebf", 0x55, 4},
                 {SERVER "packs/0000000000000002-b0b1b2b3b4b5b6b7b8b9babbbcbdbebf", 0x55, 7},
                 {SERVER "packs/000000000000012c-c0c1c2c3c4c5c6c7c8c9cacbcccdcecf", 0x66, 7}};
    for (size_t i = 0; i < 3; i++) {
        CF_AUTO_BUF cf_buf object;
        CF_AUTO(cf_secret) key = secret_fill(packs[i].key);
        load(packs[i].name, &object);
        assert_int_equal(check_pack(&v, cf_buf_span(&object), key), packs[i].chunks);
    }
    close_vault(&v);
}

static void check_summary(cf_span bytes) {
    cf_summary summary;
    assert_ok(cf_summary_decode(bytes, &summary));
    assert_int_equal(summary.selection, CF_SELECTION_POLICY);
    assert_false(summary.tracked);
    assert_true(summary.with_warnings);
    assert_int_equal(summary.started, 1700000100);
    assert_int_equal(summary.finished, 1700000160);
    assert_int_equal(summary.files, 11);
    assert_int_equal(summary.bytes_stored, 3713);
}

static void check_point(const char *path, uint64_t counter, uint8_t key_byte, cf_point_frame *frame, cf_buf *object) {
    load(path, object);
    assert_ok(cf_point_decode(cf_buf_span(object), frame));
    assert_int_equal(frame->counter, counter);
    cf_id32 id;
    assert_ok(cf_sha256(cf_buf_span(object), id.bytes));
    char hex[CF_HEX_SIZE(32)];
    cf_hex_encode(id.bytes, 32, hex);
    assert_non_null(strstr(path, hex));
    check_summary(frame->summary);
    CF_AUTO(cf_secret) key = secret_fill(key_byte);
    cf_root root;
    CF_AUTO_BUF cf_buf storage;
    cf_buf_init(&storage, CF_POINT_ROOT_MAX);
    assert_ok(cf_root_open(frame, key, &root, &storage));
    assert_int_equal(root.time.seconds, 1700000100);
    assert_int_equal(root.time.nanoseconds, 42);
    assert_true(cf_span_equal(root.host, cf_span_text("golden")));
    assert_int_equal(root.source_count, 1);
    assert_true(cf_span_equal(root.sources[0], cf_span_text("/srv/data")));
    assert_true(cf_span_equal(root.exclusions[0], cf_span_text("*.tmp")));
    assert_int_equal(root.totals.bytes, 2102265);
    cf_root_wipe(&root, &storage);
}

static void the_points_and_their_maps_open(void **state) {
    (void)state;
    CF_AUTO_BUF cf_buf first;
    CF_AUTO_BUF cf_buf second;
    cf_point_frame frames[2];
    cf_map_header headers[2];
    CF_AUTO(cf_map) map = NULL;
    CF_AUTO(cf_map) next = NULL;
    check_point(SERVER "points/" FIRST, 1, 0x55, &frames[0], &first);
    check_point(SERVER "points/" SECOND, 2, 0x66, &frames[1], &second);
    assert_true(cf_id32_is_zero(&frames[0].previous));
    assert_ok(cf_map_decode(frames[0].map, NULL, &headers[0], &map));
    assert_ok(cf_map_decode(frames[1].map, map, &headers[1], &next));
    assert_true(headers[0].exact && headers[0].has_fill && !headers[0].delta);
    assert_true(!headers[1].exact && headers[1].delta && headers[1].chain == 1);
    assert_true(cf_id32_equal(&headers[1].base, &frames[1].previous));
    assert_int_equal(cf_map_segment_count(map), 3);
    assert_true(cf_map_has(map, 1, 0) && cf_map_has(map, 1, 1) && cf_map_has(map, 2, 0));
    assert_int_equal(cf_map_segment_count(next), 3);
    assert_true(cf_map_has(next, 1, 0) && cf_map_has(next, 1, 1) && cf_map_has(next, 300, 0));
    CF_AUTO_FREE cf_pack_name *names = NULL;
    size_t count = 0;
    assert_ok(cf_pack_list_decode(frames[0].pack_list, &names, &count));
    assert_int_equal(count, 2);
    assert_int_equal(names[1].number, 2);
    /* The frame is made of its fields and nothing else. */
    CF_AUTO_BUF cf_buf again;
    cf_buf_init(&again, CF_POINT_MAX);
    assert_ok(cf_point_encode(&frames[1], &again));
    assert_true(cf_span_equal(cf_buf_span(&again), cf_buf_span(&second)));
}

static void the_journal_object_opens(void **state) {
    (void)state;
    CF_AUTO_BUF cf_buf object;
    CF_AUTO_BUF cf_buf again;
    cf_journal_entry entry;
    load(FOLDER "vault/journal/0000000000000001", &object);
    assert_ok(cf_journal_decode(cf_buf_span(&object), &entry));
    assert_int_equal(entry.type, CF_JOURNAL_NUMBERS_RESERVED);
    assert_int_equal(entry.sequence, 1);
    assert_int_equal(entry.time, 1700000000);
    assert_true(
        cf_span_equal(entry.body, cf_span_text("{\"server_id\":\"a0a1a2a3a4a5a6a7a8a9aaabacadaeaf\",\"end\":1025}")));
    cf_buf_init(&again, 4096);
    assert_ok(cf_journal_encode(&entry, &again));
    assert_true(cf_span_equal(cf_buf_span(&again), cf_buf_span(&object)));
}

/* Everything that a reader does with one object: the first failure. */
static cf_err *read_pack(vault *v, cf_span object) {
    cf_pack_header header;
    if (object.size < CF_PACK_HEADER_SIZE + 40) return cf_fail_reason(CF_ERR_FORMAT, "truncated", "pack");
    cf_span head = cf_span_of(object.data, CF_PACK_HEADER_SIZE);
    CF_TRY(cf_pack_header_decode(head, &header));
    uint64_t table;
    uint32_t number;
    CF_TRY(cf_pack_trailer_decode(cf_span_of(object.data + object.size - 40, 40), object.size, &table, &number));
    CF_AUTO_FREE cf_extent *extents = NULL;
    size_t count;
    CF_TRY(
        cf_pack_tail_decode(head, cf_span_of(object.data + table, object.size - table), object.size, &extents, &count));
    CF_AUTO(cf_secret) session_key = secret_fill(0x55);
    cf_key_pair_bytes keys;
    CF_TRY(cf_pack_keys_derive(session_key, header.number, &keys));
    const cf_segment_place place = {header.kind, header.server, header.session, header.number, 0};
    CF_AUTO_BUF cf_buf raw;
    cf_buf_init(&raw, CF_SEGMENT_RAW_MAX);
    return cf_segment_open(v->codec, keys.key, &place, cf_span_of(object.data + extents[0].offset, extents[0].length),
                           &raw);
}

static cf_err *read_point(cf_span object) {
    cf_point_frame frame;
    CF_TRY(cf_point_decode(object, &frame));
    CF_AUTO(cf_secret) key = secret_fill(0x66);
    cf_root root;
    CF_AUTO_BUF cf_buf storage;
    cf_buf_init(&storage, CF_POINT_ROOT_MAX);
    CF_TRY(cf_root_open(&frame, key, &root, &storage));
    cf_root_wipe(&root, &storage);
    return NULL;
}

static cf_err *read_any(vault *v, const char *kind, cf_span object) {
    if (strcmp(kind, "slot") == 0) {
        CF_AUTO(cf_secret) passphrase = secret_text("golden passphrase");
        return cf_slot_open(object, passphrase, NULL, NULL);
    }
    if (strcmp(kind, "record") == 0) {
        cf_id16 session;
        CF_AUTO(cf_secret) key = NULL;
        return cf_record_open(v->keys->master, &v->server, object, &session, &key);
    }
    cf_journal_entry entry;
    if (strcmp(kind, "journal") == 0) return cf_journal_decode(object, &entry);
    if (strcmp(kind, "pack") == 0) return read_pack(v, object);
    assert_string_equal(kind, "point");
    return read_point(object);
}

static void bad_objects_are_refused_for_the_right_reason(void **state) {
    (void)state;
    vault v;
    open_vault(&v);
    FILE *list = fopen(FOLDER "bad/expect.txt", "r");
    assert_non_null(list);
    char name[64], kind[16], reason[32];
    int code;
    size_t count = 0;
    for (; fscanf(list, "%63s %15s %d %31s", name, kind, &code, reason) == 4; count++) {
        char path[512];
        (void)snprintf(path, sizeof path, FOLDER "bad/%s", name);
        CF_AUTO_BUF cf_buf object;
        load(path, &object);
        CF_AUTO_FREE uint8_t *exact = exact_copy(object.data, object.size);
        CF_AUTO(cf_err) err = read_any(&v, kind, cf_span_of(exact, object.size));
        if (cf_err_code(err) != (cf_code)code || (strcmp(reason, "-") != 0 && strcmp(reason, cf_err_reason(err)) != 0))
            fail_msg("%s: %d %s instead of %d %s", name, (int)cf_err_code(err), cf_err_reason(err), code, reason);
    }
    assert_int_equal(fclose(list), 0);
    assert_int_equal(count, 27);
    close_vault(&v);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_slot_opens_and_is_sealed_the_same),
        cmocka_unit_test(the_records_open_and_are_sealed_the_same),
        cmocka_unit_test(the_packs_open),
        cmocka_unit_test(the_points_and_their_maps_open),
        cmocka_unit_test(the_journal_object_opens),
        cmocka_unit_test(bad_objects_are_refused_for_the_right_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
