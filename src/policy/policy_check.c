/* What makes sense in a policy, and what does not: every fault at once. */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "policy/exclude.h"
#include "policy/faults.h"
#include "policy/policy.h"
#include "policy/retention.h"
#include "policy/words.h"
#include "policy/zone.h"

enum { WEEKS_MAX = 52, ALL_WEEKDAYS = 0x7f, ALL_MONTHS = 0xfff, ALL_ORDINALS = 0x1f, FULL_EVERY_MAX = 10000 };

/* NULL when the path can be one of a source. */
static const char *path_fault(const char *path) {
    if (path[0] != '/') return "is relative: write it from / on";
    if (strlen(path) > CF_POLICY_TEXT_MAX) return "is too long";
    if (strcmp(path, "/") == 0) return NULL;
    if (path[strlen(path) - 1] == '/') return "ends in a slash";
    for (const char *part = path; part; part = strchr(part + 1, '/')) {
        size_t size = strcspn(part + 1, "/");
        if (size == 0) return "has two slashes in a row";
        if ((size == 1 && part[1] == '.') || (size == 2 && part[1] == '.' && part[2] == '.'))
            return "has . or .. in it";
    }
    return NULL;
}

static cf_err *check_patterns(const cf_strings *patterns, const char *of, cf_faults *faults) {
    for (size_t i = 0; i < patterns->count; i++) {
        CF_AUTO_FREE char *what =
            cf_text_format("exclusion '%.200s'%s%.200s", patterns->item[i], *of ? " of " : "", of);
        if (!what) return cf_fail(CF_ERR_OUT_OF_MEMORY, "the faults of a policy");
        CF_TRY(cf_faults_take(faults, CF_ERR_POLICY_INVALID, what, cf_exclude_check(patterns->item[i])));
    }
    return NULL;
}

