/* Opening a server with its passphrase: the challenge, and what comes back. See agent/access.h. */
#include <string.h>

#include "agent/access.h"
#include "base/text.h"
#include "digest/digest.h"
#include "keys/keys.h"

enum { ROUNDS = 3 }; /* an answer that was lost on the way costs a challenge */

void cf_unlocked_wipe(cf_unlocked *unlocked) {
    cf_server_keys_free(unlocked->keys);
    cf_secret_free(unlocked->token);
    memset(unlocked, 0, sizeof *unlocked);
}

static cf_err *draw_token(cf_secret **token, uint8_t sha256[32]) {
    CF_AUTO(cf_secret) drawn = NULL;
    CF_TRY(cf_secret_new(CF_TOKEN_SIZE, &drawn));
    CF_TRY(cf_random(cf_secret_data(drawn), CF_TOKEN_SIZE));
    CF_TRY(cf_sha256(cf_span_of(cf_secret_bytes(drawn), CF_TOKEN_SIZE), sha256));
    *token = cf_take(drawn);
    return NULL;
}

static cf_err *sign(const cf_unlock_request *request, const cf_remote_challenge *challenge, cf_remote_unlock *unlock) {
    CF_AUTO(cf_secret) seed = NULL;
    uint8_t message[CF_REMOTE_UNLOCK_MESSAGE_SIZE];
    CF_TRY(cf_slot_auth_seed(challenge->salt, challenge->memory_kib, challenge->passes, request->passphrase, &seed));
    cf_remote_unlock_message(&request->server, challenge->challenge, unlock->token_sha256, message);
    memcpy(unlock->challenge, challenge->challenge, sizeof unlock->challenge);
    return cf_sign_message(seed, cf_span_of(message, sizeof message), unlock->signature);
}

static cf_err *attempt(cf_remote *remote, const cf_unlock_request *request, cf_secret **token,
                       cf_remote_unlocked *answer) {
    cf_remote_challenge challenge;
    cf_remote_unlock unlock = {.server = request->server, .takeover = request->takeover, .instance = request->instance};
    CF_AUTO(cf_secret) drawn = NULL;
    CF_TRY(draw_token(&drawn, unlock.token_sha256));
    CF_TRY(cf_remote_get_challenge(remote, &request->server, &challenge));
    CF_TRY(sign(request, &challenge, &unlock));
    CF_TRY(cf_remote_unlock_server(remote, &unlock, answer));
    *token = cf_take(drawn);
    return NULL;
}

/* The slot must be this server's, and open: a vault could hand out another one. */
static cf_err *open_slot(const cf_unlock_request *request, const cf_remote_unlocked *answer, cf_server_keys **keys) {
    cf_span slot = cf_span_of(answer->slot, CF_SLOT_SIZE);
    cf_slot_params params;
    CF_TRY(cf_slot_peek(slot, &params, NULL));
    if (!cf_id16_equal(&params.server, &request->server))
        return cf_fail(CF_ERR_SEAL_BROKEN, "the vault handed out the key slot of another server than \"%s\"",
                       request->server_name);
    return cf_slot_open(slot, request->passphrase, keys, NULL);
}

static cf_err *explain(cf_err *err, const cf_unlock_request *request) {
    cf_code code = cf_err_code(err);
    if (code != CF_ERR_PASSPHRASE_DIFFERS && code != CF_ERR_WRONG_PASSPHRASE) return err;
    return cf_wrap(err, CF_ERR_PASSPHRASE_WRONG, "the passphrase does not open the key slot of the server \"%s\"",
                   request->server_name);
}

cf_err *cf_access_unlock(cf_remote *remote, const cf_unlock_request *request, cf_unlocked *out) {
    CF_AUTO(cf_secret) token = NULL;
    CF_AUTO(cf_server_keys) keys = NULL;
    cf_remote_unlocked answer;
    cf_err *err = NULL;
    for (int i = 0; i < ROUNDS; i++) {
        cf_err_free(err);
        err = attempt(remote, request, &token, &answer);
        if (cf_err_code(err) != CF_ERR_VAULT_UNREACHABLE && cf_err_code(err) != CF_ERR_VAULT_BUSY) break;
    }
    if (!err) err = open_slot(request, &answer, &keys);
    if (!err) err = cf_remote_set_token(remote, token);
    if (err) return explain(err, request);
    memset(out, 0, sizeof *out);
    out->keys = cf_take(keys);
    out->token = cf_take(token);
    memcpy(out->slot, answer.slot, CF_SLOT_SIZE);
    memcpy(out->name, answer.name, sizeof out->name);
    return NULL;
}
