#include "../keys/help.h"

#include <openssl/evp.h>
#include <openssl/pem.h>

#include "keys/box.h"
#include "keys/keys.h"
#include "sealed/recovery.h"

static const cf_id16 SERVER = {{7, 7, 7}};
enum { NUMBER = 3 };

typedef struct pair {
    cf_secret *private_key;
    uint8_t public_key[32];
} pair;

static pair make_pair(uint8_t first) {
    uint8_t bytes[32] = {first, 9, 9};
    pair made;
    assert_ok(cf_secret_from(bytes, sizeof bytes, &made.private_key));
    assert_ok(cf_box_public_key(made.private_key, made.public_key));
    return made;
}

static void a_recovery_slot_opens_with_its_key_only(void **state) {
    (void)state;
    CF_AUTO(cf_server_keys) keys = NULL;
    CF_AUTO(cf_server_keys) opened = NULL;
    CF_AUTO(cf_secret) seed = NULL;
    pair owner = make_pair(8), stranger = make_pair(16);
    uint8_t slot[CF_SLOT_SIZE], derived[32];
    assert_ok(cf_server_keys_generate(&keys));
    assert_ok(cf_recovery_slot_seal(keys, &SERVER, NUMBER, owner.public_key, slot));
    assert_ok(cf_recovery_slot_open(cf_span_of(slot, sizeof slot), owner.private_key, &opened, &seed));
    CF_AUTO(cf_secret) before = NULL;
    CF_AUTO(cf_secret) after = NULL;
    assert_ok(cf_server_keys_pack(keys, &before));
    assert_ok(cf_server_keys_pack(opened, &after));
    assert_memory_equal(cf_secret_bytes(before), cf_secret_bytes(after), 128);
    assert_ok(cf_sign_public_key(seed, derived));
    assert_memory_equal(slot + 60, derived, 32);
    assert_fails(cf_recovery_slot_open(cf_span_of(slot, sizeof slot), stranger.private_key, NULL, NULL),
                 CF_ERR_SEAL_BROKEN, "box");
    cf_slot_params params; /* no passphrase opens it */
    assert_fails(cf_slot_peek(cf_span_of(slot, sizeof slot), &params, NULL), CF_ERR_FORMAT, "kind");
    cf_secret_free(owner.private_key);
    cf_secret_free(stranger.private_key);
}

static void damaged_recovery_slots_are_refused(void **state) {
    (void)state;
    CF_AUTO(cf_server_keys) keys = NULL;
    pair owner = make_pair(8);
    uint8_t slot[CF_SLOT_SIZE];
    assert_ok(cf_server_keys_generate(&keys));
    assert_ok(cf_recovery_slot_seal(keys, &SERVER, NUMBER, owner.public_key, slot));
    for (size_t i = 0; i < sizeof slot; i++) {
        if (i >= 28 && i < 60) continue; /* whose it is: only tells which key to try */
        slot[i] ^= 0x80;
        cf_err *err = cf_recovery_slot_open(cf_span_of(slot, sizeof slot), owner.private_key, NULL, NULL);
        assert_non_null(err);
        cf_code code = cf_err_code(err);
        assert_true(code == CF_ERR_SEAL_BROKEN || code == CF_ERR_FORMAT || code == CF_ERR_FORMAT_VERSION);
        cf_err_free(err);
        slot[i] ^= 0x80;
    }
    for (size_t size = 0; size < sizeof slot; size++) {
        CF_AUTO_FREE uint8_t *cut = exact_copy(slot, size);
        assert_fails(cf_recovery_slot_open(cf_span_of(cut, size), owner.private_key, NULL, NULL), CF_ERR_FORMAT,
                     "truncated");
    }
    cf_secret_free(owner.private_key);
}

/* PEM as OpenSSL writes it; password NULL: not encrypted. */
static cf_span pem_of(const char *algorithm, bool private_half, const char *password, BIO **bio) {
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, algorithm);
    assert_non_null(key);
    *bio = BIO_new(BIO_s_mem());
    int done = private_half ? PEM_write_bio_PKCS8PrivateKey(*bio, key, password ? EVP_aes_256_cbc() : NULL, NULL, 0,
                                                            NULL, (void *)(uintptr_t)password)
                            : PEM_write_bio_PUBKEY(*bio, key);
    assert_int_equal(done, 1);
    EVP_PKEY_free(key);
    char *data = NULL;
    long size = BIO_get_mem_data(*bio, &data);
    return cf_span_of(data, (size_t)size);
}

static void key_files_are_told_apart(void **state) {
    (void)state;
    CF_AUTO(cf_secret) password = secret_text("open sesame");
    CF_AUTO(cf_secret) wrong = secret_text("open barley");
    uint8_t public_key[32];
    cf_secret *private_key = NULL;
    BIO *bio = NULL;
    assert_ok(cf_box_read_public(pem_of("X25519", false, NULL, &bio), "k", public_key));
    BIO_free(bio);
    assert_fails(cf_box_read_public(pem_of("ED25519", false, NULL, &bio), "k", public_key), CF_ERR_RECOVERY_KEY, "pem");
    BIO_free(bio);
    assert_fails(cf_box_read_public(pem_of("X25519", true, NULL, &bio), "k", public_key), CF_ERR_RECOVERY_KEY,
                 "private");
    BIO_free(bio);
    assert_fails(cf_box_read_private(pem_of("X25519", false, NULL, &bio), "k", NULL, &private_key), CF_ERR_RECOVERY_KEY,
                 "pem");
    BIO_free(bio);
    cf_span locked = pem_of("X25519", true, "open sesame", &bio);
    assert_fails(cf_box_read_private(locked, "k", NULL, &private_key), CF_ERR_RECOVERY_KEY, "encrypted");
    assert_fails(cf_box_read_private(locked, "k", wrong, &private_key), CF_ERR_RECOVERY_KEY, "password");
    assert_ok(cf_box_read_private(locked, "k", password, &private_key));
    assert_int_equal(cf_secret_size(private_key), 32);
    cf_secret_free(private_key);
    BIO_free(bio);
    assert_fails(cf_box_read_public(cf_span_of(NULL, 0), "k", public_key), CF_ERR_RECOVERY_KEY, "pem");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_recovery_slot_opens_with_its_key_only),
        cmocka_unit_test(damaged_recovery_slots_are_refused),
        cmocka_unit_test(key_files_are_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
