// deps: visible_dep
#include <stdlib.h>

#include "visible/point.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    cf_summary summary;
    CF_AUTO(cf_err) err = cf_summary_decode(cf_span_of(data, size), &summary);
    if (err) return 0;
    CF_AUTO_BUF cf_buf again;
    cf_buf_init(&again, 4096);
    cf_summary_encode(&summary, &again);
    if (!cf_span_equal(cf_buf_span(&again), cf_span_of(data, size))) abort();
    return 0;
}
