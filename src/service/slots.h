/* A server's key slots as the vault sees them: which of them may open it now. */
#ifndef CF_SERVICE_SLOTS_H
#define CF_SERVICE_SLOTS_H

#include "service/vault.h"
#include "visible/slot_header.h"

enum { CF_SLOTS_MAX = 64, CF_SLOT_REPLACED_SECONDS = 14 * 86400 };

typedef struct cf_slot_view {
    cf_slot_header header;
    int64_t added;
    uint8_t bytes[CF_SLOT_BYTES];
} cf_slot_view;

/* cf_slots_usable: the newest passphrase's slot first, then older passphrases that were replaced less than 14 days
 * ago, newest first, then recovery keys. A fresh array. Fails: DATABASE when there is none; FORMAT.          */
cf_err *cf_slots_usable(cf_vault *vault, const cf_id16 *server, int64_t now, cf_slot_view **slots, size_t *count)
    __attribute__((warn_unused_result));

#endif
