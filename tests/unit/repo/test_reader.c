/* Reading a repository: chunks, folders, contents, points, and every way in which they can be wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/text.h"
#include "build_repo.h"
#include "digest/digest.h"

typedef struct opened {
    build *b;
    cf_source *source;
    cf_reader *reader;
    cf_lane *lane;
} opened;

static void good(cf_err *err) {
    if (!err) return;
    cf_err_print(stderr, err);
    cf_err_free(err);
    fail_msg("unexpected error");
}

static void bad(cf_err *err, cf_code code, const char *reason) {
    if (cf_err_code(err) != code || (reason && strcmp(cf_err_reason(err), reason) != 0)) {
        if (err) cf_err_print(stderr, err);
        fail_msg("wanted %d (%s)", code, reason ? reason : "");
    }
    cf_err_free(err);
}

static opened open_build(build *b) {
    opened o = {.b = b};
    good(cf_source_folder_open(build_dir(b), build_server(b), &o.source));
    good(cf_reader_open(o.source, build_keys(b), build_server(b), 4 << 20, &o.reader));
    good(cf_lane_new(o.reader, &o.lane));
    return o;
}

static void close_build(opened *o) {
    cf_lane_free(o->lane);
    cf_reader_close(o->reader);
    cf_source_close(o->source);
    if (o->b) build_free(o->b);
}

static void fill(uint8_t *data, size_t size, unsigned seed) {
    uint32_t x = seed * 2654435761u + 1;
    for (size_t i = 0; i < size; i++) {
        x = x * 1664525u + 1013904223u;
        data[i] = (uint8_t)(x >> 24);
    }
}

static cf_ref empty_dir(build *b) {
    return build_dir_end(build_dir_new(b), 0);
}

static void test_chunks(void **state) {
    (void)state;
    build *b = build_new(3);
    enum { COUNT = 40, SIZE = 100000 };
    uint8_t *data = malloc(SIZE);
    cf_ref refs[COUNT];
    for (unsigned i = 0; i < COUNT; i++) {
        fill(data, SIZE, i);
        refs[i] = build_chunk(b, CF_KIND_DATA, data, SIZE - i);
    }
    cf_id32 id = build_point(b, empty_dir(b), "/x", false);
    opened o = open_build(b);
    cf_point *point;
    good(cf_reader_point_open(o.reader, &id, &point));
    good(cf_reader_point_map(o.reader, point));
    CF_AUTO_BUF cf_buf out;
    cf_buf_init(&out, CF_CHUNK_MAX);
    for (unsigned round = 0; round < 2; round++)
        for (unsigned i = COUNT; i > 0; i--) {
            good(cf_lane_chunk(o.lane, point->map, CF_KIND_DATA, &refs[i - 1], &out));
            fill(data, SIZE, i - 1);
            assert_int_equal(out.size, SIZE - (i - 1));
            assert_memory_equal(out.data, data, out.size);
        }
    assert_true(cf_reader_fetched(o.reader) > 0);
    cf_ref wrong = refs[3];
    wrong.offset++;
    bad(cf_lane_chunk(o.lane, point->map, CF_KIND_DATA, &wrong, &out), CF_ERR_CHUNK_MISMATCH, "id");
    wrong = refs[3];
    wrong.offset = CF_SEGMENT_RAW_MAX - 5;
    bad(cf_lane_chunk(o.lane, point->map, CF_KIND_DATA, &wrong, &out), CF_ERR_CHUNK_MISMATCH, "range");
    bad(cf_lane_chunk(o.lane, point->map, CF_KIND_TREE, &refs[3], &out), CF_ERR_CHUNK_MISMATCH, "id");
    wrong = refs[3];
    wrong.segment = 900;
    bad(cf_lane_chunk(o.lane, point->map, CF_KIND_DATA, &wrong, &out), CF_ERR_SEGMENT_OUTSIDE_MAP, NULL);
    bad(cf_lane_chunk(o.lane, NULL, CF_KIND_DATA, &wrong, &out), CF_ERR_SEGMENT_DAMAGED, "missing");
    wrong.pack = 999;
    bad(cf_lane_chunk(o.lane, NULL, CF_KIND_DATA, &wrong, &out), CF_ERR_PACK_UNREADABLE, "missing");
    wrong = refs[0];
    wrong.segment = CF_SEGMENT_DIRECTORY;
    bad(cf_lane_chunk(o.lane, NULL, CF_KIND_DATA, &wrong, &out), CF_ERR_SEGMENT_DAMAGED, "kind");
    cf_directory_entry *entries;
    size_t count;
    cf_kind kind;
    good(cf_lane_directory(o.lane, refs[0].pack, &kind, &entries, &count));
    assert_int_equal(kind, CF_KIND_DATA);
    assert_true(count >= 10);
    assert_memory_equal(entries[0].id.bytes, refs[0].id.bytes, 32);
    free(entries);
    cf_point_close(point);
    free(data);
    close_build(&o);
}

static void test_outside_map(void **state) {
    (void)state;
    build *b = build_new(8);
    cf_ref one = build_chunk(b, CF_KIND_DATA, "hidden", 6);
    build_hide(b, one.pack, one.segment);
    cf_id32 id = build_point(b, empty_dir(b), "/x", false);
    opened o = open_build(b);
    cf_point *point;
    good(cf_reader_point_open(o.reader, &id, &point));
    good(cf_reader_point_map(o.reader, point));
    CF_AUTO_BUF cf_buf out;
    cf_buf_init(&out, CF_CHUNK_MAX);
    good(cf_lane_chunk(o.lane, NULL, CF_KIND_DATA, &one, &out)); /* it exists, and is even in the cache now */
    bad(cf_lane_chunk(o.lane, point->map, CF_KIND_DATA, &one, &out), CF_ERR_SEGMENT_OUTSIDE_MAP, NULL);
    cf_point_close(point);
    close_build(&o);
}

