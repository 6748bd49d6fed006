/* Restoring what test code built: round trips, conflicts, damage, and destinations that fight back. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/text.h"
#include "build_repo.h"
#include "os/dir.h"
#include "restore/extra.h"
#include "restore/restore.h"
#include "restore/select.h"
#include "restore/verify.h"

enum { BIG = 3000000 };

typedef struct fixture {
    build *b;
    cf_source *source;
    cf_reader *reader;
    cf_point *point;
    cf_ref big_first; /* of /src/big */
    char dest[64];
    unsigned damaged, warned, planned;
    char last_damaged[256], last_warned[256];
} fixture;

static void good(cf_err *err) {
    if (!err) return;
    cf_err_print(stderr, err);
    cf_err_free(err);
    fail_msg("unexpected error");
}

static void bad(cf_err *err, cf_code code) {
    if (cf_err_code(err) != code) {
        if (err) cf_err_print(stderr, err);
        fail_msg("wanted %d", code);
    }
    cf_err_free(err);
}

static void fill(uint8_t *data, size_t size, unsigned seed) {
    uint32_t x = seed * 2654435761u + 1;
    for (size_t i = 0; i < size; i++) {
        x = x * 1664525u + 1013904223u;
        data[i] = (uint8_t)(x >> 24);
    }
}

static void keep(char out[256], cf_span path) {
    size_t size = path.size < 255 ? path.size : 255;
    memcpy(out, path.data, size);
    out[size] = 0;
}

static void on_damaged(void *context, cf_span path, const cf_err *err) {
    fixture *f = context;
    (void)err;
    f->damaged++;
    keep(f->last_damaged, path);
}
static void on_warning(void *context, cf_span path, const cf_err *err) {
    fixture *f = context;
    (void)err;
    f->warned++;
    if (path.size) keep(f->last_warned, path);
}
static void on_planned(void *context, cf_span path, cf_restore_action action, uint64_t size) {
    fixture *f = context;
    (void)path, (void)action, (void)size;
    f->planned++;
}

static cf_ref many_folder(build *b) {
    build_dir_writer *w = build_dir_new(b);
    for (unsigned i = 0; i < 700; i++) {
        char name[32], data[400];
        snprintf(name, sizeof name, "file-%04u", i);
        fill((uint8_t *)data, sizeof data, i);
        build_dir_file(w, name, data, i % 400);
    }
    return build_dir_end(w, 50);
}

static cf_ref deep_folder(build *b, unsigned depth) {
    build_dir_writer *w = build_dir_new(b);
    build_dir_file(w, "bottom", "deep down", 9);
    cf_ref node = build_dir_end(w, 0);
    char name[201];
    memset(name, 'd', 200);
    name[200] = 0;
    for (unsigned i = 0; i < depth; i++) {
        w = build_dir_new(b);
        build_dir_folder(w, name, node);
        build_dir_file(w, "e", "e", 1);
        node = build_dir_end(w, 0);
    }
    return node;
}

static void add_sparse(build *b, build_dir_writer *w) {
    cf_entry entry = build_entry("sparse", CF_TYPE_FILE);
    CF_AUTO_BUF cf_buf refs, extents;
    cf_buf_init(&extents, 4096);
    uint8_t data[30000];
    fill(data, sizeof data, 77);
    uint64_t end = 0;
    cf_extents_add(&extents, &end, 1 << 20, 10000);
    cf_extents_add(&extents, &end, 5 << 20, 20000);
    entry.meta.size = 9 << 20;
    entry.sparse = true;
    entry.extent_count = 2;
    entry.extents = cf_buf_span(&extents);
    entry.content = build_content(b, data, sizeof data, 7000, 100, &refs);
    build_dir_entry(w, &entry);
}

static void add_links(build *b, build_dir_writer *w) {
    cf_entry entry = build_entry("link-1", CF_TYPE_FILE);
    CF_AUTO_BUF cf_buf refs;
    entry.content = build_content(b, "linked", 6, 100, 10, &refs);
    entry.meta.size = 6;
    entry.meta.nlink = 3;
    entry.link_group = 42;
    build_dir_entry(w, &entry);
    entry.name = cf_span_text("link-2");
    build_dir_entry(w, &entry);
}

static void add_xattr(build_dir_writer *w) {
    cf_entry entry = build_entry("xattr", CF_TYPE_FILE);
    cf_xattr xattr = {cf_span_text("user.note"), cf_span_text("hello")};
    entry.meta.xattrs = &xattr;
    entry.meta.xattr_count = 1;
    build_dir_entry(w, &entry);
}

