#include "sealed/recovery.h"

#include "keys/box.h"
#include "keys/keys.h"
#include "visible/slot_header.h"

enum { AT_SEALED = 100, KEYS_SIZE = 4 * CF_KEY_SIZE, LABEL_SIZE = 15 };
_Static_assert(AT_SEALED + KEYS_SIZE + CF_BOX_OVERHEAD == CF_SLOT_SIZE, "a recovery slot fills its 276 bytes");

/* The key of challenges: whoever can open the slot can make it, and nobody else. */
static cf_err *derive_seed(const cf_server_keys *keys, const cf_id16 *server, uint32_t number, cf_secret **seed) {
    CF_AUTO_BUF cf_buf info;
    cf_buf_init(&info, LABEL_SIZE + 16 + 4);
    cf_buf_put_span(&info, cf_span_text("coffer recovery"));
    cf_buf_put(&info, server->bytes, 16);
    cf_buf_put_u32(&info, number);
    CF_TRY(cf_buf_check(&info, "recovery slot"));
    return cf_hkdf(keys->master, cf_span_of(NULL, 0), cf_buf_span(&info), 32, seed);
}

cf_err *cf_recovery_slot_seal(const cf_server_keys *keys, const cf_id16 *server, uint32_t number,
                              const uint8_t recipient[32], uint8_t out[CF_SLOT_SIZE]) {
    if (number < 1) return cf_fail(CF_ERR_INTERNAL, "key slot number 0");
    CF_AUTO(cf_secret) seed = NULL;
    CF_AUTO(cf_secret) plain = NULL;
    uint8_t public_key[32];
    CF_TRY(derive_seed(keys, server, number, &seed));
    CF_TRY(cf_sign_public_key(seed, public_key));
    CF_TRY(cf_server_keys_pack(keys, &plain));
    CF_AUTO_BUF cf_buf slot;
    cf_buf_init(&slot, CF_SLOT_SIZE);
    cf_buf_put_span(&slot, cf_span_text("CFKS"));
    cf_buf_put_u16(&slot, 1);
    cf_buf_put_u8(&slot, CF_SLOT_RECOVERY);
    cf_buf_put_u8(&slot, 0);
    cf_buf_put(&slot, server->bytes, 16);
    cf_buf_put_u32(&slot, number);
    cf_buf_put(&slot, recipient, 32);
    cf_buf_put(&slot, public_key, 32);
    cf_buf_put_u64(&slot, 0);
    uint8_t *sealed = cf_buf_reserve(&slot, KEYS_SIZE + CF_BOX_OVERHEAD);
    if (!sealed) return cf_buf_check(&slot, "recovery slot");
    CF_TRY(cf_box_seal(recipient, plain, sealed));
    memcpy(out, slot.data, CF_SLOT_SIZE);
    return NULL;
}

cf_err *cf_recovery_slot_open(cf_span slot, const cf_secret *private_key, cf_server_keys **keys,
                              cf_secret **auth_seed) {
    cf_slot_header header;
    CF_TRY(cf_slot_header_decode(slot, &header));
    if (header.kind != CF_SLOT_RECOVERY)
        return cf_fail_reason(CF_ERR_FORMAT, "kind", "key slot %u is a passphrase's", header.number);
    CF_AUTO(cf_secret) plain = NULL;
    CF_AUTO(cf_secret) seed = NULL;
    CF_AUTO(cf_server_keys) opened = NULL;
    uint8_t public_key[32];
    CF_TRY(cf_box_open(private_key, cf_span_of(slot.data + AT_SEALED, CF_SLOT_SIZE - AT_SEALED), &plain));
    CF_TRY(cf_server_keys_unpack(plain, &opened));
    CF_TRY(derive_seed(opened, &header.server, header.number, &seed));
    CF_TRY(cf_sign_public_key(seed, public_key));
    if (!cf_equal_secret(public_key, header.public_key, sizeof public_key))
        return cf_fail_reason(CF_ERR_SEAL_BROKEN, "relabelled", "recovery slot %u holds the keys of something else",
                              header.number);
    if (keys) *keys = cf_take(opened);
    if (auth_seed) *auth_seed = cf_take(seed);
    return NULL;
}
