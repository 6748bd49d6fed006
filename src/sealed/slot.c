#include "sealed/slot.h"

#include "digest/digest.h"
#include "keys/keys.h"
#include "sealed/slot_internal.h"
#include "visible/slot_header.h"

_Static_assert((int)CF_SLOT_SIZE == CF_SLOT_BYTES && (int)CF_RECORD_SIZE == CF_KEY_RECORD_BYTES &&
                   (int)CF_KDF_MEMORY_MIN_KIB == CF_SLOT_MEMORY_MIN_KIB &&
                   (int)CF_KDF_MEMORY_MAX_KIB == CF_SLOT_MEMORY_MAX_KIB &&
                   (int)CF_KDF_PASSES_MIN == CF_SLOT_PASSES_MIN && (int)CF_KDF_PASSES_MAX == CF_SLOT_PASSES_MAX,
               "both sides of the wall read the same slots");

static const uint8_t MAGIC[4] = {'C', 'F', 'K', 'S'};
enum { VERSION = 1, KIND_PASSPHRASE = 1, LANES = 1, KEYS_SIZE = 4 * CF_KEY_SIZE };
enum { AT_SALT = 40, AT_COMMITMENT = 88, AT_NONCE = 120, AT_SEALED = 132 };

void cf_server_keys_free(cf_server_keys *keys) {
    if (!keys) return;
    cf_secret_free(keys->master);
    cf_secret_free(keys->id);
    cf_secret_free(keys->gear);
    cf_secret_free(keys->directory);
    free(keys);
}

cf_err *cf_server_keys_unpack(const cf_secret *bytes, cf_server_keys **keys) {
    if (cf_secret_size(bytes) != KEYS_SIZE)
        return cf_fail_reason(CF_ERR_FORMAT, "size", "server keys of %zu bytes", cf_secret_size(bytes));
    CF_AUTO(cf_server_keys) made = calloc(1, sizeof *made);
    if (!made) return cf_fail(CF_ERR_OUT_OF_MEMORY, "server keys");
    const uint8_t *at = cf_secret_bytes(bytes);
    CF_TRY(cf_secret_from(at, CF_KEY_SIZE, &made->master));
    CF_TRY(cf_secret_from(at + 32, CF_KEY_SIZE, &made->id));
    CF_TRY(cf_secret_from(at + 64, CF_KEY_SIZE, &made->gear));
    CF_TRY(cf_secret_from(at + 96, CF_KEY_SIZE, &made->directory));
    *keys = cf_take(made);
    return NULL;
}

cf_err *cf_server_keys_pack(const cf_server_keys *keys, cf_secret **bytes) {
    CF_AUTO(cf_secret) made = NULL;
    CF_TRY(cf_secret_new(KEYS_SIZE, &made));
    const cf_secret *const parts[] = {keys->master, keys->id, keys->gear, keys->directory};
    for (size_t i = 0; i < 4; i++) {
        if (cf_secret_size(parts[i]) != CF_KEY_SIZE)
            return cf_fail(CF_ERR_INTERNAL, "a server key of %zu bytes", cf_secret_size(parts[i]));
        memcpy(cf_secret_data(made) + i * CF_KEY_SIZE, cf_secret_bytes(parts[i]), CF_KEY_SIZE);
    }
    *bytes = cf_take(made);
    return NULL;
}

cf_err *cf_server_keys_generate(cf_server_keys **keys) {
    CF_AUTO(cf_secret) bytes = NULL;
    CF_TRY(cf_secret_new(KEYS_SIZE, &bytes));
    CF_TRY(cf_random(cf_secret_data(bytes), KEYS_SIZE));
    return cf_server_keys_unpack(bytes, keys);
}

/* What the passphrase gives: sealing key, commitment tag and Ed25519 seed, 32 bytes each. */
static cf_err *derive(const cf_secret *passphrase, const uint8_t salt[16], uint32_t memory_kib, uint32_t passes,
                      cf_secret **three) {
    CF_AUTO(cf_secret) kek = NULL;
    CF_TRY(cf_kdf_passphrase(passphrase, salt, memory_kib, passes, &kek));
    return cf_hkdf(kek, cf_span_of(NULL, 0), cf_span_text("coffer slot"), 96, three);
}

cf_err *cf_slot_auth_seed(const uint8_t salt[16], uint32_t memory_kib, uint32_t passes, const cf_secret *passphrase,
                          cf_secret **auth_seed) {
    CF_AUTO(cf_secret) three = NULL;
    CF_TRY(derive(passphrase, salt, memory_kib, passes, &three));
    return cf_secret_from(cf_secret_bytes(three) + 64, 32, auth_seed);
}

static cf_err *put_header(const cf_slot_params *params, const uint8_t salt[16], const cf_secret *three, cf_buf *out) {
    CF_AUTO(cf_secret) seed = NULL;
    CF_TRY(cf_secret_from(cf_secret_bytes(three) + 64, 32, &seed));
    uint8_t public_key[32];
    CF_TRY(cf_sign_public_key(seed, public_key));
    cf_buf_put(out, MAGIC, 4);
    cf_buf_put_u16(out, VERSION);
    cf_buf_put_u8(out, KIND_PASSPHRASE);
    cf_buf_put_u8(out, 0);
    cf_buf_put(out, params->server.bytes, 16);
    cf_buf_put_u32(out, params->number);
    cf_buf_put_u32(out, params->memory_kib);
    cf_buf_put_u32(out, params->passes);
    cf_buf_put_u32(out, LANES);
    cf_buf_put(out, salt, 16);
    cf_buf_put(out, public_key, 32);
    cf_buf_put(out, cf_secret_bytes(three) + 32, 32);
    return NULL;
}

