// deps: sealed_dep
#include <stdlib.h>

#include "sealed/root_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    cf_root root;
    CF_AUTO(cf_err) err = cf_root_decode(cf_span_of(data, size), &root);
    if (err) return 0;
    cf_buf again;
    cf_buf_init(&again, SIZE_MAX);
    if (cf_root_encode(&root, &again) || !cf_span_equal(cf_buf_span(&again), cf_span_of(data, size))) abort();
    cf_root_wipe(&root, &again);
    return 0;
}
