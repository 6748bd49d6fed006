#include "service/url.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/secret.h"
#include "base/text.h"
#include "digest/signature.h"

enum { TEXT_SIZE = 480 };

/* What is signed is also what stands in the query, in this order. */
static cf_err *sign(const uint8_t key[32], const cf_blob *blob, char *text, size_t size, uint8_t signature[32]) {
    char server[CF_HEX_SIZE(16)], session[CF_HEX_SIZE(16)], xxh3[CF_HEX_SIZE(16)], merged[CF_HEX_SIZE(16)];
    char whole[TEXT_SIZE + 32];
    cf_hex_encode(blob->server.bytes, 16, server);
    cf_hex_encode(blob->session.bytes, 16, session);
    cf_hex_encode(blob->xxh3, 16, xxh3);
    snprintf(text, size, "op=%s&server=%s&session=%s&size=%" PRIu64 "&xxh3=%s&expires=%" PRId64,
             blob->upload ? "put" : "get", server, session, blob->size, xxh3, blob->expires);
    if (blob->generation) {
        size_t used = strlen(text);
        cf_hex_encode(blob->merged.bytes, 16, merged);
        snprintf(text + used, size - used, "&generation=%" PRIu32 "&merged=%s&base=%" PRIu64, blob->generation,
                 blob->is_merged ? merged : "", blob->base);
    }
    snprintf(whole, sizeof whole, "%" PRIu64 "?%s", blob->number, text);
    return cf_hmac_sha256(cf_span_of(key, 32), cf_span_text(whole), signature);
}

cf_err *cf_blob_url(const uint8_t key[32], const char *base, const cf_blob *blob, char **url) {
    char text[TEXT_SIZE], hex[CF_HEX_SIZE(32)];
    uint8_t signature[32];
    CF_TRY(sign(key, blob, text, sizeof text, signature));
    cf_hex_encode(signature, sizeof signature, hex);
    *url = cf_text_format("%s/v1/blobs/%" PRIu64 "?%s&sig=%s", base, blob->number, text, hex);
    return *url ? NULL : cf_fail(CF_ERR_OUT_OF_MEMORY, "an address");
}

static bool get_hex(cf_blob_get get, const void *context, const char *name, void *out, size_t size) {
    const char *text = get(context, name);
    return text && strlen(text) == 2 * size && cf_hex_decode(text, out, size);
}

static bool get_number(cf_blob_get get, const void *context, const char *name, uint64_t *out) {
    const char *text = get(context, name);
    return text && cf_text_parse_u64(text, INT64_MAX, out);
}

/* The members that only a moved pack's address has. */
static bool get_place(cf_blob_get get, const void *context, cf_blob *blob) {
    uint64_t generation = 0;
    const char *merged = get(context, "merged");
    if (!get(context, "generation")) return true;
    if (!merged || !get_number(get, context, "generation", &generation) || generation == 0 || generation > UINT32_MAX ||
        !get_number(get, context, "base", &blob->base))
        return false;
    blob->generation = (uint32_t)generation;
    blob->is_merged = merged[0] != '\0';
    return !blob->is_merged || get_hex(get, context, "merged", blob->merged.bytes, 16);
}

cf_err *cf_blob_check(const uint8_t key[32], bool upload, const char *number, cf_blob_get get, const void *context,
                      int64_t now, cf_blob *out) {
    cf_blob blob = {.upload = upload};
    uint64_t expires = 0;
    uint8_t given[32], right[32];
    char text[TEXT_SIZE];
    const char *op = get(context, "op");
    bool whole =
        op && strcmp(op, upload ? "put" : "get") == 0 && cf_text_parse_u64(number, CF_PACK_NUMBER_MAX, &blob.number) &&
        get_hex(get, context, "server", blob.server.bytes, 16) &&
        get_hex(get, context, "session", blob.session.bytes, 16) && get_hex(get, context, "xxh3", blob.xxh3, 16) &&
        get_hex(get, context, "sig", given, 32) && get_number(get, context, "size", &blob.size) &&
        get_number(get, context, "expires", &expires) && get_place(get, context, &blob);
    if (!whole) return cf_fail_reason(CF_ERR_FORBIDDEN, "url", "the address is incomplete");
    blob.expires = (int64_t)expires;
    CF_TRY(sign(key, &blob, text, sizeof text, right));
    if (!cf_equal_secret(given, right, sizeof right))
        return cf_fail_reason(CF_ERR_FORBIDDEN, "url", "the address was not made by this vault");
    if (blob.expires <= now)
        return cf_fail_reason(CF_ERR_FORBIDDEN, "expired", "the address has expired: ask for a new one");
    *out = blob;
    return NULL;
}