cf_err *cf_slot_seal_with(const cf_server_keys *keys, const cf_slot_params *params, const cf_secret *passphrase,
                          const uint8_t salt[16], const uint8_t nonce[CF_NONCE_SIZE], uint8_t out[CF_SLOT_SIZE]) {
    if (params->number < 1) return cf_fail(CF_ERR_INTERNAL, "key slot number 0");
    CF_AUTO(cf_secret) three = NULL;
    CF_TRY(derive(passphrase, salt, params->memory_kib, params->passes, &three));
    CF_AUTO_BUF cf_buf slot;
    cf_buf_init(&slot, CF_SLOT_SIZE);
    CF_TRY(put_header(params, salt, three, &slot));
    cf_buf_put(&slot, nonce, CF_NONCE_SIZE);
    uint8_t *sealed = cf_buf_reserve(&slot, KEYS_SIZE + CF_TAG_SIZE);
    if (!sealed) return cf_buf_check(&slot, "key slot");
    CF_AUTO(cf_secret) plain = NULL;
    CF_AUTO(cf_sealer) sealer = NULL;
    CF_TRY(cf_server_keys_pack(keys, &plain));
    CF_TRY(cf_sealer_new(&sealer));
    CF_TRY(cf_sealer_set_key(sealer, cf_secret_bytes(three)));
    CF_TRY(cf_sealer_seal(sealer, nonce, cf_span_of(slot.data, AT_NONCE), cf_span_of(cf_secret_bytes(plain), KEYS_SIZE),
                          sealed));
    memcpy(out, slot.data, CF_SLOT_SIZE);
    return NULL;
}

cf_err *cf_slot_seal(const cf_server_keys *keys, const cf_slot_params *params, const cf_secret *passphrase,
                     uint8_t out[CF_SLOT_SIZE]) {
    uint8_t salt[16], nonce[CF_NONCE_SIZE];
    CF_TRY(cf_random(salt, sizeof salt));
    CF_TRY(cf_random(nonce, sizeof nonce));
    return cf_slot_seal_with(keys, params, passphrase, salt, nonce, out);
}

cf_err *cf_slot_peek(cf_span slot, cf_slot_params *params, uint8_t public_key[32]) {
    cf_slot_header header;
    CF_TRY(cf_slot_header_decode(slot, &header));
    if (header.kind != CF_SLOT_PASSPHRASE)
        return cf_fail_reason(CF_ERR_FORMAT, "kind", "key slot %u is a recovery key's, no passphrase opens it",
                              header.number);
    *params = (cf_slot_params){
        .server = header.server, .number = header.number, .memory_kib = header.memory_kib, .passes = header.passes};
    if (public_key) memcpy(public_key, header.public_key, sizeof header.public_key);
    return NULL;
}

static cf_err *open_keys(cf_span slot, const cf_secret *three, cf_server_keys **keys) {
    CF_AUTO(cf_secret) plain = NULL;
    CF_AUTO(cf_sealer) sealer = NULL;
    CF_TRY(cf_secret_new(KEYS_SIZE, &plain));
    CF_TRY(cf_sealer_new(&sealer));
    CF_TRY(cf_sealer_set_key(sealer, cf_secret_bytes(three)));
    CF_TRY(cf_note(cf_sealer_open(sealer, slot.data + AT_NONCE, cf_span_of(slot.data, AT_NONCE),
                                  cf_span_of(slot.data + AT_SEALED, KEYS_SIZE + CF_TAG_SIZE), cf_secret_data(plain)),
                   "key slot"));
    return cf_server_keys_unpack(plain, keys);
}

cf_err *cf_slot_open(cf_span slot, const cf_secret *passphrase, cf_server_keys **keys, cf_secret **auth_seed) {
    cf_slot_params params;
    CF_TRY(cf_slot_peek(slot, &params, NULL));
    CF_AUTO(cf_secret) three = NULL;
    CF_TRY(derive(passphrase, slot.data + AT_SALT, params.memory_kib, params.passes, &three));
    if (!cf_equal_secret(cf_secret_bytes(three) + 32, slot.data + AT_COMMITMENT, 32))
        return cf_fail(CF_ERR_WRONG_PASSPHRASE, "the passphrase does not open key slot %u", params.number);
    CF_AUTO(cf_server_keys) opened = NULL;
    CF_AUTO(cf_secret) seed = NULL;
    CF_TRY(open_keys(slot, three, &opened));
    if (auth_seed) CF_TRY(cf_secret_from(cf_secret_bytes(three) + 64, 32, &seed));
    if (keys) *keys = cf_take(opened);
    if (auth_seed) *auth_seed = cf_take(seed);
    return NULL;
}
