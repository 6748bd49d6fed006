/* The policy's document: JSON to the struct, with every fault of it listed at once. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "policy/faults.h"
#include "policy/policy.h"
#include "policy/policy_words.h"
#include "policy/words.h"

/* Where reading stands: the faults so far, and the object at hand with its name for the messages. */
typedef struct reader {
    cf_faults *faults;
    const json_t *object;
    const char *where; /* "", "schedule", ... */
} reader;

static void fault(const reader *at, const char *member, const char *why) {
    cf_faults_add(at->faults, CF_ERR_POLICY_INVALID, "%s%s%s %s", at->where, *at->where ? "." : "", member, why);
}

/* Like "exclude", with its place: for lists. */
static void fault_item(const reader *at, const char *member, size_t index, const char *why) {
    cf_faults_add(at->faults, CF_ERR_POLICY_INVALID, "%s%s%s[%zu] %s", at->where, *at->where ? "." : "", member, index,
                  why);
}

/* null counts as not there. */
static const json_t *member_of(const reader *at, const char *member) {
    const json_t *value = json_object_get(at->object, member);
    return json_is_null(value) ? NULL : value;
}

static void refuse_unknown(const reader *at, const char *const *known, size_t count) {
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)at->object, name, value) {
        bool found = false;
        for (size_t i = 0; i < count; i++) found = found || strcmp(known[i], name) == 0;
        if (found) continue;
        const char *nearest = cf_text_nearest(name, known, count);
        cf_faults_add(at->faults, CF_ERR_POLICY_INVALID, "%s%s%.64s: no such member%s%s%s", at->where,
                      *at->where ? "." : "", name, nearest ? " (did you mean " : "", nearest ? nearest : "",
                      nearest ? "?)" : "");
    }
}

static uint64_t read_number(const reader *at, const char *member, uint64_t max, uint64_t otherwise) {
    const json_t *value = member_of(at, member);
    if (!value) return otherwise;
    json_int_t number = json_integer_value(value);
    if (json_is_integer(value) && number >= 0 && (uint64_t)number <= max) return (uint64_t)number;
    char why[64];
    snprintf(why, sizeof why, "is not a number from 0 to %llu", (unsigned long long)max);
    fault(at, member, why);
    return otherwise;
}

static bool read_flag(const reader *at, const char *member, bool otherwise) {
    const json_t *value = member_of(at, member);
    if (value && !json_is_boolean(value)) fault(at, member, "is neither true nor false");
    return value ? json_is_true(value) : otherwise;
}

/* NULL: not there, or no text (a fault). */
static const char *read_text(const reader *at, const char *member) {
    const json_t *value = member_of(at, member);
    if (value && !json_is_string(value)) fault(at, member, "is not a text");
    return json_string_value(value);
}

static unsigned read_word(const reader *at, const char *member, const char *const *words, unsigned count) {
    const char *text = read_text(at, member);
    for (unsigned i = 0; text && i < count; i++)
        if (strcmp(words[i], text) == 0) return i;
    if (text) {
        char why[160] = "is not one of";
        for (unsigned i = 0; i < count; i++) {
            size_t size = strlen(why);
            snprintf(why + size, sizeof why - size, "%s %s", i ? "," : "", words[i]);
        }
        fault(at, member, why);
    }
    return 0;
}

/* An array; NULL: not there or something else (a fault). */
static const json_t *read_list(const reader *at, const char *member, size_t max) {
    const json_t *value = member_of(at, member);
    if (!value) return NULL;
    if (!json_is_array(value) || json_array_size(value) > max) {
        char why[64];
        snprintf(why, sizeof why, "is not a list of at most %zu", max);
        fault(at, member, why);
        return NULL;
    }
    return value;
}

static cf_err *read_texts(const reader *at, const char *member, size_t max, cf_strings *out) {
    const json_t *list = read_list(at, member, max);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *text = json_string_value(json_array_get(list, i));
        if (text)
            CF_TRY(cf_strings_add(out, text));
        else
            fault_item(at, member, i, "is not a text");
    }
    return NULL;
}

