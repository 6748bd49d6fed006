/* Differences of two trees against a plain comparison of what was put in; and the cache of trees. */
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/text.h"
#include "build_repo.h"
#include "repo/tree_diff.h"
#include "repo/tree_walk.h"

enum { FOLDERS = 5, FILES = 60 };

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

static void open_reader(opened *o) {
    good(cf_source_folder_open(build_dir(o->b), build_server(o->b), &o->source));
    good(cf_reader_open(o->source, build_keys(o->b), build_server(o->b), 4 << 20, &o->reader));
    good(cf_lane_new(o->reader, &o->lane));
}

static void close_reader(opened *o) {
    cf_lane_free(o->lane);
    cf_reader_close(o->reader);
    cf_source_close(o->source);
}

/* version 0: not there; a folder that is not there has no files. */
typedef struct model {
    bool folder[FOLDERS];
    unsigned file[FOLDERS][FILES];
    bool deep; /* /f0/sub/sub/.../x */
} model;

static uint32_t next_random(uint32_t *state) {
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

static cf_ref deep_folder(build *b, unsigned depth, const char *content) {
    build_dir_writer *w = build_dir_new(b);
    build_dir_file(w, "x", content, strlen(content));
    cf_ref node = build_dir_end(w, 0);
    for (unsigned i = 0; i < depth; i++) {
        w = build_dir_new(b);
        build_dir_folder(w, "sub", node);
        node = build_dir_end(w, 0);
    }
    return node;
}

static cf_id32 build_model(build *b, const model *m, unsigned per_part, const char *deep) {
    build_dir_writer *root = build_dir_new(b);
    cf_ref nodes[FOLDERS];
    for (unsigned d = 0; d < FOLDERS; d++) {
        if (!m->folder[d]) continue;
        build_dir_writer *w = build_dir_new(b);
        for (unsigned f = 0; f < FILES; f++) {
            char name[16], content[64];
            if (!m->file[d][f]) continue;
            snprintf(name, sizeof name, "f%03u", f);
            snprintf(content, sizeof content, "%u/%u/%u", d, f, m->file[d][f]);
            build_dir_file(w, name, content, strlen(content));
        }
        nodes[d] = build_dir_end(w, per_part);
    }
    cf_ref far = deep_folder(b, 100, deep); /* more than readers are kept open */
    build_dir_folder(root, "a", far);
    for (unsigned d = 0; d < FOLDERS; d++) {
        char name[8];
        snprintf(name, sizeof name, "d%u", d);
        if (m->folder[d]) build_dir_folder(root, name, nodes[d]);
    }
    return build_point(b, build_dir_end(root, 0), "/", false);
}

struct seen {
    char *text; /* one line per change */
    size_t size;
    FILE *out;
    unsigned damaged;
};

static cf_err *on_change(void *context, cf_span path, const cf_entry *before, const cf_entry *after) {
    struct seen *seen = context;
    if (path.size > 200) path.size = 2; /* the deep one */
    fprintf(seen->out, "%c %.*s\n", !before ? '+' : after ? 'M' : '-', (int)path.size, (const char *)path.data);
    return NULL;
}

static void on_damaged(void *context, cf_span path, bool before, cf_err *err) {
    (void)path;
    (void)before;
    ((struct seen *)context)->damaged++;
    cf_err_free(err);
}

static void expect(FILE *out, const model *x, const model *y, bool deep_changed) {
    if (deep_changed) fputs("M /a\n", out);
    for (unsigned d = 0; d < FOLDERS; d++) {
        if (x->folder[d] != y->folder[d]) fprintf(out, "%c /d%u\n", y->folder[d] ? '+' : '-', d);
        for (unsigned f = 0; f < FILES; f++) {
            unsigned p = x->folder[d] ? x->file[d][f] : 0, q = y->folder[d] ? y->file[d][f] : 0;
            if (p != q) fprintf(out, "%c /d%u/f%03u\n", !p ? '+' : !q ? '-' : 'M', d, f);
        }
    }
}

static cf_point *open_point(opened *o, const cf_id32 *id) {
    cf_point *point;
    good(cf_reader_point_open(o->reader, id, &point));
    good(cf_reader_point_map(o->reader, point));
    return point;
}

static void compare(opened *o, const cf_id32 *x, const cf_id32 *y, struct seen *seen) {
    cf_point *before = open_point(o, x), *after = open_point(o, y);
    cf_tree_side sides[] = {{o->lane, before->map, &before->root.tree}, {o->lane, after->map, &after->root.tree}};
    cf_diff_visitor visitor = {.change = on_change, .damaged = on_damaged, .context = seen};
    seen->out = open_memstream(&seen->text, &seen->size);
    good(cf_tree_diff(&sides[0], &sides[1], &visitor));
    fclose(seen->out);
    cf_point_close(before);
    cf_point_close(after);
}

static void test_random(void **state) {
    (void)state;
    static const unsigned parts[] = {0, 7, 3};
    for (uint32_t seed = 1; seed <= 40; seed++) {
        uint32_t random = seed;
        model m[2] = {0};
        for (unsigned d = 0; d < FOLDERS; d++) {
            m[0].folder[d] = m[1].folder[d] = next_random(&random) % 5 > 0;
            if (next_random(&random) % 6 == 0) m[1].folder[d] = !m[0].folder[d];
            bool busy = next_random(&random) % 2;
            for (unsigned f = 0; f < FILES; f++) {
                m[0].file[d][f] = m[1].file[d][f] = next_random(&random) % 3;
                if (busy && next_random(&random) % 9 == 0) m[1].file[d][f] = next_random(&random) % 4;
            }
        }
        bool deep_changed = seed % 2;
        opened o = {.b = build_new(8)};
        cf_id32 x = build_model(o.b, &m[0], parts[seed % 3], "one");
        cf_id32 y = build_model(o.b, &m[1], parts[seed / 3 % 3], deep_changed ? "two" : "one");
        open_reader(&o);
        struct seen seen = {0};
        char *text;
        size_t size;
        compare(&o, &x, &y, &seen);
        FILE *out = open_memstream(&text, &size);
        expect(out, &m[0], &m[1], deep_changed);
        fclose(out);
        if (strcmp(text, seen.text) != 0) fail_msg("seed %u: expected\n%s\ngot\n%s", seed, text, seen.text);
        assert_int_equal(seen.damaged, 0);
        free(text);
        free(seen.text);
        close_reader(&o);
        build_free(o.b);
    }
}

/* One part of a split folder is damaged in the newer tree: the rest is compared, and it ends. */
static void test_damage(void **state) {
    (void)state;
    model m = {.folder = {true}};
    for (unsigned f = 0; f < FILES; f++) m.file[0][f] = 1;
    opened o = {.b = build_new(8)};
    cf_id32 x = build_model(o.b, &m, 5, "one");
    build_cut_pack(o.b, CF_KIND_TREE);
    for (unsigned f = 0; f < FILES; f += 6) m.file[0][f] = 2;
    cf_id32 y = build_model(o.b, &m, 5, "one");
    build_flip(o.b, build_last_pack(o.b), 0);
    open_reader(&o);
    struct seen seen = {0};
    cf_point *before = open_point(&o, &x), *after = open_point(&o, &y);
    cf_tree_side sides[] = {{o.lane, before->map, &before->root.tree}, {o.lane, after->map, &after->root.tree}};
    cf_diff_visitor visitor = {.change = on_change, .context = &seen};
    seen.out = open_memstream(&seen.text, &seen.size);
    cf_err *err = cf_tree_diff(&sides[0], &sides[1], &visitor); /* nobody listens to damage: it ends the walk */
    assert_true(cf_err_has(err, CF_F_DAMAGE));
    cf_err_free(err);
    visitor.damaged = on_damaged;
    good(cf_tree_diff(&sides[0], &sides[1], &visitor));
    fclose(seen.out);
    assert_true(seen.damaged > 0);
    free(seen.text);
    cf_point_close(before);
    cf_point_close(after);
    close_reader(&o);
    build_free(o.b);
}

/* ---- The cache of trees ---- */

static cf_err *ignore_entry(void *context, cf_span path, const cf_entry *entry, bool *enter) {
    (void)path;
    (void)entry;
    (void)enter;
    ++*(unsigned *)context;
    return NULL;
}

/* Bytes fetched for a walk through the whole point. */
static uint64_t walk(build *b, const char *scratch, const cf_id32 *id) {
    opened o = {.b = b};
    cf_tree_cache *trees = NULL;
    unsigned entries = 0;
    cf_tree_visitor visitor = {.entry = ignore_entry, .context = &entries};
    open_reader(&o);
    if (scratch) good(cf_tree_cache_open(scratch, build_server(b), 1 << 20, &trees));
    cf_reader_use_trees(o.reader, trees);
    cf_point *point = open_point(&o, id);
    good(cf_tree_walk(o.lane, point->map, &point->root.tree, cf_span_text("/"), &visitor));
    uint64_t fetched = cf_reader_fetched(o.reader);
    assert_int_equal(entries, 2 * FILES + 2 + 101 + 1);
    cf_point_close(point);
    close_reader(&o);
    cf_tree_cache_close(trees);
    return fetched;
}

static unsigned spoil(const char *folder, int how) {
    unsigned count = 0;
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (entry->d_name[0] == '.') continue;
        int fd = openat(dirfd(dir), entry->d_name, O_RDWR);
        uint8_t byte;
        struct stat info;
        assert_true(fd >= 0 && fstat(fd, &info) == 0);
        if (how < 0) {
            assert_int_equal(ftruncate(fd, info.st_size / 2), 0);
        } else {
            off_t place = info.st_size * how / 8;
            assert_int_equal(pread(fd, &byte, 1, place), 1);
            byte ^= 1;
            assert_int_equal(pwrite(fd, &byte, 1, place), 1);
        }
        close(fd);
        count++;
    }
    closedir(dir);
    return count;
}

