#include <stdlib.h>

#include "policy/policy.h"
#include "policy/schedule.h"
#include "policy/words.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is read must be written so that it reads the same; and be checked without harm. */
static void use(const cf_policy *policy) {
    CF_AUTO_BUF cf_buf first, second;
    cf_buf_init(&first, 4 * CF_POLICY_SIZE_MAX);
    cf_buf_init(&second, 4 * CF_POLICY_SIZE_MAX);
    if (cf_policy_format(policy, &first)) abort();
    cf_policy again;
    if (cf_policy_parse(cf_buf_span(&first), "again", &again)) abort();
    if (cf_policy_format(&again, &second)) abort();
    if (!cf_span_equal(cf_buf_span(&first), cf_buf_span(&second))) abort();
    cf_policy_wipe(&again);
    cf_err *err = cf_policy_check(policy);
    int64_t slot;
    bool found;
    if (!err) {
        if (cf_schedule_next(policy, 1800000000, &found, &slot)) abort();
        if (found && slot <= 1800000000) abort();
    }
    cf_err_free(err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    cf_policy policy;
    cf_err *err = cf_policy_parse(cf_span_of(data, size), "policy.json", &policy);
    if (!err) use(&policy);
    cf_err_free(err);
    cf_policy_wipe(&policy);
    char *text = cf_span_dup_text(cf_span_of(data, size));
    if (!text) return 0;
    cf_schedule schedule = {0};
    cf_keep_days days;
    cf_err_free(cf_schedule_parse(text, 20000, &schedule));
    free(schedule.minutes);
    for (cf_rule rule = CF_RULE_WEEKLY; rule <= CF_RULE_YEARLY; rule++)
        cf_err_free(cf_keep_days_parse(rule, text, &days));
    free(text);
    return 0;
}
