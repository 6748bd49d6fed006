#include "../keys/help.h"

#include <sodium.h>

#include "chunk/chunker.h"

/* Cuts that an independent implementation, written from docs/format.md in Python, made of the ChaCha20 keystream
 * under the key 42 42 ... with the gear key 00 01 .. 1f. */
static const size_t CUTS[] = {
    109830, 92520,  102431, 105260, 96284,  68002,  74887,  38191,  106015, 52399,  114048,
    39971,  123061, 101648, 119948, 102608, 115770, 111890, 103154, 36909,  92120,  107083,
    126795, 105429, 101292, 102149, 107804, 105311, 61126,  113343, 110811, 123877, 98395,
    99689,  108289, 119974, 102377, 104250, 42824,  112047, 125030, 108967, 100496,
};
enum { CONTENT = 4 << 20 };

static cf_gear *gear_of_counting_key(void) {
    uint8_t key[32];
    for (uint8_t i = 0; i < 32; i++) key[i] = i;
    CF_AUTO(cf_secret) secret = NULL;
    assert_ok(cf_secret_from(key, sizeof key, &secret));
    cf_gear *gear = NULL;
    assert_ok(cf_gear_new(secret, &gear));
    return gear;
}

static uint8_t *content(void) {
    uint8_t key[32], *data = malloc(CONTENT);
    assert_non_null(data);
    memset(key, 0x42, sizeof key);
    const uint8_t nonce[12] = {0};
    assert_int_equal(crypto_stream_chacha20_ietf(data, CONTENT, nonce, key), 0);
    return data;
}

static void cuts_are_where_the_format_says(void **state) {
    (void)state;
    CF_AUTO(cf_gear) gear = gear_of_counting_key();
    CF_AUTO_FREE uint8_t *data = content();
    size_t at = 0, n = 0;
    for (; at < CONTENT; n++) {
        size_t cut = cf_chunker_cut(gear, data + at, CONTENT - at);
        assert_true(n < sizeof CUTS / sizeof CUTS[0]);
        assert_int_equal(cut, CUTS[n]);
        at += cut;
    }
    assert_int_equal(n, sizeof CUTS / sizeof CUTS[0]);
    assert_int_equal(at, CONTENT);
}

static void a_cut_needs_no_more_than_the_longest_chunk(void **state) {
    (void)state;
    CF_AUTO(cf_gear) gear = gear_of_counting_key();
    CF_AUTO_FREE uint8_t *data = content();
    for (size_t at = 0; at + CF_CUT_MAX < CONTENT; at += 99991)
        assert_int_equal(cf_chunker_cut(gear, data + at, CF_CUT_MAX), cf_chunker_cut(gear, data + at, CONTENT - at));
}

static void short_content_is_one_chunk(void **state) {
    (void)state;
    CF_AUTO(cf_gear) gear = gear_of_counting_key();
    CF_AUTO_FREE uint8_t *data = content();
    static const size_t sizes[] = {1, 2, 63, 4096, CF_CUT_MIN - 1, CF_CUT_MIN};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        CF_AUTO_FREE uint8_t *exact = exact_copy(data, sizes[i]); /* nothing behind it is read */
        assert_int_equal(cf_chunker_cut(gear, exact, sizes[i]), sizes[i]);
    }
    for (size_t size = CF_CUT_MIN + 1; size < CF_CUT_MIN + 40; size++) { /* every length of the unrolled loop's rest */
        CF_AUTO_FREE uint8_t *exact = exact_copy(data, size);
        assert_int_equal(cf_chunker_cut(gear, exact, size), size);
    }
}

static void content_without_cuts_ends_at_the_maximum(void **state) {
    (void)state;
    CF_AUTO(cf_gear) gear = gear_of_counting_key();
    CF_AUTO_FREE uint8_t *data = calloc(1, CF_CUT_MAX + 1);
    assert_non_null(data);
    size_t cut = cf_chunker_cut(gear, data, CF_CUT_MAX + 1);
    assert_true(cut > CF_CUT_MIN && cut <= CF_CUT_MAX);
}

static void an_insertion_moves_only_nearby_cuts(void **state) {
    (void)state;
    CF_AUTO(cf_gear) gear = gear_of_counting_key();
    CF_AUTO_FREE uint8_t *data = content();
    CF_AUTO_FREE uint8_t *shifted = malloc(CONTENT + 1);
    assert_non_null(shifted);
    shifted[0] = 'x';
    memcpy(shifted + 1, data, CONTENT);
    size_t same = 0, a = 0, b = 0;
    while (a < CONTENT && b < CONTENT + 1) { /* count ends that both have, in the old content's positions */
        size_t end_a = a + cf_chunker_cut(gear, data + a, CONTENT - a);
        size_t end_b = b + cf_chunker_cut(gear, shifted + b, CONTENT + 1 - b);
        if (end_a + 1 == end_b) same++;
        if (end_a + 1 <= end_b) a = end_a;
        if (end_a + 1 >= end_b) b = end_b;
    }
    assert_true(same > 25);
}

static void another_key_cuts_elsewhere(void **state) {
    (void)state;
    CF_AUTO(cf_gear) gear = gear_of_counting_key();
    CF_AUTO(cf_secret) key = secret_fill(3);
    CF_AUTO(cf_gear) other = NULL;
    assert_ok(cf_gear_new(key, &other));
    CF_AUTO_FREE uint8_t *data = content();
    assert_int_not_equal(cf_chunker_cut(gear, data, CONTENT), cf_chunker_cut(other, data, CONTENT));
    CF_AUTO(cf_secret) odd = secret_text("short");
    CF_AUTO(cf_gear) none = NULL;
    assert_fails(cf_gear_new(odd, &none), CF_ERR_INTERNAL, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cuts_are_where_the_format_says),
        cmocka_unit_test(a_cut_needs_no_more_than_the_longest_chunk),
        cmocka_unit_test(short_content_is_one_chunk),
        cmocka_unit_test(content_without_cuts_ends_at_the_maximum),
        cmocka_unit_test(an_insertion_moves_only_nearby_cuts),
        cmocka_unit_test(another_key_cuts_elsewhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
