/* Hashes without keys and randomness: SHA-256 (OpenSSL), XXH3-128, getrandom.
 * Threads: a stream belongs to one thread; the rest has no state.                                         */
#ifndef CF_DIGEST_DIGEST_H
#define CF_DIGEST_DIGEST_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/ids.h"

cf_err *cf_sha256(cf_span data, uint8_t out[32]);
void cf_xxh3_128(cf_span data, uint8_t out[16]); /* canonical (big-endian) */
uint64_t cf_xxh3_64(cf_span data, uint64_t seed);
/* cf_random: size bytes from the system's generator. Fails only when the system has none.                 */
cf_err *cf_random(void *out, size_t size);

/* XXH3-128 over a stream.                                                                                 */
typedef struct cf_xxh3_stream cf_xxh3_stream;
cf_err *cf_xxh3_stream_new(cf_xxh3_stream **stream);
void cf_xxh3_stream_free(cf_xxh3_stream *stream);
CF_DEFINE_AUTO(cf_xxh3_stream, cf_xxh3_stream_free)
void cf_xxh3_stream_reset(cf_xxh3_stream *stream);
void cf_xxh3_stream_add(cf_xxh3_stream *stream, cf_span data);
void cf_xxh3_stream_end(cf_xxh3_stream *stream, uint8_t out[16]);

#endif
