// deps: visible_dep digest_dep
#include <stdlib.h>

#include "digest/digest.h"
#include "visible/merged.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The first 8 bytes are the object's size; the head follows. */
static void run(cf_span head, uint64_t object_size) {
    cf_id16 server, id;
    CF_AUTO_FREE cf_merged_pack *packs = NULL;
    CF_AUTO_BUF cf_buf again;
    size_t count = 0;
    cf_buf_init(&again, cf_merged_head_size(CF_MERGED_PACKS_MAX));
    if (head.size < 40) return;
    memcpy(server.bytes, head.data + 8, 16);
    memcpy(id.bytes, head.data + 24, 16);
    CF_AUTO(cf_err) err = cf_merged_head_decode(head, object_size, &server, &id, &packs, &count);
    if (err) return;
    cf_merged_head_encode(&server, &id, packs, count, &again);
    if (!cf_span_equal(cf_buf_span(&again), head)) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 8 + 16) return 0;
    uint64_t object_size = 0;
    for (unsigned i = 0; i < 8; i++) object_size |= (uint64_t)data[i] << (8 * i);
    run(cf_span_of(data + 8, size - 8), object_size);
    CF_AUTO_FREE uint8_t *fixed = malloc(size - 8);
    if (!fixed) return 0;
    memcpy(fixed, data + 8, size - 8);
    cf_xxh3_128(cf_span_of(fixed, size - 8 - 16), fixed + size - 8 - 16);
    run(cf_span_of(fixed, size - 8), object_size);
    return 0;
}
