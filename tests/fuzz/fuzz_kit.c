// deps: proto_dep
/* The recovery kit: a file from a safe, years old, perhaps typed in again. */
#include <stdlib.h>

#include "proto/kit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    cf_kit *kit = NULL;
    cf_err *err = cf_kit_parse(cf_span_of(data, size), "input", &kit);
    if (!err) { /* what was accepted can be written, and read again */
        cf_secret *text = NULL;
        cf_kit *again = NULL;
        if (cf_kit_format(kit, &text) ||
            cf_kit_parse(cf_span_of(cf_secret_bytes(text), cf_secret_size(text)), "output", &again))
            abort();
        cf_kit_free(again);
        cf_secret_free(text);
    } else if (cf_err_code(err) != CF_ERR_CREDENTIALS && cf_err_code(err) != CF_ERR_OUT_OF_MEMORY &&
               cf_err_code(err) != CF_ERR_TOO_LARGE) {
        abort();
    }
    cf_kit_free(kit);
    cf_err_free(err);
    return 0;
}
