// deps: visible_dep
#include <stdlib.h>

#include "visible/names.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = malloc(size + 1);
    if (!text) return 0;
    if (size) memcpy(text, data, size);
    text[size] = '\0';
    cf_name name;
    char again[CF_NAME_MAX];
    if (cf_name_parse(text, &name)) {
        cf_name_build(&name, again);
        if (strcmp(again, text) != 0) abort();
    }
    free(text);
    return 0;
}
