#include "remote/policy.h"

#include <stdlib.h>
#include <string.h>

#include "remote/call.h"

void cf_remote_policy_wipe(cf_remote_policy *newest) {
    cf_policy_wipe(&newest->policy);
    *newest = (cf_remote_policy){0};
}

static cf_err *read_document(const json_t *document, uint64_t number, cf_policy *policy) {
    CF_AUTO_BUF cf_buf text;
    cf_buf_init(&text, CF_POLICY_SIZE_MAX);
    CF_TRY(cf_json_format(document, &text));
    cf_policy read;
    CF_TRY(cf_policy_parse(cf_buf_span(&text), "the policy in the vault", &read));
    cf_policy_wipe(policy);
    *policy = read;
    policy->number = number;
    return NULL;
}

static uint32_t read_least(cf_json_reader *reader, const char *member, uint32_t otherwise) {
    return (uint32_t)cf_json_read_optional_number(reader, member, CF_KEEP_DAYS_MAX, otherwise);
}

static cf_err *read_minimum(const json_t *value, const char *what, cf_retention_floor *minimum) {
    const cf_retention_floor usual = CF_RETENTION_FLOOR_DEFAULT;
    *minimum = usual;
    if (!value) return NULL;
    cf_json_reader reader = cf_reply_reader(value, what);
    cf_retention_floor read = {.days = read_least(&reader, "days", usual.days),
                               .weeks = read_least(&reader, "weeks", usual.weeks),
                               .months = read_least(&reader, "months", usual.months),
                               .years = read_least(&reader, "years", usual.years),
                               .on_demand_days = read_least(&reader, "on_demand_days", usual.on_demand_days)};
    CF_TRY(cf_reply_done(&reader));
    *minimum = read;
    return NULL;
}

/* {number, policy, changed, changed_by}, of a reply or of the details of a conflict. */
static cf_err *read_newest(const json_t *value, const char *what, cf_remote_policy *newest) {
    static const char *const sides[] = {"agent", "vault"};
    cf_json_reader reader = cf_reply_reader(value, what);
    uint64_t number = cf_json_read_number(&reader, "number", 0, INT64_MAX);
    const json_t *document = cf_json_read_optional_value(&reader, "policy");
    if (number > 0) {
        if (!document) cf_json_refuse(&reader, "policy", "is missing");
        newest->by_vault = cf_json_read_word(&reader, "changed_by", sides, 2) == 1;
        newest->changed = cf_json_read_time(&reader, "changed");
    }
    const json_t *minimum = cf_json_read_optional_value(&reader, "minimum");
    CF_TRY(cf_reply_done(&reader));
    CF_TRY(read_minimum(minimum, what, &newest->minimum));
    newest->number = number;
    newest->exists = number > 0;
    if (number == 0) return NULL;
    cf_err *err = read_document(document, number, &newest->policy);
    return err ? cf_wrap_reason(err, CF_ERR_BAD_REPLY, "policy", "%s", what) : NULL;
}

cf_err *cf_remote_get_policy(cf_remote *remote, cf_remote_policy *newest) {
    cf_call call;
    CF_AUTO(json_t) reply = NULL;
    *newest = (cf_remote_policy){0};
    cf_policy_init(&newest->policy);
    cf_call_init(&call, "GET", "/v1/policy");
    CF_TRY(cf_call_run(remote, &call, &reply, NULL));
    return read_newest(reply, call.path, newest);
}

static cf_err *put_body(const cf_policy *policy, uint64_t base, json_t **body) {
    CF_AUTO_BUF cf_buf text;
    cf_buf_init(&text, CF_POLICY_SIZE_MAX);
    CF_TRY(cf_policy_format(policy, &text));
    *body = json_pack("{sI,so}", "base", (json_int_t)base, "policy",
                      json_loadb((const char *)text.data, text.size, 0, NULL));
    return *body ? NULL : cf_fail(CF_ERR_OUT_OF_MEMORY, "a request");
}

cf_err *cf_remote_put_policy(cf_remote *remote, const cf_policy *policy, uint64_t base, bool *conflict,
                             uint64_t *number, cf_remote_policy *newest) {
    cf_call call;
    CF_AUTO(json_t) reply = NULL;
    CF_AUTO(json_t) details = NULL;
    json_t *body = NULL;
    if (newest) {
        *newest = (cf_remote_policy){0};
        cf_policy_init(&newest->policy);
    }
    CF_TRY(put_body(policy, base, &body));
    cf_call_init(&call, "PUT", "/v1/policy");
    cf_call_body(&call, body);
    cf_err *err = cf_call_run(remote, &call, &reply, &details);
    *conflict = cf_err_code(err) == CF_ERR_POLICY_CHANGED;
    if (*conflict) {
        cf_err_free(err);
        return newest ? read_newest(details, call.path, newest) : NULL;
    }
    CF_TRY(err);
    cf_json_reader reader = cf_reply_reader(reply, call.path);
    uint64_t made = cf_json_read_number(&reader, "number", 1, INT64_MAX);
    CF_TRY(cf_reply_done(&reader));
    *number = made;
    return NULL;
}
