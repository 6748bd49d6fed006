#include "help.h"

#include "keys/keys.h"

/* RFC 5869, appendix A, cases 1 to 3. */
static void hkdf_gives_the_values_of_rfc_5869(void **state) {
    (void)state;
    static const struct {
        const char *key, *salt, *info, *want;
    } cases[] = {
        {"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "000102030405060708090a0b0c", "f0f1f2f3f4f5f6f7f8f9",
         "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"},
        {"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f"
         "303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f",
         "606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f"
         "909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeaf",
         "b0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedf"
         "e0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
         "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09"
         "da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87"},
        {"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "", "",
         "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"},
    };
    for (size_t i = 0; i < 3; i++) {
        CF_AUTO(cf_secret) key = secret_hex(cases[i].key);
        CF_AUTO(cf_secret) out = NULL;
        size_t salt_size, info_size;
        uint8_t *salt = unhex(cases[i].salt, &salt_size), *info = unhex(cases[i].info, &info_size);
        size_t size = strlen(cases[i].want) / 2;
        assert_ok(cf_hkdf(key, cf_span_of(salt, salt_size), cf_span_of(info, info_size), size, &out));
        assert_hex(cf_secret_bytes(out), size, cases[i].want);
        free(salt);
        free(info);
    }
}

static void hkdf_refuses_sizes_that_it_cannot_give(void **state) {
    (void)state;
    CF_AUTO(cf_secret) key = secret_fill(1);
    CF_AUTO(cf_secret) out = NULL;
    assert_fails(cf_hkdf(key, cf_span_of(NULL, 0), cf_span_of(NULL, 0), 0, &out), CF_ERR_INTERNAL, NULL);
    assert_fails(cf_hkdf(key, cf_span_of(NULL, 0), cf_span_of(NULL, 0), 255 * 32 + 1, &out), CF_ERR_INTERNAL, NULL);
    assert_ok(cf_hkdf(key, cf_span_of(NULL, 0), cf_span_of(NULL, 0), 255 * 32, &out));
}

/* Made with the reference implementation (argon2-cffi): RFC 9106's own vector has four lanes and extra inputs. */
static void argon2id_gives_the_reference_implementations_values(void **state) {
    (void)state;
    CF_AUTO(cf_secret) passphrase = secret_text("correct horse battery staple");
    uint8_t salt[16];
    for (uint8_t i = 0; i < 16; i++) salt[i] = i;
    CF_AUTO(cf_secret) first = NULL;
    CF_AUTO(cf_secret) other = NULL;
    assert_ok(cf_kdf_passphrase(passphrase, salt, 19456, 2, &first));
    assert_hex(cf_secret_bytes(first), 32, "818259b6310026a8e0dbac5d2e6927abcfdb07b32258fac4f61b18b80f929085");
    assert_ok(cf_kdf_passphrase(passphrase, salt, 32768, 3, &other));
    assert_hex(cf_secret_bytes(other), 32, "bbe4ce725d8b1ae6f8c3f70b21dac67681bf71b53ffc4b805c35e6faa4477eab");
}

static void argon2id_costs_outside_the_limits_are_refused(void **state) {
    (void)state;
    static const uint32_t bad[][2] = {{19455, 2},  {1048577, 2}, {19456, 1},
                                      {19456, 17}, {0, 0},       {UINT32_MAX, UINT32_MAX}};
    CF_AUTO(cf_secret) passphrase = secret_text("x");
    CF_AUTO(cf_secret) key = NULL;
    const uint8_t salt[16] = {0};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_fails(cf_kdf_passphrase(passphrase, salt, bad[i][0], bad[i][1], &key), CF_ERR_FORMAT, "kdf_limits");
    assert_null(key);
}

