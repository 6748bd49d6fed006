#include "agent/register.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/policy_store.h"
#include "base/text.h"
#include "digest/digest.h"
#include "keys/keys.h"
#include "policy/passphrase.h"

enum { KDF_MEMORY_KIB = 262144, KDF_PASSES = 3, SAME_NAME_TRIES = 4 };

/* One registration on its way. */
typedef struct enrolment {
    cf_state *state;
    const cf_register_options *options;
    cf_credentials *credentials;
    cf_remote *remote;
    cf_remote_version version;
    char name[CF_REMOTE_NAME_MAX + 1];
    cf_remote_server *servers; /* those that have this name already */
    size_t server_count;
    cf_secret *made_passphrase;
    const cf_secret *passphrase;
    cf_registration result;
    bool taken_over;
} enrolment;

static void enrolment_wipe(enrolment *e) {
    cf_credentials_free(e->credentials);
    cf_remote_free(e->remote);
    free(e->servers);
    cf_secret_free(e->made_passphrase);
    cf_registration_wipe(&e->result);
}
#define AUTO_ENROLMENT __attribute__((cleanup(enrolment_wipe)))

static void note(const enrolment *e, const char *text) {
    if (e->options->note) e->options->note(e->options->context, text);
}

static cf_err *choose_name(enrolment *e) {
    const char *name = e->options->name;
    char host[256] = "";
    if (!name) {
        if (gethostname(host, sizeof host - 1) < 0)
            return cf_fail_errno(CF_ERR_IO, errno, "the host name cannot be read");
        name = host;
    }
    if (!*name || strlen(name) > CF_REMOTE_NAME_MAX || !cf_utf8_valid(cf_span_text(name)))
        return cf_fail(CF_ERR_BAD_USAGE, "\"%s\" cannot be a server's name: 1 to %d bytes of UTF-8 (--name NAME)", name,
                       CF_REMOTE_NAME_MAX);
    memcpy(e->name, name, strlen(name) + 1);
    return NULL;
}

/* Not reached: when the file has expired by our own clock, that is the better answer. */
static cf_err *unreachable(const enrolment *e, cf_err *err) {
    cf_err *expired = cf_credentials_check(e->credentials, CF_PURPOSE_REGISTER, cf_clock_wall(cf_state_clock(e->state)),
                                           e->options->credentials_path);
    if (!expired) return err;
    cf_err_free(err);
    return cf_note(expired, "by this machine's clock (the vault could not be asked)");
}

/* The vault's word on the file counts; ours is for what the vault cannot know: is it this vault at all? */
static cf_err *ask_vault(enrolment *e) {
    const char *path = e->options->credentials_path;
    cf_err *err = cf_remote_get_version(e->remote, &e->version);
    if (err) return cf_err_code(err) == CF_ERR_VAULT_UNREACHABLE ? unreachable(e, err) : err;
    if (!cf_id16_equal(&e->version.vault_id, &e->credentials->vault_id))
        return cf_fail_reason(CF_ERR_CREDENTIALS, "foreign", "%s is from the vault \"%s\", but \"%s\" answers at %s",
                              path, e->credentials->vault_name, e->version.vault_name, e->credentials->url);
    CF_TRY(cf_credentials_check(e->credentials, CF_PURPOSE_REGISTER, cf_remote_now(e->remote), path));
    cf_remote_credentials answer;
    err = cf_remote_check_credentials(e->remote, &answer);
    return err ? cf_note(err, "%s", path) : NULL;
}

static cf_err *find_name(enrolment *e) {
    CF_AUTO_FREE cf_remote_server *all = NULL;
    size_t count;
    CF_TRY(cf_remote_list_servers(e->remote, &all, &count));
    for (size_t i = 0; i < count; i++)
        if (strcmp(all[i].name, e->name) == 0) all[e->server_count++] = all[i];
    e->servers = cf_take(all);
    return NULL;
}

