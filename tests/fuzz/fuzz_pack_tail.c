// deps: visible_dep digest_dep
/* Input: a pack's header (112 bytes) and its tail. The object's size is chosen so that the trailer's offset fits. */
#include <stdlib.h>

#include "digest/digest.h"
#include "visible/pack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void run(cf_span header, cf_span tail) {
    cf_pack_header decoded;
    cf_err_free(cf_pack_header_decode(header, &decoded));
    cf_cursor cursor = cf_cursor_of(cf_span_of(tail.data + tail.size - CF_PACK_TRAILER_SIZE, 8));
    uint64_t object_size = cf_cursor_u64(&cursor) + tail.size;
    CF_AUTO_FREE cf_extent *extents = NULL;
    size_t count = 0;
    CF_AUTO(cf_err) err = cf_pack_tail_decode(header, tail, object_size, &extents, &count);
    if (err) return;
    CF_AUTO_BUF cf_buf again;
    cf_buf_init(&again, SIZE_MAX);
    cf_pack_tail_encode(header.data, object_size - tail.size, extents, count, &again);
    if (!cf_span_equal(cf_buf_span(&again), tail)) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < CF_PACK_HEADER_SIZE + CF_PACK_TRAILER_SIZE) return 0;
    run(cf_span_of(data, CF_PACK_HEADER_SIZE), cf_span_of(data + CF_PACK_HEADER_SIZE, size - CF_PACK_HEADER_SIZE));
    /* Again with a right sum, which the fuzzer does not find. */
    CF_AUTO_FREE uint8_t *fixed = malloc(size);
    if (!fixed) return 0;
    memcpy(fixed, data, size);
    cf_xxh3_128(cf_span_of(fixed, size - 24), fixed + size - 24);
    memcpy(fixed + size - 8, "CFPKEND1", 8);
    run(cf_span_of(fixed, CF_PACK_HEADER_SIZE), cf_span_of(fixed + CF_PACK_HEADER_SIZE, size - CF_PACK_HEADER_SIZE));
    return 0;
}
