#include "policy/schedule.h"

/* A schedule that runs at all has a slot within so many days: 52 weeks, and a little. */
enum { SEARCH_DAYS = 53 * 7 };

static bool runs_on(const cf_schedule *schedule, int64_t day) {
    if (schedule->kind == CF_SCHEDULE_DAILY) return true;
    if (schedule->kind != CF_SCHEDULE_WEEKLY || !(schedule->weekdays >> cf_weekday_of_day(day) & 1)) return false;
    int64_t every = schedule->every_weeks > 0 ? schedule->every_weeks : 1;
    int64_t rest = cf_week_of_day(day) % every;
    return (rest < 0 ? rest + every : rest) == schedule->phase % every;
}

/* The moments of a day's minutes ascend with them (cf_zone_instant), so both directions can halve. */
static bool first_after(const cf_schedule *schedule, const cf_zone *zone, int64_t day, int64_t after, int64_t *slot) {
    size_t low = 0, high = schedule->minute_count; /* below low: not later than after; from high: later */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (cf_zone_instant(zone, day, schedule->minutes[middle]) > after)
            high = middle;
        else
            low = middle + 1;
    }
    if (high == schedule->minute_count) return false;
    *slot = cf_zone_instant(zone, day, schedule->minutes[high]);
    return true;
}

static bool last_until(const cf_schedule *schedule, const cf_zone *zone, int64_t day, int64_t until, int64_t *slot) {
    size_t low = 0, high = schedule->minute_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (cf_zone_instant(zone, day, schedule->minutes[middle]) <= until)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0) return false;
    *slot = cf_zone_instant(zone, day, schedule->minutes[low - 1]);
    return true;
}

/* The day before, too: a time that a whole skipped day would have had is due on the next. */
bool cf_schedule_next_in(const cf_schedule *schedule, const cf_zone *zone, int64_t after, int64_t *next) {
    int64_t today = cf_zone_local(zone, after).day;
    for (int64_t day = today - 1; day <= today + SEARCH_DAYS; day++)
        if (runs_on(schedule, day) && first_after(schedule, zone, day, after, next)) return true;
    return false;
}

bool cf_schedule_last_in(const cf_schedule *schedule, const cf_zone *zone, int64_t not_after, int64_t *slot) {
    int64_t today = cf_zone_local(zone, not_after).day;
    for (int64_t day = today + 1; day >= today - SEARCH_DAYS; day--)
        if (runs_on(schedule, day) && last_until(schedule, zone, day, not_after, slot)) return true;
    return false;
}

cf_err *cf_schedule_next(const cf_policy *policy, int64_t after, bool *found, int64_t *next) {
    CF_AUTO(cf_zone) zone = NULL;
    CF_TRY(cf_zone_open(policy->zone, &zone));
    *found = cf_schedule_next_in(&policy->schedule, zone, after, next);
    return NULL;
}

cf_err *cf_schedule_last(const cf_policy *policy, int64_t not_after, bool *found, int64_t *slot) {
    CF_AUTO(cf_zone) zone = NULL;
    CF_TRY(cf_zone_open(policy->zone, &zone));
    *found = cf_schedule_last_in(&policy->schedule, zone, not_after, slot);
    return NULL;
}

cf_err *cf_schedule_missed(const cf_policy *policy, int64_t handled, int64_t now, bool *found, int64_t *slot) {
    int64_t last = 0, window = (int64_t)policy->catch_up_minutes * 60;
    bool there = false;
    CF_TRY(cf_schedule_last(policy, now, &there, &last));
    *found = there && last > handled && now - last <= window && window > 0;
    if (*found) *slot = last;
    return NULL;
}

cf_err *cf_schedule_list(const cf_policy *policy, int64_t after, size_t limit, int64_t *slots, size_t *count) {
    CF_AUTO(cf_zone) zone = NULL;
    CF_TRY(cf_zone_open(policy->zone, &zone));
    size_t got = 0;
    while (got < limit && cf_schedule_next_in(&policy->schedule, zone, after, &slots[got])) after = slots[got++];
    *count = got;
    return NULL;
}

/* splitmix64: spreads evenly, which is all that is asked of it. */
static uint64_t mix(uint64_t value) {
    value += 0x9e3779b97f4a7c15u;
    value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9u;
    value = (value ^ value >> 27) * 0x94d049bb133111ebu;
    return value ^ value >> 31;
}

uint32_t cf_schedule_delay(const cf_policy *policy, const cf_id16 *server, int64_t slot) {
    if (policy->random_delay_minutes == 0) return 0;
    cf_cursor cursor = cf_cursor_of(cf_span_of(server->bytes, 16));
    uint64_t state = mix(cf_cursor_u64(&cursor));
    state = mix(state ^ cf_cursor_u64(&cursor));
    state = mix(state ^ (uint64_t)slot);
    return (uint32_t)(state % ((uint64_t)policy->random_delay_minutes * 60 + 1));
}
