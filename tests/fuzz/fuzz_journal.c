// deps: visible_dep digest_dep
#include <stdlib.h>

#include "digest/digest.h"
#include "visible/journal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void run(cf_span bytes) {
    cf_journal_entry entry;
    CF_AUTO(cf_err) err = cf_journal_decode(bytes, &entry);
    if (err) return;
    CF_AUTO_BUF cf_buf again;
    cf_buf_init(&again, 2 << 20);
    if (cf_journal_encode(&entry, &again) || !cf_span_equal(cf_buf_span(&again), bytes)) abort();
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
