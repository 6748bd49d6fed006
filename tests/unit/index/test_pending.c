#include "helper.h"

#include <pthread.h>

#include "index/pending.h"

static cf_pending_answer add(cf_pending *pending, uint64_t number, uint64_t pack, cf_index_address *existing) {
    uint8_t id[16];
    make_id(number, id);
    cf_index_address address = {pack, (uint16_t)number, (uint32_t)number % 1000, 17};
    return cf_pending_find_or_add(pending, id, &address, existing);
}

static bool has(cf_pending *pending, uint64_t number, cf_index_address *address) {
    uint8_t id[16];
    make_id(number, id);
    return cf_pending_find(pending, id, address);
}

static void test_find_or_add(void **state) {
    (void)state;
    cf_pending *pending = NULL;
    cf_index_address address;
    expect_ok(cf_pending_new(100, &pending));
    assert_int_equal(add(pending, 1, 7, &address), CF_PENDING_ADDED);
    assert_int_equal(add(pending, 1, 8, &address), CF_PENDING_FOUND);
    assert_true(address.pack == 7 && address.segment == 1 && address.offset == 1 && address.length == 17);
    uint8_t id[16];
    make_id(1, id);
    assert_true(cf_pending_move(pending, id, &(cf_index_address){(UINT64_C(1) << 48) - 1, 0xFFFF, 1u << 20, 1u << 20}));
    assert_true(has(pending, 1, &address));
    assert_true(address.pack == (UINT64_C(1) << 48) - 1 && address.segment == 0xFFFF && address.offset == 1u << 20 &&
                address.length == 1u << 20);
    cf_pending_remove(pending, id, 7); /* of another pack: stays */
    assert_int_equal(cf_pending_count(pending), 1);
    cf_pending_remove(pending, id, (UINT64_C(1) << 48) - 1);
    assert_int_equal(cf_pending_count(pending), 0);
    assert_false(has(pending, 1, &address));
    assert_false(cf_pending_move(pending, id, &address));
    cf_pending_free(pending);
    expect_code(cf_pending_new(0, &pending), CF_ERR_TOO_LARGE, NULL);
}

static void test_full(void **state) {
    (void)state;
    cf_pending *pending = NULL;
    cf_index_address address;
    expect_ok(cf_pending_new(5000, &pending));
    uint64_t number = 0;
    while (add(pending, number, number % 10, &address) == CF_PENDING_ADDED) number++;
    assert_int_equal(number, 5000);
    assert_int_equal(add(pending, 6000, 1, &address), CF_PENDING_FULL);
    assert_int_equal(add(pending, 1234, 1, &address), CF_PENDING_FOUND);
    cf_pending_remove_pack(pending, 4);
    assert_int_equal(cf_pending_count(pending), 4500);
    for (uint64_t i = 0; i < 5000; i++) assert_int_equal(has(pending, i, &address), i % 10 != 4);
    assert_int_equal(add(pending, 6000, 1, &address), CF_PENDING_ADDED);
    cf_pending_free(pending);
}

/* Many rounds of adding and removing: nothing is lost, nothing stays. */
static void test_turnover(void **state) {
    (void)state;
    cf_pending *pending = NULL;
    cf_index_address address;
    expect_ok(cf_pending_new(3000, &pending));
    for (uint64_t pack = 0; pack < 300; pack++) {
        for (uint64_t i = 0; i < 700; i++)
            assert_int_equal(add(pending, pack * 700 + i, pack, &address), CF_PENDING_ADDED);
        if (pack >= 3) {
            cf_pending_remove_pack(pending, pack - 3);
            for (uint64_t i = 0; i < 700; i++) {
                assert_false(has(pending, (pack - 3) * 700 + i, &address));
                assert_true(has(pending, (pack - 1) * 700 + i, &address));
            }
            assert_int_equal(cf_pending_count(pending), 2100);
        }
    }
    cf_pending_free(pending);
}

enum { LANES = 4, IDS = 20000 };

typedef struct lane {
    cf_pending *pending;
    uint64_t pack;
    uint64_t added, found;
} lane;

static void *run_lane(void *argument) {
    lane *l = argument;
    for (uint64_t i = 0; i < IDS; i++) {
        cf_index_address address;
        cf_pending_answer answer = add(l->pending, i, l->pack, &address);
        l->added += answer == CF_PENDING_ADDED;
        l->found += answer == CF_PENDING_FOUND;
    }
    return NULL;
}

static void test_lanes_agree(void **state) {
    (void)state;
    lane lanes[LANES] = {0};
    pthread_t threads[LANES];
    cf_pending *pending = NULL;
    expect_ok(cf_pending_new(IDS, &pending));
    for (int i = 0; i < LANES; i++) {
        lanes[i] = (lane){.pending = pending, .pack = (uint64_t)i};
        assert_int_equal(pthread_create(&threads[i], NULL, run_lane, &lanes[i]), 0);
    }
    uint64_t added = 0, found = 0;
    for (int i = 0; i < LANES; i++) {
        pthread_join(threads[i], NULL);
        added += lanes[i].added;
        found += lanes[i].found;
    }
    assert_int_equal(added, IDS);
    assert_int_equal(found, (LANES - 1) * IDS);
    for (int i = 0; i < LANES; i++) cf_pending_remove_pack(pending, (uint64_t)i);
    assert_int_equal(cf_pending_count(pending), 0);
    cf_pending_free(pending);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_find_or_add),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_turnover),
        cmocka_unit_test(test_lanes_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