static fixture *setup(void) {
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    build *b = f->b = build_new(4);
    uint8_t *big = malloc(BIG);
    fill(big, BIG, 1);
    f->big_first = build_chunk(b, CF_KIND_DATA, big, 100000); /* the same chunk that build_dir_file will store again */
    build_cut_pack(b, CF_KIND_DATA);
    cf_ref many = many_folder(b), deep = deep_folder(b, 30);
    build_dir_writer *w = build_dir_new(b);
    cf_entry link = build_entry("link-3", CF_TYPE_FILE);
    CF_AUTO_BUF cf_buf refs, big_refs;
    link.content = build_content(b, "linked", 6, 100, 10, &refs);
    link.meta.size = 6;
    link.meta.nlink = 3;
    link.link_group = 42;
    build_dir_entry(w, &link);
    cf_ref other = build_dir_end(w, 0);
    w = build_dir_new(b);
    cf_entry entry = build_entry("big", CF_TYPE_FILE);
    entry.meta.size = BIG;
    entry.content = build_content(b, big, BIG, 100000, 8, &big_refs);
    build_dir_entry(w, &entry);
    build_dir_folder(w, "deep", deep);
    build_dir_file(w, "empty", "", 0);
    entry = build_entry("fifo", CF_TYPE_FIFO);
    build_dir_entry(w, &entry);
    add_links(b, w);
    build_dir_folder(w, "many", many);
    build_dir_folder(w, "other", other);
    entry = build_entry("sock", CF_TYPE_SOCKET);
    build_dir_entry(w, &entry);
    add_sparse(b, w);
    build_dir_symlink(w, "symlink", "/nowhere/at/all");
    build_dir_file(w, "tail", "the end", 7);
    add_xattr(w);
    cf_ref src = build_dir_end(w, 0);
    free(big);
    w = build_dir_new(b);
    build_dir_folder(w, "src", src);
    cf_id32 id = build_point(b, build_dir_end(w, 0), "/src", false);
    good(cf_source_folder_open(build_dir(b), build_server(b), &f->source));
    good(cf_reader_open(f->source, build_keys(b), build_server(b), 4 << 20, &f->reader));
    good(cf_reader_point_open(f->reader, &id, &f->point));
    good(cf_reader_point_map(f->reader, f->point));
    strcpy(f->dest, "/tmp/coffer-restored-XXXXXX");
    assert_non_null(mkdtemp(f->dest));
    return f;
}

static void teardown(fixture *f) {
    good(cf_dir_remove_tree(AT_FDCWD, f->dest));
    cf_point_close(f->point);
    cf_reader_close(f->reader);
    cf_source_close(f->source);
    build_free(f->b);
    free(f);
}

static cf_restore_options options(fixture *f) {
    return (cf_restore_options){
        .to = f->dest, .damaged = on_damaged, .warning = on_warning, .planned = on_planned, .context = f, .lanes = 4};
}

static char *at(const fixture *f, const char *path) {
    static char text[4][1024];
    static unsigned turn;
    char *out = text[turn++ % 4];
    snprintf(out, 1024, "%s/%s", f->dest, path);
    return out;
}

static void expect_file(const char *path, const void *data, size_t size) {
    FILE *file = fopen(path, "rb");
    if (!file) fail_msg("%s is missing", path);
    uint8_t *got = malloc(size + 1);
    assert_int_equal(fread(got, 1, size + 1, file), size);
    assert_memory_equal(got, data, size);
    free(got);
    fclose(file);
}

static void put_file(const char *path, const char *text) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void expect_all(fixture *f) {
    uint8_t *big = malloc(BIG);
    fill(big, BIG, 1);
    expect_file(at(f, "src/big"), big, BIG);
    free(big);
    expect_file(at(f, "src/tail"), "the end", 7);
    expect_file(at(f, "src/empty"), "", 0);
    expect_file(at(f, "src/link-2"), "linked", 6);
    struct stat a, b;
    assert_int_equal(stat(at(f, "src/link-1"), &a), 0);
    assert_int_equal(stat(at(f, "src/other/link-3"), &b), 0);
    assert_int_equal(a.st_ino, b.st_ino);
    assert_int_equal(a.st_nlink, 3);
    assert_int_equal(a.st_mtim.tv_sec, 1700000000);
    assert_int_equal(a.st_mtim.tv_nsec, 123456789);
    assert_int_equal(stat(at(f, "src/sparse"), &a), 0);
    assert_int_equal(a.st_size, 9 << 20);
    assert_true(a.st_blocks * 512 < 1 << 20);
    char target[100] = "";
    assert_int_equal(readlink(at(f, "src/symlink"), target, sizeof target), 15);
    assert_int_equal(stat(at(f, "src/fifo"), &a), 0);
    assert_true(S_ISFIFO(a.st_mode));
    assert_int_equal(stat(at(f, "src/many"), &a), 0);
    assert_int_equal(a.st_mtim.tv_sec, 1700000000);
    assert_int_equal(a.st_mode & 07777, 0755);
    for (unsigned i = 0; i < 700; i += 11) {
        char name[64], data[400];
        snprintf(name, sizeof name, "src/many/file-%04u", i);
        fill((uint8_t *)data, sizeof data, i);
        expect_file(at(f, name), data, i % 400);
    }
}

static unsigned leftovers(const char *dir) {
    char command[200], line[400];
    unsigned count = 0;
    snprintf(command, sizeof command, "find %s -name '.coffer-*'", dir);
    FILE *pipe = popen(command, "r");
    while (fgets(line, sizeof line, pipe)) count++;
    pclose(pipe);
    return count;
}

