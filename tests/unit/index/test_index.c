#include "helper.h"

#include <pthread.h>

static const uint8_t epoch_a[16] = "epoch a";

static void test_fresh(void **state) {
    (void)state;
    char *folder = new_folder();
    cf_index *index = open_small(folder);
    assert_true(cf_index_fresh(index));
    assert_false(cf_index_recovered(index));
    assert_int_equal(count_found(index, 1, 10), 0);
    cf_index_pack_range *ranges = NULL;
    size_t count = 1;
    expect_ok(cf_index_applied_ranges(index, &ranges, &count));
    assert_int_equal(count, 0);
    assert_null(ranges);
    expect_ok(cf_index_close(index));
    index = open_small(folder);
    assert_false(cf_index_fresh(index));
    expect_ok(cf_index_close(index));
    end_folder(folder);
}

static void test_packs_survive_closing(void **state) {
    (void)state;
    char *folder = new_folder();
    for (int round = 0; round < 6; round++) {
        cf_index *index = open_small(folder);
        for (uint64_t pack = 0; pack < 100; pack++) {
            bool had = round > 0 && pack / 20 < (uint64_t)round;
            assert_int_equal(cf_index_has_pack(index, pack * 3), had);
            assert_int_equal(count_found(index, pack * 3, 200), had ? 200 : 0);
        }
        for (uint64_t pack = 20 * (uint64_t)round; pack < 20 * (uint64_t)round + 20 && pack < 100; pack++) {
            expect_ok(try_apply(index, pack * 3, 200));
            expect_ok(try_apply(index, pack * 3, 200)); /* again: nothing */
        }
        cf_index_stats stats;
        cf_index_get_stats(index, &stats);
        assert_int_equal(stats.packs, round < 5 ? 20 * (round + 1) : 100);
        expect_ok(cf_index_check(index));
        expect_ok(cf_index_close(index));
    }
    end_folder(folder);
}

static void test_many_runs(void **state) {
    (void)state;
    for (int inline_merge = 0; inline_merge < 2; inline_merge++) {
        char *folder = new_folder();
        cf_index_options options = small_options();
        options.merge_inline = inline_merge;
        cf_index *index = NULL;
        expect_ok(cf_index_open(folder, &options, &index));
        enum { PACKS = 600, CHUNKS = 1000 };
        for (uint64_t pack = 0; pack < PACKS; pack++) expect_ok(try_apply(index, pack, CHUNKS));
        expect_ok(cf_index_settle(index));
        cf_index_stats stats;
        cf_index_get_stats(index, &stats);
        assert_int_equal(stats.chunks, PACKS * CHUNKS);
        assert_in_range(stats.runs, 1, 8);
        assert_true(stats.merged_runs > 0);
        assert_true(stats.bytes < 33ull * PACKS * CHUNKS);
        for (uint64_t pack = 0; pack < PACKS; pack += 7) assert_int_equal(count_found(index, pack, CHUNKS), CHUNKS);
        assert_int_equal(count_found(index, PACKS, CHUNKS), 0);
        expect_ok(cf_index_check(index));
        expect_ok(cf_index_close(index));
        index = open_small(folder);
        for (uint64_t pack = 0; pack < PACKS; pack += 7) assert_int_equal(count_found(index, pack, CHUNKS), CHUNKS);
        cf_index_pack_range *ranges = NULL;
        size_t count = 0;
        expect_ok(cf_index_applied_ranges(index, &ranges, &count));
        assert_int_equal(count, 1);
        assert_int_equal(ranges[0].first, 0);
        assert_int_equal(ranges[0].last, PACKS - 1);
        free(ranges);
        expect_ok(cf_index_close(index));
        end_folder(folder);
    }
}

static void test_large_pack(void **state) {
    (void)state;
    char *folder = new_folder();
    cf_index *index = open_small(folder);
    expect_ok(try_apply(index, 1, 100));
    expect_ok(try_apply(index, 2, 50000)); /* more than the table of 1 MiB takes */
    expect_ok(try_apply(index, 3, 100));
    cf_index_discard(index);
    index = open_small(folder);
    assert_int_equal(count_found(index, 1, 100), 100);
    assert_int_equal(count_found(index, 2, 50000), 50000);
    assert_int_equal(count_found(index, 3, 100), 100);
    expect_ok(cf_index_close(index));
    end_folder(folder);
}

/* Packs of 30,000 into a small table: every pack makes a run. */
static void fill_run(cf_index *index, uint64_t pack) {
    expect_ok(try_apply(index, pack, 30000));
}

