/* What a scan leaves out is what cf_coverage_test says, for random trees and policies, also when the tree cache was made with
 * another selection; and a folder that is made. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "local_vault.h"
#include "os/dir.h"
#include "repo/source_folder.h"
#include "repo/tree_walk.h"

enum { PATHS_MAX = 2000, ROUNDS = 60 };

typedef struct fixture {
    char folder[64], tree[128];
    local_vault vault;
    uint32_t seed;
    char *paths[PATHS_MAX]; /* of the tree, with it */
    size_t count;
    bool stored[PATHS_MAX];
    size_t unknown; /* stored, but not of the tree or on the way to it */
} fixture;

static const char tag[] = "Signature: 8a477f597d28d172789f06886806bc55\n";
static const char *const names[] = {"a", "b", "c", "a.o", "b.tmp", "cache", "CACHEDIR.TAG"};

static void ok(cf_err *err) {
    if (err) cf_err_print(stderr, err);
    assert_null(err);
}

static unsigned draw(fixture *f, unsigned below) {
    f->seed = f->seed * 1664525u + 1013904223u;
    return (f->seed >> 8) % below;
}

static void put(const char *path, const char *text) {
    int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static void grow(fixture *f, const char *folder, unsigned depth) {
    f->paths[f->count++] = strdup(folder);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[512];
        bool is_tag = i == 6;
        if (draw(f, is_tag ? 6 : 5) == 0 && depth > 0) continue;
        if (is_tag && draw(f, 3)) continue;
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        if (!is_tag && depth < 4 && draw(f, 2)) {
            assert_int_equal(mkdir(path, 0755), 0);
            if (f->count < PATHS_MAX - 500) grow(f, path, depth + 1);
            continue;
        }
        put(path, is_tag && draw(f, 3) ? tag : path);
        f->paths[f->count++] = strdup(path);
    }
}

