/* What went wrong when no reply came: libcurl's result as an error with a code and a reason. Pure but for the
 * environment's proxy variables.                                                                          */
#ifndef CF_HTTP_FAILURE_H
#define CF_HTTP_FAILURE_H

#include <curl/curl.h>

#include "base/err.h"

typedef struct cf_http_failure {
    CURLcode result;
    const char *url;
    const char *message; /* libcurl's own words, may be "" */
    const char *proxy;   /* as in cf_http_options          */
    long os_errno;       /* 0: not known                   */
    long connect_status; /* of a proxy's reply to CONNECT; 0: none */
} cf_http_failure;

cf_err *cf_http_failure_to_err(const cf_http_failure *failure) __attribute__((warn_unused_result, returns_nonnull));

#endif