/* Packs: one flipped, one cut, one in another's place, one gone. */
static void test_damaged_packs(void **state) {
    (void)state;
    build *b = build_new(4);
    cf_ref refs[5];
    uint8_t data[50000];
    for (unsigned i = 0; i < 5; i++) {
        fill(data, sizeof data, i + 100);
        refs[i] = build_chunk(b, CF_KIND_DATA, data, sizeof data);
        build_cut_pack(b, CF_KIND_DATA);
    }
    build_point(b, empty_dir(b), "/x", false);
    char *paths[5];
    for (unsigned i = 0; i < 5; i++) paths[i] = build_pack_path(b, refs[i].pack);
    build_flip(b, refs[0].pack, refs[0].segment);
    assert_int_equal(truncate(paths[1], 300), 0);
    assert_int_equal(unlink(paths[2]), 0);
    assert_int_equal(link(paths[3], paths[2]), 0);
    assert_int_equal(unlink(paths[3]), 0);
    opened o = open_build(b);
    CF_AUTO_BUF cf_buf out;
    cf_buf_init(&out, CF_CHUNK_MAX);
    bad(cf_lane_chunk(o.lane, NULL, CF_KIND_DATA, &refs[0], &out), CF_ERR_SEGMENT_DAMAGED, "sum");
    cf_err *err = cf_lane_chunk(o.lane, NULL, CF_KIND_DATA, &refs[1], &out);
    assert_true(cf_err_has(err, CF_F_DAMAGE));
    bad(err, CF_ERR_PACK_UNREADABLE, NULL);
    bad(cf_lane_chunk(o.lane, NULL, CF_KIND_DATA, &refs[2], &out), CF_ERR_PACK_UNREADABLE, "header");
    bad(cf_lane_chunk(o.lane, NULL, CF_KIND_DATA, &refs[3], &out), CF_ERR_PACK_UNREADABLE, "missing");
    good(cf_lane_chunk(o.lane, NULL, CF_KIND_DATA, &refs[4], &out));
    for (unsigned i = 0; i < 5; i++) free(paths[i]);
    close_build(&o);
}

