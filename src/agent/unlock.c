/* Opening a server with its passphrase: the challenge, and what comes back. See agent/access.h. */
#include <stdlib.h>
#include <string.h>

#include "agent/access.h"
#include "base/text.h"
#include "digest/digest.h"
#include "keys/keys.h"
#include "sealed/recovery.h"
#include "visible/slot_header.h"

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

/* The key of challenges that belongs to the slot: from the passphrase, or out of the slot itself. */
static cf_err *seed_of(const cf_unlock_request *request, const cf_remote_opener *opener, cf_secret **seed) {
    if (opener->recovery)
        return cf_recovery_slot_open(cf_span_of(opener->slot, CF_SLOT_SIZE), request->recovery_key, NULL, seed);
    return cf_slot_auth_seed(opener->salt, opener->memory_kib, opener->passes, request->passphrase, seed);
}

static cf_err *sign(const cf_unlock_request *request, const cf_remote_challenge *challenge,
                    const cf_remote_opener *opener, cf_remote_unlock *unlock) {
    CF_AUTO(cf_secret) seed = NULL;
    uint8_t message[CF_REMOTE_UNLOCK_MESSAGE_SIZE];
    CF_TRY(seed_of(request, opener, &seed));
    unlock->slot = opener->number;
    cf_remote_unlock_message(&request->server, challenge->challenge, unlock->token_sha256, message);
    memcpy(unlock->challenge, challenge->challenge, sizeof unlock->challenge);
    return cf_sign_message(seed, cf_span_of(message, sizeof message), unlock->signature);
}

/* The n-th slot of the kind that the request has a secret for; NULL when there are not so many. */
static const cf_remote_opener *opener_at(const cf_remote_challenge *challenge, bool recovery, size_t n) {
    for (size_t i = 0; i < challenge->count; i++)
        if (challenge->openers[i].recovery == recovery && n-- == 0) return &challenge->openers[i];
    return NULL;
}

/* One slot, one challenge. *more is false when there is no n-th slot. */
static cf_err *attempt(cf_remote *remote, const cf_unlock_request *request, size_t n, cf_secret **token,
                       cf_remote_unlocked *answer, bool *more) {
    CF_AUTO_FREE cf_remote_challenge *challenge = malloc(sizeof *challenge);
    cf_remote_unlock unlock = {.server = request->server, .takeover = request->takeover, .instance = request->instance};
    CF_AUTO(cf_secret) drawn = NULL;
    if (!challenge) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a challenge");
    CF_TRY(draw_token(&drawn, unlock.token_sha256));
    CF_TRY(cf_remote_get_challenge(remote, &request->server, challenge));
    const cf_remote_opener *opener = opener_at(challenge, request->recovery_key != NULL, n);
    *more = opener != NULL;
    if (!opener)
        return cf_fail_reason(CF_ERR_RECOVERY_KEY, "unknown", "no key slot of \"%s\" is sealed to this recovery key",
                              request->server_name);
    CF_TRY(sign(request, challenge, opener, &unlock));
    CF_TRY(cf_remote_unlock_server(remote, &unlock, answer));
    cf_secret_free(*token);
    *token = cf_take(drawn);
    return NULL;
}

static bool lost_on_the_way(const cf_err *err) {
    return cf_err_code(err) == CF_ERR_VAULT_UNREACHABLE || cf_err_code(err) == CF_ERR_VAULT_BUSY;
}

/* Is it the secret that does not fit the slot? */
static bool wrong_secret(const cf_err *err) {
    return cf_err_code(err) == CF_ERR_PASSPHRASE_DIFFERS || cf_err_code(err) == CF_ERR_SEAL_BROKEN;
}

/* Each slot in turn; the first failure is about the newest passphrase, and the one to tell. */
static cf_err *attempt_all(cf_remote *remote, const cf_unlock_request *request, cf_secret **token,
                           cf_remote_unlocked *answer) {
    CF_AUTO(cf_err) first = NULL;
    bool more = true;
    for (size_t n = 0; n < CF_REMOTE_OPENERS_MAX && more; n++) {
        cf_err *err = NULL;
        for (int i = 0; i < ROUNDS; i++) {
            cf_err_free(err);
            err = attempt(remote, request, n, token, answer, &more);
            if (!lost_on_the_way(err)) break;
        }
        if (!err) return NULL;
        if (more && !wrong_secret(err)) return err;
        if (!first || request->recovery_key) {
            cf_err_free(first);
            first = err;
        } else {
            cf_err_free(err);
        }
    }
    return cf_take(first);
}

/* The slot must be this server's, and open: a vault could hand out another one. */
static cf_err *open_slot(const cf_unlock_request *request, const cf_remote_unlocked *answer, cf_server_keys **keys) {
    cf_span slot = cf_span_of(answer->slot, CF_SLOT_SIZE);
    cf_slot_header header;
    CF_TRY(cf_slot_header_decode(slot, &header));
    if (!cf_id16_equal(&header.server, &request->server))
        return cf_fail(CF_ERR_SEAL_BROKEN, "the vault handed out the key slot of another server than \"%s\"",
                       request->server_name);
    return request->recovery_key ? cf_recovery_slot_open(slot, request->recovery_key, keys, NULL)
                                 : cf_slot_open(slot, request->passphrase, keys, NULL);
}

static cf_err *explain(cf_err *err, const cf_unlock_request *request) {
    cf_code code = cf_err_code(err);
    if (request->recovery_key || (code != CF_ERR_PASSPHRASE_DIFFERS && code != CF_ERR_WRONG_PASSPHRASE)) return err;
    return cf_wrap(err, CF_ERR_PASSPHRASE_WRONG, "the passphrase does not open the key slot of the server \"%s\"",
                   request->server_name);
}

cf_err *cf_access_unlock(cf_remote *remote, const cf_unlock_request *request, cf_unlocked *out) {
    CF_AUTO(cf_secret) token = NULL;
    CF_AUTO(cf_server_keys) keys = NULL;
    cf_remote_unlocked answer;
    cf_err *err = attempt_all(remote, request, &token, &answer);
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
