/* Looking at a stored pack from outside: is every byte what its frame says? */
#ifndef CF_SERVICE_PACKCHECK_H
#define CF_SERVICE_PACKCHECK_H

#include "objects/objects.h"
#include "records/records.h"
#include "visible/pack.h"

typedef struct cf_pack_frame {
    cf_pack_header header;
    uint8_t header_bytes[CF_PACK_HEADER_SIZE];
    cf_buf tail; /* extent table and trailer */
    cf_extent *extents;
    size_t count; /* the directory included */
    uint64_t size;
} cf_pack_frame;

void cf_pack_frame_wipe(cf_pack_frame *frame);
#define CF_AUTO_PACK_FRAME __attribute__((cleanup(cf_pack_frame_wipe)))

/* cf_pack_frame_read: header and tail of the object, checked (sums, order, bounds). frame must be zeroed.
 * Fails: FORMAT, FORMAT_VERSION, OBJECT_MISSING, IO.                                                    */
cf_err *cf_pack_frame_read(cf_object_reader *reader, cf_pack_frame *frame) __attribute__((warn_unused_result));
/* cf_pack_frame_read_at: of a pack of size bytes that begins at base in a merged object.                 */
cf_err *cf_pack_frame_read_at(cf_object_reader *reader, uint64_t base, uint64_t size, cf_pack_frame *frame)
    __attribute__((warn_unused_result));
/* cf_pack_frame_verify: reads the whole object once: the sum of each extent (fails UPLOAD_REFUSED, reason
 * "extent") and the sum of all.                                                                         */
cf_err *cf_pack_frame_verify(cf_object_reader *reader, const cf_pack_frame *frame, uint8_t xxh3[16])
    __attribute__((warn_unused_result));
/* cf_pack_frame_examine: the same, but tells of segments that are not right, and goes on. */
typedef cf_err *(*cf_pack_bad)(void *context, const cf_extent *extent);
cf_err *cf_pack_frame_examine(cf_object_reader *reader, uint64_t base, const cf_pack_frame *frame, cf_pack_bad bad,
                              void *context, uint8_t xxh3[16]) __attribute__((warn_unused_result));
/* cf_pack_frame_row: what the database keeps of it. */
cf_pack_row cf_pack_frame_row(const cf_pack_frame *frame, const uint8_t xxh3[16]);

#endif
