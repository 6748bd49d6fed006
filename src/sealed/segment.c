#include "sealed/segment.h"

#include <zstd.h>

#include "digest/digest.h"
#include "sealed/segment_internal.h"

enum { METHOD_RAW = 0, METHOD_ZSTD = 1, METHOD_SIZE = 1, SIZES_SIZE = 8, ADDITIONAL_SIZE = 48, VERSION = 1 };

struct cf_segment_codec {
    ZSTD_CCtx *compressor;
    ZSTD_DCtx *decompressor;
    cf_sealer *sealer;
    cf_buf plain; /* opened, still compressed         */
    cf_buf check; /* decompressed again, for verify   */
};

cf_err *cf_segment_codec_new(int level, cf_segment_codec **codec) {
    if (level < 1 || level > 19) return cf_fail(CF_ERR_INTERNAL, "zstd level %d", level);
    CF_AUTO(cf_segment_codec) made = calloc(1, sizeof *made);
    if (!made) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a segment codec");
    cf_buf_init(&made->plain, cf_segment_stored_max(CF_DIRECTORY_RAW_MAX));
    cf_buf_init(&made->check, CF_DIRECTORY_RAW_MAX);
    CF_TRY(cf_sealer_new(&made->sealer));
    made->compressor = ZSTD_createCCtx();
    made->decompressor = ZSTD_createDCtx();
    if (!made->compressor || !made->decompressor) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a zstd context");
    if (ZSTD_isError(ZSTD_CCtx_setParameter(made->compressor, ZSTD_c_compressionLevel, level)) ||
        ZSTD_isError(ZSTD_CCtx_setParameter(made->compressor, ZSTD_c_contentSizeFlag, 1)) ||
        ZSTD_isError(ZSTD_CCtx_setParameter(made->compressor, ZSTD_c_checksumFlag, 0)))
        return cf_fail(CF_ERR_INTERNAL, "zstd does not take level %d", level);
    *codec = cf_take(made);
    return NULL;
}

void cf_segment_codec_free(cf_segment_codec *codec) {
    if (!codec) return;
    (void)ZSTD_freeCCtx(codec->compressor); /* always 0 for a context of its own */
    (void)ZSTD_freeDCtx(codec->decompressor);
    cf_sealer_free(codec->sealer);
    cf_buf_wipe(&codec->plain);
    cf_buf_wipe(&codec->check);
    free(codec);
}

static unsigned floor_log2(size_t value) { /* value >= 1 */
    return 63u - (unsigned)__builtin_clzll((unsigned long long)value);
}

size_t cf_segment_padded(size_t size) {
    unsigned exponent = floor_log2(size);
    unsigned bits = floor_log2(exponent) + 1;
    if (exponent <= bits) return size;
    size_t mask = ((size_t)1 << (exponent - bits)) - 1;
    return (size + mask) & ~mask;
}

size_t cf_segment_stored_max(size_t raw_size) {
    /* Compression is used only when it makes the payload smaller. */
    return METHOD_SIZE + cf_segment_padded(SIZES_SIZE + raw_size) + CF_TAG_SIZE;
}

static size_t raw_max(const cf_segment_place *place) {
    return place->segment == CF_SEGMENT_DIRECTORY ? CF_DIRECTORY_RAW_MAX : CF_SEGMENT_RAW_MAX;
}

static void put_u32(uint8_t *out, size_t value) {
    for (size_t i = 0; i < 4; i++) out[i] = (uint8_t)(value >> (8 * i));
}

static void additional_data(const cf_segment_place *place, uint8_t method, uint8_t out[ADDITIONAL_SIZE]) {
    bool directory = place->segment == CF_SEGMENT_DIRECTORY;
    memcpy(out, "CFSG", 4);
    out[4] = VERSION;
    out[5] = 0;
    out[6] = (uint8_t)((unsigned)place->kind + (directory ? 2u : 0u));
    out[7] = method;
    memcpy(out + 8, place->server.bytes, 16);
    memcpy(out + 24, place->session.bytes, 16);
    for (size_t i = 0; i < 6; i++) out[40 + i] = (uint8_t)(place->pack >> (8 * i));
    out[46] = (uint8_t)place->segment;
    out[47] = (uint8_t)(place->segment >> 8);
}

