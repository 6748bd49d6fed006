#include "base/buf.h"
#include "proto/error_json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What came in must come out the same after a second trip. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    json_t *document = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL);
    cf_err *err = cf_error_from_json(document);
    json_t *again = cf_error_document(err);
    cf_err *same = cf_error_from_json(again);
    if (again && cf_err_code(err) != cf_err_code(same)) __builtin_trap();
    cf_err_free(err);
    cf_err_free(same);
    json_decref(document);
    json_decref(again);
    return 0;
}
