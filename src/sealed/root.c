#include "sealed/root.h"

#include <stdlib.h>

#include "digest/digest.h"
#include "keys/keys.h"
#include "sealed/entry_internal.h"
#include "sealed/pair.h"
#include "sealed/root_internal.h"

enum {
    VERSION = 1,
    PREFIX_SIZE = 80,
    ADDITIONAL_SIZE = PREFIX_SIZE + 4,
    HOST_MAX = 255,
    AGENT_MAX = 64,
    TEXT_MAX = 4095
};

static void put_texts(const cf_span *texts, size_t count, cf_buf *out) {
    cf_buf_put_varint(out, count);
    for (size_t i = 0; i < count; i++) cf_buf_put_bytes(out, texts[i]);
}

static void put_root(const cf_root *root, cf_buf *out) {
    cf_buf_put_u8(out, VERSION);
    cf_buf_put(out, root->server.bytes, 16);
    cf_buf_put(out, root->session.bytes, 16);
    cf_buf_put_u64(out, root->counter);
    cf_buf_put(out, root->previous.bytes, 32);
    cf_buf_put_u8(out, (uint8_t)root->selection);
    cf_buf_put(out, root->selection_id.bytes, 16);
    cf_buf_put_zigzag(out, root->time.seconds);
    cf_buf_put_varint(out, root->time.nanoseconds);
    cf_buf_put(out, root->summary_sha256, 32);
    cf_buf_put(out, root->pack_list_sha256, 32);
    cf_buf_put(out, root->map_sha256, 32);
    cf_ref_encode(&root->tree, out);
    cf_totals_put(&root->totals, out);
    cf_buf_put_bytes(out, root->host);
    cf_buf_put_bytes(out, root->agent_version);
    put_texts(root->sources, root->source_count, out);
    put_texts(root->exclusions, root->exclusion_count, out);
}

cf_err *cf_root_encode(const cf_root *root, cf_buf *out) {
    size_t start = out->size;
    put_root(root, out);
    CF_TRY(cf_buf_check(out, "recovery point root"));
    /* What does not decode must not be written. */
    cf_root again = {0};
    cf_err *err = cf_root_decode(cf_span_of(out->data + start, out->size - start), &again);
    free(again.sources);
    free(again.exclusions);
    if (!err || cf_err_code(err) == CF_ERR_OUT_OF_MEMORY) return err;
    return cf_wrap(err, CF_ERR_INTERNAL, "a recovery point root that could not be read again");
}

static cf_err *take_texts(cf_cursor *cursor, cf_span **texts, size_t *count) {
    size_t number = (size_t)cf_cursor_varint_max(cursor, CF_SOURCES_MAX);
    if (number > cf_cursor_left(cursor) / 2) cf_cursor_fail(cursor); /* before memory is asked for */
    CF_TRY(cf_cursor_check(cursor, CF_ERR_FORMAT, "recovery point root"));
    cf_span *made = calloc(number ? number : 1, sizeof *made);
    if (!made) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a list of sources");
    *texts = made; /* freed with the root */
    *count = number;
    for (size_t i = 0; i < number; i++) {
        made[i] = cf_cursor_bytes(cursor, TEXT_MAX);
        if (!cursor->failed && (made[i].size == 0 || memchr(made[i].data, 0, made[i].size)))
            return cf_fail_reason(CF_ERR_FORMAT, "source", "recovery point root: source or exclusion %zu", i);
    }
    return cf_cursor_check(cursor, CF_ERR_FORMAT, "recovery point root");
}

