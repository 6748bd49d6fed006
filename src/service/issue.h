/* Issuing credentials files. */
#ifndef CF_SERVICE_ISSUE_H
#define CF_SERVICE_ISSUE_H

#include "proto/credentials.h"
#include "service/vault.h"

/* cf_vault_issue: a new credentials file; the earlier one of this purpose is superseded. The secret is stored
 * nowhere but in *text. Fails: DISK_FULL, DATABASE.                                                      */
cf_err *cf_vault_issue(cf_vault *vault, cf_purpose purpose, cf_secret **text, cf_time *expires)
    __attribute__((warn_unused_result));

#endif
