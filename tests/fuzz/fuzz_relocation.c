// deps: visible_dep digest_dep
#include <stdlib.h>

#include "digest/digest.h"
#include "visible/relocation.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void run(cf_span bytes) {
    cf_relocation_frame frame;
    CF_AUTO(cf_err) err = cf_relocation_decode(bytes, &frame);
    if (err) return;
    CF_AUTO_BUF cf_buf again;
    CF_AUTO_FREE cf_id32 *points = NULL;
    CF_AUTO(cf_map) extra = NULL;
    size_t count = 0;
    cf_buf_init(&again, CF_RELOCATION_MAX);
    if (cf_relocation_encode(&frame, &again) || !cf_span_equal(cf_buf_span(&again), bytes)) abort();
    CF_AUTO(cf_err) bad_points = cf_relocation_points_decode(frame.points, &points, &count);
    CF_AUTO(cf_err) bad_map = cf_relocation_map(frame.extra, &extra);
    if (!bad_points && (count == 0 || !cf_relocation_concerns(points, count, &points[count - 1]))) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    run(cf_span_of(data, size));
    if (size < 16) return 0;
    /* Again with a right sum, which the fuzzer does not find. */
    CF_AUTO_FREE uint8_t *fixed = malloc(size);
    if (!fixed) return 0;
    memcpy(fixed, data, size);
    cf_xxh3_128(cf_span_of(fixed, size - 16), fixed + size - 16);
    run(cf_span_of(fixed, size));
    return 0;
}
