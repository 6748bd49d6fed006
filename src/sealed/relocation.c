#include "sealed/relocation.h"

#include <stdlib.h>

#include "digest/digest.h"
#include "keys/keys.h"
#include "sealed/node.h"
#include "sealed/pair.h"

static const char LABEL[] = "coffer relocation";
enum { VERSION = 1, REF_MIN = 36, ADDITIONAL_SIZE = CF_RELOCATION_PREFIX_SIZE + 3 * 32 + 10 };

cf_err *cf_relocation_refs_encode(const cf_ref *refs, size_t count, cf_buf *out) {
    size_t start = out->size;
    cf_buf_put_u8(out, VERSION);
    cf_buf_put_varint(out, count);
    for (size_t i = 0; i < count; i++) cf_ref_encode(&refs[i], out);
    CF_TRY(cf_buf_check(out, "relocations"));
    CF_AUTO_FREE cf_ref *again = NULL;
    size_t number = 0;
    cf_err *err = cf_relocation_refs_decode(cf_span_of(out->data + start, out->size - start), &again, &number);
    if (!err || cf_err_code(err) == CF_ERR_OUT_OF_MEMORY) return err;
    return cf_wrap(err, CF_ERR_INTERNAL, "relocations that could not be read again");
}

cf_err *cf_relocation_refs_decode(cf_span plain, cf_ref **out, size_t *count) {
    cf_cursor cursor = cf_cursor_of(plain);
    uint8_t version = cf_cursor_u8(&cursor);
    size_t number = (size_t)cf_cursor_varint_max(&cursor, CF_RELOCATION_CHUNKS_MAX);
    CF_TRY(cf_cursor_check(&cursor, CF_ERR_FORMAT, "relocations"));
    if (version != VERSION)
        return cf_fail_reason(CF_ERR_FORMAT_VERSION, "version", "relocations of version %u", version);
    if (number > cf_cursor_left(&cursor) / REF_MIN)
        return cf_fail_reason(CF_ERR_FORMAT, "count", "relocations: %zu of them do not fit", number);
    CF_AUTO_FREE cf_ref *refs = calloc(number + 1, sizeof *refs);
    if (!refs) return cf_fail(CF_ERR_OUT_OF_MEMORY, "relocations");
    for (size_t i = 0; i < number; i++) {
        cf_ref_decode(&cursor, &refs[i]);
        if (i > 0 && memcmp(refs[i - 1].id.bytes, refs[i].id.bytes, 32) >= 0) cf_cursor_fail(&cursor);
    }
    CF_TRY(cf_cursor_done(&cursor, CF_ERR_FORMAT, "relocations"));
    *out = cf_take(refs);
    *count = number;
    return NULL;
}

static cf_err *derive(const cf_secret *session_key, cf_key_pair_bytes *pair) {
    return cf_pair_derive(session_key, (cf_span){0}, cf_span_of(LABEL, sizeof LABEL - 1), pair);
}

/* Everything visible but the commitment and the key record, which stand for themselves. */
static cf_err *additional(const cf_relocation_frame *frame, uint8_t out[ADDITIONAL_SIZE]) {
    cf_relocation_prefix(frame, out);
    uint8_t *at = out + CF_RELOCATION_PREFIX_SIZE;
    CF_TRY(cf_sha256(frame->points, at));
    CF_TRY(cf_sha256(frame->extra, at + 32));
    CF_TRY(cf_sha256(frame->healed, at + 64));
    memcpy(at + 96, "relocation", 10);
    return NULL;
}

static cf_err *seal(const cf_key_pair_bytes *pair, cf_span more, cf_span plain, cf_buf *out) {
    uint8_t nonce[CF_NONCE_SIZE];
    CF_AUTO(cf_sealer) sealer = NULL;
    CF_TRY(cf_random(nonce, sizeof nonce));
    CF_TRY(cf_sealer_new(&sealer));
    CF_TRY(cf_sealer_set_key(sealer, pair->key));
    cf_buf_put(out, nonce, sizeof nonce);
    uint8_t *at = cf_buf_reserve(out, plain.size + CF_TAG_SIZE);
    if (!at) return cf_buf_check(out, "relocation record");
    CF_TRY(cf_sealer_seal(sealer, nonce, more, plain, at));
    out->size += plain.size + CF_TAG_SIZE;
    return NULL;
}

cf_err *cf_relocation_seal(const cf_relocation_frame *frame, const cf_secret *session_key, const cf_ref *refs,
                           size_t count, uint8_t commitment[32], cf_buf *out) {
    CF_AUTO_BUF cf_buf plain;
    uint8_t more[ADDITIONAL_SIZE];
    cf_key_pair_bytes pair;
    cf_buf_init(&plain, CF_RELOCATION_SEALED_MAX - CF_NONCE_SIZE - CF_TAG_SIZE);
    CF_TRY(cf_relocation_refs_encode(refs, count, &plain));
    CF_TRY(additional(frame, more));
    CF_TRY(derive(session_key, &pair));
    cf_err *err = seal(&pair, cf_span_of(more, sizeof more), cf_buf_span(&plain), out);
    if (!err) memcpy(commitment, pair.commitment, sizeof pair.commitment);
    cf_wipe(&pair, sizeof pair);
    return err;
}

static cf_err *unseal(const cf_key_pair_bytes *pair, const cf_relocation_frame *frame, cf_buf *plain) {
    uint8_t more[ADDITIONAL_SIZE];
    if (!cf_equal_secret(pair->commitment, frame->commitment, sizeof pair->commitment))
        return cf_fail_reason(CF_ERR_SEAL_BROKEN, "commitment", "the relocation record was sealed under another key");
    if (frame->sealed.size < CF_NONCE_SIZE + CF_TAG_SIZE)
        return cf_fail_reason(CF_ERR_FORMAT, "size", "a sealed part of %zu bytes", frame->sealed.size);
    CF_TRY(additional(frame, more));
    cf_span sealed = cf_span_of(frame->sealed.data + CF_NONCE_SIZE, frame->sealed.size - CF_NONCE_SIZE);
    uint8_t *at = cf_buf_reserve(plain, sealed.size - CF_TAG_SIZE);
    if (!at) return cf_buf_check(plain, "relocation record");
    CF_AUTO(cf_sealer) sealer = NULL;
    CF_TRY(cf_sealer_new(&sealer));
    CF_TRY(cf_sealer_set_key(sealer, pair->key));
    CF_TRY(cf_note(cf_sealer_open(sealer, frame->sealed.data, cf_span_of(more, sizeof more), sealed, at),
                   "relocation record"));
    plain->size = sealed.size - CF_TAG_SIZE;
    return NULL;
}

cf_err *cf_relocation_open(const cf_relocation_frame *frame, const cf_secret *session_key, cf_ref **refs,
                           size_t *count) {
    CF_AUTO_BUF cf_buf plain;
    cf_key_pair_bytes pair;
    cf_buf_init(&plain, CF_RELOCATION_SEALED_MAX);
    CF_TRY(derive(session_key, &pair));
    cf_err *err = unseal(&pair, frame, &plain);
    cf_wipe(&pair, sizeof pair);
    return err ? err : cf_relocation_refs_decode(cf_buf_span(&plain), refs, count);
}
