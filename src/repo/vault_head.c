#include "repo/vault_head.h"

#include "base/text.h"

static cf_err *mismatch(const char *reason, const cf_vault_head *known, const char *what) {
    char hex[CF_HEX_SIZE(32)];
    cf_hex_encode(known->id.bytes, 32, hex);
    return cf_fail_reason(CF_ERR_HEAD_MISMATCH, reason, "recovery point %.16s (number %llu): %s", hex,
                          (unsigned long long)known->counter, what);
}

/* The listed point that follows counter directly, if it is listed. */
static const cf_point_row *at_counter(const cf_point_row *rows, size_t count, uint64_t counter) {
    for (size_t i = 0; i < count; i++)
        if (rows[i].counter == counter) return &rows[i];
    return NULL;
}

cf_err *cf_vault_head_check(const cf_vault_head *known, const cf_point_row *rows, size_t count,
                            cf_vault_head_state *state, cf_vault_head *newest) {
    cf_vault_head top = {0};
    if (count > 0) top = (cf_vault_head){true, rows[count - 1].id, rows[count - 1].counter};
    if (known->known) {
        if (count == 0) return mismatch("empty", known, "the vault lists no recovery point at all");
        for (size_t i = 0; i < count; i++)
            if (cf_id32_equal(&rows[i].id, &known->id) != (rows[i].counter == known->counter))
                return mismatch("relabelled", known, "the vault lists its number or its ID for another point");
        if (top.counter < known->counter)
            return mismatch(
                "rolled_back", known,
                "the vault hides it, or was put back to an older state: the newest one that it lists is older");
        const cf_point_row *next = at_counter(rows, count, known->counter + 1);
        if (next && !cf_id32_equal(&next->previous, &known->id))
            return mismatch("forked", known, "the point that the vault lists after it follows another one");
    }
    *state = known->known && top.counter == known->counter ? CF_HEAD_SAME : CF_HEAD_NEWER;
    *newest = top;
    return NULL;
}
