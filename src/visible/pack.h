/* The visible frame of a pack: header, extent table, trailer (format, section 5). No I/O.
 * Threads: no state.                                                                                     */
#ifndef CF_VISIBLE_PACK_H
#define CF_VISIBLE_PACK_H

#include "base/buf.h"
#include "base/err.h"
#include "base/ids.h"

enum { CF_PACK_HEADER_SIZE = 112, CF_EXTENT_SIZE = 32, CF_PACK_TRAILER_SIZE = 40 };

typedef struct cf_pack_header {
    cf_kind kind;
    cf_id16 server;
    cf_id16 session;
    uint64_t number;
    uint8_t commitment[32];           /* of the segments' key  */
    uint8_t directory_commitment[32]; /* of the directory's key */
} cf_pack_header;

typedef struct cf_extent {
    uint16_t segment;
    uint32_t length;
    uint64_t offset;
    uint8_t xxh3[16];
} cf_extent;

void cf_pack_header_encode(const cf_pack_header *header, uint8_t out[CF_PACK_HEADER_SIZE]);
/* Fails: FORMAT, FORMAT_VERSION.                                                                        */
cf_err *cf_pack_header_decode(cf_span bytes, cf_pack_header *header);
/* cf_pack_tail_encode: extent table and trailer, appended to out.
 *   header        may stand in out.
 *   table_offset  where the table will stand in the object. extents ascend by segment, directory last.
 *   A count outside 2 .. 65,535, or no memory, makes out fail (cf_buf_check).                            */
void cf_pack_tail_encode(const uint8_t header[CF_PACK_HEADER_SIZE], uint64_t table_offset, const cf_extent *extents,
                         size_t count, cf_buf *out);
/* cf_pack_trailer_decode: from the object's last 40 bytes: where the table is. Checks everything that can be
 * checked without the table.                                                                            */
cf_err *cf_pack_trailer_decode(cf_span last40, uint64_t object_size, uint64_t *table_offset, uint32_t *count);
/* cf_pack_tail_decode: checks table and trailer against the header: sums, order, bounds, no overlap.
 *   tail     the bytes from table_offset to the end.
 *   extents  a fresh array of *count, the caller frees it.                                               */
cf_err *cf_pack_tail_decode(cf_span header, cf_span tail, uint64_t object_size, cf_extent **extents, size_t *count);

#endif
