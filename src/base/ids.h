/* The names of stored things (docs/format.md, section 1): plain bytes with a type.                     */
#ifndef CF_BASE_IDS_H
#define CF_BASE_IDS_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

typedef struct cf_id16 { /* vault, server, session, selection */
    uint8_t bytes[16];
} cf_id16;
typedef struct cf_id32 { /* chunk, recovery point */
    uint8_t bytes[32];
} cf_id32;

static inline bool cf_id16_equal(const cf_id16 *a, const cf_id16 *b) {
    return memcmp(a->bytes, b->bytes, 16) == 0;
}
static inline bool cf_id32_equal(const cf_id32 *a, const cf_id32 *b) {
    return memcmp(a->bytes, b->bytes, 32) == 0;
}
static inline bool cf_id32_is_zero(const cf_id32 *a) {
    static const cf_id32 zero;
    return memcmp(a->bytes, zero.bytes, 32) == 0;
}

enum {
    CF_CHUNK_MAX = 524288, /* bytes in a chunk, and in a segment's decompressed payload            */
    CF_SEGMENT_RAW_MAX = 524288,
    CF_SEGMENT_DIRECTORY = 0xFFFF,
    CF_SEGMENTS_MAX = 65534, /* besides the directory                                                */
    CF_PACK_CHUNKS_MAX = 65536,
    CF_DIRECTORY_RAW_MAX = 4194304,
};
#define CF_PACK_MAX (256ull << 20)
#define CF_PACK_NUMBER_MAX ((1ull << 48) - 1)

/* Kind of content; value is the type byte of chunk IDs and the kind byte of packs. */
typedef enum cf_kind { CF_KIND_DATA = 0, CF_KIND_TREE = 1 } cf_kind;

/* A logical, stable address of a chunk, and the reference that carries it (format section 6). */
typedef struct cf_ref {
    cf_id32 id;
    uint64_t pack;
    uint16_t segment;
    uint32_t offset; /* in the decompressed segment */
    uint32_t length; /* 1 .. CF_CHUNK_MAX           */
} cf_ref;

#endif
