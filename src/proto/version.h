/* Versions on the wire: which protocol range each side speaks. Pure.                                     */
#ifndef CF_PROTO_VERSION_H
#define CF_PROTO_VERSION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum { CF_PROTOCOL_MIN = 1, CF_PROTOCOL_MAX = 1 };
#define CF_AGENT_OLDEST "0.1.0" /* the oldest agent that this vault accepts */

#define CF_HEADER_AGENT "Coffer-Agent"               /* request: version of the agent          */
#define CF_HEADER_PROTOCOL "Coffer-Protocol"         /* request: "1"; reply: "1-1"             */
#define CF_HEADER_VERSION "Coffer-Version"           /* reply: version of the vault            */
#define CF_HEADER_AGENT_OLDEST "Coffer-Agent-Oldest" /* reply                                  */
#define CF_HEADER_REQUEST "Coffer-Request"           /* reply: request ID                      */

typedef struct cf_protocol_range {
    uint32_t min, max;
} cf_protocol_range;

/* cf_protocol_range_parse: "1" or "1-3"; false when it is neither, or empty.                             */
bool cf_protocol_range_parse(const char *text, cf_protocol_range *range);
/* cf_version_compare: "0.9.1" < "0.10"; missing parts are 0; what follows a number's digits is not looked at. */
int cf_version_compare(const char *a, const char *b);

/* cf_version_check_vault: called by the agent with what a reply's headers say. agent: own version.
 * cf_version_check_agent: called by the vault with what a request's headers say.
 * Both fail 130003 VERSION_MISMATCH; reason "update_agent" or "update_vault", the message says the same.    */
cf_err *cf_version_check_vault(const char *agent, const char *vault, cf_protocol_range range, const char *agent_oldest)
    __attribute__((warn_unused_result));
cf_err *cf_version_check_agent(const char *vault, const char *agent, cf_protocol_range range)
    __attribute__((warn_unused_result));

#endif