static void test_cache(void **state) {
    (void)state;
    model m = {.folder = {true, true}};
    for (unsigned f = 0; f < FILES; f++) m.file[0][f] = m.file[1][f] = 1;
    build *b = build_new(8);
    cf_id32 id = build_model(b, &m, 5, "one");
    char scratch[] = "/tmp/coffer-trees-XXXXXX", folder[128], hex[CF_HEX_SIZE(16)];
    assert_non_null(mkdtemp(scratch));
    cf_hex_encode(build_server(b)->bytes, 16, hex);
    snprintf(folder, sizeof folder, "%s/trees/%s", scratch, hex);
    uint64_t all = walk(b, NULL, &id);
    assert_true(all > 0);
    assert_int_equal(walk(b, scratch, &id), all);
    assert_int_equal(walk(b, scratch, &id), 0);
    for (int how = -1; how < 8; how++) { /* cut, or one bit flipped somewhere: fetched again, and kept again */
        assert_true(spoil(folder, how) > 0);
        assert_int_equal(walk(b, scratch, &id), all);
        assert_int_equal(walk(b, scratch, &id), 0);
    }
    char command[256];
    snprintf(command, sizeof command, "%s/trees/%032d", scratch, 7); /* an earlier registration's */
    assert_int_equal(mkdir(command, 0700), 0);
    assert_int_equal(walk(b, scratch, &id), 0);
    assert_int_not_equal(access(command, F_OK), 0);
    snprintf(command, sizeof command, "rm -r '%s'", scratch);
    assert_int_equal(system(command), 0);
    build_free(b);
}

