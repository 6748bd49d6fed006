// deps: scan_dep
/* Blocks of the tree cache: the input is what stands behind the sum, which is made to fit. */
#include <stdlib.h>
#include <string.h>

#include "digest/digest.h"
#include "scan/cache.h"

enum { HEAD = 16, MOST = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size > MOST) return 0;
    uint8_t *block = malloc(HEAD + size);
    if (!block) return 0;
    uint32_t magic = 0x42464354, length = (uint32_t)(HEAD + size);
    uint64_t sum = cf_xxh3_64(cf_span_of(data, size), 0);
    memcpy(block, &magic, 4);
    memcpy(block + 4, &length, 4);
    memcpy(block + 8, &sum, 8);
    if (size) memcpy(block + HEAD, data, size);
    cf_cursor cursor;
    cf_cache_folder folder;
    cf_cache_entry entry;
    uint64_t pack;
    uint16_t segment;
    if (cf_block_open(cf_span_of(block, HEAD + size), &cursor, &folder)) {
        while (cf_block_next(&cursor, &entry)) {
            cf_cursor pairs = cf_cursor_of(entry.segments);
            while (cf_pairs_next(&pairs, &pack, &segment)) continue;
        }
    }
    free(block);
    return 0;
}
