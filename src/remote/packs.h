/* Packs: sending whole ones, listing them, reading ranges of them.                                       */
#ifndef CF_REMOTE_PACKS_H
#define CF_REMOTE_PACKS_H

#include "base/buf.h"
#include "remote/remote.h"
#include "remote/sessions.h"

enum { CF_REMOTE_PACKS_PER_CALL = 256 };

/* cf_remote_store_pack: announce, send, commit. When it returns NULL the pack is durable in the vault.
 * Calling it again with the same bytes is harmless at any moment.
 *   bytes  the whole pack; sent from this memory without a copy.
 *   xxh3   XXH3-128 of bytes.
 *   tail   its extent table and trailer: the end of bytes.
 *   *sent  bytes that went over the wire (0: the vault had the pack already); may be NULL.
 * Fails: what the vault says when the number is committed with other bytes or the session was lost.                      */
cf_err *cf_remote_store_pack(cf_remote *remote, const cf_id16 *session, uint64_t number, cf_span bytes,
                             const uint8_t xxh3[16], cf_span tail, uint64_t *sent) __attribute__((warn_unused_result));

/* Where a stored pack can be read. Made by cf_remote_fetch_packs, shared by any number of reading threads. */
typedef struct cf_remote_pack cf_remote_pack;
struct cf_remote_pack {
    uint64_t number;
    cf_id16 session;
    uint64_t size;
    uint8_t *header; /* CF_PACK_HEADER_SIZE bytes                                                          */
    size_t header_size;
    uint8_t *tail; /* extent table and trailer                                                             */
    size_t tail_size;
    cf_err *error; /* the vault cannot serve this one: all else but number is empty then                   */
    struct cf_remote_access *access; /* URL and headers, renewed in place (by this folder only)             */
};
/* cf_remote_fetch_packs: at most CF_REMOTE_PACKS_PER_CALL numbers at a time.
 *   packs  count entries, written in the order of numbers; the caller wipes each.                          */
cf_err *cf_remote_fetch_packs(cf_remote *remote, const uint64_t *numbers, size_t count, cf_remote_pack *packs)
    __attribute__((warn_unused_result));
void cf_remote_pack_wipe(cf_remote_pack *pack);
/* cf_remote_read_range: exactly size bytes from offset into out. A URL that expired is renewed once.
 * Fails: 480004 OBJECT_MISSING (the vault does not have it; reason "moved": compaction wrote it anew, with another extent
 * table: fetch the pack again).                                                                             */
cf_err *cf_remote_read_range(cf_remote *remote, cf_remote_pack *pack, uint64_t offset, size_t size, uint8_t *out)
    __attribute__((warn_unused_result));

typedef struct cf_remote_pack_info {
    uint64_t number;
    cf_id16 session;
    cf_kind kind;
    uint64_t size;
    uint32_t segments, retired_segments;
} cf_remote_pack_info;
/* cf_remote_list_packs: committed packs with numbers above after, ascending; *packs is a fresh array that the
 * caller frees; *more: ask again with the last number. retired_segments: how many of the segments count as dead; which, is
 * told by *retired (of *retired_count packs, ascending; ended with cf_remote_segments_free), if it is not NULL. */
cf_err *cf_remote_list_packs(cf_remote *remote, uint64_t after, uint32_t limit, cf_remote_pack_info **packs,
                             size_t *count, bool *more, cf_remote_segments **retired, size_t *retired_count)
    __attribute__((warn_unused_result));

#endif