static cf_err *read_source(const reader *above, size_t index, const json_t *value, cf_policy *policy) {
    static const char *const known[] = {"path", "exclude"};
    char where[32];
    snprintf(where, sizeof where, "sources[%zu]", index);
    reader at = {above->faults, value, where};
    if (!json_is_object(value)) {
        fault_item(above, "sources", index, "is not an object with a path");
        return NULL;
    }
    refuse_unknown(&at, known, sizeof known / sizeof *known);
    const char *path = read_text(&at, "path");
    if (!path) {
        if (!member_of(&at, "path")) fault(&at, "path", "is missing");
        return NULL;
    }
    cf_policy_source *source = NULL;
    CF_TRY(cf_policy_add_source(policy, path, &source));
    return read_texts(&at, "exclude", CF_POLICY_PATTERNS_MAX, &source->exclude);
}

static cf_err *read_sources(const reader *at, cf_policy *policy) {
    const json_t *list = read_list(at, "sources", CF_POLICY_SOURCES_MAX);
    for (size_t i = 0; i < json_array_size(list); i++) CF_TRY(read_source(at, i, json_array_get(list, i), policy));
    return NULL;
}

/* A list of words, put together with commas for the parser of such lists; *out is fresh, NULL when not there. */
static cf_err *join_words(const reader *at, const char *member, size_t max, char **out) {
    CF_AUTO_STRINGS cf_strings words = {0};
    CF_AUTO_BUF cf_buf joined;
    cf_buf_init(&joined, CF_POLICY_SIZE_MAX);
    CF_TRY(read_texts(at, member, max, &words));
    if (words.count == 0) return NULL;
    for (size_t i = 0; i < words.count; i++) {
        if (i) cf_buf_put(&joined, ",", 1);
        cf_buf_put_span(&joined, cf_span_text(words.item[i]));
    }
    CF_TRY(cf_buf_check(&joined, "a list of words"));
    *out = cf_span_dup_text(cf_buf_span(&joined));
    return *out ? NULL : cf_fail(CF_ERR_OUT_OF_MEMORY, "a list of words");
}

static cf_err *read_schedule(const reader *above, cf_schedule *schedule) {
    static const char *const known[] = {"kind", "times", "days", "every_weeks", "phase"};
    const json_t *value = member_of(above, "schedule");
    reader at = {above->faults, value, "schedule"};
    if (!value) return NULL;
    if (!json_is_object(value)) {
        fault(above, "schedule", "is not an object");
        return NULL;
    }
    refuse_unknown(&at, known, sizeof known / sizeof *known);
    schedule->kind = (cf_schedule_kind)read_word(&at, "kind", cf_schedule_words, 3);
    schedule->every_weeks = (uint16_t)read_number(&at, "every_weeks", UINT16_MAX, 1);
    schedule->phase = (uint16_t)read_number(&at, "phase", UINT16_MAX, 0);
    CF_AUTO_FREE char *times = NULL, *days = NULL;
    CF_TRY(join_words(&at, "times", CF_POLICY_TIMES_MAX, &times));
    CF_TRY(join_words(&at, "days", 7, &days));
    if (days)
        CF_TRY(cf_faults_take(at.faults, CF_ERR_POLICY_INVALID, "schedule.days",
                              cf_weekdays_parse(days, &schedule->weekdays)));
    if (!times) return NULL;
    return cf_faults_take(at.faults, CF_ERR_POLICY_INVALID, "schedule.times",
                          cf_minutes_parse(times, &schedule->minutes, &schedule->minute_count));
}

static cf_err *read_rule(const reader *at, const char *member, cf_rule rule, cf_keep_days *days) {
    char what[40];
    const char *text = read_text(at, member);
    if (!text) return NULL;
    snprintf(what, sizeof what, "retention.%s", member);
    return cf_faults_take(at->faults, CF_ERR_RETENTION_INVALID, what, cf_keep_days_parse(rule, text, days));
}

