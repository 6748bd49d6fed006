#include "policy/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    cf_config config;
    cf_config_defaults(&config);
    cf_err_free(cf_config_parse(cf_span_of(data, size), "agent.conf", &config));
    return 0;
}
