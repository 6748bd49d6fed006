// deps: proto_dep
/* The credentials file: anything may be handed to `coffer register`. */
#include <stdlib.h>

#include "proto/credentials.h"
#include "proto/version.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    cf_credentials *credentials = NULL;
    cf_err *err = cf_credentials_parse(cf_span_of(data, size), "input", &credentials);
    if (!err) { /* what was accepted can be written, and read again */
        cf_secret *text = NULL;
        cf_credentials *again = NULL;
        if (cf_credentials_format(credentials, &text) ||
            cf_credentials_parse(cf_span_of(cf_secret_bytes(text), cf_secret_size(text)), "output", &again))
            abort();
        cf_err_free(cf_credentials_check(again, CF_PURPOSE_REGISTER, again->issued, "output"));
        cf_credentials_free(again);
        cf_secret_free(text);
    } else if (cf_err_code(err) != CF_ERR_CREDENTIALS && cf_err_code(err) != CF_ERR_OUT_OF_MEMORY) {
        abort();
    }
    cf_credentials_free(credentials);
    cf_err_free(err);
    char word[32];
    cf_protocol_range range;
    size_t length = size < sizeof word - 1 ? size : sizeof word - 1;
    memcpy(word, data, length);
    word[length] = '\0';
    (void)cf_protocol_range_parse(word, &range);
    return 0;
}