static cf_err *preflight(enrolment *e) {
    const cf_register_options *options = e->options;
    CF_TRY(cf_access_read_credentials(options->credentials_path, &e->credentials));
    /* The purpose, which no clock has a say in, before anything is sent. */
    CF_TRY(
        cf_credentials_check(e->credentials, CF_PURPOSE_REGISTER, e->credentials->issued, options->credentials_path));
    CF_TRY(choose_name(e));
    CF_TRY(cf_access_use_credentials(e->credentials, &options->network, &e->remote));
    /* Nobody wants to wait for the news that an address is wrong; patience comes after the first answer. */
    cf_remote_set_patience(e->remote, 0);
    CF_TRY(ask_vault(e));
    cf_remote_set_patience(e->remote, options->network.retry_total_ms);
    return find_name(e);
}

static void fill_result(const enrolment *e, cf_register_result *result) {
    memset(result, 0, sizeof *result);
    if (e->result.identity) result->server_id = e->result.identity->server_id;
    result->vault_id = e->credentials->vault_id;
    memcpy(result->server_name, e->name, sizeof result->server_name);
    memcpy(result->vault_name, e->version.vault_name, sizeof result->vault_name);
    result->taken_over = e->taken_over;
    result->expires = e->credentials->expires;
    result->has_clock_offset = cf_remote_clock_offset(e->remote, &result->clock_offset);
}

cf_err *cf_register_check(cf_state *state, const cf_register_options *options, cf_register_result *result) {
    AUTO_ENROLMENT enrolment e = {.state = state, .options = options};
    CF_TRY(preflight(&e));
    e.taken_over = e.server_count > 0 && !options->is_new;
    fill_result(&e, result);
    return NULL;
}

/* Registered here already? With which vault is said, because that is what people mix up. */
static cf_err *refuse_second(enrolment *e) {
    CF_AUTO(cf_identity) identity = NULL;
    cf_err *err = cf_registration_load_identity(cf_state_fd(e->state), &identity);
    if (cf_err_code(err) == CF_ERR_NOT_REGISTERED) {
        cf_err_free(err);
        return NULL;
    }
    if (err) return err;
    CF_AUTO(cf_credentials) credentials = NULL;
    CF_TRY(cf_access_read_credentials(e->options->credentials_path, &credentials));
    if (!cf_id16_equal(&identity->vault_id, &credentials->vault_id))
        return cf_fail(CF_ERR_OTHER_VAULT, "this server is registered with the vault \"%s\", %s is from \"%s\"",
                       identity->vault_name, e->options->credentials_path, credentials->vault_name);
    return cf_fail(CF_ERR_ALREADY_REGISTERED, "registered as \"%s\" with the vault \"%s\"", identity->server_name,
                   identity->vault_name);
}

static cf_err *get_passphrase(enrolment *e) {
    e->passphrase = e->options->passphrase;
    if (!e->passphrase) {
        if (!e->options->make_passphrase)
            return cf_fail(CF_ERR_BAD_USAGE, "a passphrase is needed: --passphrase-file FILE");
        CF_TRY(e->options->make_passphrase(e->options->context, &e->made_passphrase));
        e->passphrase = e->made_passphrase;
    }
    return cf_passphrase_check(cf_span_of(cf_secret_bytes(e->passphrase), cf_secret_size(e->passphrase)));
}

static bool same_keys(const cf_server_keys *a, const cf_server_keys *b) {
    const cf_secret *const pairs[][2] = {
        {a->master, b->master}, {a->id, b->id}, {a->gear, b->gear}, {a->directory, b->directory}};
    for (size_t i = 0; i < 4; i++)
        if (!cf_equal_secret(cf_secret_bytes(pairs[i][0]), cf_secret_bytes(pairs[i][1]), CF_KEY_SIZE)) return false;
    return true;
}

/* The very bytes, opened as on the bad day. Memory that flips a bit here would cost every backup. */
static cf_err *prove_slot(const enrolment *e, cf_span slot, const char *whose) {
    CF_AUTO(cf_server_keys) opened = NULL;
    cf_err *err = cf_slot_open(slot, e->passphrase, &opened, NULL);
    if (err) return cf_wrap(err, CF_ERR_ACTIVATION, "%s key slot does not open with the passphrase", whose);
    return same_keys(opened, e->result.keys) ? NULL
                                             : cf_fail(CF_ERR_ACTIVATION, "%s key slot opens to other keys", whose);
}