static void test_round_trip(void **state) {
    (void)state;
    fixture *f = setup();
    cf_restore_options opt = options(f);
    cf_restore_result result;
    good(cf_restore(f->reader, f->point, &opt, &result));
    expect_all(f);
    assert_int_equal(result.files, 700 + 30 + 1 + 1 + 1 + 3 + 1 + 1 + 1);
    assert_int_equal(result.directories, 1 + 31 + 1 + 1);
    assert_int_equal(result.others, 2);
    assert_int_equal(result.skipped, 1); /* the socket */
    assert_int_equal(result.damaged, 0);
    char value[10];
    if (getxattr(at(f, "src/xattr"), "user.note", value, sizeof value) < 0) assert_int_equal(errno, EOPNOTSUPP);
    /* Again: nothing is fetched but the tree, nothing written; only metadata mended. */
    struct stat before, after;
    assert_int_equal(stat(at(f, "src/big"), &before), 0);
    assert_int_equal(chmod(at(f, "src/big"), 0600), 0);
    for (int mode = CF_CONFLICT_COPY; mode <= CF_CONFLICT_SKIP; mode++) {
        opt.conflict = (cf_conflict)mode;
        good(cf_restore(f->reader, f->point, &opt, &result));
        assert_int_equal(result.identical, 700 + 30 + 1 + 1 + 1 + 1 + 1 + 1 + 1);
        assert_int_equal(stat(at(f, "src/big"), &after), 0);
        assert_int_equal(before.st_ino, after.st_ino);
        assert_int_equal(after.st_mode & 07777, 0644);
    }
    expect_all(f);
    assert_int_equal(leftovers(f->dest), 0);
    teardown(f);
}

static void test_conflicts(void **state) {
    (void)state;
    fixture *f = setup();
    cf_restore_options opt = options(f);
    cf_restore_result result;
    assert_int_equal(mkdir(at(f, "src"), 0700), 0);
    put_file(at(f, "src/tail"), "my own!");
    assert_int_equal(symlink("elsewhere", at(f, "src/symlink")), 0);
    cf_span pattern = cf_span_text("/src/tail");
    opt.patterns = &pattern;
    opt.pattern_count = 1;
    opt.conflict = CF_CONFLICT_SKIP;
    good(cf_restore(f->reader, f->point, &opt, &result));
    assert_int_equal(result.skipped, 1);
    expect_file(at(f, "src/tail"), "my own!", 7);
    opt.conflict = CF_CONFLICT_COPY;
    for (int i = 0; i < 2; i++) good(cf_restore(f->reader, f->point, &opt, &result));
    assert_int_equal(result.identical, 1); /* the copy, the second time */
    expect_file(at(f, "src/tail"), "my own!", 7);
    char name[200], when[40];
    time_t time = 1700000000;
    struct tm tm;
    strftime(when, sizeof when, "%Y-%m-%d %H-%M", localtime_r(&time, &tm));
    snprintf(name, sizeof name, "src/%s Copy of tail", when);
    expect_file(at(f, name), "the end", 7);
    put_file(at(f, name), "changed");
    good(cf_restore(f->reader, f->point, &opt, &result));
    snprintf(name, sizeof name, "src/%s Copy (2) of tail", when);
    expect_file(at(f, name), "the end", 7);
    opt.conflict = CF_CONFLICT_OVERWRITE;
    good(cf_restore(f->reader, f->point, &opt, &result));
    expect_file(at(f, "src/tail"), "the end", 7);
    opt.pattern_count = 0;
    good(cf_restore(f->reader, f->point, &opt, &result));
    expect_all(f);
    /* A folder where a file should be stays, and is named. */
    assert_int_equal(unlink(at(f, "src/tail")), 0);
    assert_int_equal(mkdir(at(f, "src/tail"), 0700), 0);
    f->warned = 0;
    good(cf_restore(f->reader, f->point, &opt, &result));
    assert_int_equal(f->warned, 1);
    assert_string_equal(f->last_warned, "/src/tail");
    teardown(f);
}

static void test_selection(void **state) {
    (void)state;
    fixture *f = setup();
    cf_restore_options opt = options(f);
    cf_restore_result result;
    struct stat st;
    cf_span patterns[] = {cf_span_text("/src/other"), cf_span_text("file-000?"), cf_span_text("/src/b*")};
    opt.patterns = patterns;
    opt.pattern_count = 3;
    good(cf_restore(f->reader, f->point, &opt, &result));
    expect_file(at(f, "src/other/link-3"), "linked", 6); /* the group's other names are not meant */
    assert_int_equal(stat(at(f, "src/other/link-3"), &st), 0);
    assert_int_equal(st.st_nlink, 1);
    assert_int_equal(stat(at(f, "src/many/file-0009"), &st), 0);
    assert_int_not_equal(stat(at(f, "src/many/file-0010"), &st), 0);
    assert_int_not_equal(stat(at(f, "src/deep"), &st), 0);
    assert_int_equal(stat(at(f, "src/big"), &st), 0);
    assert_int_equal(result.files, 12);
    cf_span nothing = cf_span_text("/src/tali");
    opt.patterns = &nothing;
    opt.pattern_count = 1;
    bad(cf_restore(f->reader, f->point, &opt, &result), CF_ERR_NOT_IN_POINT);
    /* Without the source's path. */
    char dest[128];
    snprintf(dest, sizeof dest, "%s/stripped/more", f->dest);
    opt.pattern_count = 0;
    opt.strip = true;
    opt.to = dest;
    good(cf_restore(f->reader, f->point, &opt, &result));
    expect_file(at(f, "stripped/more/tail"), "the end", 7);
    assert_int_equal(stat(at(f, "stripped/more"), &st), 0);
    assert_int_equal(st.st_mtim.tv_sec, 1700000000);
    cf_span two[] = {cf_span_text("/src/many/file-0007"), cf_span_text("/src/other")};
    opt.patterns = two;
    opt.pattern_count = 2;
    snprintf(dest, sizeof dest, "%s/two", f->dest);
    good(cf_restore(f->reader, f->point, &opt, &result));
    assert_int_equal(stat(at(f, "two/file-0007"), &st), 0);
    assert_int_equal(stat(at(f, "two/other/link-3"), &st), 0);
    teardown(f);
}

