/* Signed addresses for bulk bytes: whoever holds one may send, or fetch, exactly this pack until it expires.
 * Pure; threads: no state.                                                                              */
#ifndef CF_SERVICE_URL_H
#define CF_SERVICE_URL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/ids.h"

typedef struct cf_blob {
    bool upload;
    cf_id16 server, session;
    uint64_t number, size;
    uint8_t xxh3[16]; /* of the whole pack */
    int64_t expires;
    /* Where a pack stands that compaction has moved (downloads only): generation 0: where it was uploaded. */
    uint32_t generation;
    bool is_merged;
    cf_id16 merged;
    uint64_t base;
} cf_blob;

/* cf_blob_url: "https://HOST/v1/blobs/7?op=put&server=..&session=..&size=..&xxh3=..&expires=..&sig=..", fresh.
 *   base  "https://HOST".                                                                               */
cf_err *cf_blob_url(const uint8_t key[32], const char *base, const cf_blob *blob, char **url)
    __attribute__((warn_unused_result));
/* cf_blob_check: what a request's path and query say, when the signature is ours, it is for this operation and has
 * not expired. get: a query value or NULL. Fails: FORBIDDEN, reasons url (malformed or not ours), expired.  */
typedef const char *(*cf_blob_get)(const void *context, const char *name);
cf_err *cf_blob_check(const uint8_t key[32], bool upload, const char *number, cf_blob_get get, const void *context,
                      int64_t now, cf_blob *blob) __attribute__((warn_unused_result));

#endif