static cf_err *make_identity(enrolment *e, const cf_id16 *server, const cf_id16 *instance) {
    cf_identity *identity = calloc(1, sizeof *identity);
    if (!identity) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for the identity");
    e->result.identity = identity;
    identity->server_id = *server;
    identity->instance = *instance;
    identity->vault_id = e->credentials->vault_id;
    identity->server_name = strdup(e->name);
    identity->vault_name = strdup(e->version.vault_name);
    identity->region = strdup(e->credentials->region);
    identity->url = strdup(e->credentials->url);
    identity->registered = cf_remote_now(e->remote);
    const char *proxy = e->options->network.proxy;
    if (e->credentials->ca_pem) identity->ca_pem = strdup(e->credentials->ca_pem);
    if (proxy) identity->proxy = strdup(proxy);
    bool whole = identity->server_name && identity->vault_name && identity->region && identity->url &&
                 !e->credentials->ca_pem == !identity->ca_pem && !proxy == !identity->proxy;
    return whole ? NULL : cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for the identity");
}

static cf_err *make_server(enrolment *e, cf_remote_registration *registration) {
    cf_id16 server, instance;
    CF_TRY(cf_random(server.bytes, sizeof server.bytes));
    CF_TRY(cf_random(instance.bytes, sizeof instance.bytes));
    CF_TRY(make_identity(e, &server, &instance));
    CF_TRY(cf_server_keys_generate(&e->result.keys));
    CF_TRY(cf_secret_new(CF_TOKEN_SIZE, &e->result.token));
    CF_TRY(cf_random(cf_secret_data(e->result.token), CF_TOKEN_SIZE));
    cf_slot_params params = {.server = server,
                             .number = 1,
                             .memory_kib = e->options->kdf_memory_kib ? e->options->kdf_memory_kib : KDF_MEMORY_KIB,
                             .passes = e->options->kdf_passes ? e->options->kdf_passes : KDF_PASSES};
    CF_TRY(cf_slot_seal(e->result.keys, &params, e->passphrase, e->result.slot));
    *registration = (cf_remote_registration){.server_id = server,
                                             .name = e->name,
                                             .instance = instance,
                                             .is_new = e->options->is_new,
                                             .slot = cf_span_of(e->result.slot, CF_SLOT_SIZE)};
    CF_TRY(cf_slot_peek(registration->slot, &params, registration->auth_key));
    CF_TRY(prove_slot(e, registration->slot, "the new"));
    return cf_sha256(cf_span_of(cf_secret_bytes(e->result.token), CF_TOKEN_SIZE), registration->token_sha256);
}

/* What the vault hands back is what the bad day will find: it must be there, ours, and open. */
static cf_err *prove_vault_copy(enrolment *e) {
    CF_AUTO_FREE cf_remote_slot *slots = NULL;
    size_t count;
    CF_TRY(cf_remote_list_slots(e->remote, &slots, &count));
    for (size_t i = 0; i < count; i++)
        if (memcmp(slots[i].slot, e->result.slot, CF_SLOT_SIZE) == 0)
            return prove_slot(e, cf_span_of(slots[i].slot, CF_SLOT_SIZE), "the vault's");
    return cf_fail(CF_ERR_ACTIVATION, "the vault does not hand back the key slot of \"%s\" as it was stored", e->name);
}

static cf_err *enrol_new(enrolment *e) {
    cf_remote_registration registration;
    note(e, "making keys");
    CF_TRY(make_server(e, &registration));
    CF_TRY(cf_remote_register(e->remote, &registration));
    return cf_remote_set_token(e->remote, e->result.token);
}

static cf_err *take_over(enrolment *e, const cf_remote_server *server) {
    cf_unlock_request request = {
        .server = server->id, .server_name = server->name, .passphrase = e->passphrase, .takeover = true};
    CF_TRY(cf_random(request.instance.bytes, sizeof request.instance.bytes));
    cf_unlocked unlocked = {0};
    CF_TRY(cf_access_unlock(e->remote, &request, &unlocked));
    e->result.keys = cf_take(unlocked.keys);
    e->result.token = cf_take(unlocked.token);
    memcpy(e->result.slot, unlocked.slot, CF_SLOT_SIZE);
    cf_unlocked_wipe(&unlocked);
    e->taken_over = true;
    return make_identity(e, &server->id, &request.instance);
}