static cf_err *take_head(cf_cursor *cursor, cf_root *root) {
    uint8_t version = cf_cursor_u8(cursor);
    if (!cursor->failed && version != VERSION)
        return cf_fail_reason(CF_ERR_FORMAT_VERSION, "version", "recovery point root of version %u", version);
    cf_cursor_copy(cursor, root->server.bytes, 16);
    cf_cursor_copy(cursor, root->session.bytes, 16);
    root->counter = cf_cursor_u64(cursor);
    cf_cursor_copy(cursor, root->previous.bytes, 32);
    uint8_t selection = cf_cursor_u8(cursor);
    cf_cursor_copy(cursor, root->selection_id.bytes, 16);
    root->time.seconds = cf_cursor_zigzag(cursor);
    root->time.nanoseconds = (uint32_t)cf_cursor_varint_max(cursor, 999999999);
    cf_cursor_copy(cursor, root->summary_sha256, 32);
    cf_cursor_copy(cursor, root->pack_list_sha256, 32);
    cf_cursor_copy(cursor, root->map_sha256, 32);
    cf_ref_decode(cursor, &root->tree);
    cf_totals_take(cursor, &root->totals);
    root->host = cf_cursor_bytes(cursor, HOST_MAX);
    root->agent_version = cf_cursor_bytes(cursor, AGENT_MAX);
    CF_TRY(cf_cursor_check(cursor, CF_ERR_FORMAT, "recovery point root"));
    if (selection > CF_SELECTION_MANUAL)
        return cf_fail_reason(CF_ERR_FORMAT, "type", "recovery point root: selection %u", selection);
    root->selection = (cf_selection)selection;
    return NULL;
}

static cf_err *take_root(cf_cursor *cursor, cf_root *root) {
    CF_TRY(take_head(cursor, root));
    CF_TRY(take_texts(cursor, &root->sources, &root->source_count));
    CF_TRY(take_texts(cursor, &root->exclusions, &root->exclusion_count));
    for (size_t i = 0; i < root->source_count; i++)
        if (root->sources[i].data[0] != '/')
            return cf_fail_reason(CF_ERR_FORMAT, "source", "recovery point root: source %zu is not absolute", i);
    return cf_cursor_done(cursor, CF_ERR_FORMAT, "recovery point root");
}

cf_err *cf_root_decode(cf_span plain, cf_root *root) {
    cf_cursor cursor = cf_cursor_of(plain);
    cf_root made = {0};
    cf_err *err = take_root(&cursor, &made);
    if (!err) {
        *root = made;
        return NULL;
    }
    free(made.sources);
    free(made.exclusions);
    return err;
}

static void additional_data(const uint8_t prefix[PREFIX_SIZE], uint8_t out[ADDITIONAL_SIZE]) {
    memcpy(out, prefix, PREFIX_SIZE);
    memcpy(out + PREFIX_SIZE, "root", 4);
}

static cf_err *derive(const cf_secret *session_key, cf_key_pair_bytes *pair) {
    return cf_pair_derive(session_key, cf_span_of(NULL, 0), cf_span_text("coffer root"), pair);
}

static cf_err *seal(const cf_key_pair_bytes *pair, const uint8_t prefix[80], const uint8_t nonce[CF_NONCE_SIZE],
                    cf_span plain, cf_buf *out) {
    uint8_t additional[ADDITIONAL_SIZE];
    additional_data(prefix, additional);
    size_t start = out->size;
    cf_buf_put(out, nonce, CF_NONCE_SIZE);
    uint8_t *at = cf_buf_reserve(out, plain.size + CF_TAG_SIZE);
    if (!at) return cf_buf_check(out, "recovery point root");
    CF_AUTO(cf_sealer) sealer = NULL;
    CF_TRY(cf_sealer_new(&sealer));
    CF_TRY(cf_sealer_set_key(sealer, pair->key));
    cf_err *err = cf_sealer_seal(sealer, nonce, cf_span_of(additional, sizeof additional), plain, at);
    out->size = err ? start : out->size + plain.size + CF_TAG_SIZE;
    return err;
}

cf_err *cf_root_seal(const cf_root *root, const cf_secret *session_key, const uint8_t prefix[80],
                     uint8_t commitment[32], cf_buf *out) {
    /* Drawn, not fixed: a commit that is tried again may seal another root under the same session key. */
    uint8_t nonce[CF_NONCE_SIZE];
    CF_TRY(cf_random(nonce, sizeof nonce));
    return cf_root_seal_with(root, session_key, prefix, nonce, commitment, out);
}

