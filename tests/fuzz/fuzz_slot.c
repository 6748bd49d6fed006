// deps: sealed_dep
/* Key slots before the passphrase comes: opening one costs Argon2id, so only the visible part is fuzzed. */
#include "sealed/slot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    cf_slot_params params;
    uint8_t public_key[32];
    cf_err_free(cf_slot_peek(cf_span_of(data, size), &params, public_key));
    return 0;
}
