/* The live segments of one pack. */
#include <stdlib.h>

#include "visible/map_internal.h"

enum { WORD = 64 };

static uint64_t low_bits(uint32_t count) { /* count < 64 */
    return ((uint64_t)1 << count) - 1;
}

uint32_t cf_live_word_count(const cf_live *live) {
    if (live->form == CF_LIVE_INLINE) return 1;
    if (live->form == CF_LIVE_FULL) return (live->live + WORD - 1) / WORD;
    return live->word_count;
}

uint64_t cf_live_word(const cf_live *live, uint32_t index) {
    if (index >= cf_live_word_count(live)) return 0;
    if (live->form == CF_LIVE_INLINE) return live->bits;
    if (live->form == CF_LIVE_WORDS) return live->words[index];
    uint32_t left = live->live - index * WORD;
    return left >= WORD ? UINT64_MAX : low_bits(left);
}

bool cf_live_equal(const cf_live *a, const cf_live *b) {
    if (a->live != b->live) return false;
    uint32_t words = cf_live_word_count(a) > cf_live_word_count(b) ? cf_live_word_count(a) : cf_live_word_count(b);
    for (uint32_t i = 0; i < words; i++)
        if (cf_live_word(a, i) != cf_live_word(b, i)) return false;
    return true;
}

/* Turn into words with room for this one. */
static bool to_words(cf_live *live, uint32_t index) {
    uint32_t have = cf_live_word_count(live), need = index + 1;
    if (live->form == CF_LIVE_WORDS && need <= have) return true;
    uint32_t count = need > have ? need : have;
    if (live->form == CF_LIVE_WORDS && count < 2 * have) count = 2 * have < 1024 ? 2 * have : 1024;
    uint64_t *words = calloc(count, sizeof *words);
    if (!words) return false;
    for (uint32_t i = 0; i < have; i++) words[i] = cf_live_word(live, i);
    if (live->form == CF_LIVE_WORDS) free(live->words);
    live->words = words;
    live->word_count = (uint16_t)count;
    live->form = CF_LIVE_WORDS;
    return true;
}

bool cf_live_or(cf_live *live, uint32_t index, uint64_t bits) {
    if (index == 0 && live->form == CF_LIVE_INLINE) {
        live->bits |= bits;
        live->live = (uint32_t)__builtin_popcountll(live->bits);
        return true;
    }
    if (!(bits & ~cf_live_word(live, index))) return true;
    if (!to_words(live, index)) return false;
    live->live += (uint32_t)__builtin_popcountll(bits & ~live->words[index]);
    live->words[index] |= bits;
    return true;
}

/* Are exactly the segments below live->live live? (Only asked for the two forms without words.) */
static bool from_zero(const cf_live *live) {
    return live->form == CF_LIVE_FULL || live->live == WORD || live->bits == low_bits(live->live);
}

bool cf_live_add_range(cf_live *live, uint32_t first, uint32_t length) {
    uint32_t end = first + length;
    if (live->form != CF_LIVE_WORDS && end > WORD && first <= live->live && from_zero(live)) {
        if (end <= live->live) return true;
        live->form = CF_LIVE_FULL;
        live->live = end;
        return true;
    }
    /* The highest word first: one allocation. */
    for (uint32_t i = length ? (end - 1) / WORD + 1 : 0; i-- > first / WORD;) {
        uint64_t bits = UINT64_MAX;
        if (end - i * WORD < WORD) bits &= low_bits(end - i * WORD);
        if (i == first / WORD) bits &= ~low_bits(first % WORD);
        if (!cf_live_or(live, i, bits)) return false;
    }
    return true;
}

bool cf_live_add(cf_live *live, uint16_t segment) {
    return cf_live_add_range(live, segment, 1);
}

void cf_live_wipe(cf_live *live) {
    if (live->form == CF_LIVE_WORDS) free(live->words);
    *live = (cf_live){.pack = live->pack};
}

/* The lowest segment >= from whose bit, after flipping with flip, is set; limit when there is none. */
static uint32_t scan(const cf_live *live, uint32_t from, uint64_t flip, uint32_t limit) {
    uint32_t words = cf_live_word_count(live);
    for (uint32_t i = from / WORD; i < words; i++) {
        uint64_t word = cf_live_word(live, i) ^ flip;
        if (i == from / WORD) word &= ~low_bits(from % WORD);
        if (word) return i * WORD + (uint32_t)__builtin_ctzll(word);
    }
    return limit;
}

uint32_t cf_live_next(const cf_live *live, uint32_t from) {
    return scan(live, from, 0, CF_SEGMENTS_MAX);
}

uint32_t cf_live_gap(const cf_live *live, uint32_t from) {
    uint32_t end = cf_live_word_count(live) * WORD;
    return scan(live, from, UINT64_MAX, from > end ? from : end);
}