static cf_err *read_retention(const reader *above, cf_retention *retention) {
    static const char *const known[] = {"days", "weeks", "weekly_on", "months", "monthly_on", "years", "yearly_on"};
    const json_t *value = member_of(above, "retention");
    reader at = {above->faults, value, "retention"};
    if (!value) return NULL;
    if (!json_is_object(value)) {
        fault(above, "retention", "is not an object");
        return NULL;
    }
    refuse_unknown(&at, known, sizeof known / sizeof *known);
    retention->days = (uint32_t)read_number(&at, "days", UINT32_MAX, 0);
    retention->weeks = (uint32_t)read_number(&at, "weeks", UINT32_MAX, 0);
    retention->months = (uint32_t)read_number(&at, "months", UINT32_MAX, 0);
    retention->years = (uint32_t)read_number(&at, "years", UINT32_MAX, 0);
    CF_TRY(read_rule(&at, "weekly_on", CF_RULE_WEEKLY, &retention->weekly_on));
    CF_TRY(read_rule(&at, "monthly_on", CF_RULE_MONTHLY, &retention->monthly_on));
    return read_rule(&at, "yearly_on", CF_RULE_YEARLY, &retention->yearly_on);
}

static void read_zone(const reader *at, cf_policy *policy) {
    const char *zone = read_text(at, "time_zone");
    if (!zone) return;
    if (strlen(zone) > CF_POLICY_ZONE_MAX)
        cf_faults_add(at->faults, CF_ERR_ZONE_UNKNOWN, "time_zone has more than %d characters", CF_POLICY_ZONE_MAX);
    else
        snprintf(policy->zone, sizeof policy->zone, "%s", zone);
}

static cf_err *read_all(const reader *at, cf_policy *policy) {
    static const char *const known[] = {
        "number",     "sources",   "system_state",         "one_file_system", "exclude",   "exclude_caches",
        "schedule",   "time_zone", "catch_up_minutes",     "exclude_nodump",  "retention", "drill",
        "protection", "hooks",     "random_delay_minutes", "full_every",
    };
    refuse_unknown(at, known, sizeof known / sizeof *known);
    policy->number = read_number(at, "number", INT64_MAX, 0);
    policy->system_state = read_flag(at, "system_state", policy->system_state);
    policy->one_file_system = read_flag(at, "one_file_system", policy->one_file_system);
    policy->exclude_caches = read_flag(at, "exclude_caches", policy->exclude_caches);
    policy->exclude_nodump = read_flag(at, "exclude_nodump", policy->exclude_nodump);
    policy->catch_up_minutes = (uint32_t)read_number(at, "catch_up_minutes", UINT32_MAX, policy->catch_up_minutes);
    policy->random_delay_minutes = (uint32_t)read_number(at, "random_delay_minutes", UINT32_MAX, 0);
    policy->full_every = (uint32_t)read_number(at, "full_every", UINT32_MAX, 0);
    policy->protection = (cf_protection)read_word(at, "protection", cf_protection_words, 4);
    policy->drill = (cf_drill)read_word(at, "drill", cf_drill_words, 4);
    read_zone(at, policy);
    CF_TRY(read_sources(at, policy));
    CF_TRY(read_texts(at, "exclude", CF_POLICY_PATTERNS_MAX, &policy->exclude));
    CF_TRY(read_texts(at, "hooks", CF_POLICY_HOOKS_MAX, &policy->hooks));
    CF_TRY(read_schedule(at, &policy->schedule));
    return read_retention(at, &policy->retention);
}

static cf_err *parse(cf_span text, const char *name, cf_policy *policy) {
    CF_AUTO_FAULTS cf_faults faults;
    cf_faults_init(&faults);
    json_error_t why;
    if (text.size > CF_POLICY_SIZE_MAX)
        return cf_fail(CF_ERR_TOO_LARGE, "%s has more than %d bytes", name, CF_POLICY_SIZE_MAX);
    json_t *document = json_loadb((const char *)text.data, text.size, JSON_REJECT_DUPLICATES, &why);
    if (!document) {
        CF_AUTO_FREE char *shown = cf_text_printable(cf_span_text(why.text));
        return cf_fail_reason(CF_ERR_POLICY_INVALID, "json", "%s:%d: %s", name, why.line, shown ? shown : "no JSON");
    }
    reader at = {&faults, document, ""};
    cf_err *err = NULL;
    if (json_is_object(document))
        err = read_all(&at, policy);
    else
        cf_faults_add(&faults, CF_ERR_POLICY_INVALID, "this is not an object");
    json_decref(document);
    return err ? err : cf_faults_done(&faults, name);
}

cf_err *cf_policy_parse(cf_span text, const char *name, cf_policy *policy) {
    cf_policy_init(policy);
    cf_err *err = parse(text, name, policy);
    if (err) cf_policy_wipe(policy);
    return err;
}
