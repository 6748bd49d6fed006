#include "policy/retention.h"

#include <stdio.h>
#include <stdlib.h>

#include "policy/retention_rule.h"

enum { DAY = 86400, WEEK = 7, YEAR_MONTHS = 12 };

const char *cf_tag_word(unsigned bit) {
    static const char *const words[CF_TAG_COUNT] = {"daily", "weekly", "monthly", "yearly", "on-demand"};
    return bit < CF_TAG_COUNT ? words[bit] : "";
}

static uint32_t more(uint32_t a, uint32_t b) {
    return a > b ? a : b;
}

static int64_t later(int64_t a, int64_t b) {
    return a > b ? a : b;
}

/* ---- Tags and dates ---- */

typedef struct evaluation {
    const cf_policy *policy; /* may be NULL */
    const cf_retention_floor *floor;
    const cf_zone *zone;
    int64_t now;
    cf_retained_point **points; /* in the order in which they were received */
    size_t count;
} evaluation;

static int by_received(const void *a, const void *b) {
    const cf_retained_point *x = *(cf_retained_point *const *)a, *y = *(cf_retained_point *const *)b;
    if (x->received != y->received) return x->received < y->received ? -1 : 1;
    return x->counter < y->counter ? -1 : x->counter > y->counter;
}

/* The tag goes to the first point behind each slot. */
static void give_tags(const evaluation *e, const cf_keep_rule *rule, unsigned tag) {
    bool any = false;
    int64_t carried = 0, next = INT64_MIN; /* no slot lies between the last point and next */
    for (size_t i = 0; i < e->count; i++) {
        cf_retained_point *point = e->points[i];
        int64_t slot;
        if (!point->full || point->received < next) continue;
        bool found = cf_keep_rule_last(rule, e->zone, point->received, &slot);
        if (!cf_keep_rule_next(rule, e->zone, point->received, &next)) next = INT64_MAX;
        if (!found || (any && slot == carried)) continue;
        point->tags |= tag;
        carried = slot;
        any = true;
    }
}

static void tag_points(const evaluation *e) {
    const cf_retention *keep = e->policy ? &e->policy->retention : NULL;
    for (size_t i = 0; i < e->count; i++) {
        cf_retained_point *point = e->points[i];
        if (!point->scheduled) point->tags = CF_TAG_ON_DEMAND;
        if (point->scheduled && point->full && keep && keep->days) point->tags = CF_TAG_DAILY;
    }
    if (!keep) return;
    cf_keep_rule rule;
    if (keep->weeks) give_tags(e, (rule = cf_keep_rule_weekly(e->policy), &rule), CF_TAG_WEEKLY);
    if (keep->months) give_tags(e, (rule = cf_keep_rule_monthly(e->policy), &rule), CF_TAG_MONTHLY);
    if (keep->years) give_tags(e, (rule = cf_keep_rule_yearly(e->policy), &rule), CF_TAG_YEARLY);
}

static int64_t date_of(const evaluation *e, const cf_retained_point *point) {
    const cf_retention *keep = e->policy ? &e->policy->retention : NULL;
    const cf_retention_floor *floor = e->floor;
    int64_t from = point->received, until = INT64_MIN;
    if (point->has_until) until = point->until;
    if (point->scheduled || !point->has_until)
        until = later(until, cf_add_days(e->zone, from, point->scheduled ? floor->days : floor->on_demand_days));
    if (point->tags & CF_TAG_DAILY) until = later(until, cf_add_days(e->zone, from, more(keep->days, floor->days)));
    if (point->tags & CF_TAG_WEEKLY)
        until = later(until, cf_add_days(e->zone, from, (int64_t)WEEK * more(keep->weeks, floor->weeks)));
    if (point->tags & CF_TAG_MONTHLY)
        until = later(until, cf_add_months(e->zone, from, more(keep->months, floor->months)));
    if (point->tags & CF_TAG_YEARLY)
        until = later(until, cf_add_months(e->zone, from, (int64_t)YEAR_MONTHS * more(keep->years, floor->years)));
    return until;
}

/* ---- Holding the last good points ---- */

/* Points of the full selection; of a server that has none of them, all. */
static bool counts(const cf_retained_point *point, bool all) {
    return point->full || all;
}

static bool only_manual(const evaluation *e) {
    for (size_t i = 0; i < e->count; i++)
        if (e->points[i]->full && !e->points[i]->gone) return false;
    return true;
}

static bool passed(const cf_retained_point *point, int64_t when) {
    return !point->gone && !point->for_ever && point->expires <= when;
}

/* The first points that came after one: up to CF_FRESH_POINTS. */
typedef struct successors {
    int64_t times[CF_FRESH_POINTS]; /* the nearest first */
    size_t count;
} successors;

