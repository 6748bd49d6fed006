/* Where a stored chunk lies, and the ID prefix that the index and the table of pending chunks are keyed by. */
#ifndef CF_INDEX_ADDRESS_H
#define CF_INDEX_ADDRESS_H

#include <stdint.h>

/* The first 16 bytes of a chunk ID. IDs are HMAC output, hence uniformly distributed; other IDs work, slower. */
#define CF_INDEX_ID_SIZE 16

#define CF_INDEX_PACK_MAX ((UINT64_C(1) << 48) - 1)
#define CF_INDEX_OFFSET_MAX (UINT32_C(1) << 20)
#define CF_INDEX_LENGTH_MAX (UINT32_C(1) << 20)

typedef struct cf_index_address {
    uint64_t pack;    /* 0 .. CF_INDEX_PACK_MAX                                                        */
    uint16_t segment; /* in the pack                                                                   */
    uint32_t offset;  /* in the decompressed segment, at most CF_INDEX_OFFSET_MAX                      */
    uint32_t length;  /* of the chunk, at most CF_INDEX_LENGTH_MAX                                     */
} cf_index_address;

#endif
