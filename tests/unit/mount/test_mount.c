/* The parts of a mount that need no kernel: files' layouts, numbers of entries, names of points. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "build_repo.h"
#include "mount/layout.h"
#include "mount/points.h"
#include "mount/volume.h"

typedef struct opened {
    build *b;
    cf_source *source;
    cf_reader *reader;
    cf_lane *lane;
    cf_pages *pages;
    cf_volume *volume;
    const cf_map *map;
} opened;

static void good(cf_err *err) {
    if (!err) return;
    cf_err_print(stderr, err);
    cf_err_free(err);
    fail_msg("unexpected error");
}

static void bad(cf_err *err, cf_code code, const char *reason) {
    if (cf_err_code(err) != code || strcmp(cf_err_reason(err), reason) != 0) {
        if (err) cf_err_print(stderr, err);
        fail_msg("wanted %d (%s)", code, reason);
    }
    cf_err_free(err);
}

static opened open_tree(build *b, cf_ref tree) {
    opened o = {.b = b};
    cf_id32 id = build_point(b, tree, "/", false);
    cf_point *point;
    good(cf_source_folder_open(build_dir(b), build_server(b), &o.source));
    good(cf_reader_open(o.source, build_keys(b), build_server(b), 4 << 20, &o.reader));
    good(cf_lane_new(o.reader, &o.lane));
    good(cf_pages_new(1, NULL, &o.pages)); /* keeps nothing that is not pinned */
    good(cf_reader_point_open(o.reader, &id, &point));
    good(cf_reader_point_map(o.reader, point));
    good(cf_volume_new(point, o.pages, &o.volume));
    o.map = cf_volume_point(o.volume)->map;
    return o;
}

static void close_tree(opened *o) {
    cf_volume_free(o->volume);
    cf_pages_free(o->pages);
    cf_lane_free(o->lane);
    cf_reader_close(o->reader);
    cf_source_close(o->source);
    build_free(o->b);
}

/* ---- Numbers ---- */

static void put_folder(build_dir_writer *w, const char *name, cf_ref node, uint64_t files, uint64_t directories) {
    cf_entry entry = build_entry(name, CF_TYPE_DIRECTORY);
    entry.node = node;
    entry.totals = (cf_totals){.files = files, .directories = directories};
    build_dir_entry(w, &entry);
}

/* /a (x, y), /b, /c/d/z: numbers 1 (2, 3), 4, 5 6 7 */
static cf_ref tree_of(build *b, uint64_t claimed) {
    build_dir_writer *w = build_dir_new(b);
    build_dir_file(w, "x", "1", 1);
    build_dir_file(w, "y", "2", 1);
    cf_ref a = build_dir_end(w, 0);
    w = build_dir_new(b);
    build_dir_file(w, "z", "3", 1);
    cf_ref d = build_dir_end(w, 0);
    w = build_dir_new(b);
    put_folder(w, "d", d, 1, 0);
    cf_ref c = build_dir_end(w, 0);
    w = build_dir_new(b);
    put_folder(w, "a", a, claimed, 0);
    build_dir_file(w, "b", "4", 1);
    put_folder(w, "c", c, 1, 1);
    return build_dir_end(w, 0);
}

static void test_numbers(void **state) {
    (void)state;
    build *b = build_new(4);
    opened o = open_tree(b, tree_of(b, 2));
    static const char *const paths[] = {"/", "/a", "/a/x", "/a/y", "/b", "/c", "/c/d", "/c/d/z"};
    for (uint64_t number = 0; number < 8; number++) {
        CF_AUTO_BUF cf_buf path;
        cf_buf_init(&path, 100);
        cf_volume_path(o.volume, o.lane, number, &path);
        assert_true(cf_span_equal(cf_buf_span(&path), cf_span_text(paths[number])));
    }
    cf_place place = {0};
    bad(cf_volume_at(o.volume, o.lane, 8, &place), CF_ERR_NODE_DAMAGED, "totals");
    cf_place_wipe(&place);
    close_tree(&o);
}

