#include "restore/select.h"

#include <stdlib.h>

struct pattern {
    cf_span text;   /* with a leading '/' or "**" + '/'; without slashes at the end */
    size_t literal; /* bytes before the first special one: whole path parts count   */
    bool has_glob;
    bool used;
    uint8_t *bytes;
};

struct cf_select {
    struct pattern *list;
    size_t count;
};

void cf_select_free(cf_select *select) {
    if (!select) return;
    for (size_t i = 0; i < select->count; i++) free(select->list[i].bytes);
    free(select->list);
    free(select);
}

static bool special(uint8_t byte) {
    return byte == '*' || byte == '?' || byte == '[' || byte == '\\';
}

static cf_err *pattern_make(cf_span given, struct pattern *out) {
    while (given.size > 1 && given.data[given.size - 1] == '/') given.size--;
    if (given.size == 0) return cf_fail(CF_ERR_BAD_USAGE, "a path or pattern is empty");
    bool absolute = given.data[0] == '/';
    size_t extra = absolute ? 0 : 4;
    uint8_t *bytes = malloc(given.size + extra);
    if (!bytes) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a pattern");
    if (!absolute) memcpy(bytes, "/**/", 4);
    memcpy(bytes + extra, given.data, given.size);
    *out = (struct pattern){.text = cf_span_of(bytes, given.size + extra), .bytes = bytes};
    while (out->literal < out->text.size && !special(bytes[out->literal])) out->literal++;
    out->has_glob = out->literal < out->text.size;
    return NULL;
}

cf_err *cf_select_new(const cf_span *patterns, size_t count, cf_select **out) {
    CF_AUTO(cf_select) select = calloc(1, sizeof *select);
    if (select) select->list = calloc(count + 1, sizeof *select->list);
    if (!select || !select->list) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for the selection");
    for (; select->count < count; select->count++)
        CF_TRY(pattern_make(patterns[select->count], &select->list[select->count]));
    *out = cf_take(select);
    return NULL;
}

/* One character of the pattern at *at against byte; moves *at behind it. */
static bool match_one(cf_span pattern, size_t *at, uint8_t byte) {
    uint8_t first = pattern.data[*at];
    if (first == '?') {
        ++*at;
        return byte != '/';
    }
    if (first == '\\' && *at + 1 < pattern.size) {
        *at += 2;
        return pattern.data[*at - 1] == byte;
    }
    if (first != '[') {
        ++*at;
        return first == byte;
    }
    size_t i = *at + 1;
    bool negated = i < pattern.size && (pattern.data[i] == '!' || pattern.data[i] == '^');
    if (negated) i++;
    bool hit = false;
    for (size_t start = i; i < pattern.size && (pattern.data[i] != ']' || i == start); i++) {
        if (i + 2 < pattern.size && pattern.data[i + 1] == '-' && pattern.data[i + 2] != ']') {
            if (pattern.data[i] <= byte && byte <= pattern.data[i + 2]) hit = true;
            i += 2;
        } else if (pattern.data[i] == byte) {
            hit = true;
        }
    }
    if (i >= pattern.size) { /* no end: '[' stands for itself */
        ++*at;
        return byte == '[';
    }
    *at = i + 1;
    return byte != '/' && hit != negated;
}

/* Falls back to the last '*' first, then to the last '**': no need to remember more than one of each. */
bool cf_select_glob(cf_span pattern, cf_span text) {
    enum { NONE = -1 };
    size_t p = 0, t = 0, star_t = 0, deep_t = 0;
    ptrdiff_t star_p = NONE, deep_p = NONE;
    for (;;) {
        if (p + 1 < pattern.size && pattern.data[p] == '*' && pattern.data[p + 1] == '*') {
            p += 2;
            if (p < pattern.size && pattern.data[p] == '/' && p >= 3 && pattern.data[p - 3] == '/') {
                p++; /* a double star between slashes also stands for nothing at all */
            }
            deep_p = (ptrdiff_t)p;
            deep_t = t;
            star_p = NONE;
            continue;
        }
        if (p < pattern.size && pattern.data[p] == '*') {
            star_p = (ptrdiff_t)++p;
            star_t = t;
            continue;
        }
        if (p == pattern.size && t == text.size) return true;
        if (p < pattern.size && t < text.size && match_one(pattern, &p, text.data[t])) {
            t++;
            continue;
        }
        if (star_p != NONE && star_t < text.size && text.data[star_t] != '/') {
            p = (size_t)star_p;
            t = ++star_t;
            continue;
        }
        if (deep_p == NONE || deep_t >= text.size) return false;
        star_p = NONE;
        p = (size_t)deep_p;
        deep_t++;
        /* behind "/ ** /" a name must begin */
        while (p >= 1 && pattern.data[p - 1] == '/' && deep_t < text.size && text.data[deep_t - 1] != '/') deep_t++;
        t = deep_t;
    }
}

static bool begins(cf_span text, const uint8_t *with, size_t size) {
    return text.size >= size && memcmp(text.data, with, size) == 0;
}

/* Is path the pattern's literal part, or a folder above it? "/" is above everything. */
static bool above(cf_span path, const struct pattern *pattern) {
    if (path.size == 1) return true;
    return pattern->text.size > path.size && begins(pattern->text, path.data, path.size) &&
           pattern->text.data[path.size] == '/' && path.size <= pattern->literal;
}

static cf_selected test_one(struct pattern *pattern, cf_span path) {
    if (pattern->text.size == 1 || cf_span_equal(path, pattern->text) ||
        (pattern->has_glob && path.size > 1 && cf_select_glob(pattern->text, path))) {
        pattern->used = true;
        return CF_SELECTED_ALL;
    }
    if (above(path, pattern)) return CF_SELECTED_WAY;
    /* Below the literal part of a pattern anything may still match. */
    if (pattern->has_glob && begins(path, pattern->text.data, pattern->literal)) return CF_SELECTED_WAY;
    return CF_SELECTED_NOT;
}

cf_selected cf_select_test(cf_select *select, cf_span path) {
    if (select->count == 0) return CF_SELECTED_ALL;
    cf_selected best = CF_SELECTED_NOT;
    for (size_t i = 0; i < select->count; i++) {
        cf_selected one = test_one(&select->list[i], path);
        if (one > best) best = one;
    }
    return best;
}

bool cf_select_unused(const cf_select *select, size_t *cursor, cf_span *pattern) {
    for (; *cursor < select->count; ++*cursor)
        if (!select->list[*cursor].used) {
            cf_span text = select->list[*cursor].text;
            bool floating = begins(text, (const uint8_t *)"/**/", 4);
            *pattern = floating ? cf_span_of(text.data + 4, text.size - 4) : text;
            ++*cursor;
            return true;
        }
    return false;
}
