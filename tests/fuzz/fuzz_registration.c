// deps: registration_dep
/* The files of the state folder's registration: key file and identity. */
#include <stdlib.h>

#include "agent/identity.h"
#include "agent/keyfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    cf_server_keys *keys = NULL;
    cf_identity *identity = NULL, *again = NULL;
    char *text = NULL;
    cf_err *err = cf_keyfile_decode(cf_span_of(data, size), "input", &keys);
    if (err && cf_err_code(err) != CF_ERR_KEYS_NOT_CONFIGURED) abort();
    cf_err_free(err);
    cf_server_keys_free(keys);
    err = cf_identity_from_text(cf_span_of(data, size), "input", &identity);
    /* What was accepted can be written and read again. */
    if (!err && (cf_identity_to_text(identity, &text) || cf_identity_from_text(cf_span_text(text), "output", &again)))
        abort();
    cf_err_free(err);
    cf_identity_free(identity);
    cf_identity_free(again);
    free(text);
    return 0;
}