static void test_names_and_listing(void **state) {
    (void)state;
    build *b = build_new(4);
    opened o = open_tree(b, tree_of(b, 2));
    cf_folder folder;
    cf_place place = {0};
    bool is_folder, found, more;
    good(cf_volume_folder(o.volume, o.lane, 0, &folder, &is_folder));
    static const uint64_t numbers[] = {1, 4, 5};
    uint64_t from = 0;
    for (int i = 0; i < 3; i++, from = place.end) {
        good(cf_volume_from(o.volume, o.lane, &folder, from, &place, &more));
        assert_true(more);
        assert_int_equal(place.number, numbers[i]);
    }
    good(cf_volume_from(o.volume, o.lane, &folder, from, &place, &more));
    assert_false(more);
    good(cf_volume_from(o.volume, o.lane, &folder, 2, &place, &more)); /* inside "a": the next is "b" */
    assert_int_equal(place.number, 4);
    good(cf_volume_child(o.volume, o.lane, &folder, cf_span_text("c"), &place, &found));
    assert_true(found);
    assert_int_equal(place.number, 5);
    good(cf_volume_child(o.volume, o.lane, &folder, cf_span_text("bb"), &place, &found));
    assert_false(found);
    good(cf_volume_folder(o.volume, o.lane, 4, &folder, &is_folder));
    assert_false(is_folder);
    good(cf_volume_folder(o.volume, o.lane, 6, &folder, &is_folder));
    good(cf_volume_child(o.volume, o.lane, &folder, cf_span_text("z"), &place, &found));
    assert_int_equal(place.number, 7);
    cf_place_wipe(&place);
    close_tree(&o);
}

/* A folder that holds more than it claims would share numbers with the next: refused. */
static void test_totals_that_lie(void **state) {
    (void)state;
    build *b = build_new(4);
    opened o = open_tree(b, tree_of(b, 1));
    cf_folder folder;
    cf_place place = {0};
    bool is_folder, found;
    good(cf_volume_folder(o.volume, o.lane, 1, &folder, &is_folder));
    good(cf_volume_child(o.volume, o.lane, &folder, cf_span_text("x"), &place, &found));
    bad(cf_volume_child(o.volume, o.lane, &folder, cf_span_text("y"), &place, &found), CF_ERR_NODE_DAMAGED, "totals");
    cf_place_wipe(&place);
    close_tree(&o);
}

/* ---- Layouts ---- */

static void read_back(opened *o, cf_layout *layout, uint64_t offset, uint64_t length, const uint8_t *expected) {
    cf_stretch stretches[7];
    uint64_t size = cf_layout_size(layout), end = offset + length < size ? offset + length : size;
    while (offset < end) {
        size_t count;
        good(cf_layout_map(layout, o->lane, o->map, offset, end - offset, stretches, 7, &count));
        assert_true(count > 0);
        for (size_t i = 0; i < count; i++) {
            const cf_stretch *stretch = &stretches[i];
            assert_int_equal(stretch->offset, offset);
            CF_AUTO_BUF cf_buf chunk;
            cf_buf_init(&chunk, CF_CHUNK_MAX);
            if (!stretch->hole) good(cf_lane_chunk(o->lane, o->map, CF_KIND_DATA, &stretch->ref, &chunk));
            for (uint32_t k = 0; k < stretch->length; k++)
                assert_int_equal(stretch->hole ? 0 : chunk.data[stretch->skip + k], expected[offset + k]);
            offset += stretch->length;
        }
    }
}

static void test_layout(unsigned per_list) {
    enum { SIZE = 100000 };
    build *b = build_new(8);
    uint8_t *data = malloc(SIZE);
    for (size_t i = 0; i < SIZE; i++) data[i] = (uint8_t)(i * 31 + i / 251);
    cf_buf refs;
    cf_entry entry = build_entry("f", CF_TYPE_FILE);
    entry.content = build_content(b, data, SIZE, 37, per_list, &refs);
    entry.meta.size = SIZE;
    opened o = open_tree(b, tree_of(b, 2));
    cf_layout *layout;
    good(cf_layout_new(&entry, &layout));
    unsigned seed = 7;
    for (int i = 0; i < 200; i++) { /* the end first: all lists are passed over */
        seed = seed * 1664525u + 1013904223u;
        read_back(&o, layout, i == 0 ? SIZE - 1 : seed % SIZE, 1 + seed / 7 % 500, data);
    }
    size_t count;
    cf_stretch stretch;
    good(cf_layout_map(layout, o.lane, o.map, SIZE, 1, &stretch, 1, &count));
    assert_int_equal(count, 0);
    cf_layout_free(layout);
    entry.meta.size = SIZE + 1;
    cf_err *err = cf_layout_new(&entry, &layout);
    if (!err) {
        err = cf_layout_map(layout, o.lane, o.map, SIZE, 1, &stretch, 1, &count);
        cf_layout_free(layout);
    }
    bad(err, CF_ERR_NODE_DAMAGED, "length");
    cf_buf_wipe(&refs);
    free(data);
    close_tree(&o);
}

static void test_layout_with_lists(void **state) {
    (void)state;
    test_layout(10);
}

