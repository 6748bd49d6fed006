/* Segments and pack directories: compress, pad, seal; and back (format, sections 4 and 5).
 * Threads: a context belongs to one thread at a time: it owns the zstd and cipher contexts and buffers, so
 * that a lane allocates nothing per segment.                                                            */
#ifndef CF_SEALED_SEGMENT_H
#define CF_SEALED_SEGMENT_H

#include "base/buf.h"
#include "base/err.h"
#include "base/ids.h"
#include "keys/keys.h"

/* Where a sealed thing stands: its additional data. */
typedef struct cf_segment_place {
    cf_kind kind; /* of the pack */
    cf_id16 server;
    cf_id16 session;
    uint64_t pack;
    uint16_t segment; /* CF_SEGMENT_DIRECTORY: the pack's directory */
} cf_segment_place;

/* cf_pack_keys_derive, cf_directory_keys_derive: format, 2.3.                                             */
cf_err *cf_pack_keys_derive(const cf_secret *session_key, uint64_t pack, cf_key_pair_bytes *keys);
cf_err *cf_directory_keys_derive(const cf_secret *directory_key, const cf_id16 *session, uint64_t pack,
                                 cf_key_pair_bytes *keys);

typedef struct cf_segment_codec cf_segment_codec;
/* level: zstd level 1 .. 19. */
cf_err *cf_segment_codec_new(int level, cf_segment_codec **codec);
void cf_segment_codec_free(cf_segment_codec *codec);
CF_DEFINE_AUTO(cf_segment_codec, cf_segment_codec_free)

/* cf_segment_seal: append the stored form of raw (1 .. 524,288 bytes; a directory: .. 4 MiB) to out.
 *   verify  open the result again, decompress and compare with raw (XXH3-128); on difference SEAL_BROKEN with
 *           reason "memory".                                                                            */
cf_err *cf_segment_seal(cf_segment_codec *codec, const uint8_t key[32], const cf_segment_place *place, cf_span raw,
                        bool verify, cf_buf *out);
/* cf_segment_open: stored -> raw, appended to out (out->max bounds it). Fails: SEAL_BROKEN, FORMAT.        */
cf_err *cf_segment_open(cf_segment_codec *codec, const uint8_t key[32], const cf_segment_place *place, cf_span stored,
                        cf_buf *out);
/* cf_segment_stored_max: the most bytes that sealing raw_size bytes can give.                              */
size_t cf_segment_stored_max(size_t raw_size);

/* A pack's directory (raw payload). Entries come segment by segment, ascending, chunks in order.           */
typedef struct cf_directory_entry {
    uint16_t segment;
    cf_id32 id;
    uint32_t offset;
    uint32_t length;
} cf_directory_entry;
cf_err *cf_directory_encode(const cf_directory_entry *entries, size_t count, cf_buf *out);
/* A fresh array, the caller frees it. Fails: FORMAT.                                                        */
cf_err *cf_directory_decode(cf_span raw, cf_directory_entry **entries, size_t *count);

#endif