static void nonce_of(const cf_segment_place *place, uint8_t nonce[CF_NONCE_SIZE]) {
    memset(nonce, 0, CF_NONCE_SIZE);
    nonce[0] = (uint8_t)place->segment;
    nonce[1] = (uint8_t)(place->segment >> 8);
}

/* One zstd frame, or the bytes as they are when that saves less than about 3 %: the frame gets no more room
 * than that, so that incompressible data is given up early. Returns the payload's size. */
static size_t put_payload(cf_segment_codec *codec, cf_span raw, uint8_t *out, uint8_t *method) {
    size_t packed = ZSTD_compress2(codec->compressor, out, raw.size - raw.size / 32, raw.data, raw.size);
    if (!ZSTD_isError(packed) && packed < raw.size) {
        *method = METHOD_ZSTD;
        return packed;
    }
    *method = METHOD_RAW;
    memcpy(out, raw.data, raw.size);
    return raw.size;
}

/* The stored form into out, which has room for cf_segment_stored_max. */
static cf_err *seal_into(cf_segment_codec *codec, const cf_segment_place *place, cf_span raw, uint8_t *out,
                         size_t *size) {
    uint8_t *plain = out + METHOD_SIZE;
    size_t payload = put_payload(codec, raw, plain + SIZES_SIZE, out);
    put_u32(plain, payload);
    put_u32(plain + 4, raw.size);
    size_t padded = cf_segment_padded(SIZES_SIZE + payload);
    memset(plain + SIZES_SIZE + payload, 0, padded - SIZES_SIZE - payload);
    uint8_t additional[ADDITIONAL_SIZE], nonce[CF_NONCE_SIZE];
    additional_data(place, out[0], additional);
    nonce_of(place, nonce);
    CF_TRY(cf_sealer_seal(codec->sealer, nonce, cf_span_of(additional, sizeof additional), cf_span_of(plain, padded),
                          plain));
    *size = METHOD_SIZE + padded + CF_TAG_SIZE;
    return NULL;
}

/* Opens what was just sealed. Any difference means that memory or the processor erred. */
static cf_err *check_sealed(cf_segment_codec *codec, const uint8_t key[32], const cf_segment_place *place,
                            const uint8_t want[16], cf_span stored) {
    cf_buf_reset(&codec->check);
    cf_err *err = cf_segment_open(codec, key, place, stored, &codec->check);
    uint8_t got[16];
    if (!err) cf_xxh3_128(cf_buf_span(&codec->check), got);
    if (!err && memcmp(got, want, sizeof got) == 0) return NULL;
    if (cf_err_code(err) == CF_ERR_OUT_OF_MEMORY) return err;
    return cf_wrap_reason(err, CF_ERR_SEAL_BROKEN, "memory",
                          "a segment that was just sealed does not open to the same bytes");
}

cf_err *cf_segment_seal(cf_segment_codec *codec, const uint8_t key[32], const cf_segment_place *place, cf_span raw,
                        bool verify, cf_buf *out) {
    if (raw.size < 1 || raw.size > raw_max(place) || place->pack < 1 || place->pack > CF_PACK_NUMBER_MAX)
        return cf_fail(CF_ERR_INTERNAL, "a segment of %zu bytes in pack %llu", raw.size,
                       (unsigned long long)place->pack);
    CF_TRY(cf_sealer_set_key(codec->sealer, key));
    uint8_t want[16];
    if (verify) cf_xxh3_128(raw, want);
    uint8_t *at = cf_buf_reserve(out, cf_segment_stored_max(raw.size));
    if (!at) return cf_buf_check(out, "segment");
    size_t size;
    CF_TRY(seal_into(codec, place, raw, at, &size));
    if (verify) CF_TRY(check_sealed(codec, key, place, want, cf_span_of(at, size)));
    out->size += size;
    return NULL;
}

