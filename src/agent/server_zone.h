/* The time zone that this server is set to, by its IANA name.                                               */
#ifndef CF_AGENT_SERVER_ZONE_H
#define CF_AGENT_SERVER_ZONE_H

#include <stdbool.h>

#include "policy/policy.h"

/* cf_server_zone: from TZ, /etc/localtime (a link into the zone database) or /etc/timezone. False, and "", when none of
 * them names a zone that exists here. */
bool cf_server_zone(char zone[CF_POLICY_ZONE_MAX + 1]);

#endif
