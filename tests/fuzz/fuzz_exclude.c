/* Lines: a pattern for the policy, "@pattern" for the source /s, "=path" to be tested. What is written down must decide the same. */
#include <stdio.h>
#include <stdlib.h>

#include "policy/exclude.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static cf_err *copy(void *context, cf_span pattern) {
    char *text = cf_span_dup_text(pattern);
    cf_err *err = cf_exclude_add(context, NULL, text);
    free(text);
    return err;
}

static void test(const cf_exclude *one, const cf_exclude *two, cf_span path) {
    cf_exclude_match first = {0}, second = {0};
    for (int folder = 0; folder < 2; folder++) {
        cf_err *err = cf_exclude_test(one, path, folder, &first);
        if (!err) err = cf_exclude_test(two, path, folder, &second);
        if (!err && (first.excluded != second.excluded || first.matched != second.matched)) abort();
        cf_err_free(err);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    cf_exclude *exclude = NULL, *again = NULL;
    if (size > 1 << 14) return 0;
    cf_err *err = cf_exclude_new(&exclude);
    if (!err) err = cf_exclude_new(&again);
    bool written = false;
    for (size_t from = 0; !err && from < size;) {
        size_t end = from;
        while (end < size && data[end] != '\n') end++;
        char *line = cf_span_dup_text(cf_span_of(data + from, end - from));
        from = end + 1;
        if (*line == '=') {
            if (!written) err = cf_exclude_absolute(exclude, copy, again);
            if (!written && !err) err = cf_exclude_add_source(again, "/s");
            written = true;
            if (!err) test(exclude, again, cf_span_text(line + 1));
        } else if (!written) {
            cf_err_free(cf_exclude_check(line));
            err = *line == '@' ? cf_exclude_add(exclude, "/s", line + 1) : cf_exclude_add(exclude, NULL, line);
            if (!err) err = cf_exclude_add_source(exclude, "/s");
        }
        free(line);
    }
    cf_err_free(err);
    cf_exclude_free(exclude);
    cf_exclude_free(again);
    return 0;
}
