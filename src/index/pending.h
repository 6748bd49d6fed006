/* Chunks of packs in flight: sealed or being packed, but not yet in the index. A bounded table in memory that
 * lets many lanes agree on who stores a chunk: the first to add an ID stores it, the others find it.
 * Threads: any number, every call.                                                                      */
#ifndef CF_INDEX_PENDING_H
#define CF_INDEX_PENDING_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "index/address.h"

typedef struct cf_pending cf_pending;

typedef enum cf_pending_answer {
    CF_PENDING_ADDED, /* it was not there: the caller stores the chunk                                  */
    CF_PENDING_FOUND, /* another lane has it: existing is where                                         */
    CF_PENDING_FULL,  /* neither there nor room for it: store it without a note here                    */
} cf_pending_answer;

/* cf_pending_new: for at most max_entries (1 .. 2^26) chunks; about 38 bytes of memory for each, taken at once. */
cf_err *cf_pending_new(size_t max_entries, cf_pending **pending) __attribute__((warn_unused_result));
void cf_pending_free(cf_pending *pending); /* NULL-safe */
CF_DEFINE_AUTO(cf_pending, cf_pending_free)

/* cf_pending_find_or_add: one atomic step. address: where the caller will put it (in range);
 * existing: written when FOUND.                                                                       */
cf_pending_answer cf_pending_find_or_add(cf_pending *pending, const uint8_t id[CF_INDEX_ID_SIZE],
                                         const cf_index_address *address, cf_index_address *existing);
/* cf_pending_find: without adding. */
bool cf_pending_find(cf_pending *pending, const uint8_t id[CF_INDEX_ID_SIZE], cf_index_address *address);
/* cf_pending_move: give an ID that was added its new address; false when it is not there.             */
bool cf_pending_move(cf_pending *pending, const uint8_t id[CF_INDEX_ID_SIZE], const cf_index_address *address);
/* cf_pending_remove: forget one chunk, when it has this pack (it was added, but never stored).        */
void cf_pending_remove(cf_pending *pending, const uint8_t id[CF_INDEX_ID_SIZE], uint64_t pack);
/* cf_pending_remove_pack: forget all chunks of a pack: its entries are in the index now, or it failed.
 * Apply to the index first, then remove here. A lane that looks up in the index, then adds here, can still
 * miss a pack that went over in between: the chunk is then stored twice, which harms nobody.           */
void cf_pending_remove_pack(cf_pending *pending, uint64_t pack);
size_t cf_pending_count(cf_pending *pending);

#endif
