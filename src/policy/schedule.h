/* When scheduled runs are due: pure functions of (schedule, zone, time). Times are seconds since 1970 in UTC.
 *
 * A slot is the moment of one scheduled run. A local time that does not exist (clocks go forward) is due at the next
 * that does; one that exists twice is due at its first; two times that fall on the same moment are one slot.
 * Protection (paused, stopped) and the random delay are not looked at here: cf_schedule_active, cf_schedule_delay.
 *
 * Fails, all: 900925 ZONE_UNKNOWN (the policy's time zone is not in this server's tz database), OUT_OF_MEMORY.
 * *found is false when the policy has no schedule; *next and *slot are written only when *found.             */
#ifndef CF_POLICY_SCHEDULE_H
#define CF_POLICY_SCHEDULE_H

#include "base/ids.h"
#include "policy/policy.h"
#include "policy/zone.h"

/* Does the policy start runs by itself? */
static inline bool cf_schedule_active(const cf_policy *policy) {
    return policy->protection == CF_PROTECTION_ON && policy->schedule.kind != CF_SCHEDULE_NONE;
}
/* cf_schedule_next: the first slot later than after. */
cf_err *cf_schedule_next(const cf_policy *policy, int64_t after, bool *found, int64_t *next)
    __attribute__((warn_unused_result));
/* cf_schedule_last: the newest slot at or before not_after. */
cf_err *cf_schedule_last(const cf_policy *policy, int64_t not_after, bool *found, int64_t *slot)
    __attribute__((warn_unused_result));
/* cf_schedule_missed: the slot to make up for, at most one: the newest that is later than handled (the last slot
 * that was run or given up), not later than now, and not older than the policy's catch-up window.             */
cf_err *cf_schedule_missed(const cf_policy *policy, int64_t handled, int64_t now, bool *found, int64_t *slot)
    __attribute__((warn_unused_result));
/* cf_schedule_list: up to limit slots later than after, ascending, into slots. */
cf_err *cf_schedule_list(const cf_policy *policy, int64_t after, size_t limit, int64_t *slots, size_t *count)
    __attribute__((warn_unused_result));
/* cf_schedule_delay: seconds by which the run of this slot starts later: the same for the same server and slot, spread
 * evenly over 0 .. random_delay_minutes.                                                                     */
uint32_t cf_schedule_delay(const cf_policy *policy, const cf_id16 *server, int64_t slot);

/* The same with a zone that is open already, for those who ask often. */
bool cf_schedule_next_in(const cf_schedule *schedule, const cf_zone *zone, int64_t after, int64_t *next);
bool cf_schedule_last_in(const cf_schedule *schedule, const cf_zone *zone, int64_t not_after, int64_t *slot);

/* cf_schedule_parse: 'daily 09:00,21:00', 'weekly mon,thu 22:30', 'weekly/2 sat 02:00', 'none'; replaces *schedule, which
 * is unchanged on failure. weekly/N runs in the week of the next of its days from `today` on (a day of the policy's zone,
 * since 1970-01-01), and every N weeks from there. Fails: BAD_USAGE saying what is not understood.             */
cf_err *cf_schedule_parse(const char *text, int64_t today, cf_schedule *schedule) __attribute__((warn_unused_result));
/* cf_schedule_text: the same form, fresh; NULL only without memory. */
char *cf_schedule_text(const cf_schedule *schedule);

#endif
