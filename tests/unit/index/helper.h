/* What the index's tests share: a folder of their own, IDs and packs from a number, checks of both.        */
#ifndef CF_TEST_INDEX_HELPER_H
#define CF_TEST_INDEX_HELPER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <xxhash.h>

#include "base/err.h"
#include "index/index.h"

static inline void expect_ok(cf_err *err) {
    if (!err) return;
    cf_err_print(stderr, err);
    cf_err_free(err);
    fail_msg("an error where none was expected");
}

static inline void expect_code(cf_err *err, cf_code code, const char *reason) {
    if (cf_err_code(err) != code || (reason && strcmp(cf_err_reason(err), reason) != 0)) {
        if (err) cf_err_print(stderr, err);
        fail_msg("error %d (%s) expected", (int)code, reason ? reason : "any reason");
    }
    cf_err_free(err);
}

static inline char *new_folder(void) {
    const char *base = getenv("TMPDIR");
    char *folder = malloc(4096);
    assert_non_null(folder);
    snprintf(folder, 4096, "%s/cf-index-XXXXXX", base ? base : "/tmp");
    assert_non_null(mkdtemp(folder));
    return folder;
}

static inline void end_folder(char *folder) {
    expect_ok(cf_index_destroy(folder));
    free(folder);
}

static inline void make_id(uint64_t number, uint8_t id[16]) {
    XXH128_hash_t hash = XXH3_128bits_withSeed(&number, sizeof number, 7);
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, hash);
    memcpy(id, canonical.digest, 16);
}

/* Chunk i of a pack: ID and address follow from the two numbers. */
static inline cf_index_entry make_entry(uint64_t pack, uint32_t i) {
    cf_index_entry entry = {.segment = (uint16_t)(i / 8),
                            .offset = i * 4099 % (1u << 20),
                            .length = 1 + (i * 31 + (uint32_t)pack) % (1u << 20)};
    make_id(pack << 32 | i, entry.id);
    return entry;
}

static inline cf_err *try_apply(cf_index *index, uint64_t pack, uint32_t count) {
    cf_index_entry *entries = calloc(count ? count : 1, sizeof *entries);
    assert_non_null(entries);
    for (uint32_t i = 0; i < count; i++) entries[i] = make_entry(pack, i);
    cf_err *err = cf_index_apply_pack(index, pack, entries, count);
    free(entries);
    return err;
}

/* How many of the pack's chunks are there; each with the right address. */
static inline uint32_t count_found(cf_index *index, uint64_t pack, uint32_t count) {
    uint32_t there = 0;
    for (uint32_t i = 0; i < count; i++) {
        cf_index_entry entry = make_entry(pack, i);
        cf_index_address address;
        bool found = false;
        expect_ok(cf_index_lookup(index, entry.id, &found, &address));
        if (!found) continue;
        there++;
        assert_int_equal(address.pack, pack);
        assert_int_equal(address.segment, entry.segment);
        assert_int_equal(address.offset, entry.offset);
        assert_int_equal(address.length, entry.length);
    }
    return there;
}

static inline cf_index_options small_options(void) {
    cf_index_options options = {.memory_bytes = 1 << 20, .boot_id = "boot-1"};
    memset(options.server_id, 0x5e, 16);
    return options;
}

static inline cf_index *open_small(const char *folder) {
    cf_index_options options = small_options();
    cf_index *index = NULL;
    expect_ok(cf_index_open(folder, &options, &index));
    return index;
}

#endif
