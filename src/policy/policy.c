#include "policy/policy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CATCH_UP_MINUTES = 1440 };

void cf_policy_init(cf_policy *policy) {
    *policy = (cf_policy){
        .zone = "UTC", .catch_up_minutes = CATCH_UP_MINUTES, .one_file_system = true, .schedule = {.every_weeks = 1}};
}

static void wipe_source(cf_policy_source *source) {
    free(source->path);
    cf_strings_wipe(&source->exclude);
}

void cf_policy_wipe(cf_policy *policy) {
    for (size_t i = 0; i < policy->source_count; i++) wipe_source(&policy->sources[i]);
    free(policy->sources);
    cf_strings_wipe(&policy->exclude);
    cf_strings_wipe(&policy->hooks);
    free(policy->schedule.minutes);
    *policy = (cf_policy){0};
}

cf_err *cf_policy_add_source(cf_policy *policy, const char *path, cf_policy_source **source) {
    char *copy = strdup(path);
    cf_policy_source *sources = copy ? reallocarray(policy->sources, policy->source_count + 1, sizeof *sources) : NULL;
    if (!sources) {
        free(copy);
        return cf_fail(CF_ERR_OUT_OF_MEMORY, "the sources of a policy");
    }
    policy->sources = sources;
    sources[policy->source_count] = (cf_policy_source){.path = copy};
    if (source) *source = &sources[policy->source_count];
    policy->source_count++;
    return NULL;
}

cf_policy_source *cf_policy_find_source(const cf_policy *policy, const char *path) {
    for (size_t i = 0; i < policy->source_count; i++)
        if (strcmp(policy->sources[i].path, path) == 0) return &policy->sources[i];
    return NULL;
}

bool cf_policy_remove_source(cf_policy *policy, const char *path) {
    cf_policy_source *source = cf_policy_find_source(policy, path);
    if (!source) return false;
    size_t index = (size_t)(source - policy->sources);
    wipe_source(source);
    memmove(source, source + 1, (policy->source_count - index - 1) * sizeof *source);
    policy->source_count--;
    return true;
}

static cf_err *copy_parts(const cf_policy *from, cf_policy *to) {
    for (size_t i = 0; i < from->source_count; i++) {
        cf_policy_source *source = NULL;
        CF_TRY(cf_policy_add_source(to, from->sources[i].path, &source));
        CF_TRY(cf_strings_copy(&from->sources[i].exclude, &source->exclude));
    }
    CF_TRY(cf_strings_copy(&from->exclude, &to->exclude));
    CF_TRY(cf_strings_copy(&from->hooks, &to->hooks));
    size_t size = from->schedule.minute_count * sizeof *from->schedule.minutes;
    if (size == 0) return NULL;
    to->schedule.minutes = malloc(size);
    if (!to->schedule.minutes) return cf_fail(CF_ERR_OUT_OF_MEMORY, "the schedule of a policy");
    memcpy(to->schedule.minutes, from->schedule.minutes, size);
    to->schedule.minute_count = from->schedule.minute_count;
    return NULL;
}

cf_err *cf_policy_copy(const cf_policy *from, cf_policy *to) {
    cf_policy made = *from;
    made.sources = NULL;
    made.source_count = 0;
    made.exclude = made.hooks = (cf_strings){0};
    made.schedule.minutes = NULL;
    made.schedule.minute_count = 0;
    cf_err *err = copy_parts(from, &made);
    if (err)
        cf_policy_wipe(&made);
    else
        *to = made;
    return err;
}
