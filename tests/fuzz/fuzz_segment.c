// deps: sealed_dep
/* First byte: the method. The rest is taken as a plaintext, where no seal keeps the fuzzer out, and as a stored
 * segment. */
#include <stdlib.h>

#include "sealed/segment_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static cf_segment_codec *codec;
    if (!codec && cf_segment_codec_new(1, &codec)) abort();
    if (size < 1) return 0;
    cf_buf raw;
    cf_buf_init(&raw, CF_SEGMENT_RAW_MAX);
    cf_err *err = cf_segment_unpack(codec, data[0], cf_span_of(data + 1, size - 1), CF_SEGMENT_RAW_MAX, &raw);
    if (!err && (raw.size < 1 || raw.size > CF_SEGMENT_RAW_MAX)) abort();
    if (err && raw.size) abort();
    cf_err_free(err);
    cf_buf_reset(&raw);
    const uint8_t key[32] = {1};
    const cf_segment_place place = {.kind = CF_KIND_DATA, .pack = 1, .segment = 0};
    cf_err_free(cf_segment_open(codec, key, &place, cf_span_of(data, size), &raw));
    cf_buf_wipe(&raw);
    return 0;
}