static void test_layout_with_long_lists(void **state) {
    (void)state;
    test_layout(500);
}

static void test_holes(void **state) {
    (void)state;
    build *b = build_new(8);
    uint8_t content[300], expected[1000] = {0};
    for (size_t i = 0; i < sizeof content; i++) content[i] = (uint8_t)(i + 1);
    memcpy(expected + 100, content, 200);
    memcpy(expected + 500, content + 200, 100);
    CF_AUTO_BUF cf_buf extents;
    cf_buf_init(&extents, 100);
    uint64_t end = 0, found;
    cf_extents_add(&extents, &end, 100, 200);
    cf_extents_add(&extents, &end, 500, 100);
    cf_buf refs;
    cf_entry entry = build_entry("f", CF_TYPE_FILE);
    entry.content = build_content(b, content, sizeof content, 77, 10, &refs);
    entry.meta.size = sizeof expected;
    entry.sparse = true;
    entry.extent_count = 2;
    entry.extents = cf_buf_span(&extents);
    opened o = open_tree(b, tree_of(b, 2));
    cf_layout *layout;
    good(cf_layout_new(&entry, &layout));
    for (uint64_t at = 0; at < sizeof expected; at += 13) read_back(&o, layout, at, 1000, expected);
    assert_true(cf_layout_next_data(layout, 0, &found) && found == 100);
    assert_true(cf_layout_next_data(layout, 250, &found) && found == 250);
    assert_true(cf_layout_next_hole(layout, 250, &found) && found == 300);
    assert_true(cf_layout_next_data(layout, 300, &found) && found == 500);
    assert_true(cf_layout_next_hole(layout, 599, &found) && found == 600);
    assert_true(cf_layout_next_hole(layout, 999, &found) && found == 999);
    assert_false(cf_layout_next_data(layout, 600, &found));
    assert_false(cf_layout_next_hole(layout, 1000, &found));
    cf_layout_free(layout);
    cf_buf_wipe(&refs);
    close_tree(&o);
}

static void test_ahead(void **state) {
    (void)state;
    cf_entry entry = build_entry("f", CF_TYPE_FILE);
    entry.meta.size = 100 << 20;
    entry.content.depth = 1;
    cf_layout *layout;
    good(cf_layout_new(&entry, &layout));
    uint64_t from, to, at = 0, fetched = 0;
    for (int i = 0; i < 100; i++, at += 1 << 20) {
        if (!cf_layout_ahead(layout, at, at + (1 << 20), 8 << 20, &from, &to)) continue;
        assert_true(from >= fetched && to > from && to <= at + (9 << 20));
        fetched = to;
    }
    assert_int_equal(fetched, 100 << 20);
    assert_false(cf_layout_ahead(layout, 5 << 20, 6 << 20, 8 << 20, &from, &to)); /* a jump is no order */
    cf_layout_free(layout);
}

static void test_point_names(void **state) {
    (void)state;
    setenv("TZ", "UTC", 1);
    char name[CF_POINT_NAME_SIZE];
    cf_point_name(1700000000, name);
    assert_string_equal(name, "2023-11-14_22-13-20");
    cf_point_row rows[3] = {{.counter = 1}, {.counter = 2}, {.counter = 3}};
    for (int i = 0; i < 3; i++) {
        rows[i].id.bytes[0] = (uint8_t)(i + 1);
        rows[i].summary.started = 1700000000;
    }
    cf_points *points;
    cf_point_info info;
    size_t slot;
    bool changed;
    good(cf_points_new(NULL, NULL, rows, 2, &points));
    assert_true(cf_points_info(points, 1, &info));
    assert_string_equal(info.name, "2023-11-14_22-13-20_020000000000");
    good(cf_points_update(points, rows, 2, &changed));
    assert_false(changed);
    good(cf_points_update(points, rows + 1, 2, &changed)); /* the first went, a third came */
    assert_true(changed);
    assert_false(cf_points_info(points, 0, &info));
    assert_false(cf_points_find(points, cf_span_text("2023-11-14_22-13-20"), &slot));
    assert_true(cf_points_find(points, cf_span_text("2023-11-14_22-13-20_030000000000"), &slot) && slot == 2);
    assert_true(cf_points_latest(points, &slot) && slot == 2);
    cf_points_free(points);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_names_and_listing),
        cmocka_unit_test(test_totals_that_lie),
        cmocka_unit_test(test_layout_with_lists),
        cmocka_unit_test(test_layout_with_long_lists),
        cmocka_unit_test(test_holes),
        cmocka_unit_test(test_ahead),
        cmocka_unit_test(test_point_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
