// deps: visible_dep
#include <stdlib.h>

#include "visible/point.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    CF_AUTO_FREE cf_pack_name *names = NULL;
    size_t count = 0;
    CF_AUTO(cf_err) err = cf_pack_list_decode(cf_span_of(data, size), &names, &count);
    if (err) return 0;
    CF_AUTO_BUF cf_buf again;
    cf_buf_init(&again, SIZE_MAX);
    cf_pack_list_encode(names, count, &again);
    if (!cf_span_equal(cf_buf_span(&again), cf_span_of(data, size))) abort();
    return 0;
}