static int setup(void **state) {
    fixture *f = calloc(1, sizeof *f);
    strcpy(f->folder, "/tmp/coffer-filter-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->tree, sizeof f->tree, "%s/tree", f->folder);
    assert_int_equal(mkdir(f->tree, 0755), 0);
    f->seed = 20261121;
    local_vault_open(&f->vault, f->folder);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    fixture *f = *state;
    local_vault_close(&f->vault);
    for (size_t i = 0; i < f->count; i++) free(f->paths[i]);
    CF_AUTO(cf_err) err = cf_dir_remove_tree(AT_FDCWD, f->folder);
    assert_null(err);
    free(f);
    return 0;
}

static void random_pattern(fixture *f, char *out) {
    static const char *const words[] = {"a", "b", "c", "a.o", "*.tmp", "cache", "**", "?", "[ab]*", "*"};
    *out = 0;
    if (draw(f, 3) == 0) strcat(out, "!");
    if (draw(f, 4) == 0) strcat(out, "/");
    for (unsigned parts = 1 + draw(f, 3); parts > 0; parts--) {
        strcat(out, words[draw(f, 10)]);
        if (parts > 1 || draw(f, 4) == 0) strcat(out, "/");
    }
}

static void random_policy(fixture *f, cf_policy *policy) {
    cf_policy_init(policy);
    policy->exclude_caches = draw(f, 2);
    char pattern[128];
    for (unsigned sources = 1 + draw(f, 3); sources > 0; sources--) {
        const char *path = draw(f, 2) ? f->tree : f->paths[draw(f, (unsigned)f->count)];
        cf_policy_source *source = cf_policy_find_source(policy, path);
        if (!source) ok(cf_policy_add_source(policy, path, &source));
        for (unsigned i = draw(f, 3); i > 0; i--) {
            random_pattern(f, pattern);
            ok(cf_strings_add(&source->exclude, pattern));
        }
    }
    for (unsigned i = draw(f, 3); i > 0; i--) {
        random_pattern(f, pattern);
        ok(cf_strings_add(&policy->exclude, pattern));
    }
}

static cf_err *note_stored(void *context, cf_span path, const cf_entry *entry, bool *enter) {
    fixture *f = context;
    (void)entry, (void)enter;
    bool way = path.size < strlen(f->tree);
    for (size_t i = 0; i < f->count; i++)
        if (cf_span_equal(path, cf_span_text(f->paths[i]))) {
            f->stored[i] = true;
            return NULL;
        }
    f->unknown += !way;
    return NULL;
}

static void list_stored(fixture *f, const local_run *run) {
    CF_AUTO(cf_source) source = NULL;
    CF_AUTO(cf_reader) reader = NULL;
    CF_AUTO(cf_lane) lane = NULL;
    memset(f->stored, 0, sizeof f->stored);
    f->unknown = 0;
    ok(cf_source_folder_open(f->vault.folder, &f->vault.server, &source));
    ok(cf_reader_open(source, f->vault.keys, &f->vault.server, CF_READER_CACHE_DEFAULT, &reader));
    ok(cf_lane_new(reader, &lane));
    cf_tree_visitor visitor = {.entry = note_stored, .context = f};
    ok(cf_tree_walk(lane, run->result.map, &run->result.tree, cf_span_text("/"), &visitor));
}

static void look_up(fixture *f, const local_run *run, const char *path, cf_entry_copy *copy) {
    CF_AUTO(cf_source) source = NULL;
    CF_AUTO(cf_reader) reader = NULL;
    CF_AUTO(cf_lane) lane = NULL;
    bool found = false;
    ok(cf_source_folder_open(f->vault.folder, &f->vault.server, &source));
    ok(cf_reader_open(source, f->vault.keys, &f->vault.server, CF_READER_CACHE_DEFAULT, &reader));
    ok(cf_lane_new(reader, &lane));
    ok(cf_tree_lookup(lane, run->result.map, &run->result.tree, cf_span_text(path), copy, &found));
    assert_true(found);
}

static void one_round(fixture *f, bool *reads) {
    cf_policy policy;
    CF_AUTO_COVERAGE cf_coverage coverage = {0};
    local_run run;
    random_policy(f, &policy);
    ok(cf_coverage_from_policy(&policy, NULL, NULL, &coverage));
    f->vault.coverage = &coverage;
    ok(local_vault_backup(&f->vault, NULL, NULL, 2, &run));
    assert_int_equal(run.warnings, 0);
    list_stored(f, &run);
    assert_int_equal(f->unknown, 0);
    for (size_t i = 0; i < f->count; i++) {
        cf_coverage_verdict verdict;
        ok(cf_coverage_test(&coverage, cf_span_text(f->paths[i]), false, &verdict));
        bool covered = verdict.covered == CF_COVERED || verdict.covered == CF_COVERED_WAY;
        if (covered != f->stored[i])
            print_error("%s: stored %d, verdict %d\n", f->paths[i], f->stored[i], verdict.covered);
        assert_true(covered == f->stored[i]);
    }
    *reads = run.result.bytes_read > 0;
    local_run_wipe(&run);
    cf_policy_wipe(&policy);
}

static void random_selections(void **state) {
    fixture *f = *state;
    grow(f, f->tree, 0);
    assert_true(f->count > 150);
    struct timespec tick = {0, 30 * 1000 * 1000};
    nanosleep(&tick, NULL); /* ctimes must lie clearly before the first scan */
    for (int i = 0; i < ROUNDS; i++) {
        bool reads;
        one_round(f, &reads);
    }
}

static void a_changed_selection_reads_only_what_came_in(void **state) {
    fixture *f = *state;
    grow(f, f->tree, 0);
    struct timespec tick = {0, 30 * 1000 * 1000};
    nanosleep(&tick, NULL);
    static const char *const patterns[] = {"nothing", "a/", "*.o", "/none"};
    uint64_t whole = 0;
    for (int i = 0; i < 4; i++) {
        CF_AUTO_COVERAGE cf_coverage coverage = {0};
        local_run run;
        ok(cf_coverage_from_paths((const char *const[]){f->tree}, 1, &patterns[i], 1, &coverage));
        f->vault.coverage = &coverage;
        ok(local_vault_backup(&f->vault, NULL, NULL, 2, &run));
        if (i == 0) whole = run.result.bytes_read;
        if (i == 1) assert_int_equal(run.result.bytes_read, 0);
        if (i == 2) assert_true(run.result.bytes_read > 0 && run.result.bytes_read < whole); /* what is in folders a/ */
        if (i == 3) assert_int_equal(run.result.totals.bytes, whole);
        local_run_wipe(&run);
    }
}

/* ---- A folder that is made ---- */

typedef struct maker {
    const char *text;
    size_t size;
} maker;

static cf_err *produce(void *context, cf_backup_maker *to) {
    const maker *from = context;
    CF_TRY(cf_backup_make_begin(to, "z-last", 0600));
    CF_TRY(cf_backup_make_write(to, cf_span_text("constant")));
    CF_TRY(cf_backup_make_end(to));
    CF_TRY(cf_backup_make_begin(to, "a-first", 0640));
    for (size_t at = 0; at < from->size; at += 100000)
        CF_TRY(
            cf_backup_make_write(to, cf_span_of(from->text + at, from->size - at < 100000 ? from->size - at : 100000)));
    return cf_backup_make_end(to);
}

static void a_folder_is_made(void **state) {
    fixture *f = *state;
    enum { SIZE = 5 << 20 };
    char *text = malloc(SIZE);
    assert_non_null(text);
    for (size_t i = 0; i < SIZE; i++) text[i] = (char)draw(f, 256);
    maker from = {text, SIZE};
    cf_backup_made made = {.name = ".made", .produce = produce, .context = &from};
    char path[256];
    snprintf(path, sizeof path, "%s/file", f->tree);
    put(path, "x");
    struct timespec tick = {0, 30 * 1000 * 1000};
    nanosleep(&tick, NULL);
    f->vault.made = &made;
    local_run first, again, changed;
    ok(local_vault_backup(&f->vault, f->tree, NULL, 2, &first));
    assert_int_equal(first.result.totals.files, 3);
    assert_int_equal(first.result.totals.bytes, 1 + SIZE + 8);
    ok(local_vault_backup(&f->vault, f->tree, NULL, 2, &again));
    assert_int_equal(again.result.files_unchanged, 3);
    assert_int_equal(again.result.bytes_read, 0);
    cf_entry_copy one = {0}, two = {0};
    look_up(f, &first, "/.made", &one);
    look_up(f, &again, "/.made", &two);
    assert_true(cf_id32_equal(&one.entry.node.id, &two.entry.node.id)); /* the same node, times included */
    assert_int_equal(cf_time_compare(one.entry.meta.mtime, two.entry.meta.mtime), 0);
    cf_entry_copy_wipe(&one);
    cf_entry_copy_wipe(&two);
    text[SIZE / 2] ^= 1;
    ok(local_vault_backup(&f->vault, f->tree, NULL, 2, &changed));
    assert_int_equal(changed.result.files_changed, 1);
    assert_true(changed.stats.bytes_new < 2 * CF_CHUNK_MAX);
    f->vault.made = NULL;
    local_run gone;
    ok(local_vault_backup(&f->vault, f->tree, NULL, 2, &gone));
    assert_int_equal(gone.result.totals.files, 1);
    local_run_wipe(&first);
    local_run_wipe(&again);
    local_run_wipe(&changed);
    local_run_wipe(&gone);
    free(text);
}

/* A real folder of that name, and a source, is not looked at. */
static void a_made_folder_hides_a_real_one(void **state) {
    fixture *f = *state;
    CF_AUTO_COVERAGE cf_coverage coverage = {0};
    maker from = {"text", 4};
    cf_backup_made made = {.name = "tmp", .produce = produce, .context = &from};
    local_run run;
    ok(cf_coverage_from_paths((const char *const[]){f->tree, "/usr/share/base-files"}, 2, NULL, 0, &coverage));
    f->vault.coverage = &coverage;
    f->vault.made = &made;
    ok(local_vault_backup(&f->vault, NULL, NULL, 2, &run));
    cf_entry_copy entry = {0};
    look_up(f, &run, "/tmp/a-first", &entry);
    assert_int_equal(entry.entry.meta.size, 4);
    cf_entry_copy_wipe(&entry);
    local_run_wipe(&run);
}

static cf_err *bad_produce(void *context, cf_backup_maker *to) {
    const char *const *name = context;
    CF_TRY(cf_backup_make_begin(to, "one", 0600));
    CF_TRY(cf_backup_make_end(to));
    CF_TRY(cf_backup_make_begin(to, *name, 0600));
    return *name[0] == 'o' ? NULL : cf_backup_make_end(to);
}

static void bad_names_end_the_scan(void **state) {
    fixture *f = *state;
    static const char *const bad[] = {"one", "a/b", "..", "", "open"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cf_backup_made made = {.name = ".made", .produce = bad_produce, .context = (void *)(uintptr_t)&bad[i]};
        f->vault.made = &made;
        local_run run;
        CF_AUTO(cf_err) err = local_vault_backup(&f->vault, f->tree, NULL, 1, &run);
        assert_int_equal(cf_err_code(err), CF_ERR_INTERNAL);
        local_run_wipe(&run);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(random_selections, setup, teardown),
        cmocka_unit_test_setup_teardown(a_changed_selection_reads_only_what_came_in, setup, teardown),
        cmocka_unit_test_setup_teardown(a_folder_is_made, setup, teardown),
        cmocka_unit_test_setup_teardown(a_made_folder_hides_a_real_one, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_names_end_the_scan, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
