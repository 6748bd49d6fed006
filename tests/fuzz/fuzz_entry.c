// deps: sealed_dep
#include <stdlib.h>

#include "sealed/node.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What decodes encodes to the same bytes. */
static void entry(cf_span bytes) {
    static cf_xattr room[CF_XATTRS_MAX];
    cf_entry got;
    CF_AUTO(cf_err) err = cf_entry_decode(bytes, room, &got);
    if (err) return;
    CF_AUTO_BUF cf_buf again;
    cf_buf_init(&again, SIZE_MAX);
    if (cf_entry_encode(&got, &again) || !cf_span_equal(cf_buf_span(&again), bytes)) abort();
}

static void xattrs(cf_span bytes) {
    static cf_xattr room[CF_XATTRS_MAX];
    uint32_t count;
    CF_AUTO(cf_err) err = cf_xattrs_decode(bytes, room, &count);
    if (err) return;
    CF_AUTO_BUF cf_buf again;
    cf_buf_init(&again, SIZE_MAX);
    cf_xattrs_encode(room, count, &again);
    if (!cf_span_equal(cf_buf_span(&again), bytes)) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    entry(cf_span_of(data, size));
    xattrs(cf_span_of(data, size));
    return 0;
}
