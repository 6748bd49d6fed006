// deps: sealed_dep
#include <stdlib.h>

#include "sealed/segment.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What decodes encodes to the same bytes: there is one form. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    CF_AUTO_FREE cf_directory_entry *entries = NULL;
    size_t count = 0;
    CF_AUTO(cf_err) err = cf_directory_decode(cf_span_of(data, size), &entries, &count);
    if (err) return 0;
    CF_AUTO_BUF cf_buf again;
    cf_buf_init(&again, CF_DIRECTORY_RAW_MAX);
    if (cf_directory_encode(entries, count, &again) || !cf_span_equal(cf_buf_span(&again), cf_span_of(data, size)))
        abort();
    return 0;
}
