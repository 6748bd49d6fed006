/* The vault's private certificate authority and server certificates: EC P-256, X.509 v3 (RFC 5280).
 * Threads: no state.                                                                                  */
#ifndef CF_DIGEST_X509_H
#define CF_DIGEST_X509_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

/* A certificate and its private key, both PEM. The key is wiped by cf_x509_pair_wipe.                   */
typedef struct cf_x509_pair {
    cf_buf certificate;
    cf_buf key;
} cf_x509_pair;

void cf_x509_pair_init(cf_x509_pair *pair);
void cf_x509_pair_wipe(cf_x509_pair *pair);
#define CF_AUTO_X509 __attribute__((cleanup(cf_x509_pair_wipe)))

/* cf_x509_make_authority: a self-signed CA that may sign server certificates only.
 *   name        common name, cut to 64 bytes.
 *   not_before, not_after  seconds since 1970.
 * Fails: CRYPTO.                                                                                       */
cf_err *cf_x509_make_authority(const char *name, int64_t not_before, int64_t not_after, cf_x509_pair *out)
    __attribute__((warn_unused_result));
/* cf_x509_make_server: a server certificate signed by authority, for these hosts (names or IP addresses;
 * the first is also the common name). Fails: CRYPTO.                                                    */
cf_err *cf_x509_make_server(const cf_x509_pair *authority, const char *const *hosts, size_t count, int64_t not_before,
                            int64_t not_after, cf_x509_pair *out) __attribute__((warn_unused_result));
/* cf_x509_expiry: when a PEM certificate ends. Fails: FORMAT.                                           */
cf_err *cf_x509_expiry(cf_span certificate, int64_t *not_after) __attribute__((warn_unused_result));
/* cf_x509_matches: is key the certificate's?                                                           */
bool cf_x509_matches(const cf_x509_pair *pair);

#endif
