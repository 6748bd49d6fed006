#include "agent/keyring.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "digest/digest.h"
#include "os/file.h"
#include "sealed/recovery.h"
#include "visible/slot_header.h"

enum { NUMBERS_TRIED = 4 };

/* This server's keys, and the slots that the vault has of it. */
typedef struct keyring {
    cf_remote *remote;
    cf_identity *identity;
    cf_server_keys *keys;
    cf_remote_slot *slots;
    size_t count;
} keyring;

static void keyring_wipe(keyring *ring) {
    cf_identity_free(ring->identity);
    cf_server_keys_free(ring->keys);
    free(ring->slots);
}

static cf_err *keyring_open(cf_state *state, cf_remote *remote, keyring *ring) {
    ring->remote = remote;
    CF_TRY(cf_registration_load_identity(cf_state_fd(state), &ring->identity));
    CF_TRY(cf_registration_load_keys(cf_state_fd(state), &ring->keys));
    return cf_remote_list_slots(remote, &ring->slots, &ring->count);
}

static cf_span slot_at(const keyring *ring, size_t index) {
    return cf_span_of(ring->slots[index].slot, CF_SLOT_SIZE);
}

static uint32_t highest(const keyring *ring) {
    return ring->count ? ring->slots[ring->count - 1].number : 0;
}

/* What the vault hands back is what the bad day will find. */
static cf_err *prove_stored(keyring *ring, const uint8_t slot[CF_SLOT_SIZE]) {
    free(ring->slots);
    ring->slots = NULL;
    CF_TRY(cf_remote_list_slots(ring->remote, &ring->slots, &ring->count));
    for (size_t i = 0; i < ring->count; i++)
        if (memcmp(ring->slots[i].slot, slot, CF_SLOT_SIZE) == 0) return NULL;
    return cf_fail(CF_ERR_ACTIVATION, "the vault does not hand back the key slot as it was stored");
}

typedef cf_err *(*seal_function)(const keyring *ring, uint32_t number, void *context, uint8_t slot[CF_SLOT_SIZE]);

/* A number that an interrupted try has used up is passed over. */
static cf_err *store(keyring *ring, seal_function seal, void *context, uint8_t slot[CF_SLOT_SIZE], uint32_t *number) {
    uint32_t first = highest(ring) + 1;
    for (uint32_t at = first;; at++) {
        CF_TRY(seal(ring, at, context, slot));
        cf_err *err = cf_remote_store_slot(ring->remote, at, cf_span_of(slot, CF_SLOT_SIZE));
        *number = at;
        if (!err) return prove_stored(ring, slot);
        if (cf_err_code(err) != CF_ERR_OBJECT_CONFLICT || at + 1 == first + NUMBERS_TRIED) return err;
        cf_err_free(err);
    }
}

typedef struct passphrase_slot {
    const cf_secret *passphrase;
    uint32_t memory_kib, passes;
} passphrase_slot;

/* Sealed, and opened again: a passphrase that opens nothing must not get that far. */
static cf_err *seal_passphrase(const keyring *ring, uint32_t number, void *context, uint8_t slot[CF_SLOT_SIZE]) {
    const passphrase_slot *what = context;
    cf_slot_params params = {
        .server = ring->identity->server_id, .number = number, .memory_kib = what->memory_kib, .passes = what->passes};
    CF_AUTO(cf_server_keys) opened = NULL;
    CF_TRY(cf_slot_seal(ring->keys, &params, what->passphrase, slot));
    return cf_slot_open(cf_span_of(slot, CF_SLOT_SIZE), what->passphrase, &opened, NULL);
}

static cf_err *change(cf_state *state, keyring *ring, passphrase_slot *what, cf_keyring_result *result) {
    uint8_t slot[CF_SLOT_SIZE];
    CF_TRY(store(ring, seal_passphrase, what, slot, &result->slot));
    cf_span bytes = cf_span_of(slot, CF_SLOT_SIZE);
    return cf_file_write_durable(cf_state_fd(state), "registration/slot", &bytes, 1, 0600);
}

cf_err *cf_keyring_change(cf_state *state, cf_remote *remote, const cf_secret *passphrase, uint32_t memory_kib,
                          uint32_t passes, cf_keyring_result *result) {
    keyring ring = {0};
    passphrase_slot what = {passphrase, memory_kib, passes};
    cf_err *err = keyring_open(state, remote, &ring);
    if (!err) err = change(state, &ring, &what, result);
    keyring_wipe(&ring);
    return err;
}

static cf_err *seal_recovery(const keyring *ring, uint32_t number, void *context, uint8_t slot[CF_SLOT_SIZE]) {
    return cf_recovery_slot_seal(ring->keys, &ring->identity->server_id, number, context, slot);
}

