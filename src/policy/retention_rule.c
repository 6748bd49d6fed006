#include "policy/retention_rule.h"

/* February 29th can be eight years away (1896 to 1904, 2096 to 2104). */
enum { SEARCH_DAYS = 8 * 366 + 31, LAST_DAY_BIT = 31, LAST_ORDINAL_BIT = 4, MINUTE = 60 };

static cf_keep_rule make(const cf_policy *policy, const cf_keep_days *on) {
    const cf_schedule *schedule = &policy->schedule;
    uint32_t first = schedule->minute_count ? schedule->minutes[0] : 0;
    return (cf_keep_rule){.on = on, .minute = on->has_minute ? on->minute : first};
}

cf_keep_rule cf_keep_rule_weekly(const cf_policy *policy) {
    cf_keep_rule rule = make(policy, &policy->retention.weekly_on);
    rule.weekly = true;
    return rule;
}

cf_keep_rule cf_keep_rule_monthly(const cf_policy *policy) {
    return make(policy, &policy->retention.monthly_on);
}

cf_keep_rule cf_keep_rule_yearly(const cf_policy *policy) {
    cf_keep_rule rule = make(policy, &policy->retention.yearly_on);
    rule.yearly = true;
    return rule;
}

static bool in_month(const cf_keep_days *on, unsigned weekday, const cf_date *date) {
    unsigned length = cf_days_of_month(date->year, date->month);
    if (on->ordinals == 0)
        return (on->month_days >> (date->day - 1) & 1) || (date->day == length && (on->month_days >> LAST_DAY_BIT & 1));
    if (!(on->weekdays >> weekday & 1)) return false;
    unsigned nth = (date->day - 1) / 7;
    return (nth < LAST_ORDINAL_BIT && (on->ordinals >> nth & 1)) ||
           (date->day + 7 > length && (on->ordinals >> LAST_ORDINAL_BIT & 1));
}

static bool on_day(const cf_keep_rule *rule, int64_t day) {
    const cf_keep_days *on = rule->on;
    if (rule->weekly) return on->weekdays >> cf_weekday_of_day(day) & 1;
    cf_date date = cf_date_of_day(day);
    if (rule->yearly && !(on->months >> (date.month - 1) & 1)) return false;
    return in_month(on, cf_weekday_of_day(day), &date);
}

bool cf_keep_rule_last(const cf_keep_rule *rule, const cf_zone *zone, int64_t not_after, int64_t *slot) {
    int64_t today = cf_zone_local(zone, not_after).day;
    /* From tomorrow on: its slot may be past already, where the clocks were put back over midnight. */
    for (int64_t day = today + 1; day > today - SEARCH_DAYS; day--) {
        if (!on_day(rule, day)) continue;
        int64_t due = cf_zone_instant(zone, day, rule->minute);
        if (due > not_after) continue;
        *slot = due;
        return true;
    }
    return false;
}

bool cf_keep_rule_next(const cf_keep_rule *rule, const cf_zone *zone, int64_t after, int64_t *slot) {
    int64_t today = cf_zone_local(zone, after).day;
    for (int64_t day = today - 1; day < today + SEARCH_DAYS; day++) {
        if (!on_day(rule, day)) continue;
        int64_t due = cf_zone_instant(zone, day, rule->minute);
        if (due <= after) continue;
        *slot = due;
        return true;
    }
    return false;
}

static int64_t at(const cf_zone *zone, int64_t day, uint32_t second) {
    int64_t minute = cf_zone_instant(zone, day, second / MINUTE);
    cf_local shown = cf_zone_local(zone, minute);
    bool skipped = shown.day != day || shown.second / MINUTE != second / MINUTE;
    return skipped ? minute : minute + second % MINUTE;
}

int64_t cf_add_days(const cf_zone *zone, int64_t from, int64_t days) {
    cf_local local = cf_zone_local(zone, from);
    return at(zone, local.day + days, local.second);
}

int64_t cf_add_months(const cf_zone *zone, int64_t from, int64_t months) {
    cf_local local = cf_zone_local(zone, from);
    cf_date date = cf_date_of_day(local.day);
    int64_t month = date.year * 12 + (date.month - 1) + months;
    int64_t year = month >= 0 ? month / 12 : -((11 - month) / 12);
    unsigned number = (unsigned)(month - year * 12) + 1, length = cf_days_of_month(year, number);
    return at(zone, cf_day_of_date(year, number, date.day < length ? date.day : length), local.second);
}
