#include "chunk/chunker.h"

#include <sodium.h>

enum { GEAR_ENTRIES = 256, GEAR_BYTES = GEAR_ENTRIES * 8 };

/* 18 and 14 bits at the top of h, where the last 64 bytes all had their say. */
static const uint64_t STRICT_MASK = 0xFFFFC00000000000u;
static const uint64_t LOOSE_MASK = 0xFFFC000000000000u;

struct cf_gear {
    cf_secret *memory;
    const uint64_t *table; /* in memory */
};

cf_err *cf_gear_new(const cf_secret *gear_key, cf_gear **gear) {
    if (cf_secret_size(gear_key) != crypto_stream_chacha20_ietf_KEYBYTES)
        return cf_fail(CF_ERR_INTERNAL, "a gear key of %zu bytes", cf_secret_size(gear_key));
    if (sodium_init() < 0) return cf_fail(CF_ERR_CRYPTO, "libsodium did not start");
    CF_AUTO(cf_gear) made = calloc(1, sizeof *made);
    if (!made) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a gear table");
    CF_TRY(cf_secret_new(GEAR_BYTES, &made->memory));
    static const uint8_t nonce[crypto_stream_chacha20_ietf_NONCEBYTES];
    uint8_t *bytes = cf_secret_data(made->memory);
    if (crypto_stream_chacha20_ietf(bytes, GEAR_BYTES, nonce, cf_secret_bytes(gear_key)) != 0)
        return cf_fail(CF_ERR_CRYPTO, "ChaCha20 keystream");
    uint64_t *table = (uint64_t *)(void *)bytes; /* a secret's data is aligned for any type */
    for (size_t i = 0; i < GEAR_ENTRIES; i++) {
        uint64_t value = 0;
        for (size_t k = 8; k-- > 0;) value = value << 8 | bytes[8 * i + k];
        table[i] = value;
    }
    made->table = table;
    *gear = cf_take(made);
    return NULL;
}

void cf_gear_free(cf_gear *gear) {
    if (!gear) return;
    cf_secret_free(gear->memory);
    free(gear);
}

/* The position after the first byte from at on where the mask is met; 0 and the hash so far when there is none. */
static inline size_t find(const uint64_t *table, const uint8_t *data, size_t at, size_t end, uint64_t mask,
                          uint64_t *hash) {
    uint64_t h = *hash;
    for (; end - at >= 4; at += 4) { /* four at a time: the loop's own work would show otherwise */
        h = (h << 1) + table[data[at]];
        if (!(h & mask)) return at + 1;
        h = (h << 1) + table[data[at + 1]];
        if (!(h & mask)) return at + 2;
        h = (h << 1) + table[data[at + 2]];
        if (!(h & mask)) return at + 3;
        h = (h << 1) + table[data[at + 3]];
        if (!(h & mask)) return at + 4;
    }
    for (; at < end; at++) {
        h = (h << 1) + table[data[at]];
        if (!(h & mask)) return at + 1;
    }
    *hash = h;
    return 0;
}

size_t cf_chunker_cut(const cf_gear *gear, const uint8_t *data, size_t size) {
    if (size <= CF_CUT_MIN) return size;
    size_t end = size < CF_CUT_MAX ? size : CF_CUT_MAX;
    /* Strict while the position after the byte, counted from 1, is below CF_CUT_NORMAL. */
    size_t strict_end = end < CF_CUT_NORMAL - 1 ? end : CF_CUT_NORMAL - 1;
    uint64_t hash = 0;
    size_t cut = find(gear->table, data, CF_CUT_MIN, strict_end, STRICT_MASK, &hash);
    if (!cut) cut = find(gear->table, data, strict_end, end, LOOSE_MASK, &hash);
    return cut ? cut : end;
}