/* Writes the pack anew as compaction does: without one segment, the others at other offsets; the old object goes. */
static void compact_pack(build *b, uint64_t number, uint16_t left_out) {
    static uint8_t bytes[4 << 20];
    CF_AUTO_FREE char *path = build_pack_path(b, number);
    CF_AUTO_FREE cf_extent *extents = NULL;
    CF_AUTO_BUF cf_buf out;
    char name[512];
    uint64_t table;
    uint32_t total;
    size_t count = 0, kept = 0;
    cf_buf_init(&out, sizeof bytes);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t size = fread(bytes, 1, sizeof bytes, file);
    assert_int_equal(fclose(file), 0);
    good(cf_pack_trailer_decode(cf_span_of(bytes + size - CF_PACK_TRAILER_SIZE, CF_PACK_TRAILER_SIZE), size, &table,
                                &total));
    good(cf_pack_tail_decode(cf_span_of(bytes, CF_PACK_HEADER_SIZE), cf_span_of(bytes + table, size - table), size,
                             &extents, &count));
    cf_buf_put(&out, bytes, CF_PACK_HEADER_SIZE);
    for (size_t i = 0; i < count; i++) {
        if (extents[i].segment == left_out) continue;
        uint64_t at = out.size;
        cf_buf_put(&out, bytes + extents[i].offset, extents[i].length);
        extents[kept] = extents[i];
        extents[kept++].offset = at;
    }
    cf_pack_tail_encode(out.data, out.size, extents, kept, &out);
    good(cf_buf_check(&out, "pack"));
    snprintf(name, sizeof name, "%s.00000001", path);
    file = fopen(name, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(out.data, 1, out.size, file), out.size);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(remove(path), 0);
}

/* A reader that knows a pack's extent table from before goes on after the pack was written anew, and says what is gone. */
static void test_compacted_meanwhile(void **state) {
    (void)state;
    build *b = build_new(8);
    cf_ref refs[4];
    uint8_t data[5000];
    for (unsigned i = 0; i < 4; i++) {
        fill(data, sizeof data, i);
        refs[i] = build_chunk(b, CF_KIND_DATA, data, sizeof data);
        build_cut(b, CF_KIND_DATA);
    }
    build_dir_writer *w = build_dir_new(b);
    (void)build_point(b, build_dir_end(w, 0), "/", false);
    opened o = open_build(b);
    CF_AUTO_BUF cf_buf chunk;
    cf_buf_init(&chunk, CF_CHUNK_MAX);
    good(cf_lane_chunk(o.lane, NULL, CF_KIND_DATA, &refs[0], &chunk));
    compact_pack(b, refs[0].pack, refs[1].segment);
    for (unsigned i = 2; i < 4; i++) {
        fill(data, sizeof data, i);
        good(cf_lane_chunk(o.lane, NULL, CF_KIND_DATA, &refs[i], &chunk));
        assert_memory_equal(chunk.data, data, sizeof data);
    }
    bad(cf_lane_chunk(o.lane, NULL, CF_KIND_DATA, &refs[1], &chunk), CF_ERR_SEGMENT_DAMAGED, "missing");
    close_build(&o);
}

/* Compaction puts packs into merged objects: read from there, and the highest generation counts. */
static void test_merged(void **state) {
    (void)state;
    build *b = build_new(2);
    cf_ref refs[6];
    uint8_t data[5000];
    for (unsigned i = 0; i < 6; i++) {
        fill(data, sizeof data, i);
        refs[i] = build_chunk(b, CF_KIND_DATA, data, sizeof data);
        build_cut(b, CF_KIND_DATA);
    }
    (void)build_point(b, empty_dir(b), "/", false);
    opened o = open_build(b);
    CF_AUTO_BUF cf_buf chunk;
    cf_buf_init(&chunk, CF_CHUNK_MAX);
    good(cf_lane_chunk(o.lane, NULL, CF_KIND_DATA, &refs[2], &chunk));
    close_build(&(opened){.lane = o.lane, .reader = o.reader, .source = o.source});
    assert_int_not_equal(refs[2].pack, refs[0].pack);
    build_merge(b, refs[2].pack, 3);
    o = open_build(b);
    for (unsigned i = 2; i < 4; i++) {
        fill(data, sizeof data, i);
        good(cf_lane_chunk(o.lane, NULL, CF_KIND_DATA, &refs[i], &chunk));
        assert_memory_equal(chunk.data, data, sizeof data);
    }
    good(cf_reader_check_frame(o.reader, refs[2].pack, &chunk));
    close_build(&o);
}

/* What an index knows, for test_elsewhere. */
static cf_err *find_in_test(void *context, const cf_id32 *id, bool *found, cf_ref *ref) {
    const cf_ref *known = context;
    *found = cf_id32_equal(&known->id, id);
    if (*found) *ref = *known;
    return NULL;
}