static uint64_t used(const char *folder) {
    uint64_t total = 0;
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir));) {
        struct stat info;
        if (entry->d_name[0] == '.') continue;
        assert_int_equal(fstatat(dirfd(dir), entry->d_name, &info, 0), 0);
        total += (uint64_t)info.st_size;
    }
    closedir(dir);
    return total;
}

/* Two processes' worth of writers, one limit; what was used last stays. */
static void test_limit(void **state) {
    (void)state;
    char scratch[] = "/tmp/coffer-trees-XXXXXX", folder[128], name[CF_TREE_CACHE_NAME];
    cf_id16 server = {{1}};
    static uint8_t data[16384];
    cf_span span = {data, sizeof data};
    cf_tree_cache *one, *two;
    assert_non_null(mkdtemp(scratch));
    snprintf(folder, sizeof folder, "%s/trees/01000000000000000000000000000000", scratch);
    good(cf_tree_cache_open(scratch, &server, 1 << 20, &one));
    good(cf_tree_cache_open(scratch, &server, 1 << 20, &two));
    CF_AUTO_BUF cf_buf out;
    cf_buf_init(&out, 1 << 20);
    cf_tree_cache_put(one, "0000000000000000-0000", &span, 1);
    for (unsigned i = 1; i < 300; i++) {
        cf_tree_cache_segment_name(i, (uint16_t)i, name);
        cf_tree_cache_put(i % 2 ? one : two, name, &span, 1);
        assert_true(cf_tree_cache_get(one, "0000000000000000-0000", &out)); /* in use all the time */
        assert_true(used(folder) <= 2 << 20);
    }
    cf_tree_cache_trim(two);
    assert_true(used(folder) <= 1 << 20);
    assert_true(cf_tree_cache_get(one, name, &out));
    assert_int_equal(out.size, sizeof data);
    out.max = 100;
    assert_false(cf_tree_cache_get(one, name, &out));
    cf_tree_cache_close(one);
    cf_tree_cache_close(two);
    char command[256];
    snprintf(command, sizeof command, "rm -r '%s'", scratch);
    assert_int_equal(system(command), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_cache),
        cmocka_unit_test(test_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
