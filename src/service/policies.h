/* The policies of a vault's servers: checked, journalled, kept.                                              */
#ifndef CF_SERVICE_POLICIES_H
#define CF_SERVICE_POLICIES_H

#include "service/vault.h"

/* cf_policies_set: document (JSON text) becomes the newest version of a server's policy, when base is the newest so
 * far (0: there is none). The same document as the newest one changes nothing and answers its number. In a
 * transaction of its own; the journal entry is durable before the row.
 *   changed_by  "agent" or "vault".
 *   number      of the version that is in force now.
 *   conflict    base is not the newest: nothing was changed.
 * Fails: what cf_policy_parse and cf_policy_check say.                                                        */
cf_err *cf_policies_set(cf_vault *vault, const cf_id16 *server, uint64_t base, cf_span document, const char *changed_by,
                        int64_t now, bool *conflict, uint64_t *number) __attribute__((warn_unused_result));

#endif
