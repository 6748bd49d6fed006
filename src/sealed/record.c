#include "digest/digest.h"
#include "keys/keys.h"
#include "sealed/pair.h"
#include "sealed/slot.h"
#include "sealed/slot_internal.h"
#include "visible/slot_header.h"

static const uint8_t MAGIC[4] = {'C', 'F', 'K', 'R'};
enum { VERSION = 1, AT_SESSION = 24, AT_COMMITMENT = 40, AT_NONCE = 72, AT_SEALED = 84 };

/* HKDF(master key, "coffer record" ‖ session ID) */
static cf_err *derive(const cf_secret *master, const uint8_t session[16], cf_key_pair_bytes *pair) {
    uint8_t info[29] = "coffer record";
    memcpy(info + 13, session, 16);
    return cf_pair_derive(master, cf_span_of(NULL, 0), cf_span_of(info, sizeof info), pair);
}

static cf_err *seal(const cf_key_pair_bytes *pair, const cf_secret *session_key, uint8_t out[CF_RECORD_SIZE]) {
    CF_AUTO(cf_sealer) sealer = NULL;
    CF_TRY(cf_sealer_new(&sealer));
    CF_TRY(cf_sealer_set_key(sealer, pair->key));
    return cf_sealer_seal(sealer, out + AT_NONCE, cf_span_of(out, AT_NONCE),
                          cf_span_of(cf_secret_bytes(session_key), CF_KEY_SIZE), out + AT_SEALED);
}

cf_err *cf_record_seal_with(const cf_secret *master, const cf_id16 *server, const cf_id16 *session,
                            const cf_secret *session_key, const uint8_t nonce[CF_NONCE_SIZE],
                            uint8_t out[CF_RECORD_SIZE]) {
    if (cf_secret_size(session_key) != CF_KEY_SIZE)
        return cf_fail(CF_ERR_INTERNAL, "a session key of %zu bytes", cf_secret_size(session_key));
    cf_key_pair_bytes pair;
    CF_TRY(derive(master, session->bytes, &pair));
    uint8_t record[CF_RECORD_SIZE] = {0};
    memcpy(record, MAGIC, 4);
    record[4] = VERSION;
    memcpy(record + 8, server->bytes, 16);
    memcpy(record + AT_SESSION, session->bytes, 16);
    memcpy(record + AT_COMMITMENT, pair.commitment, 32);
    memcpy(record + AT_NONCE, nonce, CF_NONCE_SIZE);
    cf_err *err = seal(&pair, session_key, record);
    cf_wipe(&pair, sizeof pair);
    if (!err) memcpy(out, record, CF_RECORD_SIZE);
    return err;
}

cf_err *cf_record_seal(const cf_secret *master, const cf_id16 *server, const cf_id16 *session,
                       const cf_secret *session_key, uint8_t out[CF_RECORD_SIZE]) {
    uint8_t nonce[CF_NONCE_SIZE];
    CF_TRY(cf_random(nonce, sizeof nonce));
    return cf_record_seal_with(master, server, session, session_key, nonce, out);
}

static cf_err *check_frame(const cf_id16 *server, cf_span record) {
    cf_id16 of, session;
    CF_TRY(cf_key_record_header_decode(record, &of, &session));
    if (!cf_id16_equal(&of, server))
        return cf_fail_reason(CF_ERR_SEAL_BROKEN, "relabelled", "the key record is another server's");
    return NULL;
}

static cf_err *open_key(const cf_key_pair_bytes *pair, cf_span record, cf_secret **session_key) {
    if (!cf_equal_secret(pair->commitment, record.data + AT_COMMITMENT, 32))
        return cf_fail_reason(CF_ERR_SEAL_BROKEN, "commitment", "the key record was sealed under another key");
    CF_AUTO(cf_secret) made = NULL;
    CF_AUTO(cf_sealer) sealer = NULL;
    CF_TRY(cf_secret_new(CF_KEY_SIZE, &made));
    CF_TRY(cf_sealer_new(&sealer));
    CF_TRY(cf_sealer_set_key(sealer, pair->key));
    CF_TRY(cf_note(cf_sealer_open(sealer, record.data + AT_NONCE, cf_span_of(record.data, AT_NONCE),
                                  cf_span_of(record.data + AT_SEALED, CF_KEY_SIZE + CF_TAG_SIZE), cf_secret_data(made)),
                   "key record"));
    *session_key = cf_take(made);
    return NULL;
}

cf_err *cf_record_open(const cf_secret *master, const cf_id16 *server, cf_span record, cf_id16 *session,
                       cf_secret **session_key) {
    CF_TRY(check_frame(server, record));
    cf_key_pair_bytes pair;
    CF_TRY(derive(master, record.data + AT_SESSION, &pair));
    cf_err *err = open_key(&pair, record, session_key);
    cf_wipe(&pair, sizeof pair);
    if (!err) memcpy(session->bytes, record.data + AT_SESSION, 16);
    return err;
}
