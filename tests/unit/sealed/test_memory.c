/* The n-th allocation fails, for every n: nothing crashes, nothing leaks (the sanitizer looks), and what comes back is
 * OUT_OF_MEMORY or, where a library could not be set up, CRYPTO. Linked with --wrap for malloc and its kin. */
#include "../keys/help.h"

#include "digest/digest.h"
#include "sealed/root.h"
#include "sealed/segment.h"
#include "visible/map.h"
#include "visible/pack.h"

static long countdown = -1; /* allocations until one fails; -1: none does */

static bool fails_now(void) {
    return countdown >= 0 && countdown-- == 0;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_reallocarray(void *old, size_t count, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_reallocarray(void *old, size_t count, size_t size);

void *__wrap_malloc(size_t size) {
    return fails_now() ? NULL : __real_malloc(size);
}
void *__wrap_calloc(size_t count, size_t size) {
    return fails_now() ? NULL : __real_calloc(count, size);
}
void *__wrap_realloc(void *old, size_t size) {
    return fails_now() ? NULL : __real_realloc(old, size);
}
void *__wrap_reallocarray(void *old, size_t count, size_t size) {
    return fails_now() ? NULL : __real_reallocarray(old, count, size);
}

static cf_err *segments_and_directories(void) {
    CF_AUTO(cf_segment_codec) codec = NULL;
    CF_AUTO_BUF cf_buf stored;
    CF_AUTO_BUF cf_buf raw;
    cf_buf_init(&stored, 65536);
    cf_buf_init(&raw, 65536);
    static uint8_t data[2000];
    fill_text(data, sizeof data, 1);
    const cf_segment_place place = {.kind = CF_KIND_DATA, .pack = 1};
    const uint8_t key[32] = {1};
    CF_TRY(cf_segment_codec_new(3, &codec));
    CF_TRY(cf_segment_seal(codec, key, &place, cf_span_of(data, sizeof data), true, &stored));
    CF_TRY(cf_segment_open(codec, key, &place, cf_buf_span(&stored), &raw));
    const cf_directory_entry entries[2] = {{.segment = 0, .length = 5}, {.segment = 1, .length = 6}};
    CF_AUTO_FREE cf_directory_entry *got = NULL;
    size_t count;
    cf_buf_reset(&raw);
    CF_TRY(cf_directory_encode(entries, 2, &raw));
    return cf_directory_decode(cf_buf_span(&raw), &got, &count);
}

static cf_err *nodes(void) {
    CF_AUTO(cf_node_writer) writer = NULL;
    CF_AUTO(cf_node_reader) reader = NULL;
    CF_AUTO_BUF cf_buf node;
    cf_buf_init(&node, CF_NODE_MAX);
    const cf_xattr xattr = {cf_span_text("user.x"), cf_span_text("y")};
    CF_TRY(cf_node_writer_new(&writer));
    for (unsigned i = 0; i < 40; i++) {
        uint8_t name[1] = {(uint8_t)('A' + i)};
        const cf_entry entry = {
            .name = cf_span_of(name, 1),
            .meta = {.type = CF_TYPE_FIFO, .uid = i, .nlink = 1, .xattrs = &xattr, .xattr_count = 1}};
        CF_TRY(cf_node_writer_add(writer, &entry));
    }
    CF_TRY(cf_node_writer_finish(writer, &node));
    CF_TRY(cf_node_reader_open(cf_buf_span(&node), &reader));
    cf_entry entry;
    while (cf_node_reader_entry(reader, &entry)) continue;
    return NULL;
}

static cf_err *maps(void) {
    CF_AUTO(cf_map) map = NULL;
    CF_AUTO(cf_map) next = NULL;
    CF_AUTO(cf_map) got = NULL;
    CF_AUTO_BUF cf_buf out;
    cf_buf_init(&out, 65536);
    CF_TRY(cf_map_new(&map));
    CF_TRY(cf_map_new(&next));
    for (uint64_t pack = 600; pack > 0; pack--) {
        CF_TRY(cf_map_add(map, pack, (uint16_t)(pack % 3 * 100)));
        CF_TRY(cf_map_add(map, pack, 777));
    }
    CF_TRY(cf_map_add_all(next, map));
    CF_TRY(cf_map_add(next, 601, 5));
    CF_TRY(cf_map_add(next, 3, 5));
    cf_map_header header = {.delta = true, .chain = 1};
    CF_TRY(cf_map_encode(next, &header, map, NULL, NULL, &out));
    return cf_map_decode(cf_buf_span(&out), map, &header, &got);
}

static cf_err *points(void) {
    static const uint8_t record[132];
    cf_span source = cf_span_text("/");
    cf_root root = {.counter = 1, .tree = {.pack = 1, .length = 1}, .sources = &source, .source_count = 1};
    cf_point_frame frame = {.counter = 1, .key_record = cf_span_of(record, sizeof record)}, got;
    uint8_t key[32] = {1}, prefix[80];
    CF_AUTO(cf_secret) session_key = NULL;
    CF_AUTO_BUF cf_buf sealed;
    CF_AUTO_BUF cf_buf object;
    CF_AUTO_BUF cf_buf storage;
    cf_buf_init(&sealed, CF_POINT_ROOT_MAX);
    cf_buf_init(&object, CF_POINT_MAX);
    cf_buf_init(&storage, CF_POINT_ROOT_MAX);
    CF_TRY(cf_secret_from(key, sizeof key, &session_key));
    CF_TRY(cf_sha256(cf_span_of(NULL, 0), root.summary_sha256));
    memcpy(root.pack_list_sha256, root.summary_sha256, 32);
    memcpy(root.map_sha256, root.summary_sha256, 32);
    cf_point_prefix_encode(&frame, prefix);
    CF_TRY(cf_root_seal(&root, session_key, prefix, frame.root_commitment, &sealed));
    frame.root = cf_buf_span(&sealed);
    CF_TRY(cf_point_encode(&frame, &object));
    CF_TRY(cf_point_decode(cf_buf_span(&object), &got));
    cf_root opened;
    CF_TRY(cf_root_open(&got, session_key, &opened, &storage));
    cf_root_wipe(&opened, &storage);
    return NULL;
}

static cf_err *packs(void) {
    CF_AUTO_BUF cf_buf object;
    cf_buf_init(&object, 4096);
    const cf_pack_header header = {.number = 1};
    uint8_t bytes[CF_PACK_HEADER_SIZE];
    const cf_extent extents[2] = {{.segment = 0, .offset = 112, .length = 10},
                                  {.segment = 0xFFFF, .offset = 122, .length = 10}};
    cf_pack_header_encode(&header, bytes);
    cf_pack_tail_encode(bytes, 132, extents, 2, &object);
    CF_TRY(cf_buf_check(&object, "tail"));
    CF_AUTO_FREE cf_extent *got = NULL;
    size_t count;
    CF_TRY(cf_pack_tail_decode(cf_span_of(bytes, sizeof bytes), cf_buf_span(&object), 132 + object.size, &got, &count));
    static const cf_pack_name names[1] = {{1, {{1}}}};
    CF_AUTO_FREE cf_pack_name *again = NULL;
    cf_buf_reset(&object);
    cf_pack_list_encode(names, 1, &object);
    CF_TRY(cf_buf_check(&object, "list"));
    return cf_pack_list_decode(cf_buf_span(&object), &again, &count);
}

static void sweep(cf_err *(*story)(void)) {
    for (long n = 0;; n++) {
        countdown = n;
        cf_err *err = story();
        bool reached = countdown < 0;
        countdown = -1;
        cf_code code = cf_err_code(err);
        cf_err_free(err);
        if (!reached) { /* fewer allocations than that: done, and everything went well */
            assert_int_equal(code, CF_OK);
            assert_true(n > 1);
            return;
        }
        assert_true(code == CF_ERR_OUT_OF_MEMORY || code == CF_ERR_CRYPTO);
    }
}

static void segments_survive_without_memory(void **state) {
    (void)state;
    sweep(segments_and_directories);
}
static void nodes_survive_without_memory(void **state) {
    (void)state;
    sweep(nodes);
}
static void maps_survive_without_memory(void **state) {
    (void)state;
    sweep(maps);
}
static void points_survive_without_memory(void **state) {
    (void)state;
    sweep(points);
}
static void packs_survive_without_memory(void **state) {
    (void)state;
    sweep(packs);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(segments_survive_without_memory), cmocka_unit_test(nodes_survive_without_memory),
        cmocka_unit_test(maps_survive_without_memory),     cmocka_unit_test(points_survive_without_memory),
        cmocka_unit_test(packs_survive_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
