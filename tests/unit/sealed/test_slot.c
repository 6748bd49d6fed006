#include "../keys/help.h"

#include "keys/keys.h"
#include "sealed/slot.h"

static const cf_slot_params PARAMS = {.server = {{7, 7, 7}}, .number = 3, .memory_kib = 19456, .passes = 2};

static void a_slot_opens_with_its_passphrase_only(void **state) {
    (void)state;
    CF_AUTO(cf_server_keys) keys = NULL;
    CF_AUTO(cf_server_keys) opened = NULL;
    CF_AUTO(cf_secret) passphrase = secret_text("right");
    CF_AUTO(cf_secret) wrong = secret_text("wrong");
    CF_AUTO(cf_secret) seed = NULL;
    CF_AUTO(cf_secret) seed_alone = NULL;
    uint8_t slot[CF_SLOT_SIZE], public_key[32], derived[32];
    assert_ok(cf_server_keys_generate(&keys));
    assert_ok(cf_slot_seal(keys, &PARAMS, passphrase, slot));
    assert_ok(cf_slot_open(cf_span_of(slot, sizeof slot), passphrase, &opened, &seed));
    CF_AUTO(cf_secret) before = NULL;
    CF_AUTO(cf_secret) after = NULL;
    assert_ok(cf_server_keys_pack(keys, &before));
    assert_ok(cf_server_keys_pack(opened, &after));
    assert_int_equal(cf_secret_size(after), 128);
    assert_memory_equal(cf_secret_bytes(before), cf_secret_bytes(after), 128);
    /* The seed is the one behind the public key, and the one that salt and costs give. */
    cf_slot_params params;
    assert_ok(cf_slot_peek(cf_span_of(slot, sizeof slot), &params, public_key));
    assert_ok(cf_sign_public_key(seed, derived));
    assert_memory_equal(public_key, derived, 32);
    assert_ok(cf_slot_auth_seed(slot + 40, params.memory_kib, params.passes, passphrase, &seed_alone));
    assert_memory_equal(cf_secret_bytes(seed), cf_secret_bytes(seed_alone), 32);
    assert_true(cf_id16_equal(&params.server, &PARAMS.server));
    assert_int_equal(params.number, 3);
    cf_server_keys *none = NULL;
    assert_fails(cf_slot_open(cf_span_of(slot, sizeof slot), wrong, &none, NULL), CF_ERR_WRONG_PASSPHRASE, NULL);
    assert_null(none);
    assert_ok(cf_slot_open(cf_span_of(slot, sizeof slot), passphrase, NULL, NULL)); /* only a check */
}

/* Which failure a flipped byte gives depends on the field. */
static void damaged_slots_are_refused(void **state) {
    (void)state;
    CF_AUTO(cf_server_keys) keys = NULL;
    CF_AUTO(cf_secret) passphrase = secret_text("right");
    uint8_t slot[CF_SLOT_SIZE];
    assert_ok(cf_server_keys_generate(&keys));
    assert_ok(cf_slot_seal(keys, &PARAMS, passphrase, slot));
    for (size_t i = 0; i < sizeof slot; i++) {
        if (i >= 28 && i < 36) continue; /* the costs: below */
        slot[i] ^= 0x80;
        cf_server_keys *none = NULL;
        cf_code want = CF_ERR_SEAL_BROKEN;
        if (i < 4 || i == 7 || (i >= 36 && i < 40)) want = CF_ERR_FORMAT;
        if (i >= 4 && i < 7) want = CF_ERR_FORMAT_VERSION;
        if ((i >= 40 && i < 56) || (i >= 88 && i < 120)) want = CF_ERR_WRONG_PASSPHRASE; /* the salt, the commitment */
        assert_fails(cf_slot_open(cf_span_of(slot, sizeof slot), passphrase, &none, NULL), want, NULL);
        assert_null(none);
        slot[i] ^= 0x80;
    }
    for (size_t size = 0; size < sizeof slot; size++) {
        CF_AUTO_FREE uint8_t *cut = exact_copy(slot, size);
        cf_slot_params params;
        assert_fails(cf_slot_peek(cf_span_of(cut, size), &params, NULL), CF_ERR_FORMAT, "truncated");
    }
    uint8_t longer[CF_SLOT_SIZE + 1] = {0};
    memcpy(longer, slot, sizeof slot);
    cf_slot_params params;
    assert_fails(cf_slot_peek(cf_span_of(longer, sizeof longer), &params, NULL), CF_ERR_FORMAT, "trailing");
}