static void add_successor(successors *after, int64_t received) {
    for (size_t i = CF_FRESH_POINTS - 1; i > 0; i--) after->times[i] = after->times[i - 1];
    after->times[0] = received;
    if (after->count < CF_FRESH_POINTS) after->count++;
}

/* Had new points come when its date passed? Some that came just before, after a long silence, do not count: a server that
 * wakes up shortly before its last good point's date must not lose it. A date that a person chose holds as soon as one came. */
static bool was_silent(const cf_retained_point *point, const successors *after) {
    bool ruled = point->scheduled || point->tags & ~(unsigned)CF_TAG_ON_DEMAND;
    if (after->count == 0 || after->times[0] > point->expires) return true;
    if (!ruled || (after->count == CF_FRESH_POINTS && after->times[CF_FRESH_POINTS - 1] <= point->expires))
        return false;
    return after->times[0] - point->received > (point->expires - point->received) / 2;
}

/* Until when silence holds it; INT64_MAX: until enough new points come. */
static int64_t hold_end(const evaluation *e, const successors *after) {
    if (after->count < CF_FRESH_POINTS) return INT64_MAX;
    return after->times[CF_FRESH_POINTS - 1] + (int64_t)DAY * e->floor->days;
}

/* Holds what silence holds. *since: when the last silence ended, or now; INT64_MIN: nothing is held. */
static void hold_last(const evaluation *e, bool all, int64_t *since, int64_t *next) {
    successors good = {0}, any = {0};
    *since = INT64_MIN;
    for (size_t i = e->count; i-- > 0;) {
        cf_retained_point *point = e->points[i];
        const successors *after = point->flagged ? &any : &good; /* flagged ones do not stand in for a good one */
        if (!counts(point, all)) continue;
        int64_t end = hold_end(e, after);
        if (passed(point, e->now) && e->now < end && was_silent(point, after)) {
            point->verdict = CF_VERDICT_HELD;
            *since = later(*since, end == INT64_MAX ? e->now : after->times[CF_FRESH_POINTS - 1]);
            if (end < *next) *next = end;
        }
        if (point->received > e->now) continue;
        add_successor(&any, point->received);
        if (!point->flagged) add_successor(&good, point->received);
    }
}

/* The longest-dated of those that were past their date at `when`; without a flag if there is one. */
static void hold_longest(const evaluation *e, bool all, int64_t when) {
    cf_retained_point *longest = NULL;
    for (size_t i = 0; i < e->count; i++) {
        cf_retained_point *point = e->points[i];
        if (!counts(point, all) || !passed(point, when) || (point->flagged && longest && !longest->flagged)) continue;
        if (!longest || (longest->flagged && !point->flagged) || point->expires >= longest->expires) longest = point;
    }
    if (longest) longest->verdict = CF_VERDICT_HELD;
}

static void hold_newest(const evaluation *e) {
    cf_retained_point *newest = NULL;
    for (size_t i = 0; i < e->count; i++)
        if (!newest || e->points[i]->counter > newest->counter) newest = e->points[i];
    if (newest && newest->verdict == CF_VERDICT_DUE) newest->verdict = CF_VERDICT_HELD;
}

static void hold(const evaluation *e, int64_t *next) {
    bool all = only_manual(e);
    int64_t since;
    hold_last(e, all, &since, next);
    if (since != INT64_MIN) hold_longest(e, all, since);
    hold_newest(e);
}

/* ---- Together ---- */

static cf_verdict first_verdict(const cf_retained_point *point, int64_t now) {
    if (point->gone) return CF_VERDICT_GONE;
    return passed(point, now) ? CF_VERDICT_DUE : CF_VERDICT_KEPT;
}

static void judge(const evaluation *e, int64_t *next) {
    bool for_ever = e->policy && (e->policy->protection == CF_PROTECTION_PAUSED ||
                                  e->policy->protection == CF_PROTECTION_STOPPED_KEEP);
    *next = INT64_MAX;
    tag_points(e);
    for (size_t i = 0; i < e->count; i++) {
        cf_retained_point *point = e->points[i];
        point->expires = date_of(e, point);
        point->for_ever = for_ever;
        point->verdict = first_verdict(point, e->now);
        if (point->verdict == CF_VERDICT_KEPT && !for_ever && point->expires < *next) *next = point->expires;
    }
    hold(e, next);
    for (size_t i = 0; i < e->count; i++)
        if (e->points[i]->verdict == CF_VERDICT_DUE && e->points[i]->pinned) e->points[i]->verdict = CF_VERDICT_PINNED;
}

