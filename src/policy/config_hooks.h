/* The [hooks] section of agent.conf; of config.c only. */
#ifndef CF_POLICY_CONFIG_HOOKS_H
#define CF_POLICY_CONFIG_HOOKS_H

#include "policy/config.h"

/* cf_config_set_hook: key is "NAME.pre" and the like. Fails: CONFIG, reasons unknown_key, bad_value, duplicate. */
cf_err *cf_config_set_hook(const char *key, const char *value, cf_config *config) __attribute__((warn_unused_result));
/* cf_config_check_hooks: at the end of the file: a hook without a command does nothing. */
cf_err *cf_config_check_hooks(const cf_config *config) __attribute__((warn_unused_result));

#endif
