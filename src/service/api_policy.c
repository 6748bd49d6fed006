/* The server's policy: read by its tokens, changed by its agent. */
#include <stdlib.h>

#include "policy/policy.h"
#include "service/call.h"
#include "service/policies.h"
#include "service/settings.h"

/* What the vault keeps at least, whatever a policy says. A new reference, NULL without memory. */
static json_t *minimum_value(const cf_retention_floor *floor) {
    return json_pack("{sI,sI,sI,sI,sI}", "days", (json_int_t)floor->days, "weeks", (json_int_t)floor->weeks, "months",
                     (json_int_t)floor->months, "years", (json_int_t)floor->years, "on_demand_days",
                     (json_int_t)floor->on_demand_days);
}

/* {number, policy, changed, changed_by, minimum} of the newest version; number 0 and nulls when there is none. */
static cf_err *newest_value(cf_call *call, json_t **value) {
    CF_AUTO_BUF cf_buf document;
    cf_buf_init(&document, CF_POLICY_SIZE_MAX + 1);
    cf_policy_row row = {0};
    cf_retention_floor floor;
    bool found = false;
    CF_TRY(cf_settings_floor(call->vault, &floor));
    CF_TRY(cf_records_get_policy(call->vault->records, &call->token.server, &found, &row, &document));
    if (!found)
        *value = json_pack("{sI,sn,sn,sn,so}", "number", (json_int_t)0, "policy", "changed", "changed_by", "minimum",
                           minimum_value(&floor));
    else
        *value = json_pack("{so,so,so,ss,so}", "number", cf_value_number(row.number), "policy",
                           json_loadb((const char *)document.data, document.size, 0, NULL), "changed",
                           cf_value_time(row.changed), "changed_by", row.changed_by, "minimum", minimum_value(&floor));
    return *value ? NULL : cf_fail(CF_ERR_OUT_OF_MEMORY, "a reply");
}

cf_err *cf_api_policy_get(cf_call *call) {
    json_t *value = NULL;
    CF_TRY(newest_value(call, &value));
    return cf_call_reply(call, 200, value);
}

cf_err *cf_api_policy_put(cf_call *call) {
    cf_json_reader reader = cf_call_read(call);
    uint64_t base = cf_json_read_number(&reader, "base", 0, INT64_MAX);
    const json_t *policy = cf_json_read_optional_value(&reader, "policy");
    if (!policy) cf_json_refuse(&reader, "policy", "is missing");
    CF_TRY(cf_json_done(&reader));
    CF_AUTO_BUF cf_buf document;
    cf_buf_init(&document, CF_JSON_BODY_MAX);
    CF_TRY(cf_json_format(policy, &document));
    bool conflict = false;
    uint64_t number = 0;
    cf_service_lock(call->service, &call->token.server);
    cf_err *err = cf_policies_set(call->vault, &call->token.server, base, cf_buf_span(&document), "agent", call->now,
                                  &conflict, &number);
    cf_service_unlock(call->service, &call->token.server);
    CF_TRY(err);
    if (conflict) {
        CF_TRY(newest_value(call, &call->details));
        return cf_fail(CF_ERR_POLICY_CHANGED, "the newest version is %llu, the change was made to version %llu",
                       (unsigned long long)number, (unsigned long long)base);
    }
    return cf_call_reply(call, 200, json_pack("{so}", "number", cf_value_number(number)));
}
