#include <stdio.h>
#include <string.h>

#include "sysstate/internal.h"

bool cf_line_next(cf_span text, size_t *at, cf_span *line) {
    if (*at >= text.size) return false;
    size_t from = *at;
    while (*at < text.size && text.data[*at] != '\n') ++*at;
    *line = cf_span_of(text.data + from, *at - from);
    ++*at;
    return true;
}

bool cf_word_next(cf_span line, size_t *at, cf_span *word) {
    while (*at < line.size && (line.data[*at] == ' ' || line.data[*at] == '\t')) ++*at;
    size_t from = *at;
    while (*at < line.size && line.data[*at] != ' ' && line.data[*at] != '\t') ++*at;
    *word = cf_span_of(line.data + from, *at - from);
    return word->size > 0;
}

cf_span cf_field(cf_span line, const char *name) {
    size_t size = strlen(name);
    for (size_t i = 0; i + size + 3 <= line.size; i++) {
        const uint8_t *at = line.data + i;
        bool begins = i > 0 && at[-1] == ' ' && memcmp(at, name, size) == 0 && at[size] == '=' && at[size + 1] == '"';
        if (!begins) continue;
        const uint8_t *value = at + size + 2;
        const uint8_t *end = memchr(value, '"', (size_t)(line.data + line.size - value));
        if (end) return cf_span_of(value, (size_t)(end - value));
    }
    return cf_span_of(NULL, 0);
}

void cf_buf_printf(cf_buf *out, const char *format, ...) {
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (size > 0) cf_buf_put(out, text, (size_t)size < sizeof text ? (size_t)size : sizeof text - 1);
}
