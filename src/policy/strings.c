/* Lists of texts. */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "policy/policy.h"

static cf_err *add_taken(cf_strings *list, char *text) {
    if (!text) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a list of texts");
    if ((list->count & (list->count - 1)) == 0) { /* grows at powers of two */
        size_t room = list->count ? list->count * 2 : 1;
        char **items = reallocarray(list->item, room, sizeof *items);
        if (!items) {
            free(text);
            return cf_fail(CF_ERR_OUT_OF_MEMORY, "a list of texts");
        }
        list->item = items;
    }
    list->item[list->count++] = text;
    return NULL;
}

cf_err *cf_strings_add(cf_strings *list, const char *text) {
    return add_taken(list, strdup(text));
}

cf_err *cf_strings_addf(cf_strings *list, const char *format, ...) {
    va_list args;
    va_start(args, format);
    char *text = cf_text_vformat(format, args);
    va_end(args);
    return add_taken(list, text);
}

cf_err *cf_strings_copy(const cf_strings *from, cf_strings *to) {
    cf_strings made = {0};
    for (size_t i = 0; i < from->count; i++) {
        cf_err *err = cf_strings_add(&made, from->item[i]);
        if (!err) continue;
        cf_strings_wipe(&made);
        return err;
    }
    *to = made;
    return NULL;
}

bool cf_strings_has(const cf_strings *list, const char *text) {
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->item[i], text) == 0) return true;
    return false;
}

bool cf_strings_remove(cf_strings *list, const char *text) {
    size_t kept = 0;
    bool removed = false;
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->item[i], text) == 0) {
            free(list->item[i]);
            removed = true;
        } else {
            list->item[kept++] = list->item[i];
        }
    }
    list->count = kept; /* add grows at powers of two: the room is at least what it counts on */
    return removed;
}

void cf_strings_wipe(cf_strings *list) {
    for (size_t i = 0; i < list->count; i++) free(list->item[i]);
    free(list->item);
    *list = (cf_strings){0};
}
