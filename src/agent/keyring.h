/* Changing who can open this server's backups: another passphrase, a recovery key, a recovery kit. All of it needs this
 * server's own registration, whose keys are here.
 * Threads: one.                                                                                          */
#ifndef CF_AGENT_KEYRING_H
#define CF_AGENT_KEYRING_H

#include "agent/access.h"

typedef struct cf_keyring_result {
    uint32_t slot; /* the number that it got */
} cf_keyring_result;

/* cf_keyring_change: from now on this passphrase opens the server; the one before it for 14 days more. The new slot is
 * opened again, stored at the vault, read back from there, and only then kept here. Fails: ACTIVATION (the vault does not
 * hand back what it was given), OBJECT_CONFLICT, and what the vault says.                                  */
cf_err *cf_keyring_change(cf_state *state, cf_remote *remote, const cf_secret *passphrase, uint32_t memory_kib,
                          uint32_t passes, cf_keyring_result *result) __attribute__((warn_unused_result));
/* cf_keyring_add_recovery: recipient is an X25519 public key. One that is there already gives its number.   */
cf_err *cf_keyring_add_recovery(cf_state *state, cf_remote *remote, const uint8_t recipient[32],
                                cf_keyring_result *result) __attribute__((warn_unused_result));
/* cf_keyring_check: does the passphrase open the newest passphrase's slot as the vault has it, with the keys that this
 * server uses? Fails: 34505 PASSPHRASE_WRONG; SEAL_BROKEN (reason "keys": it opens, but other keys).          */
cf_err *cf_keyring_check(cf_state *state, cf_remote *remote, const cf_secret *passphrase, cf_keyring_result *result)
    __attribute__((warn_unused_result));
/* cf_keyring_kit: a new recovery kit. */
cf_err *cf_keyring_kit(cf_state *state, cf_remote *remote, cf_kit **kit) __attribute__((warn_unused_result));

#endif