static int compare_texts(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static cf_err *check_repeated(const cf_policy *policy, cf_faults *faults) {
    if (policy->source_count < 2) return NULL;
    CF_AUTO_FREE char **paths = calloc(policy->source_count, sizeof *paths);
    if (!paths) return cf_fail(CF_ERR_OUT_OF_MEMORY, "the sources of a policy");
    for (size_t i = 0; i < policy->source_count; i++) paths[i] = policy->sources[i].path;
    qsort(paths, policy->source_count, sizeof *paths, compare_texts);
    for (size_t i = 1; i < policy->source_count; i++)
        if (strcmp(paths[i - 1], paths[i]) == 0)
            cf_faults_add(faults, CF_ERR_BAD_SOURCE_PATH, "source '%.200s' stands twice", paths[i]);
    return NULL;
}

static cf_err *check_selection(const cf_policy *policy, cf_faults *faults) {
    size_t patterns = policy->exclude.count;
    if (policy->source_count == 0 && !policy->system_state)
        cf_faults_add(faults, CF_ERR_POLICY_INVALID, "nothing to back up: no source, and not the system state");
    if (policy->source_count > CF_POLICY_SOURCES_MAX)
        cf_faults_add(faults, CF_ERR_POLICY_INVALID, "more than %d sources", CF_POLICY_SOURCES_MAX);
    for (size_t i = 0; i < policy->source_count; i++) {
        const cf_policy_source *source = &policy->sources[i];
        const char *why = path_fault(source->path);
        if (why) cf_faults_add(faults, CF_ERR_BAD_SOURCE_PATH, "source '%.200s' %s", source->path, why);
        CF_TRY(check_patterns(&source->exclude, source->path, faults));
        patterns += source->exclude.count;
    }
    if (patterns > CF_POLICY_PATTERNS_MAX)
        cf_faults_add(faults, CF_ERR_POLICY_INVALID, "more than %d exclusions", CF_POLICY_PATTERNS_MAX);
    CF_TRY(check_patterns(&policy->exclude, "", faults));
    return check_repeated(policy, faults);
}

static void check_schedule(const cf_policy *policy, cf_faults *faults) {
    const cf_schedule *schedule = &policy->schedule;
    if (schedule->kind == CF_SCHEDULE_NONE) return;
    if (schedule->minute_count == 0)
        cf_faults_add(faults, CF_ERR_POLICY_INVALID, "the schedule has no time of the day");
    for (size_t i = 0; i < schedule->minute_count; i++)
        if (schedule->minutes[i] >= 1440 || (i && schedule->minutes[i - 1] >= schedule->minutes[i]))
            cf_faults_add(faults, CF_ERR_POLICY_INVALID, "the schedule's times are not in order");
    if (schedule->kind == CF_SCHEDULE_DAILY) return;
    if (!(schedule->weekdays & ALL_WEEKDAYS) || schedule->weekdays & ~ALL_WEEKDAYS)
        cf_faults_add(faults, CF_ERR_POLICY_INVALID, "the weekly schedule has no day");
    if (schedule->every_weeks < 1 || schedule->every_weeks > WEEKS_MAX)
        cf_faults_add(faults, CF_ERR_POLICY_INVALID, "a schedule runs every 1 to %d weeks, not every %u", WEEKS_MAX,
                      schedule->every_weeks);
    else if (schedule->phase >= schedule->every_weeks)
        cf_faults_add(faults, CF_ERR_POLICY_INVALID, "schedule.phase is not below schedule.every_weeks");
}

static void check_numbers(const cf_policy *policy, cf_faults *faults) {
    if (policy->catch_up_minutes > CF_POLICY_CATCH_UP_MAX)
        cf_faults_add(faults, CF_ERR_POLICY_INVALID, "catching up is limited to %d minutes (31 days)",
                      CF_POLICY_CATCH_UP_MAX);
    if (policy->random_delay_minutes > CF_POLICY_RANDOM_DELAY_MAX)
        cf_faults_add(faults, CF_ERR_POLICY_INVALID, "the random delay is limited to %d minutes",
                      CF_POLICY_RANDOM_DELAY_MAX);
    if (policy->full_every > FULL_EVERY_MAX)
        cf_faults_add(faults, CF_ERR_POLICY_INVALID, "full_every is limited to %d", FULL_EVERY_MAX);
}

static bool has_minute(const cf_schedule *schedule, uint16_t minute) {
    for (size_t i = 0; i < schedule->minute_count; i++)
        if (schedule->minutes[i] == minute) return true;
    return false;
}

/* The days and the time of a rule, against the schedule. */
static void check_rule(const cf_policy *policy, cf_rule rule, const cf_keep_days *on, const char *name,
                       cf_faults *faults) {
    const cf_schedule *schedule = &policy->schedule;
    bool by_day = rule == CF_RULE_WEEKLY || on->ordinals;
    if (by_day ? !(on->weekdays & ALL_WEEKDAYS) || on->month_days : !on->month_days || on->weekdays)
        cf_faults_add(faults, CF_ERR_RETENTION_INVALID, "the %s rule does not say on which days", name);
    if (rule == CF_RULE_YEARLY && !(on->months & ALL_MONTHS))
        cf_faults_add(faults, CF_ERR_RETENTION_INVALID, "the %s rule does not say in which months", name);
    if (on->has_minute && !has_minute(schedule, on->minute))
        cf_faults_add(faults, CF_ERR_RETENTION_INVALID, "the %s rule names %02u:%02u, when the schedule does not run",
                      name, on->minute / 60u, on->minute % 60u);
    if (schedule->kind == CF_SCHEDULE_WEEKLY && by_day && on->weekdays & ~schedule->weekdays)
        cf_faults_add(faults, CF_ERR_RETENTION_INVALID,
                      "the %s rule names a day of the week on which the schedule does not run", name);
}

static void check_limit(uint32_t count, uint32_t max, const char *unit, cf_faults *faults) {
    if (count > max)
        cf_faults_add(faults, CF_ERR_RETENTION_INVALID, "%u %s are more than the limit of %u", count, unit, max);
}

static void check_retention(const cf_policy *policy, cf_faults *faults) {
    const cf_retention *keep = &policy->retention;
    bool any = keep->days || keep->weeks || keep->months || keep->years;
    check_limit(keep->days, CF_KEEP_DAYS_MAX, "days", faults);
    check_limit(keep->weeks, CF_KEEP_WEEKS_MAX, "weeks", faults);
    check_limit(keep->months, CF_KEEP_MONTHS_MAX, "months", faults);
    check_limit(keep->years, CF_KEEP_YEARS_MAX, "years", faults);
    if (policy->schedule.kind == CF_SCHEDULE_NONE) {
        if (any)
            cf_faults_add(faults, CF_ERR_RETENTION_INVALID, "retention rules go by the schedule, and there is none");
        return;
    }
    if (!any) cf_faults_add(faults, CF_ERR_RETENTION_INVALID, "no rule says how long scheduled points are kept");
    if (keep->days && policy->schedule.kind == CF_SCHEDULE_WEEKLY)
        cf_faults_add(faults, CF_ERR_RETENTION_INVALID,
                      "a daily rule needs a daily schedule; the shortest of a weekly one is weekly");
    if (keep->weeks) check_rule(policy, CF_RULE_WEEKLY, &keep->weekly_on, "weekly", faults);
    if (keep->months) check_rule(policy, CF_RULE_MONTHLY, &keep->monthly_on, "monthly", faults);
    if (keep->years) check_rule(policy, CF_RULE_YEARLY, &keep->yearly_on, "yearly", faults);
}

static void check_hooks(const cf_policy *policy, cf_faults *faults) {
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789_-";
    if (policy->hooks.count > CF_POLICY_HOOKS_MAX)
        cf_faults_add(faults, CF_ERR_POLICY_INVALID, "more than %d hooks", CF_POLICY_HOOKS_MAX);
    for (size_t i = 0; i < policy->hooks.count; i++) {
        const char *name = policy->hooks.item[i];
        size_t size = strlen(name);
        if (size == 0 || size > CF_POLICY_HOOK_NAME_MAX || strspn(name, letters) != size)
            cf_faults_add(
                faults, CF_ERR_POLICY_INVALID,
                "hook '%.64s' is not a name (small letters, digits, - and _): hooks are defined in agent.conf", name);
    }
}

static cf_err *check_zone(const cf_policy *policy, cf_faults *faults) {
    CF_AUTO(cf_zone) zone = NULL;
    cf_err *err = cf_zone_open(policy->zone, &zone);
    return err ? cf_faults_take(faults, CF_ERR_ZONE_UNKNOWN, "time zone", err) : NULL;
}

static void check_count(const cf_policy *policy, cf_faults *faults) {
    uint64_t points = cf_retention_count(policy, NULL);
    if (points > CF_POINTS_MAX)
        cf_faults_add(faults, CF_ERR_TOO_MANY_POINTS, "the rules would keep %llu recovery points; the limit is %d",
                      (unsigned long long)points, CF_POINTS_MAX);
}

cf_err *cf_policy_check_into(const cf_policy *policy, cf_faults *faults) {
    CF_TRY(check_selection(policy, faults));
    check_schedule(policy, faults);
    CF_TRY(check_zone(policy, faults));
    check_numbers(policy, faults);
    check_retention(policy, faults);
    check_hooks(policy, faults);
    if (faults->count == 0) check_count(policy, faults); /* what cannot be understood cannot be counted */
    return NULL;
}

cf_err *cf_policy_check(const cf_policy *policy) {
    CF_AUTO_FAULTS cf_faults faults;
    cf_faults_init(&faults);
    CF_TRY(cf_policy_check_into(policy, &faults));
    return cf_faults_done(&faults, "the policy");
}
