/* What an administrator sets for the whole vault: `coffer-vault settings`. Numbers all; journalled, so that a rebuild
 * brings them back. One that was never set has its default.                                                */
#ifndef CF_SERVICE_SETTINGS_H
#define CF_SERVICE_SETTINGS_H

#include "policy/retention.h"
#include "service/vault.h"

typedef struct cf_setting_info {
    const char *name;
    uint64_t otherwise, min, max; /* otherwise: the default */
    const char *meaning;
} cf_setting_info;
const cf_setting_info *cf_settings(size_t *count);

/* cf_setting_get: *set (may be NULL) tells whether somebody chose it. Fails: BAD_USAGE (no such setting), DATABASE. */
cf_err *cf_setting_get(cf_vault *vault, const char *name, uint64_t *value, bool *set)
    __attribute__((warn_unused_result));
/* cf_setting_change: text NULL: back to the default. In a transaction of its own; retention looks at every server
 * again. Fails: BAD_USAGE naming the nearest setting or the range.                                          */
cf_err *cf_setting_change(cf_vault *vault, const char *name, const char *text) __attribute__((warn_unused_result));
/* cf_setting_check: is this a value that the setting may have? */
bool cf_setting_valid(const char *name, const char *text);

/* The minimum retention. */
cf_err *cf_settings_floor(cf_vault *vault, cf_retention_floor *floor) __attribute__((warn_unused_result));

#endif