static void put_u32(uint8_t *out, uint32_t value) {
    for (size_t i = 0; i < 4; i++) out[i] = (uint8_t)(value >> (8 * i));
}

static void costs_are_checked_before_they_are_paid(void **state) {
    (void)state;
    CF_AUTO(cf_server_keys) keys = NULL;
    CF_AUTO(cf_secret) passphrase = secret_text("right");
    uint8_t slot[CF_SLOT_SIZE];
    assert_ok(cf_server_keys_generate(&keys));
    assert_ok(cf_slot_seal(keys, &PARAMS, passphrase, slot));
    static const uint32_t bad[][3] = {{19455, 2, 1},  {1048577, 2, 1},        {UINT32_MAX, 2, 1}, {19456, 1, 1},
                                      {19456, 17, 1}, {19456, UINT32_MAX, 1}, {19456, 2, 0},      {19456, 2, 2}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        for (size_t k = 0; k < 3; k++) put_u32(slot + 28 + 4 * k, bad[i][k]);
        assert_fails(cf_slot_open(cf_span_of(slot, sizeof slot), passphrase, NULL, NULL), CF_ERR_FORMAT, "kdf_limits");
    }
    cf_slot_params params = PARAMS;
    params.memory_kib = 1024;
    assert_fails(cf_slot_seal(keys, &params, passphrase, slot), CF_ERR_FORMAT, "kdf_limits");
    params = PARAMS;
    params.number = 0;
    assert_fails(cf_slot_seal(keys, &params, passphrase, slot), CF_ERR_INTERNAL, NULL);
}

static void keys_unpack_only_from_128_bytes(void **state) {
    (void)state;
    CF_AUTO(cf_secret) odd = secret_fill(1);
    cf_server_keys *none = NULL;
    assert_fails(cf_server_keys_unpack(odd, &none), CF_ERR_FORMAT, "size");
}

static void records_open_under_their_master_key_only(void **state) {
    (void)state;
    CF_AUTO(cf_secret) master = secret_fill(1);
    CF_AUTO(cf_secret) other = secret_fill(2);
    CF_AUTO(cf_secret) session_key = secret_fill(3);
    CF_AUTO(cf_secret) opened = NULL;
    const cf_id16 server = {{4}}, stranger = {{5}}, session = {{6}};
    uint8_t record[CF_RECORD_SIZE];
    cf_id16 got;
    assert_ok(cf_record_seal(master, &server, &session, session_key, record));
    assert_ok(cf_record_open(master, &server, cf_span_of(record, sizeof record), &got, &opened));
    assert_true(cf_id16_equal(&got, &session));
    assert_memory_equal(cf_secret_bytes(opened), cf_secret_bytes(session_key), 32);
    cf_secret *none = NULL;
    assert_fails(cf_record_open(other, &server, cf_span_of(record, sizeof record), &got, &none), CF_ERR_SEAL_BROKEN,
                 "commitment");
    assert_fails(cf_record_open(master, &stranger, cf_span_of(record, sizeof record), &got, &none), CF_ERR_SEAL_BROKEN,
                 "relabelled");
    for (size_t i = 0; i < sizeof record; i++) {
        record[i] ^= 1;
        cf_code want = i < 4 || i == 6 || i == 7 ? CF_ERR_FORMAT : i < 6 ? CF_ERR_FORMAT_VERSION : CF_ERR_SEAL_BROKEN;
        assert_fails(cf_record_open(master, &server, cf_span_of(record, sizeof record), &got, &none), want, NULL);
        record[i] ^= 1;
    }
    for (size_t size = 0; size < sizeof record; size++) {
        CF_AUTO_FREE uint8_t *cut = exact_copy(record, size);
        assert_fails(cf_record_open(master, &server, cf_span_of(cut, size), &got, &none), CF_ERR_FORMAT, "truncated");
    }
    assert_null(none);
    CF_AUTO(cf_secret) odd = secret_text("short");
    assert_fails(cf_record_seal(master, &server, &session, odd, record), CF_ERR_INTERNAL, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slot_opens_with_its_passphrase_only),    cmocka_unit_test(damaged_slots_are_refused),
        cmocka_unit_test(costs_are_checked_before_they_are_paid),   cmocka_unit_test(keys_unpack_only_from_128_bytes),
        cmocka_unit_test(records_open_under_their_master_key_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
