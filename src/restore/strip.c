#include "restore/strip.h"

#include <stdlib.h>
#include <string.h>

static bool proper_parent(cf_span path, cf_span of) {
    if (path.size == 1) return of.size > 1;
    return of.size > path.size && memcmp(path.data, of.data, path.size) == 0 && of.data[path.size] == '/';
}

bool cf_strip_here(const cf_strip *strip, cf_span path, bool *is_source) {
    *is_source = false;
    for (size_t i = 0; i < strip->count; i++)
        if (cf_span_equal(path, strip->list[i])) {
            *is_source = true;
            return strip->count == 1;
        }
    for (size_t i = 0; i < strip->count; i++)
        if (proper_parent(path, strip->list[i])) return true;
    return false;
}

static cf_span last_name(cf_span path) {
    size_t start = path.size;
    while (start > 0 && path.data[start - 1] != '/') start--;
    return cf_span_of(path.data + start, path.size - start);
}

static bool all_plain(const cf_restore_options *options) {
    for (size_t i = 0; i < options->pattern_count; i++) {
        cf_span pattern = options->patterns[i];
        if (pattern.size == 0 || pattern.data[0] != '/') return false;
        for (size_t j = 0; j < pattern.size; j++)
            if (strchr("*?[\\", pattern.data[j])) return false;
    }
    return options->pattern_count > 0;
}

cf_err *cf_strip_init(const cf_restore_options *options, const cf_point *point, cf_strip *strip) {
    *strip = (cf_strip){0};
    if (!options->strip) return NULL;
    bool plain = all_plain(options);
    size_t count = plain ? options->pattern_count : point->root.source_count;
    const cf_span *from = plain ? options->patterns : point->root.sources;
    cf_span *list = calloc(count + 1, sizeof *list);
    if (!list) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for paths");
    *strip = (cf_strip){list, count};
    for (size_t i = 0; i < count; i++) {
        list[i] = from[i];
        while (list[i].size > 1 && list[i].data[list[i].size - 1] == '/') list[i].size--;
        for (size_t j = 0; j < i; j++)
            if (cf_span_equal(last_name(list[i]), last_name(list[j])))
                return cf_fail(CF_ERR_BAD_USAGE, "with --strip two of the paths would both be named %.*s",
                               (int)last_name(list[i]).size, (const char *)last_name(list[i]).data);
    }
    return NULL;
}

void cf_strip_wipe(cf_strip *strip) {
    free(strip->list);
    *strip = (cf_strip){0};
}