static void test_duplicates(void **state) {
    (void)state;
    char *folder = new_folder();
    cf_index *index = open_small(folder);
    cf_index_entry entry = make_entry(1, 1);
    static const uint64_t packs[] = {10, 30, 20};
    for (int i = 0; i < 3; i++) {
        entry.offset = (uint32_t)packs[i];
        expect_ok(cf_index_apply_pack(index, packs[i], &entry, 1));
    }
    bool found = false;
    cf_index_address address;
    expect_ok(cf_index_lookup(index, entry.id, &found, &address));
    assert_true(found && address.pack == 30 && address.offset == 30);
    fill_run(index, 100); /* now it is in a run */
    entry.offset = 25;
    expect_ok(cf_index_apply_pack(index, 25, &entry, 1));
    for (uint64_t pack = 101; pack < 106; pack++) fill_run(index, pack);
    expect_ok(cf_index_settle(index));
    expect_ok(cf_index_lookup(index, entry.id, &found, &address));
    assert_true(found);
    assert_true(address.pack == 30 || address.pack == 25);
    /* Twice in one pack: one of them. */
    cf_index_entry twice[2] = {make_entry(7, 7), make_entry(7, 7)};
    expect_ok(cf_index_apply_pack(index, 7, twice, 2));
    expect_ok(cf_index_lookup(index, twice[0].id, &found, &address));
    assert_true(found && address.pack == 7);
    expect_ok(cf_index_close(index));
    end_folder(folder);
}

static void test_feed(void **state) {
    (void)state;
    char *folder = new_folder();
    cf_index *index = open_small(folder);
    uint8_t epoch[16];
    for (uint64_t pack = 0; pack < 30; pack++) expect_ok(try_apply(index, pack, 2000));
    /* Segments hold 8 chunks: two of pack 3, one of pack 29 (in memory), one of a pack that comes later. */
    static const cf_index_segment retired[] = {{29, 7}, {3, 5}, {3, 4}, {3, 5}, {40, 1}};
    expect_ok(cf_index_apply_feed(index, 17, epoch_a, retired, 5));
    for (int round = 0; round < 3; round++) {
        assert_int_equal(cf_index_generation(index), 17);
        cf_index_epoch(index, epoch);
        assert_memory_equal(epoch, epoch_a, 16);
        assert_int_equal(count_found(index, 3, 2000), 1984);
        assert_int_equal(count_found(index, 29, 2000), 1992);
        assert_int_equal(count_found(index, 28, 2000), 2000);
        if (round == 0) {
            expect_ok(try_apply(index, 40, 100));
            expect_ok(cf_index_close(index));
        } else if (round == 1) {
            for (uint64_t pack = 100; pack < 110; pack++) fill_run(index, pack);
            expect_ok(cf_index_settle(index));
            expect_ok(cf_index_check(index));
            cf_index_discard(index);
        }
        if (round < 2) index = open_small(folder);
        assert_int_equal(count_found(index, 40, 100), 92);
    }
    /* A dead segment's chunk stored again in a later pack is found there. */
    cf_index_entry again = make_entry(3, 5 * 8);
    again.offset = 99;
    expect_ok(cf_index_apply_pack(index, 200, &again, 1));
    bool found = false;
    cf_index_address address;
    expect_ok(cf_index_lookup(index, again.id, &found, &address));
    assert_true(found && address.pack == 200 && address.offset == 99);
    expect_ok(cf_index_set_epoch(index, (const uint8_t *)"another epoch 16"));
    expect_ok(cf_index_apply_feed(index, 18, epoch_a, NULL, 0));
    assert_int_equal(cf_index_generation(index), 18);
    expect_ok(cf_index_close(index));
    end_folder(folder);
}

/* So many that a merge of everything is due, which forgets what it dropped. */
static void test_many_dead(void **state) {
    (void)state;
    char *folder = new_folder();
    cf_index *index = open_small(folder);
    enum { PACKS = 70, PAIRS = 1000 }; /* every second segment: no two adjacent */
    cf_index_segment *retired = calloc(PACKS * PAIRS, sizeof *retired);
    assert_non_null(retired);
    for (uint64_t pack = 0; pack < PACKS; pack++) {
        expect_ok(try_apply(index, pack, 8000)); /* segments 0 .. 999 */
        for (uint16_t i = 0; i < PAIRS; i++) retired[pack * PAIRS + i] = (cf_index_segment){pack, (uint16_t)(2 * i)};
    }
    retired[0] = (cf_index_segment){5000, 1}; /* not applied yet: must not be forgotten */
    expect_ok(cf_index_apply_feed(index, 1, epoch_a, retired, PACKS * PAIRS));
    free(retired);
    expect_ok(cf_index_settle(index));
    cf_index_stats stats;
    cf_index_get_stats(index, &stats);
    assert_int_equal(stats.runs, 1);
    assert_int_equal(stats.dead, 1);
    assert_int_equal(stats.chunks, PACKS * 4000 + 8);
    assert_int_equal(count_found(index, 69, 8000), 4000);
    expect_ok(try_apply(index, 5000, 16));
    assert_int_equal(count_found(index, 5000, 16), 8);
    expect_ok(cf_index_close(index));
    end_folder(folder);
}

