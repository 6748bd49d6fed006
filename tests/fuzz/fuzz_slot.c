// deps: sealed_dep
/* Key slots before the passphrase comes (opening one costs Argon2id, so only the visible part is fuzzed), and recovery
 * slots with a key that opens none of them. */
#include "sealed/recovery.h"
#include "sealed/slot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    cf_slot_params params;
    uint8_t public_key[32];
    static const uint8_t bytes[32] = {1};
    CF_AUTO(cf_secret) private_key = NULL;
    cf_err_free(cf_slot_peek(cf_span_of(data, size), &params, public_key));
    cf_err *err = cf_secret_from(bytes, sizeof bytes, &private_key);
    if (!err) err = cf_recovery_slot_open(cf_span_of(data, size), private_key, NULL, NULL);
    cf_err_free(err);
    return 0;
}