static cf_err *find_recipient(const keyring *ring, const uint8_t recipient[32], uint32_t *number) {
    *number = 0;
    for (size_t i = 0; i < ring->count; i++) {
        cf_slot_header header;
        CF_TRY(cf_slot_header_decode(slot_at(ring, i), &header));
        if (header.kind == CF_SLOT_RECOVERY && memcmp(header.recipient, recipient, 32) == 0) *number = header.number;
    }
    return NULL;
}

static cf_err *add_recovery(keyring *ring, const uint8_t recipient[32], cf_keyring_result *result) {
    uint8_t slot[CF_SLOT_SIZE], copy[32];
    CF_TRY(find_recipient(ring, recipient, &result->slot));
    if (result->slot) return NULL;
    memcpy(copy, recipient, sizeof copy);
    return store(ring, seal_recovery, copy, slot, &result->slot);
}

cf_err *cf_keyring_add_recovery(cf_state *state, cf_remote *remote, const uint8_t recipient[32],
                                cf_keyring_result *result) {
    keyring ring = {0};
    cf_err *err = keyring_open(state, remote, &ring);
    if (!err) err = add_recovery(&ring, recipient, result);
    keyring_wipe(&ring);
    return err;
}

static cf_err *same_keys(const cf_server_keys *a, const cf_server_keys *b) {
    CF_AUTO(cf_secret) one = NULL;
    CF_AUTO(cf_secret) other = NULL;
    CF_TRY(cf_server_keys_pack(a, &one));
    CF_TRY(cf_server_keys_pack(b, &other));
    if (cf_equal_secret(cf_secret_bytes(one), cf_secret_bytes(other), cf_secret_size(one))) return NULL;
    return cf_fail_reason(CF_ERR_SEAL_BROKEN, "keys",
                          "the vault's key slot opens, but holds other keys than this server uses");
}

static cf_err *check(const keyring *ring, const cf_secret *passphrase, cf_keyring_result *result) {
    for (size_t i = ring->count; i-- > 0;) {
        cf_slot_header header;
        CF_AUTO(cf_server_keys) opened = NULL;
        CF_TRY(cf_slot_header_decode(slot_at(ring, i), &header));
        if (header.kind != CF_SLOT_PASSPHRASE) continue;
        result->slot = header.number;
        cf_err *err = cf_slot_open(slot_at(ring, i), passphrase, &opened, NULL);
        if (cf_err_code(err) == CF_ERR_WRONG_PASSPHRASE)
            return cf_wrap(err, CF_ERR_PASSPHRASE_WRONG, "this is not the passphrase of \"%s\"",
                           ring->identity->server_name);
        return err ? err : same_keys(opened, ring->keys);
    }
    return cf_fail(CF_ERR_ACTIVATION, "the vault has no key slot of this server");
}

cf_err *cf_keyring_check(cf_state *state, cf_remote *remote, const cf_secret *passphrase, cf_keyring_result *result) {
    keyring ring = {0};
    cf_err *err = keyring_open(state, remote, &ring);
    if (!err) err = check(&ring, passphrase, result);
    keyring_wipe(&ring);
    return err;
}

static cf_err *fill_kit(cf_state *state, cf_remote *remote, const cf_identity *identity, cf_kit *kit) {
    CF_AUTO(cf_secret) secret = NULL;
    cf_remote_self self;
    cf_head head;
    CF_TRY(cf_secret_new(CF_CREDENTIALS_SECRET_SIZE, &secret));
    CF_TRY(cf_random(cf_secret_data(secret), CF_CREDENTIALS_SECRET_SIZE));
    CF_TRY(cf_remote_get_self(remote, &self));
    CF_TRY(cf_state_get_head(state, &head));
    CF_TRY(cf_remote_add_kit(remote, secret, &kit->credentials));
    kit->server_id = identity->server_id;
    snprintf(kit->server_name, sizeof kit->server_name, "%s", self.name);
    kit->created = cf_remote_now(remote);
    kit->has_newest = head.exists;
    kit->newest = head.id;
    kit->newest_counter = head.counter;
    kit->newest_time = head.time;
    return NULL;
}

cf_err *cf_keyring_kit(cf_state *state, cf_remote *remote, cf_kit **out) {
    CF_AUTO(cf_identity) identity = NULL;
    CF_AUTO(cf_kit) kit = calloc(1, sizeof *kit);
    if (!kit) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a recovery kit");
    CF_TRY(cf_registration_load_identity(cf_state_fd(state), &identity));
    CF_TRY(fill_kit(state, remote, identity, kit));
    *out = cf_take(kit);
    return NULL;
}
