/* What differs between two policies, in words. */
#include <stdlib.h>
#include <string.h>

#include "policy/policy.h"
#include "policy/policy_words.h"
#include "policy/schedule.h"
#include "policy/words.h"

static bool same_texts(const cf_strings *a, const cf_strings *b) {
    if (a->count != b->count) return false;
    for (size_t i = 0; i < a->count; i++)
        if (strcmp(a->item[i], b->item[i]) != 0) return false;
    return true;
}

/* Order matters within exclusions (a later "!" takes back), not among sources. */
bool cf_policy_same_selection(const cf_policy *a, const cf_policy *b) {
    if (a->source_count != b->source_count || a->system_state != b->system_state ||
        a->one_file_system != b->one_file_system || a->exclude_caches != b->exclude_caches ||
        a->exclude_nodump != b->exclude_nodump || !same_texts(&a->exclude, &b->exclude))
        return false;
    for (size_t i = 0; i < a->source_count; i++) {
        const cf_policy_source *other = cf_policy_find_source(b, a->sources[i].path);
        if (!other || !same_texts(&a->sources[i].exclude, &other->exclude)) return false;
    }
    return true;
}

/* The patterns of list that are not in `than`. of: "" or " of /path". */
static cf_err *only_here(const cf_strings *list, const cf_strings *than, const char *what, const char *of,
                         cf_strings *lines) {
    for (size_t i = 0; i < list->count; i++)
        if (!cf_strings_has(than, list->item[i]))
            CF_TRY(cf_strings_addf(lines, "exclusion '%s'%s%s was %s", list->item[i], *of ? " of " : "", of, what));
    return NULL;
}

static cf_err *sources_only_here(const cf_policy *policy, const cf_policy *than, const char *what, cf_strings *lines) {
    for (size_t i = 0; i < policy->source_count; i++)
        if (!cf_policy_find_source(than, policy->sources[i].path))
            CF_TRY(cf_strings_addf(lines, "source '%s' was %s", policy->sources[i].path, what));
    return NULL;
}

/* Exclusions of the policy and of the sources that both have. */
static cf_err *exclusions_only_here(const cf_policy *policy, const cf_policy *than, const char *what,
                                    cf_strings *lines) {
    CF_TRY(only_here(&policy->exclude, &than->exclude, what, "", lines));
    for (size_t i = 0; i < policy->source_count; i++) {
        const cf_policy_source *source = &policy->sources[i], *other = cf_policy_find_source(than, source->path);
        static const cf_strings none;
        CF_TRY(only_here(&source->exclude, other ? &other->exclude : &none, what, source->path, lines));
    }
    return NULL;
}

/* A "!" pattern takes an exclusion back: losing one cuts, gaining one does not. */
static cf_err *keep_cutting(cf_strings *found, bool taking_back, cf_strings *lines) {
    for (size_t i = 0; i < found->count; i++) {
        const char *quote = strchr(found->item[i], '\'');
        if (quote && (quote[1] == '!') == taking_back) CF_TRY(cf_strings_add(lines, found->item[i]));
    }
    return NULL;
}

static cf_err *cut_flag(bool worse, const char *line, cf_strings *lines) {
    return worse ? cf_strings_add(lines, line) : NULL;
}

cf_err *cf_policy_cut(const cf_policy *before, const cf_policy *after, cf_strings *lines) {
    CF_AUTO_STRINGS cf_strings added = {0}, removed = {0};
    CF_TRY(sources_only_here(before, after, "removed", lines));
    CF_TRY(cut_flag(before->system_state && !after->system_state, "the system state was removed", lines));
    CF_TRY(exclusions_only_here(after, before, "added", &added));
    CF_TRY(keep_cutting(&added, false, lines));
    CF_TRY(exclusions_only_here(before, after, "removed", &removed));
    CF_TRY(keep_cutting(&removed, true, lines));
    CF_TRY(cut_flag(!before->exclude_caches && after->exclude_caches, "caches (CACHEDIR.TAG) were excluded", lines));
    CF_TRY(
        cut_flag(!before->exclude_nodump && after->exclude_nodump, "files with the nodump flag were excluded", lines));
    return cut_flag(!before->one_file_system && after->one_file_system,
                    "file systems mounted below the sources were excluded", lines);
}

