/* Cutting content where the content says (format, section 3). No I/O, no state between files.
 * Threads: a cf_gear is immutable after cf_gear_new and may be shared.                                  */
#ifndef CF_CHUNK_CHUNKER_H
#define CF_CHUNK_CHUNKER_H

#include "base/err.h"
#include "base/secret.h"

enum { CF_CUT_MIN = 32768, CF_CUT_NORMAL = 98304, CF_CUT_MAX = 524288 };

typedef struct cf_gear cf_gear; /* the table: as secret as the key it comes from */

cf_err *cf_gear_new(const cf_secret *gear_key, cf_gear **gear);
void cf_gear_free(cf_gear *gear);
CF_DEFINE_AUTO(cf_gear, cf_gear_free)

/* cf_chunker_cut: length of the first chunk of data (1 .. min(size, CF_CUT_MAX)).
 *   size   bytes at hand, at least 1. Unless the content ends there, at least CF_CUT_MAX must be at hand:
 *          with less the answer could differ from what more bytes would give.
 *   Cost: one table read for each byte beyond the first CF_CUT_MIN.                                      */
size_t cf_chunker_cut(const cf_gear *gear, const uint8_t *data, size_t size);

#endif