static void test_dry_run(void **state) {
    (void)state;
    fixture *f = setup();
    cf_restore_options opt = options(f);
    cf_restore_result result;
    char dest[128];
    snprintf(dest, sizeof dest, "%s/not/there", f->dest);
    opt.to = dest;
    opt.dry_run = true;
    good(cf_restore(f->reader, f->point, &opt, &result));
    assert_int_equal(f->planned, 700 + 30 + 1 + 1 + 1 + 3 + 1 + 1 + 1 + 2);
    struct stat st;
    assert_int_not_equal(stat(at(f, "not"), &st), 0);
    /* What is there is left alone, its metadata too. */
    assert_int_equal(mkdir(at(f, "src"), 0700), 0);
    put_file(at(f, "src/tail"), "the end");
    assert_int_equal(chmod(at(f, "src/tail"), 0600), 0);
    opt.to = f->dest;
    opt.conflict = CF_CONFLICT_OVERWRITE;
    good(cf_restore(f->reader, f->point, &opt, &result));
    assert_int_equal(result.identical, 1);
    assert_int_equal(stat(at(f, "src"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_int_equal(stat(at(f, "src/tail"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    teardown(f);
}

/* The reference of the nth chunk of a file. */
static cf_ref nth_ref(fixture *f, const char *path, int n) {
    cf_entry_copy copy = {0};
    bool found, more;
    cf_lane *lane;
    cf_content_reader *content;
    cf_ref ref = {0};
    good(cf_lane_new(f->reader, &lane));
    good(cf_tree_lookup(lane, f->point->map, &f->point->root.tree, cf_span_text(path), &copy, &found));
    assert_true(found);
    good(cf_content_reader_open(lane, f->point->map, &copy.entry.content, &content));
    for (int i = 0; i < n; i++) good(cf_content_reader_next(content, &ref, &more));
    cf_content_reader_close(content);
    cf_entry_copy_wipe(&copy);
    cf_lane_free(lane);
    return ref;
}

static void test_damage(void **state) {
    (void)state;
    fixture *f = setup();
    cf_restore_options opt = options(f);
    cf_restore_result result;
    cf_ref ref = nth_ref(f, "/src/big", 10);
    build_flip(f->b, ref.pack, ref.segment);
    good(cf_restore(f->reader, f->point, &opt, &result));
    assert_int_equal(f->damaged, 1);
    assert_string_equal(f->last_damaged, "/src/big");
    assert_int_equal(result.damaged, 1);
    struct stat st;
    char dest[128];
    snprintf(dest, sizeof dest, "%s/stripped", f->dest);
    cf_restore_options strip = opt;
    strip.to = dest;
    strip.strip = true;
    good(cf_restore(f->reader, f->point, &strip, &result));
    assert_string_equal(f->last_damaged, "/src/big"); /* as in the point, also here */
    f->damaged = 1;
    assert_int_not_equal(stat(at(f, "src/big"), &st), 0);
    expect_file(at(f, "src/tail"), "the end", 7);
    assert_int_equal(leftovers(f->dest), 0);
    /* A whole pack gone. */
    f->damaged = 0;
    char *path = build_pack_path(f->b, ref.pack);
    assert_int_equal(unlink(path), 0);
    free(path);
    fixture *g = f;
    cf_reader *fresh;
    good(cf_reader_open(g->source, build_keys(g->b), build_server(g->b), 4 << 20, &fresh));
    good(cf_restore(fresh, f->point, &opt, &result));
    cf_reader_close(fresh);
    assert_true(f->damaged >= 1);
    expect_file(at(f, "src/link-2"), "linked", 6);
    teardown(f);
}

/* Links planted at the destination before the restore: nothing is written where they lead. */
static void test_planted_links(void **state) {
    (void)state;
    for (int mode = CF_CONFLICT_COPY; mode <= CF_CONFLICT_SKIP; mode++) {
        fixture *f = setup();
        cf_restore_options opt = options(f);
        cf_restore_result result;
        char outside[] = "/tmp/coffer-outside-XXXXXX";
        assert_non_null(mkdtemp(outside));
        char victim[64];
        snprintf(victim, sizeof victim, "%s/victim", outside);
        put_file(victim, "untouched");
        assert_int_equal(mkdir(at(f, "src"), 0700), 0);
        assert_int_equal(symlink(outside, at(f, "src/many")), 0);
        assert_int_equal(symlink(victim, at(f, "src/tail")), 0);
        assert_int_equal(link(victim, at(f, "src/big")), 0);
        opt.conflict = (cf_conflict)mode;
        good(cf_restore(f->reader, f->point, &opt, &result));
        expect_file(victim, "untouched", 9);
        bool empty;
        int fd = open(outside, O_RDONLY | O_DIRECTORY);
        assert_int_equal(unlink(victim), 0);
        good(cf_dir_empty(fd, outside, &empty));
        assert_true(empty);
        close(fd);
        assert_int_equal(rmdir(outside), 0);
        if (mode == CF_CONFLICT_OVERWRITE) expect_all(f);
        teardown(f);
    }
}

struct swapper {
    fixture *f;
    const char *outside;
    atomic_bool stop;
};

static void *swap_main(void *argument) {
    struct swapper *s = argument;
    char folder[128], away[128];
    snprintf(folder, sizeof folder, "%s/src/many", s->f->dest);
    snprintf(away, sizeof away, "%s/away", s->f->dest);
    while (!atomic_load(&s->stop)) {
        if (rename(folder, away) == 0) {
            (void)!symlink(s->outside, folder);
            usleep(300);
            unlink(folder);
            rename(away, folder);
        }
        usleep(100);
    }
    return NULL;
}

/* A folder of the destination is swapped for a link, again and again, while the restore runs. */
static void test_swapped_links(void **state) {
    (void)state;
    fixture *f = setup();
    char outside[] = "/tmp/coffer-outside-XXXXXX";
    assert_non_null(mkdtemp(outside));
    struct swapper s = {.f = f, .outside = outside};
    pthread_t thread;
    pthread_create(&thread, NULL, swap_main, &s);
    cf_restore_options opt = options(f);
    opt.conflict = CF_CONFLICT_OVERWRITE;
    cf_restore_result result;
    for (int i = 0; i < 8; i++) {
        good(cf_restore(f->reader, f->point, &opt, &result));
        char command[128];
        snprintf(command, sizeof command, "rm -rf %s/src", f->dest);
        (void)!system(command);
    }
    atomic_store(&s.stop, true);
    pthread_join(thread, NULL);
    bool empty;
    int fd = open(outside, O_RDONLY | O_DIRECTORY);
    good(cf_dir_empty(fd, outside, &empty));
    assert_true(empty);
    close(fd);
    assert_int_equal(rmdir(outside), 0);
    teardown(f);
}

/* A folder record with a name that leads elsewhere. */
static void test_hostile_names(void **state) {
    (void)state;
    static const char *const names[] = {"a/b", "..", "./x"};
    for (size_t n = 0; n < 3; n++) {
        build *b = build_new(8);
        CF_AUTO_BUF cf_buf node;
        cf_buf_init(&node, CF_NODE_MAX);
        cf_node_writer *writer;
        good(cf_node_writer_new(&writer));
        char plain[8] = "QQQ";
        plain[strlen(names[n])] = 0;
        cf_entry entry = build_entry(plain, CF_TYPE_FILE);
        good(cf_node_writer_add(writer, &entry));
        good(cf_node_writer_finish(writer, &node));
        cf_node_writer_free(writer);
        uint8_t *name = memmem(node.data, node.size, plain, strlen(plain));
        assert_non_null(name);
        memcpy(name, names[n], strlen(plain));
        cf_ref evil = build_chunk(b, CF_KIND_TREE, node.data, node.size);
        build_dir_writer *w = build_dir_new(b);
        build_dir_folder(w, "evil", evil);
        build_dir_file(w, "good", "ok", 2);
        cf_id32 id = build_point(b, build_dir_end(w, 0), "/", false);
        fixture *f = calloc(1, sizeof *f);
        f->b = b;
        good(cf_source_folder_open(build_dir(b), build_server(b), &f->source));
        good(cf_reader_open(f->source, build_keys(b), build_server(b), 4 << 20, &f->reader));
        good(cf_reader_point_open(f->reader, &id, &f->point));
        good(cf_reader_point_map(f->reader, f->point));
        strcpy(f->dest, "/tmp/coffer-restored-XXXXXX");
        assert_non_null(mkdtemp(f->dest));
        cf_restore_options opt = options(f);
        cf_restore_result result;
        good(cf_restore(f->reader, f->point, &opt, &result));
        assert_int_equal(f->damaged, 1);
        assert_string_equal(f->last_damaged, "/evil");
        expect_file(at(f, "good"), "ok", 2);
        teardown(f);
    }
}

static void test_cancel(void **state) {
    (void)state;
    fixture *f = setup();
    cf_restore_options opt = options(f);
    cf_restore_result result;
    cf_cancel cancel = {0};
    cf_cancel_request(&cancel, 2);
    opt.cancel = &cancel;
    bad(cf_restore(f->reader, f->point, &opt, &result), CF_ERR_CANCELLED);
    assert_int_equal(leftovers(f->dest), 0);
    teardown(f);
}

static void test_verify(void **state) {
    (void)state;
    fixture *f = setup();
    cf_verify_options opt = {.damaged = on_damaged, .warning = on_warning, .context = f, .lanes = 3};
    cf_verify_result result, sample;
    good(cf_verify(f->reader, f->point, &opt, &result));
    assert_int_equal(result.damaged, 0);
    assert_true(result.bytes > BIG + 100000);
    assert_true(result.chunks > 700);
    opt.sample = 20;
    good(cf_verify(f->reader, f->point, &opt, &sample));
    assert_true(sample.segments < result.segments && sample.damaged == 0);
    opt.sample = 0;
    cf_ref ref = nth_ref(f, "/src/big", 10);
    build_flip(f->b, ref.pack, ref.segment);
    cf_reader *fresh;
    good(cf_reader_open(f->source, build_keys(f->b), build_server(f->b), 4 << 20, &fresh));
    good(cf_verify(fresh, f->point, &opt, &result));
    assert_int_equal(result.damaged, 1);
    assert_string_equal(f->last_damaged, "/src/big");
    /* The directory of that pack too: its chunks are then read one by one. */
    build_flip(f->b, ref.pack, CF_SEGMENT_DIRECTORY);
    f->damaged = f->warned = 0;
    good(cf_verify(fresh, f->point, &opt, &result));
    assert_int_equal(result.damaged, 1);
    assert_int_equal(f->warned, 1);
    /* And all of it gone. */
    char *path = build_pack_path(f->b, ref.pack);
    assert_int_equal(unlink(path), 0);
    free(path);
    cf_reader_close(fresh);
    good(cf_reader_open(f->source, build_keys(f->b), build_server(f->b), 4 << 20, &fresh));
    f->damaged = 0;
    good(cf_verify(fresh, f->point, &opt, &result));
    assert_true(result.damaged >= 1 && result.damaged == f->damaged);
    cf_reader_close(fresh);
    teardown(f);
}

/* A segment that the point's map forgot, in restore and verify. */
static void test_outside_map(void **state) {
    (void)state;
    fixture *f = setup();
    cf_ref ref = nth_ref(f, "/src/big", 10);
    cf_map *shrunk;
    good(cf_map_new(&shrunk));
    uint64_t pack;
    for (size_t cursor = 0; cf_map_next_pack(f->point->map, &cursor, &pack);)
        for (uint32_t segment = 0; cf_map_next_segment(f->point->map, pack, &segment); segment++)
            if (pack != ref.pack || segment != ref.segment) good(cf_map_add(shrunk, pack, (uint16_t)segment));
    cf_map_free(f->point->map);
    f->point->map = shrunk;
    cf_verify_options verify = {.damaged = on_damaged, .context = f};
    cf_verify_result verified;
    good(cf_verify(f->reader, f->point, &verify, &verified));
    assert_int_equal(verified.damaged, 1);
    cf_restore_options opt = options(f);
    cf_restore_result result;
    good(cf_restore(f->reader, f->point, &opt, &result));
    assert_int_equal(result.damaged, 1);
    assert_string_equal(f->last_damaged, "/src/big");
    teardown(f);
}

static void test_patterns(void **state) {
    (void)state;
    static const struct {
        const char *pattern, *path;
        cf_selected want;
    } rows[] = {
        {"/etc", "/etc", CF_SELECTED_ALL},
        {"/etc/", "/etc", CF_SELECTED_ALL},
        {"/etc", "/etcx", CF_SELECTED_NOT},
        {"/a/b/c", "/a", CF_SELECTED_WAY},
        {"/a/b/c", "/a/b", CF_SELECTED_WAY},
        {"/a/b/c", "/a/bb", CF_SELECTED_NOT},
        {"*.conf", "/etc/x.conf", CF_SELECTED_ALL},
        {"*.conf", "/x.conf", CF_SELECTED_ALL},
        {"*.conf", "/etc/x.cfg", CF_SELECTED_WAY},
        {"/etc/*.conf", "/etc/x.conf", CF_SELECTED_ALL},
        {"/etc/*.conf", "/etc/y/x.conf", CF_SELECTED_WAY},
        {"/etc/*.conf", "/usr", CF_SELECTED_NOT},
        {"/etc/**/x", "/etc/x", CF_SELECTED_ALL},
        {"/etc/**/x", "/etc/a/b/x", CF_SELECTED_ALL},
        {"/etc/**", "/etc/a/b", CF_SELECTED_ALL},
        {"b/c", "/a/b/c", CF_SELECTED_ALL},
        {"b/c", "/a/xb/c", CF_SELECTED_WAY},
        {"/[a-c]x", "/bx", CF_SELECTED_ALL},
        {"/[!a-c]x", "/bx", CF_SELECTED_NOT},
        {"/a\\*", "/a*", CF_SELECTED_ALL},
        {"/a\\*", "/ab", CF_SELECTED_NOT},
        {"/", "/anything", CF_SELECTED_ALL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cf_select *select;
        cf_span pattern = cf_span_text(rows[i].pattern);
        good(cf_select_new(&pattern, 1, &select));
        cf_selected got = cf_select_test(select, cf_span_text(rows[i].path));
        bool way_or_not = rows[i].want != CF_SELECTED_ALL && got != CF_SELECTED_ALL && rows[i].pattern[0] == '/' &&
                          rows[i].want == CF_SELECTED_NOT;
        if (got != rows[i].want && !way_or_not) fail_msg("%s on %s: %d", rows[i].pattern, rows[i].path, got);
        cf_select_free(select);
    }
}

/* ---- What is extra ---- */

static bool there(const fixture *f, const char *path) {
    struct stat st;
    return lstat(at(f, path), &st) == 0;
}

static void plant(const fixture *f) {
    assert_int_equal(mkdir(at(f, "src/new"), 0700), 0);
    assert_int_equal(mkdir(at(f, "src/new/below"), 0700), 0);
    put_file(at(f, "src/new/below/file"), "x");
    put_file(at(f, "src/many/extra"), "x");
    assert_int_equal(symlink(f->dest, at(f, "src/other/loop")), 0);
    put_file(at(f, "beside"), "above the source: not ours");
    assert_int_equal(mkfifo(at(f, "src/sock"), 0600), 0); /* the point has a socket of this name */
}

static void expect_planted(const fixture *f, bool kept) {
    assert_int_equal(there(f, "src/new/below/file"), kept);
    assert_int_equal(there(f, "src/new"), kept);
    assert_int_equal(there(f, "src/many/extra"), kept);
    assert_int_equal(there(f, "src/other/loop"), kept);
    assert_true(there(f, "beside") && there(f, "src/sock"));
}

static cf_extras *found(fixture *f, const cf_restore_options *opt, size_t count) {
    cf_extras *extras;
    good(cf_extras_find(f->reader, f->point, opt, NULL, 0, &extras));
    assert_int_equal(cf_extras_count(extras), count);
    return extras;
}

static void remove_found(cf_extras *extras, const cf_restore_options *opt, uint64_t want) {
    uint64_t deleted = 0;
    good(cf_extras_remove(extras, opt, NULL, &deleted));
    assert_int_equal(deleted, want);
    cf_extras_free(extras);
}

static fixture *setup_restored(cf_restore_options *opt) {
    fixture *f = setup();
    cf_restore_result result;
    *opt = options(f);
    opt->conflict = CF_CONFLICT_OVERWRITE;
    good(cf_restore(f->reader, f->point, opt, &result));
    return f;
}

static void test_extra(void **state) {
    (void)state;
    cf_restore_options opt;
    cf_restore_result result;
    fixture *f = setup_restored(&opt);
    cf_extras_free(found(f, &opt, 0));
    plant(f);
    cf_extras *extras = found(f, &opt, 3);
    CF_AUTO_BUF cf_buf path;
    cf_buf_init(&path, 4096);
    cf_file_type type;
    good(cf_extras_path(extras, 0, &path, &type));
    assert_true(cf_span_equal(cf_buf_span(&path), cf_span_text(at(f, "src/new"))));
    assert_int_equal(type, CF_TYPE_DIRECTORY);
    expect_planted(f, true);
    good(cf_restore(f->reader, f->point, &opt, &result));
    remove_found(extras, &opt, 3);
    expect_planted(f, false);
    expect_all(f); /* times of folders too */
    assert_int_equal(f->warned, 0);
    teardown(f);
}

static void test_extra_selected(void **state) {
    (void)state;
    cf_restore_options opt;
    fixture *f = setup_restored(&opt);
    plant(f);
    cf_span patterns[] = {cf_span_text("/src/tail"), cf_span_text("file-*")};
    opt.patterns = patterns;
    opt.pattern_count = 2;
    cf_extras_free(found(f, &opt, 0));
    patterns[0] = cf_span_text("/src/many");
    remove_found(found(f, &opt, 1), &opt, 1);
    assert_true(!there(f, "src/many/extra") && there(f, "src/other/loop") && there(f, "src/new"));
    /* A destination that stands for the source itself, and one that is not there. */
    char dest[128];
    snprintf(dest, sizeof dest, "%s/src/many", f->dest);
    put_file(at(f, "src/many/extra"), "x");
    opt.to = dest;
    opt.strip = true;
    opt.pattern_count = 1;
    remove_found(found(f, &opt, 1), &opt, 1);
    assert_true(!there(f, "src/many/extra") && there(f, "src/many/file-0001"));
    opt.to = "/tmp/coffer-restored-nowhere";
    cf_extras_free(found(f, &opt, 0));
    /* An own folder, and what holds one. */
    opt = options(f);
    char own[2][128];
    snprintf(own[0], sizeof own[0], "%s/src/new/below", f->dest);
    snprintf(own[1], sizeof own[1], "%s/src/other", f->dest);
    const char *const keep[] = {own[0], own[1], "/nowhere/at/all"};
    cf_extras *extras;
    good(cf_extras_find(f->reader, f->point, &opt, keep, 3, &extras));
    assert_int_equal(cf_extras_count(extras), 0);
    assert_int_equal(cf_extras_warnings(extras), 1);
    cf_extras_report(extras, &opt);
    assert_string_equal(f->last_warned, at(f, "src/new"));
    cf_extras_free(extras);
    teardown(f);
}

/* Between finding and removing: a folder becomes a link, an object another one. */
static void test_extra_swapped(void **state) {
    (void)state;
    cf_restore_options opt;
    fixture *f = setup_restored(&opt);
    plant(f);
    cf_extras *extras = found(f, &opt, 3);
    char outside[] = "/tmp/coffer-outside-XXXXXX", victim[64];
    assert_non_null(mkdtemp(outside));
    snprintf(victim, sizeof victim, "%s/extra", outside);
    put_file(victim, "untouched");
    assert_int_equal(rename(at(f, "src/many"), at(f, "src/away")), 0);
    assert_int_equal(symlink(outside, at(f, "src/many")), 0);
    assert_int_equal(rename(at(f, "src/new"), at(f, "src/new-away")), 0);
    put_file(at(f, "src/new"), "somebody's");
    remove_found(extras, &opt, 1); /* the link in other */
    assert_int_equal(f->warned, 2);
    expect_file(victim, "untouched", 9);
    assert_true(there(f, "src/new") && there(f, "src/away/extra") && there(f, "src/new-away/below/file"));
    assert_int_equal(unlink(victim), 0);
    assert_int_equal(rmdir(outside), 0);
    teardown(f);
}

static void test_extra_flags(void **state) {
    (void)state;
    cf_restore_options opt;
    fixture *f = setup_restored(&opt);
    plant(f);
    char command[600];
    snprintf(command, sizeof command,
             "chattr +i %s/src/new/below/file %s/src/many/extra && chattr +a %s/src/new && chattr +i %s/src/many",
             f->dest, f->dest, f->dest, f->dest);
    bool able = system(command) == 0; /* not on every file system, and only root */
    remove_found(found(f, &opt, 3), &opt, 3);
    expect_planted(f, false);
    assert_int_equal(f->warned, 0);
    if (able) {
        assert_int_not_equal(unlink(at(f, "src/many/file-0001")), 0); /* the folder's flag was given back */
        snprintf(command, sizeof command, "chattr -i %s/src/many", f->dest);
        assert_int_equal(system(command), 0);
    }
    teardown(f);
}

/* Temporary files: one that somebody is writing, one that a crash left. And a cancelled run removes nothing. */
static void test_extra_in_use(void **state) {
    (void)state;
    cf_restore_options opt;
    fixture *f = setup_restored(&opt);
    put_file(at(f, "src/.coffer-live"), "x");
    put_file(at(f, "src/.coffer-dead"), "x");
    int fd = open(at(f, "src/.coffer-live"), O_RDWR);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    cf_extras *extras = found(f, &opt, 2);
    cf_cancel cancel = {0};
    cf_cancel_request(&cancel, 2);
    opt.cancel = &cancel;
    uint64_t deleted = 9;
    bad(cf_extras_remove(extras, &opt, NULL, &deleted), CF_ERR_CANCELLED);
    assert_int_equal(deleted, 0);
    opt.cancel = NULL;
    remove_found(extras, &opt, 1);
    assert_true(there(f, "src/.coffer-live") && !there(f, "src/.coffer-dead"));
    assert_string_equal(f->last_warned, at(f, "src/.coffer-live"));
    close(fd);
    teardown(f);
}

static void test_extra_damage(void **state) {
    (void)state;
    cf_restore_options opt;
    fixture *f = setup_restored(&opt);
    plant(f);
    cf_lane *lane;
    cf_entry_copy copy = {0};
    bool in_point;
    good(cf_lane_new(f->reader, &lane));
    good(cf_tree_lookup(lane, f->point->map, &f->point->root.tree, cf_span_text("/src/many"), &copy, &in_point));
    assert_true(in_point);
    cf_ref node = copy.entry.node;
    cf_entry_copy_wipe(&copy);
    cf_lane_free(lane);
    /* The map forgets the segment with the folder's record: what shares it cannot be read either. */
    cf_map *shrunk;
    good(cf_map_new(&shrunk));
    uint64_t pack;
    for (size_t cursor = 0; cf_map_next_pack(f->point->map, &cursor, &pack);)
        for (uint32_t segment = 0; cf_map_next_segment(f->point->map, pack, &segment); segment++)
            if (pack != node.pack || segment != node.segment) good(cf_map_add(shrunk, pack, (uint16_t)segment));
    cf_map_free(f->point->map);
    f->point->map = shrunk;
    cf_extras *extras;
    good(cf_extras_find(f->reader, f->point, &opt, NULL, 0, &extras));
    uint64_t deleted;
    good(cf_extras_remove(extras, &opt, NULL, &deleted));
    cf_extras_free(extras);
    assert_true(there(f, "src/many/extra") && there(f, "src/many/file-0001") && there(f, "beside"));
    teardown(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),    cmocka_unit_test(test_conflicts),
        cmocka_unit_test(test_selection),     cmocka_unit_test(test_dry_run),
        cmocka_unit_test(test_damage),        cmocka_unit_test(test_planted_links),
        cmocka_unit_test(test_swapped_links), cmocka_unit_test(test_hostile_names),
        cmocka_unit_test(test_cancel),        cmocka_unit_test(test_verify),
        cmocka_unit_test(test_outside_map),   cmocka_unit_test(test_patterns),
        cmocka_unit_test(test_extra),         cmocka_unit_test(test_extra_selected),
        cmocka_unit_test(test_extra_swapped), cmocka_unit_test(test_extra_flags),
        cmocka_unit_test(test_extra_in_use),  cmocka_unit_test(test_extra_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
