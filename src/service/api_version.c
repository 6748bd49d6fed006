#include "proto/version.h"
#include "service/call.h"

cf_err *cf_api_version(cf_call *call) {
    const cf_vault_row *vault = &call->vault->row;
    return cf_call_reply(call, 200,
                         json_pack("{so,ss,ss,ss,s{si,si},ss,so}", "vault_id", cf_value_hex(vault->id.bytes, 16),
                                   "vault_name", vault->name, "region", vault->region, "version", CF_VERSION,
                                   "protocol", "min", CF_PROTOCOL_MIN, "max", CF_PROTOCOL_MAX, "agent_oldest",
                                   CF_AGENT_OLDEST, "time", cf_value_time(call->now)));
}