cf_err *cf_root_seal_with(const cf_root *root, const cf_secret *session_key, const uint8_t prefix[80],
                          const uint8_t nonce[CF_NONCE_SIZE], uint8_t commitment[32], cf_buf *out) {
    CF_AUTO_BUF cf_buf plain;
    cf_buf_init(&plain, CF_POINT_ROOT_MAX - CF_NONCE_SIZE - CF_TAG_SIZE);
    CF_TRY(cf_root_encode(root, &plain));
    cf_key_pair_bytes pair;
    CF_TRY(derive(session_key, &pair));
    cf_err *err = seal(&pair, prefix, nonce, cf_buf_span(&plain), out);
    if (!err) memcpy(commitment, pair.commitment, sizeof pair.commitment);
    cf_wipe(&pair, sizeof pair);
    return err;
}

static cf_err *unseal(const cf_key_pair_bytes *pair, const cf_point_frame *frame, cf_buf *plain) {
    if (!cf_equal_secret(pair->commitment, frame->root_commitment, sizeof pair->commitment))
        return cf_fail_reason(CF_ERR_SEAL_BROKEN, "commitment", "the root was sealed under another key");
    if (frame->root.size < CF_NONCE_SIZE + CF_TAG_SIZE || frame->root.size > CF_POINT_ROOT_MAX)
        return cf_fail_reason(CF_ERR_FORMAT, "size", "a sealed root of %zu bytes", frame->root.size);
    uint8_t additional[ADDITIONAL_SIZE];
    additional_data(frame->header.data, additional);
    cf_span sealed = cf_span_of(frame->root.data + CF_NONCE_SIZE, frame->root.size - CF_NONCE_SIZE);
    size_t size = sealed.size - CF_TAG_SIZE;
    cf_buf_reset(plain);
    uint8_t *at = cf_buf_reserve(plain, size);
    if (!at) return cf_buf_check(plain, "recovery point root");
    CF_AUTO(cf_sealer) sealer = NULL;
    CF_TRY(cf_sealer_new(&sealer));
    CF_TRY(cf_sealer_set_key(sealer, pair->key));
    CF_TRY(cf_note(cf_sealer_open(sealer, frame->root.data, cf_span_of(additional, sizeof additional), sealed, at),
                   "recovery point root"));
    plain->size = size;
    return NULL;
}

static cf_err *check_hash(cf_span part, const uint8_t want[32], const char *reason) {
    uint8_t got[32];
    CF_TRY(cf_sha256(part, got));
    if (memcmp(got, want, sizeof got) == 0) return NULL;
    CF_AUTO(cf_err) err = cf_fail(CF_ERR_SEAL_BROKEN, "recovery point: its %s is not the one that was sealed", reason);
    cf_err_set_reason(err, reason);
    return cf_take(err);
}

/* Is the root that opened the one that the visible frame announces? */
static cf_err *check_frame(const cf_point_frame *frame, const cf_root *root) {
    if (!cf_id16_equal(&root->server, &frame->server) || !cf_id16_equal(&root->session, &frame->session) ||
        root->counter != frame->counter || !cf_id32_equal(&root->previous, &frame->previous))
        return cf_fail_reason(CF_ERR_SEAL_BROKEN, "relabelled", "the recovery point's header is not its root's");
    CF_TRY(check_hash(frame->summary, root->summary_sha256, "summary"));
    CF_TRY(check_hash(frame->pack_list, root->pack_list_sha256, "pack_list"));
    return check_hash(frame->map, root->map_sha256, "map");
}

cf_err *cf_root_open(const cf_point_frame *frame, const cf_secret *session_key, cf_root *root, cf_buf *storage) {
    cf_key_pair_bytes pair;
    CF_TRY(derive(session_key, &pair));
    cf_err *err = unseal(&pair, frame, storage);
    cf_wipe(&pair, sizeof pair);
    cf_root made = {0};
    if (!err) err = cf_root_decode(cf_buf_span(storage), &made);
    if (!err) err = check_frame(frame, &made);
    if (!err) {
        *root = made;
        return NULL;
    }
    free(made.sources);
    free(made.exclusions);
    return err;
}

void cf_root_wipe(cf_root *root, cf_buf *storage) {
    free(root->sources);
    free(root->exclusions);
    *root = (cf_root){0};
    cf_buf_wipe(storage);
}
