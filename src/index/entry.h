/* An entry as runs keep it, 30 bytes: ID 16 | pack 6 | segment 2 | offset 21 bits, length 21 bits, 6 zero bits,
 * all little-endian. Logs keep the same without the pack (24 bytes). Internal to the index.              */
#ifndef CF_INDEX_ENTRY_H
#define CF_INDEX_ENTRY_H

#include <endian.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "index/address.h"

#define CF_ENTRY_SIZE 30
#define CF_ENTRY_PACK 16 /* where the pack number stands */
#define CF_ENTRY_TAIL 22 /* where segment, offset and length stand */

static inline uint64_t cf_entry_load64(const uint8_t *bytes) {
    uint64_t value;
    memcpy(&value, bytes, sizeof value);
    return le64toh(value);
}

static inline void cf_entry_store64(uint8_t *bytes, uint64_t value) {
    value = htole64(value);
    memcpy(bytes, &value, sizeof value);
}

static inline uint32_t cf_entry_load32(const uint8_t *bytes) {
    uint32_t value;
    memcpy(&value, bytes, sizeof value);
    return le32toh(value);
}

static inline void cf_entry_store32(uint8_t *bytes, uint32_t value) {
    value = htole32(value);
    memcpy(bytes, &value, sizeof value);
}

static inline uint16_t cf_entry_load16(const uint8_t *bytes) {
    return (uint16_t)(bytes[0] | bytes[1] << 8);
}

static inline void cf_entry_store16(uint8_t *bytes, uint16_t value) {
    bytes[0] = (uint8_t)value;
    bytes[1] = (uint8_t)(value >> 8);
}

/* The first 8 bytes of an ID as a number that sorts like memcmp. */
static inline uint64_t cf_entry_top(const uint8_t *id) {
    uint64_t value;
    memcpy(&value, id, sizeof value);
    return be64toh(value);
}

static inline int cf_entry_compare_id(const uint8_t *a, const uint8_t *b) {
    uint64_t x = cf_entry_top(a), y = cf_entry_top(b);
    if (x == y) {
        x = cf_entry_top(a + 8);
        y = cf_entry_top(b + 8);
    }
    return x < y ? -1 : x > y;
}

static inline uint64_t cf_entry_pack(const uint8_t *entry) {
    return (uint64_t)cf_entry_load32(entry + CF_ENTRY_PACK) | (uint64_t)cf_entry_load16(entry + CF_ENTRY_PACK + 4)
                                                                  << 32;
}

/* Pack and segment as one number: how dead segments are kept. */
static inline uint64_t cf_entry_segment_key(uint64_t pack, uint16_t segment) {
    return pack << 16 | segment;
}

static inline uint64_t cf_entry_key(const uint8_t *entry) {
    return cf_entry_segment_key(cf_entry_pack(entry), cf_entry_load16(entry + CF_ENTRY_TAIL));
}

static inline void cf_entry_encode_tail(uint8_t out[8], uint16_t segment, uint32_t offset, uint32_t length) {
    cf_entry_store64(out, (uint64_t)segment | (uint64_t)offset << 16 | (uint64_t)length << 37);
}

static inline void cf_entry_encode(uint8_t out[CF_ENTRY_SIZE], const uint8_t *id, const cf_index_address *address) {
    memcpy(out, id, CF_INDEX_ID_SIZE);
    cf_entry_store32(out + CF_ENTRY_PACK, (uint32_t)address->pack);
    cf_entry_store16(out + CF_ENTRY_PACK + 4, (uint16_t)(address->pack >> 32));
    cf_entry_encode_tail(out + CF_ENTRY_TAIL, address->segment, address->offset, address->length);
}

/* False when the bytes are out of range: they did not come from this program. */
static inline bool cf_entry_decode_tail(const uint8_t in[8], cf_index_address *address) {
    uint64_t tail = cf_entry_load64(in);
    address->segment = (uint16_t)tail;
    address->offset = (uint32_t)(tail >> 16 & 0x1FFFFF);
    address->length = (uint32_t)(tail >> 37 & 0x1FFFFF);
    return tail >> 58 == 0 && address->offset <= CF_INDEX_OFFSET_MAX && address->length <= CF_INDEX_LENGTH_MAX;
}

static inline bool cf_entry_decode(const uint8_t entry[CF_ENTRY_SIZE], cf_index_address *address) {
    address->pack = cf_entry_pack(entry);
    return cf_entry_decode_tail(entry + CF_ENTRY_TAIL, address);
}

#endif
