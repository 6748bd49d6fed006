/* The journal of packs that are in memory but in no run yet: one checksummed record for each pack, appended. Internal
 * to the index. Layout: docs/index.md. Threads: belongs to the writer.                                   */
#ifndef CF_INDEX_JOURNAL_H
#define CF_INDEX_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "index/index.h"

/* A record holds at most so many entries; larger packs become a run at once. */
#define CF_JOURNAL_RECORD_MAX ((size_t)1 << 26)

typedef struct cf_journal cf_journal;

/* cf_journal_create: a new, empty one, synced.                                                         */
cf_err *cf_journal_create(int dir, uint64_t number, const uint8_t server_id[16], cf_journal **journal)
    __attribute__((warn_unused_result));
/* cf_journal_open: calls record for each valid record in order, stopping at the first that does not check (what
 * follows is a torn tail, or not to be trusted): *dropped is the number of bytes from there on. Appending continues at that place.
 *   entries: valid during the call, addresses in range. Fails: 900301 (header), or what record returns. */
typedef cf_err *cf_journal_record_fn(void *context, uint64_t pack, const cf_index_entry *entries, size_t count);
cf_err *cf_journal_open(int dir, uint64_t number, const uint8_t server_id[16], cf_journal_record_fn *record,
                        void *context, cf_journal **journal, uint64_t *dropped) __attribute__((warn_unused_result));
/* cf_journal_append: after a failure nothing was appended. Not synced.                                 */
cf_err *cf_journal_append(cf_journal *journal, uint64_t pack, const cf_index_entry *entries, size_t count)
    __attribute__((warn_unused_result));
cf_err *cf_journal_sync(cf_journal *journal) __attribute__((warn_unused_result));
uint64_t cf_journal_number(const cf_journal *journal);
uint64_t cf_journal_bytes(const cf_journal *journal);
void cf_journal_free(cf_journal *journal); /* NULL-safe; the file stays */
CF_DEFINE_AUTO(cf_journal, cf_journal_free)

#endif