/* Address, relocation, index: an error only when none of them has the chunk. */
static void test_elsewhere(void **state) {
    (void)state;
    build *b = build_new(1);
    cf_ref at[3];
    uint8_t data[5000];
    fill(data, sizeof data, 7);
    for (unsigned i = 0; i < 3; i++) { /* the same chunk in three packs; the point's map is to know the first only */
        at[i] = build_chunk(b, CF_KIND_DATA, data, sizeof data);
        build_cut_pack(b, CF_KIND_DATA);
        if (i) build_hide(b, at[i].pack, at[i].segment);
    }
    cf_id32 id = build_point(b, empty_dir(b), "/", false);
    build_relocation(b, 1, &at[1], 1);
    CF_AUTO_BUF cf_buf chunk;
    cf_buf_init(&chunk, CF_CHUNK_MAX);
    for (unsigned damaged = 0; damaged < 4; damaged++) {
        static const unsigned order[] = {1, 0, 2}; /* the relocation first, when there is one */
        if (damaged) build_flip(b, at[order[damaged - 1]].pack, 0);
        for (unsigned with = 0; with < 2; with++) {
            opened o = open_build(b);
            cf_point *point;
            if (with) cf_reader_use_finder(o.reader, &(cf_finder){find_in_test, &at[2]});
            good(cf_reader_point_open(o.reader, &id, &point));
            good(cf_reader_point_map(o.reader, point));
            cf_err *err = cf_lane_chunk(o.lane, point->map, CF_KIND_DATA, &at[0], &chunk);
            if (damaged < 2 || (damaged == 2 && with)) {
                good(err);
                assert_memory_equal(chunk.data, data, sizeof data);
            } else {
                bad(err, CF_ERR_SEGMENT_DAMAGED, "sum");
            }
            cf_point_close(point);
            close_build(&(opened){.lane = o.lane, .reader = o.reader, .source = o.source});
        }
    }
    build_free(b);
}

static void test_folders(void **state) {
    (void)state;
    static const unsigned parts[] = {0, 7, 3};
    for (size_t p = 0; p < sizeof parts / sizeof *parts; p++) {
        build *b = build_new(8);
        build_dir_writer *w = build_dir_new(b);
        for (unsigned i = 0; i < 200; i++) {
            char name[32];
            snprintf(name, sizeof name, "f%05u", i * 2);
            build_dir_file(w, name, name, strlen(name));
        }
        cf_ref sub = build_dir_end(w, parts[p]);
        w = build_dir_new(b);
        build_dir_folder(w, "etc", sub);
        cf_id32 id = build_point(b, build_dir_end(w, 0), "/etc", false);
        opened o = open_build(b);
        cf_point *point;
        good(cf_reader_point_open(o.reader, &id, &point));
        good(cf_reader_point_map(o.reader, point));
        cf_dir_reader *dir;
        good(cf_dir_reader_open(o.lane, point->map, &sub, &dir));
        cf_entry entry;
        bool more;
        for (unsigned i = 0;; i++) {
            char name[32];
            good(cf_dir_reader_next(dir, &entry, &more));
            if (!more) {
                assert_int_equal(i, 200);
                break;
            }
            snprintf(name, sizeof name, "f%05u", i * 2);
            assert_true(cf_span_equal(entry.name, cf_span_text(name)));
        }
        for (unsigned i = 0; i < 401; i += 13) {
            char name[32];
            snprintf(name, sizeof name, "f%05u", i);
            good(cf_dir_reader_seek(dir, cf_span_text(name)));
            good(cf_dir_reader_next(dir, &entry, &more));
            snprintf(name, sizeof name, "f%05u", i + i % 2);
            assert_int_equal(more, i + i % 2 < 400);
            if (more) assert_true(cf_span_equal(entry.name, cf_span_text(name)));
        }
        cf_dir_reader_close(dir);
        cf_entry_copy copy = {0};
        bool found;
        good(cf_tree_lookup(o.lane, point->map, &point->root.tree, cf_span_text("/etc/f00044"), &copy, &found));
        assert_true(found);
        assert_int_equal(copy.entry.meta.size, 6);
        good(cf_tree_lookup(o.lane, point->map, &point->root.tree, cf_span_text("/etc/f00044/x"), &copy, &found));
        assert_false(found);
        good(cf_tree_lookup(o.lane, point->map, &point->root.tree, cf_span_text("/etc/f00045"), &copy, &found));
        assert_false(found);
        good(cf_tree_lookup(o.lane, point->map, &point->root.tree, cf_span_text("/"), &copy, &found));
        assert_true(found);
        cf_entry_copy_wipe(&copy);
        cf_point_close(point);
        close_build(&o);
    }
}

