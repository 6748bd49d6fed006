/* Internal to sealed (and to fuzz targets): the plaintext layer of a segment, without the seal.           */
#ifndef CF_SEALED_SEGMENT_INTERNAL_H
#define CF_SEALED_SEGMENT_INTERNAL_H

#include "sealed/segment.h"

/* cf_segment_unpack: sizes, payload and padding (format, section 4) -> raw, appended to out.
 *   method   the stored form's first byte: 0 raw, 1 zstd.
 *   raw_max  the limit of this kind of segment.
 * Fails: FORMAT (reasons "truncated", "size", "padding", "zstd"), TOO_LARGE (out's own maximum).          */
cf_err *cf_segment_unpack(cf_segment_codec *codec, uint8_t method, cf_span plain, size_t raw_max, cf_buf *out);
/* cf_segment_padded: size rounded up as the format says (Padmé). size >= 2.                               */
size_t cf_segment_padded(size_t size);

#endif