cf_err *cf_retention_evaluate(const cf_policy *policy, const cf_retention_floor *floor, int64_t now,
                              cf_retained_point *points, size_t count, int64_t *next) {
    CF_AUTO(cf_zone) zone = NULL;
    int64_t ignored;
    CF_AUTO_FREE cf_retained_point **sorted = calloc(count + 1, sizeof *sorted);
    if (!sorted) return cf_fail(CF_ERR_OUT_OF_MEMORY, "retention");
    CF_TRY(cf_zone_open(policy ? policy->zone : "UTC", &zone));
    for (size_t i = 0; i < count; i++) {
        sorted[i] = &points[i];
        points[i].tags = 0;
    }
    qsort(sorted, count, sizeof *sorted, by_received);
    evaluation e = {policy, floor, zone, now, sorted, count};
    judge(&e, next ? next : &ignored);
    return NULL;
}

size_t cf_retention_allowance(const cf_retained_point *points, size_t count, int64_t now) {
    size_t current = 0, went = 0, came = 0;
    for (size_t i = 0; i < count; i++) {
        const cf_retained_point *point = &points[i];
        if (!point->gone) current++;
        if (point->gone && point->gone_at > now - DAY && point->gone_at <= now) went++;
        if (point->received > now - DAY && point->received <= now) came++;
    }
    size_t most = (current + went) / 5;
    if (most < came) most = came;
    return most > went ? most - went : 0;
}

/* ---- How many ---- */

static unsigned bits(uint64_t set) {
    return (unsigned)__builtin_popcountll(set);
}

/* Days of a month that the rule has at most. */
static unsigned month_days(const cf_keep_days *on) {
    return on->ordinals ? bits(on->weekdays) * bits(on->ordinals) : bits(on->month_days);
}

/* Runs that satisfy no rule stay for the minimum. */
static uint64_t untagged(const cf_policy *policy, const cf_retention_floor *floor) {
    const cf_schedule *schedule = &policy->schedule;
    uint64_t week = schedule->minute_count * (schedule->kind == CF_SCHEDULE_DAILY ? WEEK : bits(schedule->weekdays));
    unsigned weekly = policy->retention.weeks ? bits(policy->retention.weekly_on.weekdays) : 0;
    return week > weekly ? (week - weekly) * ((floor->days + WEEK - 1) / WEEK) : 0;
}

uint64_t cf_retention_count(const cf_policy *policy, const cf_retention_floor *given) {
    const cf_retention_floor floor = given ? *given : CF_RETENTION_FLOOR_DEFAULT;
    const cf_retention *keep = &policy->retention;
    uint64_t count = 0;
    if (policy->schedule.kind == CF_SCHEDULE_NONE) return 0;
    if (keep->days && policy->schedule.kind == CF_SCHEDULE_DAILY)
        count += (uint64_t)more(keep->days, floor.days) * policy->schedule.minute_count;
    else
        count += untagged(policy, &floor);
    if (keep->weeks) count += (uint64_t)more(keep->weeks, floor.weeks) * bits(keep->weekly_on.weekdays);
    if (keep->months) count += (uint64_t)more(keep->months, floor.months) * month_days(&keep->monthly_on);
    if (keep->years)
        count += (uint64_t)more(keep->years, floor.years) * month_days(&keep->yearly_on) * bits(keep->yearly_on.months);
    return count;
}

cf_err *cf_retention_admit(const cf_policy *policy, const cf_retention_floor *floor, const cf_retained_point *points,
                           size_t count, bool scheduled) {
    uint64_t current = 0, ruled = 0, most = policy ? cf_retention_count(policy, floor) : 0;
    for (size_t i = 0; i < count; i++) {
        if (points[i].gone) continue;
        current++;
        if (points[i].tags & ~(unsigned)CF_TAG_ON_DEMAND || points[i].scheduled) ruled++;
    }
    if (current >= CF_POINTS_MAX)
        return cf_fail_reason(CF_ERR_TOO_MANY_POINTS, "limit", "the vault keeps %llu recovery points of this server",
                              (unsigned long long)current);
    if (scheduled) return NULL;
    uint64_t reserve = most > ruled ? most - ruled : 0;
    if (reserve < CF_POINTS_RESERVE) reserve = CF_POINTS_RESERVE;
    if (current + reserve < CF_POINTS_MAX) return NULL;
    return cf_fail_reason(
        CF_ERR_TOO_MANY_POINTS, "reserve",
        "the vault keeps %llu recovery points of this server; the room for %llu more is for scheduled ones",
        (unsigned long long)current, (unsigned long long)(CF_POINTS_MAX - current));
}

cf_err *cf_retention_below(const cf_policy *policy, const cf_retention_floor *floor, cf_strings *lines) {
    const cf_retention *keep = &policy->retention;
    const struct {
        const char *word;
        uint32_t has, least;
    } rules[] = {{"days", keep->days, floor->days},
                 {"weeks", keep->weeks, floor->weeks},
                 {"months", keep->months, floor->months},
                 {"years", keep->years, floor->years}};
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (rules[i].has && rules[i].has < rules[i].least)
            CF_TRY(cf_strings_addf(lines, "the vault keeps at least %u %s, not %u", rules[i].least, rules[i].word,
                                   rules[i].has));
    return NULL;
}