static void test_contents(void **state) {
    (void)state;
    build *b = build_new(8);
    enum { SIZE = 30000 };
    uint8_t *data = malloc(SIZE);
    fill(data, SIZE, 5);
    CF_AUTO_BUF cf_buf refs;
    cf_content content = build_content(b, data, SIZE, 100, 5, &refs); /* 300 chunks: lists of lists */
    assert_true(content.depth >= 3);
    cf_id32 id = build_point(b, empty_dir(b), "/x", false);
    opened o = open_build(b);
    cf_point *point;
    good(cf_reader_point_open(o.reader, &id, &point));
    good(cf_reader_point_map(o.reader, point));
    CF_AUTO_BUF cf_buf out;
    cf_buf_init(&out, SIZE);
    good(cf_content_bytes(o.lane, point->map, &content, &out));
    assert_int_equal(out.size, SIZE);
    assert_memory_equal(out.data, data, SIZE);
    cf_content wrong = content;
    wrong.depth = 1; /* what it refers to are lists of a greater depth */
    cf_buf_reset(&out);
    bad(cf_content_bytes(o.lane, point->map, &wrong, &out), CF_ERR_NODE_DAMAGED, "level");
    cf_point_close(point);
    free(data);
    close_build(&o);
}

static void test_points(void **state) {
    (void)state;
    build *b = build_new(2);
    cf_id32 ids[6];
    cf_ref tree = empty_dir(b), chunk[6];
    for (unsigned i = 0; i < 6; i++) {
        chunk[i] = build_chunk(b, CF_KIND_DATA, &i, sizeof i);
        ids[i] = build_point(b, tree, "/x", i % 4 != 0);
        tree = empty_dir(b);
    }
    opened o = open_build(b);
    cf_point_row *rows;
    size_t count, index;
    good(cf_reader_points(o.reader, &rows, &count));
    assert_int_equal(count, 6);
    char hex[CF_HEX_SIZE(32)];
    cf_hex_encode(ids[2].bytes, 32, hex);
    hex[12] = 0;
    good(cf_reader_point_find(rows, count, hex, &index));
    assert_int_equal(index, 2);
    good(cf_reader_point_find(rows, count, "latest", &index));
    assert_int_equal(index, 5);
    good(cf_reader_point_find(rows, count, "2023-11-14T22:40:00Z", &index)); /* 1700001600 */
    assert_int_equal(index, 1);
    good(cf_reader_point_find(rows, count, "2024-01-01", &index));
    assert_int_equal(index, 5);
    bad(cf_reader_point_find(rows, count, "2001-01-01", &index), CF_ERR_POINT_NOT_FOUND, NULL);
    bad(cf_reader_point_find(rows, count, "abc", &index), CF_ERR_POINT_NOT_FOUND, NULL);
    cf_point *point;
    good(cf_reader_point_named(o.reader, "latest", &point)); /* two deltas deep */
    for (unsigned i = 0; i < 6; i++) assert_true(cf_map_has(point->map, chunk[i].pack, chunk[i].segment));
    assert_int_equal(point->frame.counter, 6);
    assert_int_equal(point->root.source_count, 1);
    /* Another point's bytes under this ID, and one bit. */
    bad(cf_reader_point_decode(o.reader, &ids[0], cf_buf_span(&point->object), NULL), CF_ERR_POINT_DAMAGED, "id");
    cf_buf copy;
    cf_buf_init(&copy, CF_POINT_MAX);
    cf_buf_put_span(&copy, cf_buf_span(&point->object));
    copy.data[200] ^= 1;
    cf_id32 sum;
    good(cf_sha256(cf_buf_span(&copy), sum.bytes));
    bad(cf_reader_point_decode(o.reader, &sum, cf_buf_span(&copy), NULL), CF_ERR_POINT_DAMAGED, NULL);
    cf_buf_wipe(&copy);
    cf_point_close(point);
    free(rows);
    close_build(&o);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chunks),        cmocka_unit_test(test_outside_map),
        cmocka_unit_test(test_damaged_packs), cmocka_unit_test(test_compacted_meanwhile),
        cmocka_unit_test(test_merged),        cmocka_unit_test(test_elsewhere),
        cmocka_unit_test(test_folders),       cmocka_unit_test(test_contents),
        cmocka_unit_test(test_points),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
