/* The policy's document: the struct to JSON. */
#include <jansson.h>
#include <stdlib.h>

#include "policy/policy.h"
#include "policy/policy_words.h"
#include "policy/words.h"

const char *const cf_schedule_words[3] = {"none", "daily", "weekly"};
const char *const cf_protection_words[4] = {"on", "paused", "stopped-until-expiry", "stopped-for-ever"};
const char *const cf_drill_words[4] = {"none", "daily", "weekly", "monthly"};

/* All of these: a new reference, NULL without memory; json_pack hands a NULL on. */
static json_t *texts(const cf_strings *list) {
    json_t *array = json_array();
    for (size_t i = 0; array && i < list->count; i++) {
        if (json_array_append_new(array, json_string(list->item[i])) == 0) continue;
        json_decref(array);
        return NULL;
    }
    return array;
}

static json_t *sources(const cf_policy *policy) {
    json_t *array = json_array();
    for (size_t i = 0; array && i < policy->source_count; i++) {
        const cf_policy_source *source = &policy->sources[i];
        json_t *item = json_pack("{ss,so}", "path", source->path, "exclude", texts(&source->exclude));
        if (json_array_append_new(array, item) == 0) continue;
        json_decref(array);
        return NULL;
    }
    return array;
}

static json_t *text_of(cf_buf *text) {
    return text->failed ? NULL : json_stringn((const char *)text->data, text->size);
}

/* A list in which each word is put by itself. */
static json_t *times(const cf_schedule *schedule) {
    json_t *array = json_array();
    for (size_t i = 0; array && i < schedule->minute_count; i++) {
        CF_AUTO_BUF cf_buf text;
        cf_buf_init(&text, 16);
        cf_minute_put(schedule->minutes[i], &text);
        if (json_array_append_new(array, text_of(&text)) == 0) continue;
        json_decref(array);
        return NULL;
    }
    return array;
}

static json_t *days(uint8_t weekdays) {
    json_t *array = json_array();
    for (unsigned i = 0; array && i < 7; i++) {
        CF_AUTO_BUF cf_buf text;
        cf_buf_init(&text, 16);
        if (!(weekdays >> i & 1)) continue;
        cf_weekdays_put((uint8_t)(1u << i), &text);
        if (json_array_append_new(array, text_of(&text)) == 0) continue;
        json_decref(array);
        return NULL;
    }
    return array;
}

static json_t *schedule_value(const cf_schedule *schedule) {
    if (schedule->kind == CF_SCHEDULE_NONE) return json_null();
    if (schedule->kind == CF_SCHEDULE_DAILY)
        return json_pack("{ss,so}", "kind", cf_schedule_words[schedule->kind], "times", times(schedule));
    return json_pack("{ss,so,so,si,si}", "kind", cf_schedule_words[schedule->kind], "times", times(schedule), "days",
                     days(schedule->weekdays), "every_weeks", (int)schedule->every_weeks, "phase",
                     (int)schedule->phase);
}

static json_t *rule(cf_rule kind, uint32_t count, const cf_keep_days *on) {
    if (count == 0 || (!on->weekdays && !on->month_days)) return json_null();
    CF_AUTO_BUF cf_buf text;
    cf_buf_init(&text, 1024);
    cf_keep_days_put(kind, on, &text);
    return text_of(&text);
}

static json_t *retention_value(const cf_retention *keep) {
    return json_pack("{sI,sI,so,sI,so,sI,so}", "days", (json_int_t)keep->days, "weeks", (json_int_t)keep->weeks,
                     "weekly_on", rule(CF_RULE_WEEKLY, keep->weeks, &keep->weekly_on), "months",
                     (json_int_t)keep->months, "monthly_on", rule(CF_RULE_MONTHLY, keep->months, &keep->monthly_on),
                     "years", (json_int_t)keep->years, "yearly_on",
                     rule(CF_RULE_YEARLY, keep->years, &keep->yearly_on));
}

static json_t *document_of(const cf_policy *policy) {
    return json_pack("{sI,so,sb,sb,so,sb,sb,so,ss,sI,sI,so,ss,ss,sI,so}", "number", (json_int_t)policy->number,
                     "sources", sources(policy), "system_state", (int)policy->system_state, "one_file_system",
                     (int)policy->one_file_system, "exclude", texts(&policy->exclude), "exclude_caches",
                     (int)policy->exclude_caches, "exclude_nodump", (int)policy->exclude_nodump, "schedule",
                     schedule_value(&policy->schedule), "time_zone", policy->zone, "catch_up_minutes",
                     (json_int_t)policy->catch_up_minutes, "random_delay_minutes",
                     (json_int_t)policy->random_delay_minutes, "retention", retention_value(&policy->retention),
                     "protection", cf_protection_words[policy->protection], "drill", cf_drill_words[policy->drill],
                     "full_every", (json_int_t)policy->full_every, "hooks", texts(&policy->hooks));
}

cf_err *cf_policy_format(const cf_policy *policy, cf_buf *out) {
    json_t *document = document_of(policy);
    char *text = document ? json_dumps(document, JSON_COMPACT) : NULL;
    json_decref(document);
    if (!text) return cf_fail(CF_ERR_OUT_OF_MEMORY, "the policy's document");
    cf_buf_put_span(out, cf_span_text(text));
    free(text);
    return cf_buf_check(out, "the policy's document");
}