static cf_err *decompress(cf_segment_codec *codec, cf_span payload, size_t raw_size, uint8_t *out) {
    /* Exactly one frame, which says its own size: then zstd writes into out directly and needs no window. */
    if (ZSTD_getFrameContentSize(payload.data, payload.size) != raw_size ||
        ZSTD_findFrameCompressedSize(payload.data, payload.size) != payload.size)
        return cf_fail_reason(CF_ERR_FORMAT, "zstd", "segment: not one zstd frame of %zu bytes", raw_size);
    size_t got = ZSTD_decompressDCtx(codec->decompressor, out, raw_size, payload.data, payload.size);
    if (ZSTD_isError(got) || got != raw_size)
        return cf_fail_reason(CF_ERR_FORMAT, "zstd", "segment: zstd: %s",
                              ZSTD_isError(got) ? ZSTD_getErrorName(got) : "the frame is shorter than it says");
    return NULL;
}

static bool all_zero(const uint8_t *data, size_t size) {
    uint8_t any = 0;
    for (size_t i = 0; i < size; i++) any |= data[i];
    return any == 0;
}

cf_err *cf_segment_unpack(cf_segment_codec *codec, uint8_t method, cf_span plain, size_t limit, cf_buf *out) {
    cf_cursor cursor = cf_cursor_of(plain);
    size_t stored_size = cf_cursor_u32(&cursor);
    size_t raw_size = cf_cursor_u32(&cursor);
    CF_TRY(cf_cursor_check(&cursor, CF_ERR_FORMAT, "segment"));
    if (method > METHOD_ZSTD) return cf_fail_reason(CF_ERR_FORMAT, "method", "segment: method %u", method);
    if (raw_size < 1 || raw_size > limit || stored_size < 1 || stored_size > cf_cursor_left(&cursor) ||
        (method == METHOD_RAW && stored_size != raw_size))
        return cf_fail_reason(CF_ERR_FORMAT, "size", "segment: %zu bytes stored, %zu raw, method %u", stored_size,
                              raw_size, method);
    cf_span payload = cf_cursor_take(&cursor, stored_size);
    if (plain.size != cf_segment_padded(SIZES_SIZE + stored_size) ||
        !all_zero(plain.data + SIZES_SIZE + stored_size, plain.size - SIZES_SIZE - stored_size))
        return cf_fail_reason(CF_ERR_FORMAT, "padding", "segment: wrong padding of %zu stored bytes", stored_size);
    uint8_t *at = cf_buf_reserve(out, raw_size);
    if (!at) return cf_buf_check(out, "segment");
    if (method == METHOD_RAW)
        memcpy(at, payload.data, raw_size);
    else
        CF_TRY(decompress(codec, payload, raw_size, at));
    out->size += raw_size;
    return NULL;
}

cf_err *cf_segment_open(cf_segment_codec *codec, const uint8_t key[32], const cf_segment_place *place, cf_span stored,
                        cf_buf *out) {
    if (stored.size < METHOD_SIZE + SIZES_SIZE + 1 + CF_TAG_SIZE)
        return cf_fail_reason(CF_ERR_FORMAT, "truncated", "a stored segment of %zu bytes", stored.size);
    if (stored.size > cf_segment_stored_max(raw_max(place)))
        return cf_fail_reason(CF_ERR_FORMAT, "size", "a stored segment of %zu bytes", stored.size);
    uint8_t method = stored.data[0];
    if (method > METHOD_ZSTD) return cf_fail_reason(CF_ERR_FORMAT, "method", "segment: method %u", method);
    uint8_t additional[ADDITIONAL_SIZE], nonce[CF_NONCE_SIZE];
    additional_data(place, method, additional);
    nonce_of(place, nonce);
    cf_buf_reset(&codec->plain);
    size_t size = stored.size - METHOD_SIZE - CF_TAG_SIZE;
    uint8_t *plain = cf_buf_reserve(&codec->plain, size);
    if (!plain) return cf_buf_check(&codec->plain, "segment");
    CF_TRY(cf_sealer_set_key(codec->sealer, key));
    CF_TRY(cf_note(cf_sealer_open(codec->sealer, nonce, cf_span_of(additional, sizeof additional),
                                  cf_span_of(stored.data + METHOD_SIZE, stored.size - METHOD_SIZE), plain),
                   "segment %u of pack %llu", place->segment, (unsigned long long)place->pack));
    return cf_note(cf_segment_unpack(codec, method, cf_span_of(plain, size), raw_max(place), out), "pack %llu",
                   (unsigned long long)place->pack);
}
