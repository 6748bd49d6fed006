#include "index/ranges.h"

#include <stdlib.h>

void cf_ranges_wipe(cf_ranges *set) {
    free(set->items);
    *set = (cf_ranges){0};
}

/* The number of ranges that begin at or before value. */
static size_t count_upto(const cf_ranges *set, uint64_t value) {
    size_t low = 0, high = set->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (set->items[middle].first <= value)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool cf_ranges_contains(const cf_ranges *set, uint64_t value) {
    size_t upto = count_upto(set, value);
    return upto > 0 && value <= set->items[upto - 1].last;
}

uint64_t cf_ranges_total(const cf_ranges *set) {
    uint64_t total = 0;
    for (size_t i = 0; i < set->count; i++) {
        uint64_t extra = set->items[i].last - set->items[i].first;
        if (extra >= UINT64_MAX - total) return UINT64_MAX;
        total += extra + 1;
    }
    return total;
}

static cf_err *make_room(cf_ranges *set) {
    if (set->count < set->capacity) return NULL;
    size_t capacity = set->capacity + set->capacity / 2 + 16;
    if (capacity > SIZE_MAX / sizeof *set->items)
        return cf_fail(CF_ERR_OUT_OF_MEMORY, "chunk index: %zu ranges", capacity);
    cf_range *items = realloc(set->items, capacity * sizeof *items);
    if (!items) return cf_fail(CF_ERR_OUT_OF_MEMORY, "chunk index: %zu ranges", capacity);
    set->items = items;
    set->capacity = capacity;
    return NULL;
}

cf_err *cf_ranges_add(cf_ranges *set, uint64_t value) {
    size_t at = count_upto(set, value);
    cf_range *before = at > 0 ? &set->items[at - 1] : NULL;
    cf_range *after = at < set->count ? &set->items[at] : NULL;
    if (before && value <= before->last) return NULL;
    bool joins_before = before && before->last + 1 == value; /* no overflow: value > before->last */
    bool joins_after = after && value + 1 == after->first;   /* no overflow: value < after->first */
    if (joins_before && joins_after) {
        before->last = after->last;
        memmove(after, after + 1, (set->count - at - 1) * sizeof *after);
        set->count--;
    } else if (joins_before) {
        before->last = value;
    } else if (joins_after) {
        after->first = value;
    } else {
        CF_TRY(make_room(set));
        memmove(set->items + at + 1, set->items + at, (set->count - at) * sizeof *set->items);
        set->items[at] = (cf_range){value, value};
        set->count++;
    }
    return NULL;
}

cf_err *cf_ranges_append(cf_ranges *set, uint64_t first, uint64_t last) {
    cf_range *end = set->count ? &set->items[set->count - 1] : NULL;
    if (end && (first <= end->last || first == end->last + 1)) {
        if (last > end->last) end->last = last;
        return NULL;
    }
    CF_TRY(make_room(set));
    set->items[set->count++] = (cf_range){first, last};
    return NULL;
}

cf_err *cf_ranges_copy(const cf_ranges *set, cf_ranges *out) {
    if (set->count == 0) return NULL;
    cf_range *items = malloc(set->count * sizeof *items);
    if (!items) return cf_fail(CF_ERR_OUT_OF_MEMORY, "chunk index: %zu ranges", set->count);
    memcpy(items, set->items, set->count * sizeof *items);
    *out = (cf_ranges){items, set->count, set->count};
    return NULL;
}

cf_err *cf_ranges_unite(const cf_ranges *a, const cf_ranges *b, cf_ranges *out) {
    CF_AUTO_RANGES cf_ranges made = {0};
    size_t i = 0, j = 0;
    while (i < a->count || j < b->count) {
        bool from_a = j == b->count || (i < a->count && a->items[i].first <= b->items[j].first);
        const cf_range *next = from_a ? &a->items[i++] : &b->items[j++];
        CF_TRY(cf_ranges_append(&made, next->first, next->last));
    }
    *out = made;
    made = (cf_ranges){0};
    return NULL;
}

cf_err *cf_ranges_subtract(const cf_ranges *a, const cf_ranges *b, cf_ranges *out) {
    CF_AUTO_RANGES cf_ranges made = {0};
    size_t j = 0;
    for (size_t i = 0; i < a->count; i++) {
        uint64_t first = a->items[i].first, last = a->items[i].last;
        while (j < b->count && b->items[j].last < first) j++;
        bool left = true;
        for (size_t k = j; left && k < b->count && b->items[k].first <= last; k++) {
            if (b->items[k].first > first) CF_TRY(cf_ranges_append(&made, first, b->items[k].first - 1));
            left = b->items[k].last < last;
            if (left) first = b->items[k].last + 1;
        }
        if (left) CF_TRY(cf_ranges_append(&made, first, last));
    }
    *out = made;
    made = (cf_ranges){0};
    return NULL;
}

void cf_ranges_encode(const cf_ranges *set, cf_buf *out) {
    cf_buf_put_varint(out, set->count);
    uint64_t before = 0;
    for (size_t i = 0; i < set->count; i++) {
        cf_buf_put_varint(out, set->items[i].first - before);
        cf_buf_put_varint(out, set->items[i].last - set->items[i].first);
        before = set->items[i].last;
    }
}

cf_err *cf_ranges_decode(cf_cursor *cursor, cf_ranges *out) {
    CF_AUTO_RANGES cf_ranges made = {0};
    uint64_t count = cf_cursor_varint_max(cursor, cf_cursor_left(cursor) / 2); /* a range takes 2 bytes or more */
    uint64_t before = 0;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t gap = cf_cursor_varint(cursor);
        if ((i > 0 && gap < 2) || gap > UINT64_MAX - before) cf_cursor_fail(cursor);
        uint64_t first = before + gap;
        uint64_t extra = cf_cursor_varint_max(cursor, UINT64_MAX - first);
        if (cursor->failed) return NULL;
        CF_TRY(cf_ranges_append(&made, first, first + extra));
        before = first + extra;
    }
    *out = made;
    made = (cf_ranges){0};
    return NULL;
}