/* RFC 4231, case 1, whose first byte goes where the prefix does. */
static void mac_gives_the_values_of_rfc_4231(void **state) {
    (void)state;
    CF_AUTO(cf_secret) key = secret_hex("0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b");
    CF_AUTO(cf_mac) mac = NULL;
    assert_ok(cf_mac_new(key, &mac));
    for (int i = 0; i < 3; i++) { /* the prepared states survive use */
        uint8_t tag[32];
        assert_ok(cf_mac_tag(mac, 'H', cf_span_text("i There"), tag));
        assert_hex(tag, 32, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    }
    /* Case 2: key "Jefe". */
    CF_AUTO(cf_secret) jefe = secret_text("Jefe");
    CF_AUTO(cf_mac) second = NULL;
    uint8_t tag[32];
    assert_ok(cf_mac_new(jefe, &second));
    assert_ok(cf_mac_tag(second, 'w', cf_span_text("hat do ya want for nothing?"), tag));
    assert_hex(tag, 32, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

static void chunk_ids_keep_kinds_apart(void **state) {
    (void)state;
    CF_AUTO(cf_secret) key = secret_fill(7);
    CF_AUTO(cf_mac) mac = NULL;
    assert_ok(cf_mac_new(key, &mac));
    cf_id32 data, tree, again;
    assert_ok(cf_mac_chunk_id(mac, CF_KIND_DATA, cf_span_text("content"), &data));
    assert_ok(cf_mac_chunk_id(mac, CF_KIND_TREE, cf_span_text("content"), &tree));
    assert_ok(cf_mac_chunk_id(mac, CF_KIND_DATA, cf_span_text("content"), &again));
    assert_false(cf_id32_equal(&data, &tree));
    assert_true(cf_id32_equal(&data, &again));
    uint8_t prefixed[8] = {1, 'c', 'o', 'n', 't', 'e', 'n', 't'};
    uint8_t tag[32];
    assert_ok(cf_mac_tag(mac, 1, cf_span_of(prefixed + 1, 7), tag));
    assert_memory_equal(tag, tree.bytes, 32);
}

/* McGrew and Viega, "The Galois/Counter Mode of Operation", test case 16. */
static void sealer_gives_the_values_of_the_gcm_paper(void **state) {
    (void)state;
    size_t size;
    uint8_t *key = unhex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308", &size);
    uint8_t *nonce = unhex("cafebabefacedbaddecaf888", &size);
    size_t additional_size, plain_size;
    uint8_t *additional = unhex("feedfacedeadbeeffeedfacedeadbeefabaddad2", &additional_size);
    uint8_t *plain = unhex("d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
                           "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
                           &plain_size);
    CF_AUTO(cf_sealer) sealer = NULL;
    assert_ok(cf_sealer_new(&sealer));
    assert_ok(cf_sealer_set_key(sealer, key));
    uint8_t sealed[76], opened[60];
    cf_span extra = cf_span_of(additional, additional_size);
    for (int i = 0; i < 2; i++) { /* sealing after opening, with the same key, is the same */
        assert_ok(cf_sealer_seal(sealer, nonce, extra, cf_span_of(plain, plain_size), sealed));
        assert_hex(sealed, 76,
                   "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b10"
                   "56828838c5f61e6393ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b");
        assert_ok(cf_sealer_open(sealer, nonce, extra, cf_span_of(sealed, 76), opened));
        assert_memory_equal(opened, plain, 60);
    }
    free(key);
    free(nonce);
    free(additional);
    free(plain);
}

static void every_flipped_byte_breaks_the_seal(void **state) {
    (void)state;
    CF_AUTO(cf_sealer) sealer = NULL;
    uint8_t key[32] = {1}, nonce[12] = {2}, additional[5] = "extra", buffer[40 + 16], copy[56], out[40];
    assert_ok(cf_sealer_new(&sealer));
    assert_fails(cf_sealer_seal(sealer, nonce, cf_span_of(NULL, 0), cf_span_of(key, 32), buffer), CF_ERR_INTERNAL,
                 NULL);
    assert_ok(cf_sealer_set_key(sealer, key));
    fill_random(buffer, 40, 1);
    assert_ok(cf_sealer_seal(sealer, nonce, cf_span_of(additional, 5), cf_span_of(buffer, 40), buffer)); /* in place */
    for (size_t i = 0; i < sizeof buffer; i++) {
        memcpy(copy, buffer, sizeof copy);
        copy[i] ^= 0x40;
        memset(out, 0xee, sizeof out);
        assert_fails(cf_sealer_open(sealer, nonce, cf_span_of(additional, 5), cf_span_of(copy, sizeof copy), out),
                     CF_ERR_SEAL_BROKEN, "tag");
        for (size_t k = 0; k < sizeof out; k++) assert_int_equal(out[k], 0); /* nothing unchecked leaves */
    }
    for (size_t size = 0; size < sizeof buffer; size++)
        assert_fails(cf_sealer_open(sealer, nonce, cf_span_of(additional, 5), cf_span_of(buffer, size), out),
                     CF_ERR_SEAL_BROKEN, size < 16 ? "truncated" : "tag");
    additional[0] ^= 1;
    assert_fails(cf_sealer_open(sealer, nonce, cf_span_of(additional, 5), cf_span_of(buffer, 56), out),
                 CF_ERR_SEAL_BROKEN, "tag");
    additional[0] ^= 1;
    nonce[11] ^= 1;
    assert_fails(cf_sealer_open(sealer, nonce, cf_span_of(additional, 5), cf_span_of(buffer, 56), out),
                 CF_ERR_SEAL_BROKEN, "tag");
    nonce[11] ^= 1;
    key[31] ^= 1;
    assert_ok(cf_sealer_set_key(sealer, key));
    assert_fails(cf_sealer_open(sealer, nonce, cf_span_of(additional, 5), cf_span_of(buffer, 56), out),
                 CF_ERR_SEAL_BROKEN, "tag");
    key[31] ^= 1;
    assert_ok(cf_sealer_set_key(sealer, key));
    assert_ok(cf_sealer_open(sealer, nonce, cf_span_of(additional, 5), cf_span_of(buffer, 56), buffer)); /* in place */
    fill_random(copy, 40, 1);
    assert_memory_equal(buffer, copy, 40);
}

static void an_empty_text_has_a_seal_too(void **state) {
    (void)state;
    CF_AUTO(cf_sealer) sealer = NULL;
    const uint8_t key[32] = {9}, nonce[12] = {0};
    uint8_t tag[16], none[1];
    assert_ok(cf_sealer_new(&sealer));
    assert_ok(cf_sealer_set_key(sealer, key));
    assert_ok(cf_sealer_seal(sealer, nonce, cf_span_text("a"), cf_span_of(NULL, 0), tag));
    assert_ok(cf_sealer_open(sealer, nonce, cf_span_text("a"), cf_span_of(tag, 16), none));
    assert_fails(cf_sealer_open(sealer, nonce, cf_span_text("b"), cf_span_of(tag, 16), none), CF_ERR_SEAL_BROKEN,
                 "tag");
}

/* RFC 8032, section 7.1, test 2. */
static void ed25519_gives_the_values_of_rfc_8032(void **state) {
    (void)state;
    CF_AUTO(cf_secret) seed = secret_hex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
    uint8_t public_key[32], signature[64];
    assert_ok(cf_sign_public_key(seed, public_key));
    assert_hex(public_key, 32, "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
    assert_ok(cf_sign_message(seed, cf_span_text("r"), signature));
    assert_hex(signature, 64,
               "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
               "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00");
    CF_AUTO(cf_secret) odd = secret_text("short");
    assert_fails(cf_sign_public_key(odd, public_key), CF_ERR_INTERNAL, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hkdf_gives_the_values_of_rfc_5869),
        cmocka_unit_test(hkdf_refuses_sizes_that_it_cannot_give),
        cmocka_unit_test(argon2id_gives_the_reference_implementations_values),
        cmocka_unit_test(argon2id_costs_outside_the_limits_are_refused),
        cmocka_unit_test(mac_gives_the_values_of_rfc_4231),
        cmocka_unit_test(chunk_ids_keep_kinds_apart),
        cmocka_unit_test(sealer_gives_the_values_of_the_gcm_paper),
        cmocka_unit_test(every_flipped_byte_breaks_the_seal),
        cmocka_unit_test(an_empty_text_has_a_seal_too),
        cmocka_unit_test(ed25519_gives_the_values_of_rfc_8032),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