static void test_refusals(void **state) {
    (void)state;
    char *folder = new_folder();
    cf_index *index = open_small(folder);
    cf_index_entry entry = make_entry(1, 1);
    expect_code(cf_index_apply_pack(index, UINT64_C(1) << 48, &entry, 1), CF_ERR_TOO_LARGE, NULL);
    entry.offset = (1u << 20) + 1;
    expect_code(cf_index_apply_pack(index, 1, &entry, 1), CF_ERR_TOO_LARGE, NULL);
    entry.offset = entry.length = 1u << 20; /* the largest */
    entry.segment = 0xFFFE;
    expect_ok(cf_index_apply_pack(index, (UINT64_C(1) << 48) - 1, &entry, 1));
    bool found;
    cf_index_address address;
    expect_ok(cf_index_lookup(index, entry.id, &found, &address));
    assert_true(found && address.offset == 1u << 20 && address.length == 1u << 20 && address.segment == 0xFFFE);
    expect_ok(try_apply(index, 5, 0)); /* a pack without chunks is recorded */
    assert_true(cf_index_has_pack(index, 5));
    expect_ok(cf_index_close(index));
    cf_index_options options = small_options();
    options.server_id[3] ^= 1;
    expect_code(cf_index_open(folder, &options, &index), CF_ERR_INDEX_UNREADABLE, "other-server");
    end_folder(folder);
}

/* IDs that are nothing like uniform: correct all the same. */
static void test_crowded_ids(void **state) {
    (void)state;
    char *folder = new_folder();
    cf_index *index = open_small(folder);
    enum { COUNT = 60000 };
    cf_index_entry *entries = calloc(COUNT, sizeof *entries);
    assert_non_null(entries);
    for (uint32_t i = 0; i < COUNT; i++) {
        memset(entries[i].id, i < 100 ? 0xFF : 0x11, 16);
        entries[i].id[13] = (uint8_t)(i >> 16);
        entries[i].id[14] = (uint8_t)(i >> 8);
        entries[i].id[15] = (uint8_t)i;
        entries[i].length = i;
    }
    expect_ok(cf_index_apply_pack(index, 1, entries, COUNT));
    expect_ok(cf_index_check(index));
    for (uint32_t i = 0; i < COUNT; i++) {
        bool found = false;
        cf_index_address address;
        expect_ok(cf_index_lookup(index, entries[i].id, &found, &address));
        assert_true(found && address.length == i);
        entries[i].id[0] ^= 0x10;
        expect_ok(cf_index_lookup(index, entries[i].id, &found, &address));
        assert_false(found);
    }
    free(entries);
    expect_ok(cf_index_close(index));
    end_folder(folder);
}

/* A journal written with a large budget is taken up by a small one. */
static void test_smaller_budget(void **state) {
    (void)state;
    char *folder = new_folder();
    cf_index_options options = small_options();
    options.memory_bytes = 16 << 20;
    cf_index *index = NULL;
    expect_ok(cf_index_open(folder, &options, &index));
    for (uint64_t pack = 0; pack < 50; pack++) expect_ok(try_apply(index, pack, 2000));
    expect_ok(cf_index_close(index));
    index = open_small(folder);
    for (uint64_t pack = 50; pack < 60; pack++) expect_ok(try_apply(index, pack, 2000));
    for (uint64_t pack = 0; pack < 60; pack++) assert_int_equal(count_found(index, pack, 2000), 2000);
    expect_ok(cf_index_close(index));
    end_folder(folder);
}

typedef struct reading {
    cf_index *index;
    _Atomic uint64_t applied; /* packs 0 .. applied - 1 are there */
    _Atomic bool stop;
    uint64_t lookups, wrong;
} reading;

static void *read_along(void *argument) {
    reading *r = argument;
    uint64_t lookups = 0, wrong = 0;
    for (uint64_t i = 0; !r->stop; i++) {
        uint64_t applied = r->applied, pack = applied ? i * 2654435761u % (applied + 1) : 0;
        cf_index_entry entry = make_entry(pack, (uint32_t)(i % 1000));
        bool found = false;
        cf_index_address address;
        cf_err *err = cf_index_lookup(r->index, entry.id, &found, &address);
        lookups++;
        if (err || (pack < applied && !found) || (found && (address.pack != pack || address.length != entry.length)))
            wrong++;
        cf_err_free(err);
    }
    __atomic_fetch_add(&r->lookups, lookups, __ATOMIC_RELAXED);
    __atomic_fetch_add(&r->wrong, wrong, __ATOMIC_RELAXED);
    return NULL;
}

static void test_readers_beside_the_writer(void **state) {
    (void)state;
    char *folder = new_folder();
    reading r = {.index = open_small(folder)};
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) assert_int_equal(pthread_create(&threads[i], NULL, read_along, &r), 0);
    for (uint64_t pack = 0; pack < 300; pack++) {
        expect_ok(try_apply(r.index, pack, 1000));
        r.applied = pack + 1;
    }
    r.stop = true;
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
    assert_int_equal(r.wrong, 0);
    assert_true(r.lookups > 0);
    expect_ok(cf_index_close(r.index));
    end_folder(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fresh),
        cmocka_unit_test(test_packs_survive_closing),
        cmocka_unit_test(test_many_runs),
        cmocka_unit_test(test_large_pack),
        cmocka_unit_test(test_duplicates),
        cmocka_unit_test(test_feed),
        cmocka_unit_test(test_many_dead),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_crowded_ids),
        cmocka_unit_test(test_smaller_budget),
        cmocka_unit_test(test_readers_beside_the_writer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
