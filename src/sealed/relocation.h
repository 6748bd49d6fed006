/* The sealed part of a relocation record (format, section 12): where chunks of damaged segments stand now.
 * Threads: no state.                                                                                     */
#ifndef CF_SEALED_RELOCATION_H
#define CF_SEALED_RELOCATION_H

#include "base/secret.h"
#include "visible/relocation.h"

/* cf_relocation_seal: frame's names and visible parts are sealed along; commitment (32 bytes) goes into it.
 *   refs  at most CF_RELOCATION_CHUNKS_MAX, ascending by chunk ID, no ID twice: their new addresses.           */
cf_err *cf_relocation_seal(const cf_relocation_frame *frame, const cf_secret *session_key, const cf_ref *refs,
                           size_t count, uint8_t commitment[32], cf_buf *out);
/* cf_relocation_open: a fresh array, the caller frees it. Fails: SEAL_BROKEN (reasons "commitment", "tag"), FORMAT. */
cf_err *cf_relocation_open(const cf_relocation_frame *frame, const cf_secret *session_key, cf_ref **refs,
                           size_t *count);
/* The plain text, for tests and fuzzing. */
cf_err *cf_relocation_refs_encode(const cf_ref *refs, size_t count, cf_buf *out);
cf_err *cf_relocation_refs_decode(cf_span plain, cf_ref **refs, size_t *count);

#endif
