#include "sealed/pair.h"

#include "sealed/segment.h"

cf_err *cf_pair_derive(const cf_secret *key, cf_span salt, cf_span info, cf_key_pair_bytes *pair) {
    CF_AUTO(cf_secret) both = NULL;
    CF_TRY(cf_hkdf(key, salt, info, sizeof pair->key + sizeof pair->commitment, &both));
    memcpy(pair->key, cf_secret_bytes(both), sizeof pair->key);
    memcpy(pair->commitment, cf_secret_bytes(both) + sizeof pair->key, sizeof pair->commitment);
    return NULL;
}

/* label ‖ u64 pack number */
static cf_span info_of(const char *label, uint64_t pack, uint8_t info[64]) {
    size_t size = strlen(label);
    memcpy(info, label, size);
    for (size_t i = 0; i < 8; i++) info[size + i] = (uint8_t)(pack >> (8 * i));
    return cf_span_of(info, size + 8);
}

cf_err *cf_pack_keys_derive(const cf_secret *session_key, uint64_t pack, cf_key_pair_bytes *keys) {
    uint8_t info[64];
    return cf_pair_derive(session_key, cf_span_of(NULL, 0), info_of("coffer pack", pack, info), keys);
}

cf_err *cf_directory_keys_derive(const cf_secret *directory_key, const cf_id16 *session, uint64_t pack,
                                 cf_key_pair_bytes *keys) {
    uint8_t info[64];
    return cf_pair_derive(directory_key, cf_span_of(session->bytes, 16), info_of("coffer directory", pack, info), keys);
}
