/* The head of a merged object (format, section 5.1): several packs, one behind the other. No I/O.
 * Threads: no state.                                                                                     */
#ifndef CF_VISIBLE_MERGED_H
#define CF_VISIBLE_MERGED_H

#include "base/buf.h"
#include "base/err.h"
#include "base/ids.h"

enum { CF_MERGED_HEADER_SIZE = 48, CF_MERGED_ENTRY_SIZE = 48, CF_MERGED_PACKS_MAX = 1024 };

typedef struct cf_merged_pack {
    uint64_t number;
    cf_id16 session;
    uint32_t generation; /* 1 or higher */
    uint64_t offset, size;
} cf_merged_pack;

static inline size_t cf_merged_head_size(size_t count) {
    return CF_MERGED_HEADER_SIZE + count * CF_MERGED_ENTRY_SIZE + 16;
}
/* cf_merged_head_encode: packs ascend by number; the first begins where the head ends. */
void cf_merged_head_encode(const cf_id16 *server, const cf_id16 *id, const cf_merged_pack *packs, size_t count,
                           cf_buf *out);
/* cf_merged_count: from the first 48 bytes. */
cf_err *cf_merged_count(cf_span header, const cf_id16 *server, const cf_id16 *id, size_t *count);
/* cf_merged_head_decode: head is exactly the head. A fresh array, the caller frees it. Fails: FORMAT, FORMAT_VERSION. */
cf_err *cf_merged_head_decode(cf_span head, uint64_t object_size, const cf_id16 *server, const cf_id16 *id,
                              cf_merged_pack **packs, size_t *count);

#endif
