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

/* Turn into words with room for segment. */
static bool to_words(cf_live *live, uint16_t segment) {
    uint32_t have = cf_live_word_count(live), need = segment / WORD + 1u;
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

bool cf_live_add(cf_live *live, uint16_t segment) {
    if (cf_live_word(live, segment / WORD) >> (segment % WORD) & 1) return true;
    if (live->form == CF_LIVE_INLINE && segment < WORD) {
        live->bits |= (uint64_t)1 << segment;
    } else if (live->form != CF_LIVE_WORDS && segment == live->live) {
        /* Everything below is live: an inline pack grows into a full one. */
        live->form = CF_LIVE_FULL;
    } else {
        if (!to_words(live, segment)) return false;
        live->words[segment / WORD] |= (uint64_t)1 << (segment % WORD);
    }
    live->live++;
    return true;
}

bool cf_live_add_range(cf_live *live, uint32_t first, uint32_t length) {
    if (first == 0 && live->live == 0 && length > WORD && live->form == CF_LIVE_INLINE) {
        live->form = CF_LIVE_FULL;
        live->live = length;
        return true;
    }
    for (uint32_t i = 0; i < length; i++)
        if (!cf_live_add(live, (uint16_t)(first + length - 1 - i))) return false; /* highest first: one allocation */
    return true;
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
