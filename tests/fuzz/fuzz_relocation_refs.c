// deps: sealed_dep
#include <stdlib.h>

#include "sealed/relocation.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    CF_AUTO_FREE cf_ref *refs = NULL;
    CF_AUTO_BUF cf_buf again;
    size_t count = 0;
    cf_buf_init(&again, CF_RELOCATION_SEALED_MAX);
    CF_AUTO(cf_err) err = cf_relocation_refs_decode(cf_span_of(data, size), &refs, &count);
    if (err) return 0;
    if (cf_relocation_refs_encode(refs, count, &again) || !cf_span_equal(cf_buf_span(&again), cf_span_of(data, size)))
        abort();
    return 0;
}
