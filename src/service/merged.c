#include "service/merged.h"

#include <stdlib.h>

cf_err *cf_merged_read(cf_object_reader *reader, const cf_id16 *server, const cf_id16 *id, cf_merged_pack **packs,
                       size_t *count) {
    uint8_t header[CF_MERGED_HEADER_SIZE];
    size_t got = 0, number = 0;
    CF_TRY(cf_object_reader_read(reader, 0, header, sizeof header, &got));
    CF_TRY(cf_merged_count(cf_span_of(header, got), server, id, &number));
    size_t size = cf_merged_head_size(number);
    CF_AUTO_FREE uint8_t *head = malloc(size);
    if (!head) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a merged object");
    CF_TRY(cf_object_reader_read(reader, 0, head, size, &got));
    if (got < size) return cf_fail_reason(CF_ERR_FORMAT, "truncated", "the merged object ends early");
    return cf_merged_head_decode(cf_span_of(head, size), cf_object_reader_size(reader), server, id, packs, count);
}
