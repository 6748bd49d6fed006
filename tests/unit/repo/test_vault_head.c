/* Vaults that hide, relabel or roll back points. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "repo/vault_head.h"

enum { COUNT = 5 };

static cf_id32 id_of(uint8_t n) {
    cf_id32 id = {{n}};
    return id;
}

static void chain(cf_point_row rows[COUNT]) {
    memset(rows, 0, COUNT * sizeof *rows);
    for (uint8_t i = 0; i < COUNT; i++) {
        rows[i].counter = i + 1u;
        rows[i].id = id_of((uint8_t)(i + 1));
        rows[i].previous = id_of(i);
    }
}

static void expect(const cf_vault_head *known, const cf_point_row *rows, size_t count, const char *reason) {
    cf_vault_head_state state;
    cf_vault_head newest;
    CF_AUTO(cf_err) err = cf_vault_head_check(known, rows, count, &state, &newest);
    if (!reason) {
        assert_null(err);
        return;
    }
    assert_int_equal(cf_err_code(err), CF_ERR_HEAD_MISMATCH);
    assert_string_equal(cf_err_reason(err), reason);
}

static void test_head(void **unused) {
    (void)unused;
    cf_point_row rows[COUNT];
    chain(rows);
    cf_vault_head none = {0}, third = {true, id_of(3), 3}, last = {true, id_of(5), 5}, newest;
    cf_vault_head_state state;
    expect(&none, rows, 0, NULL);
    expect(&none, rows, COUNT, NULL);
    assert_null(cf_vault_head_check(&last, rows, COUNT, &state, &newest));
    assert_int_equal(state, CF_HEAD_SAME);
    assert_null(cf_vault_head_check(&third, rows, COUNT, &state, &newest));
    assert_int_equal(state, CF_HEAD_NEWER);
    assert_int_equal(newest.counter, 5);
    expect(&last, rows, 0, "empty");
    expect(&last, rows, 4, "rolled_back");
    expect(&third, rows + 3, 2, NULL); /* ours aged out */
    rows[3].previous = id_of(77);
    expect(&third, rows, COUNT, "forked");
    chain(rows);
    rows[2].id = id_of(99);
    expect(&third, rows, COUNT, "relabelled");
    chain(rows);
    rows[4].id = id_of(3);
    rows[2].id = id_of(50);
    expect(&third, rows, COUNT, "relabelled");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_head)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