static cf_err *changed_text(const char *what, const char *before, const char *after, cf_strings *lines) {
    if (!before || !after) return cf_fail(CF_ERR_OUT_OF_MEMORY, "the differences of two policies");
    if (strcmp(before, after) == 0) return NULL;
    return cf_strings_addf(lines, "%s: %s, was %s", what, after, before);
}

static cf_err *changed_number(const char *what, uint64_t before, uint64_t after, cf_strings *lines) {
    if (before == after) return NULL;
    return cf_strings_addf(lines, "%s: %llu, was %llu", what, (unsigned long long)after, (unsigned long long)before);
}

static cf_err *changed_flag(const char *what, bool before, bool after, cf_strings *lines) {
    return changed_text(what, before ? "yes" : "no", after ? "yes" : "no", lines);
}

/* "4 on sat", fresh. */
static char *rule_text(cf_rule rule, uint32_t count, const cf_keep_days *on) {
    CF_AUTO_BUF cf_buf text;
    cf_buf_init(&text, 1024);
    char *out = NULL;
    if (count) cf_keep_days_put(rule, on, &text);
    if (!text.failed && asprintf(&out, "%u%s%.*s", count, count ? " on " : "", (int)text.size,
                                 text.data ? (const char *)text.data : "") < 0)
        out = NULL;
    return out;
}

static cf_err *changed_rule(const char *what, cf_rule rule, uint32_t before, const cf_keep_days *before_on,
                            uint32_t after, const cf_keep_days *after_on, cf_strings *lines) {
    CF_AUTO_FREE char *was = rule_text(rule, before, before_on), *is = rule_text(rule, after, after_on);
    return changed_text(what, was, is, lines);
}

static cf_err *changed_retention(const cf_retention *before, const cf_retention *after, cf_strings *lines) {
    CF_TRY(changed_number("daily points", before->days, after->days, lines));
    CF_TRY(changed_rule("weekly points", CF_RULE_WEEKLY, before->weeks, &before->weekly_on, after->weeks,
                        &after->weekly_on, lines));
    CF_TRY(changed_rule("monthly points", CF_RULE_MONTHLY, before->months, &before->monthly_on, after->months,
                        &after->monthly_on, lines));
    return changed_rule("yearly points", CF_RULE_YEARLY, before->years, &before->yearly_on, after->years,
                        &after->yearly_on, lines);
}

static cf_err *changed_selection(const cf_policy *before, const cf_policy *after, cf_strings *lines) {
    CF_TRY(sources_only_here(after, before, "added", lines));
    CF_TRY(sources_only_here(before, after, "removed", lines));
    CF_TRY(exclusions_only_here(after, before, "added", lines));
    CF_TRY(exclusions_only_here(before, after, "removed", lines));
    CF_TRY(changed_flag("system state", before->system_state, after->system_state, lines));
    CF_TRY(changed_flag("one file system", before->one_file_system, after->one_file_system, lines));
    CF_TRY(changed_flag("caches excluded", before->exclude_caches, after->exclude_caches, lines));
    return changed_flag("nodump excluded", before->exclude_nodump, after->exclude_nodump, lines);
}

cf_err *cf_policy_differences(const cf_policy *before, const cf_policy *after, cf_strings *lines) {
    CF_AUTO_FREE char *was = cf_schedule_text(&before->schedule), *is = cf_schedule_text(&after->schedule);
    CF_TRY(changed_selection(before, after, lines));
    CF_TRY(changed_text("schedule", was, is, lines));
    if (after->schedule.kind == CF_SCHEDULE_WEEKLY)
        CF_TRY(changed_number("phase of the weeks", before->schedule.phase, after->schedule.phase, lines));
    CF_TRY(changed_text("time zone", before->zone, after->zone, lines));
    CF_TRY(changed_number("minutes of catching up", before->catch_up_minutes, after->catch_up_minutes, lines));
    CF_TRY(changed_number("minutes of random delay", before->random_delay_minutes, after->random_delay_minutes, lines));
    CF_TRY(changed_retention(&before->retention, &after->retention, lines));
    CF_TRY(changed_text("protection", cf_protection_words[before->protection], cf_protection_words[after->protection],
                        lines));
    CF_TRY(changed_text("drill", cf_drill_words[before->drill], cf_drill_words[after->drill], lines));
    CF_TRY(changed_number("full scan every", before->full_every, after->full_every, lines));
    if (!same_texts(&before->hooks, &after->hooks)) CF_TRY(cf_strings_add(lines, "the hooks were changed"));
    return NULL;
}