/* Several servers may have the name (--new): the passphrase tells which one is meant. */
static cf_err *take_over_any(enrolment *e) {
    cf_err *err = NULL;
    note(e, "the vault knows this name: taking it over");
    for (size_t i = 0; i < e->server_count && i < SAME_NAME_TRIES; i++) {
        cf_err_free(err);
        err = take_over(e, &e->servers[i]);
        if (cf_err_code(err) != CF_ERR_PASSPHRASE_WRONG) break;
    }
    return err;
}

static cf_err *enrol(enrolment *e) {
    bool known = e->server_count > 0 && !e->options->is_new;
    if (known && !e->options->passphrase)
        return cf_fail(CF_ERR_NAME_TAKEN,
                       "the vault \"%s\" has a server \"%s\" already, and a new passphrase cannot open it",
                       e->version.vault_name, e->name);
    CF_TRY(get_passphrase(e));
    if (known) return take_over_any(e);
    cf_err *err = enrol_new(e);
    if (cf_err_code(err) != CF_ERR_NAME_TAKEN || !e->options->passphrase) return err;
    /* Somebody (or our own request, whose answer was lost in a crash) took the name meanwhile. */
    cf_err_free(err);
    cf_registration_wipe(&e->result);
    e->server_count = 0;
    free(cf_take(e->servers));
    CF_TRY(find_name(e));
    return take_over_any(e);
}

static cf_err *commit(enrolment *e) {
    note(e, "checking the vault's copy of the key");
    CF_TRY(prove_vault_copy(e));
    CF_TRY(cf_state_clear_head(e->state)); /* of an earlier registration */
    cf_err *err = cf_registration_commit(cf_state_fd(e->state), &e->result);
    if (!err) return NULL;
    return cf_wrap(err, CF_ERR_ACTIVATION, "the registration could not be written to %s", cf_state_folder(e->state));
}

cf_err *cf_register_server(cf_state *state, const cf_register_options *options, cf_register_result *result) {
    AUTO_ENROLMENT enrolment e = {.state = state, .options = options};
    CF_AUTO(cf_state_lock) lock = NULL;
    CF_TRY(cf_state_lock_take(state, CF_STATE_LOCK_REGISTER, "coffer register", &lock));
    CF_TRY(refuse_second(&e));
    if (options->passphrase) CF_TRY(get_passphrase(&e)); /* its rules, before anything is asked of the network */
    CF_TRY(preflight(&e));
    CF_TRY(enrol(&e));
    cf_err *err = commit(&e);
    if (err) { /* a token that nobody keeps should not stay valid; the name can be taken over all the same */
        cf_err *left = cf_remote_revoke_token(e.remote);
        cf_err_free(left);
        return err;
    }
    fill_result(&e, result);
    return NULL;
}

cf_err *cf_unregister_server(cf_state *state, const cf_network *network, bool *vault_told) {
    CF_AUTO(cf_state_lock) registering = NULL;
    CF_AUTO(cf_state_lock) everything = NULL;
    CF_AUTO(cf_remote) remote = NULL;
    CF_AUTO(cf_identity) identity = NULL;
    CF_TRY(cf_state_lock_take(state, CF_STATE_LOCK_REGISTER, "coffer unregister", &registering));
    CF_TRY(cf_state_lock_take(state, CF_STATE_LOCK_EXCLUSIVE, "coffer unregister", &everything));
    cf_err *err = cf_registration_load_identity(cf_state_fd(state), &identity);
    if (cf_err_code(err) == CF_ERR_NOT_REGISTERED) return err;
    /* Whatever is damaged or unreachable, forgetting must be possible. */
    if (!err) err = cf_access_connect(state, network, &remote);
    if (!err) err = cf_remote_revoke_token(remote);
    *vault_told = !err;
    if (cf_err_code(err) == CF_ERR_CANCELLED) return err;
    cf_err_free(err);
    CF_TRY(cf_state_clear_head(state));
    CF_TRY(cf_policy_store_forget(state)); /* another vault has its own */
    return cf_registration_remove(cf_state_fd(state));
}
