#include "agent/keyfile.h"

#include <string.h>

#include "digest/digest.h"

enum { MAGIC_SIZE = 8, KEYS_SIZE = 128, SUMMED_SIZE = MAGIC_SIZE + KEYS_SIZE };
static const uint8_t magic[MAGIC_SIZE] = {'C', 'F', 'K', 'E', 'Y', 'S', 0, 1};

cf_err *cf_keyfile_encode(const cf_server_keys *keys, cf_secret **out) {
    CF_AUTO(cf_secret) packed = NULL;
    CF_AUTO(cf_secret) bytes = NULL;
    CF_TRY(cf_server_keys_pack(keys, &packed));
    CF_TRY(cf_secret_new(CF_KEYFILE_SIZE, &bytes));
    uint8_t *data = cf_secret_data(bytes);
    memcpy(data, magic, MAGIC_SIZE);
    memcpy(data + MAGIC_SIZE, cf_secret_bytes(packed), KEYS_SIZE);
    CF_TRY(cf_sha256(cf_span_of(data, SUMMED_SIZE), data + SUMMED_SIZE));
    *out = cf_take(bytes);
    return NULL;
}

cf_err *cf_keyfile_decode(cf_span bytes, const char *path, cf_server_keys **keys) {
    if (bytes.size < MAGIC_SIZE || memcmp(bytes.data, magic, MAGIC_SIZE - 1) != 0)
        return cf_fail_reason(CF_ERR_KEYS_NOT_CONFIGURED, bytes.size < MAGIC_SIZE ? "truncated" : "damaged",
                              "the key file %s is %s", path, bytes.size < MAGIC_SIZE ? "cut" : "no key file");
    if (bytes.data[MAGIC_SIZE - 1] > magic[MAGIC_SIZE - 1])
        return cf_fail_reason(CF_ERR_KEYS_NOT_CONFIGURED, "too_new", "the key file %s was written by a newer version",
                              path);
    if (bytes.size != CF_KEYFILE_SIZE)
        return cf_fail_reason(CF_ERR_KEYS_NOT_CONFIGURED, "truncated", "the key file %s has %zu bytes instead of %d",
                              path, bytes.size, CF_KEYFILE_SIZE);
    uint8_t digest[32];
    CF_TRY(cf_sha256(cf_span_of(bytes.data, SUMMED_SIZE), digest));
    if (!cf_equal_secret(digest, bytes.data + SUMMED_SIZE, sizeof digest))
        return cf_fail_reason(CF_ERR_KEYS_NOT_CONFIGURED, "damaged",
                              "the key file %s is damaged: its checksum does not fit", path);
    CF_AUTO(cf_secret) packed = NULL;
    CF_TRY(cf_secret_from(bytes.data + MAGIC_SIZE, KEYS_SIZE, &packed));
    return cf_server_keys_unpack(packed, keys);
}
