/* Secrets: passphrases, keys and tokens in memory that is locked, left out of core dumps and wiped.
 * There is no way to format one: whoever needs the bytes asks for them and must not print them.
 * Threads: immutable after filling, then shareable.                                                   */
#ifndef CF_BASE_SECRET_H
#define CF_BASE_SECRET_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

typedef struct cf_secret cf_secret;

/* cf_secret_new: size zero bytes (1 .. 65536). Fails: OUT_OF_MEMORY. A memory-lock limit that is too
 * low is not an error: the memory is then only wiped and kept out of core dumps.                      */
cf_err *cf_secret_new(size_t size, cf_secret **secret);
cf_err *cf_secret_from(const void *data, size_t size, cf_secret **secret);
uint8_t *cf_secret_data(cf_secret *secret);
const uint8_t *cf_secret_bytes(const cf_secret *secret);
size_t cf_secret_size(const cf_secret *secret);
/* cf_secret_resize_down: forget the tail (for secrets read from a file whose length was unknown).     */
void cf_secret_shrink(cf_secret *secret, size_t size);
void cf_secret_free(cf_secret *secret); /* wipes; NULL-safe */
CF_DEFINE_AUTO(cf_secret, cf_secret_free)

/* cf_wipe: overwrite, also when the compiler thinks nobody looks.                                     */
void cf_wipe(void *data, size_t size);
/* cf_equal_secret: constant-time comparison.                                                          */
bool cf_equal_secret(const void *a, const void *b, size_t size);

#endif
