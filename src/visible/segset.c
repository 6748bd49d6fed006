#include "visible/segset.h"

enum { WORD = 64 };

static void widen(cf_segset *set, uint32_t words) {
    while (set->used < words) set->words[set->used++] = 0;
}

void cf_segset_add(cf_segset *set, uint32_t segment) {
    if (segment >= CF_SEGMENTS_MAX) return;
    widen(set, segment / WORD + 1);
    set->words[segment / WORD] |= (uint64_t)1 << (segment % WORD);
}

void cf_segset_add_range(cf_segset *set, uint32_t first, uint32_t count) {
    uint32_t end =
        count > CF_SEGMENTS_MAX - (first < CF_SEGMENTS_MAX ? first : CF_SEGMENTS_MAX) ? CF_SEGMENTS_MAX : first + count;
    for (uint32_t at = first; at < end;) {
        if (at % WORD == 0 && end - at >= WORD) {
            widen(set, at / WORD + 1);
            set->words[at / WORD] = UINT64_MAX;
            at += WORD;
        } else {
            cf_segset_add(set, at++);
        }
    }
}

bool cf_segset_has(const cf_segset *set, uint32_t segment) {
    return segment / WORD < set->used && (set->words[segment / WORD] >> (segment % WORD) & 1);
}

void cf_segset_unite(cf_segset *set, const cf_segset *other) {
    widen(set, other->used);
    for (uint32_t i = 0; i < other->used; i++) set->words[i] |= other->words[i];
}

void cf_segset_subtract(cf_segset *set, const cf_segset *other) {
    for (uint32_t i = 0; i < set->used && i < other->used; i++) set->words[i] &= ~other->words[i];
}

void cf_segset_intersect(cf_segset *set, const cf_segset *other) {
    if (set->used > other->used) set->used = other->used;
    for (uint32_t i = 0; i < set->used; i++) set->words[i] &= other->words[i];
}

bool cf_segset_empty(const cf_segset *set) {
    for (uint32_t i = 0; i < set->used; i++)
        if (set->words[i]) return false;
    return true;
}

bool cf_segset_equal(const cf_segset *a, const cf_segset *b) {
    uint32_t used = a->used > b->used ? a->used : b->used;
    for (uint32_t i = 0; i < used; i++)
        if ((i < a->used ? a->words[i] : 0) != (i < b->used ? b->words[i] : 0)) return false;
    return true;
}

uint32_t cf_segset_count(const cf_segset *set) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < set->used; i++) count += (uint32_t)__builtin_popcountll(set->words[i]);
    return count;
}

/* The lowest segment >= from whose bit is not `skip`; the end of the words when there is none. */
static uint32_t scan(const cf_segset *set, uint32_t from, uint64_t flip) {
    for (uint32_t i = from / WORD; i < set->used; i++) {
        uint64_t word = set->words[i] ^ flip;
        if (i == from / WORD) word &= UINT64_MAX << (from % WORD);
        if (word) return i * WORD + (uint32_t)__builtin_ctzll(word);
    }
    return set->used * WORD > from ? set->used * WORD : from;
}

bool cf_segset_next(const cf_segset *set, uint32_t *segment) {
    uint32_t found = scan(set, *segment, 0);
    if (found >= set->used * WORD) return false;
    *segment = found;
    return true;
}

void cf_segset_copy(cf_segset *set, const cf_segset *other) {
    set->used = other->used;
    memcpy(set->words, other->words, other->used * sizeof *set->words);
}

void cf_segset_encode(const cf_segset *set, cf_buf *out) {
    uint32_t count = 0, from = 0;
    for (uint32_t at = 0; cf_segset_next(set, &at); at = scan(set, at, UINT64_MAX)) count++;
    cf_buf_put_varint(out, count);
    for (uint32_t at = 0; cf_segset_next(set, &at);) {
        uint32_t end = scan(set, at, UINT64_MAX);
        cf_buf_put_varint(out, at - from);
        cf_buf_put_varint(out, end - at);
        at = from = end;
    }
}

cf_err *cf_segset_decode(cf_span bytes, cf_segset *set) {
    cf_cursor cursor = cf_cursor_of(bytes);
    uint64_t count = cf_cursor_varint_max(&cursor, CF_SEGMENTS_MAX), end = 0;
    cf_segset_clear(set);
    for (uint64_t i = 0; i < count && !cursor.failed; i++) {
        uint64_t gap = cf_cursor_varint_max(&cursor, CF_SEGMENTS_MAX - end);
        uint64_t length = cf_cursor_varint_max(&cursor, CF_SEGMENTS_MAX - end - gap);
        if (length == 0 || (i > 0 && gap == 0)) cf_cursor_fail(&cursor);
        if (cursor.failed) break;
        cf_segset_add_range(set, (uint32_t)(end + gap), (uint32_t)length);
        end += gap + length;
    }
    return cf_cursor_done(&cursor, CF_ERR_FORMAT, "a set of segments");
}
