/* The service as something that an HTTP server can call (of this folder only). */
#ifndef CF_SERVICE_HANDLER_H
#define CF_SERVICE_HANDLER_H

#include "service/call.h"

/* service is borrowed for as long as the server runs. */
cf_http_handler cf_service_handler(cf_service *service);

#endif
