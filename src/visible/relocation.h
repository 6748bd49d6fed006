/* The visible frame of a relocation record (format, section 12): chunks of damaged segments stand elsewhere. No I/O, no
 * keys. Threads: no state.                                                                               */
#ifndef CF_VISIBLE_RELOCATION_H
#define CF_VISIBLE_RELOCATION_H

#include "base/buf.h"
#include "base/err.h"
#include "base/ids.h"
#include "visible/map.h"

enum {
    CF_RELOCATION_HEADER_SIZE = 104,
    CF_RELOCATION_PREFIX_SIZE = 48,
    CF_RELOCATION_POINTS_MAX = 65536,
    CF_RELOCATION_CHUNKS_MAX = 131072,
    CF_RELOCATION_MAP_MAX = 4 << 20,
    CF_RELOCATION_SEALED_MAX = 8 << 20,
    CF_RELOCATION_MAX = 24 << 20,
};

/* A record taken apart: spans borrow from its bytes. */
typedef struct cf_relocation_frame {
    cf_id16 server, session;
    uint64_t number; /* 1 for a server's first, then one more each */
    uint8_t commitment[32];
    cf_span key_record;
    cf_span points; /* that refer to chunks which it moves                              */
    cf_span extra;  /* a liveness map: the segments that those points need besides their own maps' */
    cf_span healed; /* a liveness map: damaged segments of which nothing is needed any more          */
    cf_span sealed;
} cf_relocation_frame;

/* cf_relocation_encode: sizes come from the spans. Fails: INTERNAL around what a reader would refuse.     */
cf_err *cf_relocation_encode(const cf_relocation_frame *frame, cf_buf *out);
/* cf_relocation_decode: magic, version, sizes, sum. Fails: FORMAT, FORMAT_VERSION.                         */
cf_err *cf_relocation_decode(cf_span bytes, cf_relocation_frame *frame);
/* The first 48 bytes. */
void cf_relocation_prefix(const cf_relocation_frame *frame, uint8_t out[CF_RELOCATION_PREFIX_SIZE]);
/* points: at least one, ascending, no ID twice. Decoding: a fresh array, the caller frees it.              */
void cf_relocation_points_encode(const cf_id32 *points, size_t count, cf_buf *out);
cf_err *cf_relocation_points_decode(cf_span bytes, cf_id32 **points, size_t *count);
/* cf_relocation_map: of extra or healed: neither may be a delta. Fails: FORMAT and what cf_map_decode fails with. */
cf_err *cf_relocation_map(cf_span bytes, cf_map **map);
/* cf_relocation_concerns: is the point among those of points (as decoded, ascending)?                      */
bool cf_relocation_concerns(const cf_id32 *points, size_t count, const cf_id32 *point);

#endif
