/* Reading agent.conf. */
#ifndef CF_CLI_CONFIG_FILE_H
#define CF_CLI_CONFIG_FILE_H

#include "policy/config.h"

/* cf_config_load: the defaults, changed by the file at path; a missing file is no error. Fails: IO,
 * 900901 CONFIG.                                                                                        */
cf_err *cf_config_load(const char *path, cf_config *config) __attribute__((warn_unused_result));

#endif
