#include "cli/config_file.h"

#include "os/file.h"

cf_err *cf_config_load(const char *path, cf_config *config) {
    cf_config_defaults(config);
    bool exists = false;
    CF_TRY(cf_file_exists(AT_FDCWD, path, &exists));
    if (!exists) return NULL;
    CF_AUTO_BUF cf_buf text;
    cf_buf_init(&text, CF_CONFIG_SIZE_MAX);
    CF_TRY(cf_file_read(AT_FDCWD, path, CF_CONFIG_SIZE_MAX, &text));
    return cf_config_parse(cf_buf_span(&text), path, config);
}
