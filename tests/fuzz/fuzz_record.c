// deps: sealed_dep
#include <stdlib.h>

#include "sealed/slot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    /* The master key and the server of tests/golden. */
    uint8_t key[32];
    memset(key, 0x11, sizeof key);
    cf_id16 server, session;
    for (size_t i = 0; i < 16; i++) server.bytes[i] = (uint8_t)(0xa0 + i);
    CF_AUTO(cf_secret) master = NULL;
    CF_AUTO(cf_secret) session_key = NULL;
    if (!cf_secret_from(key, sizeof key, &master))
        cf_err_free(cf_record_open(master, &server, cf_span_of(data, size), &session, &session_key));
    return 0;
}
