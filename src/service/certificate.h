/* The vault's CA and the service's certificate, kept in tls/. */
#ifndef CF_SERVICE_CERTIFICATE_H
#define CF_SERVICE_CERTIFICATE_H

#include "service/vault.h"

/* cf_certificate_check_url: https://HOST[:PORT]. Fails: BAD_USAGE.                                        */
cf_err *cf_certificate_check_url(const char *url) __attribute__((warn_unused_result));
/* cf_certificate_make_authority: CA (20 years) and first certificate, by init.                            */
cf_err *cf_certificate_make_authority(cf_vault *vault) __attribute__((warn_unused_result));
/* cf_certificate_replace: a new certificate for the vault's address, whatever the old one is.              */
cf_err *cf_certificate_replace(cf_vault *vault) __attribute__((warn_unused_result));

#endif
