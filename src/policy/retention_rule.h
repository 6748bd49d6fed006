/* The slots of a weekly, monthly or yearly rule, and terms by the calendar (of this folder, and tests). */
#ifndef CF_POLICY_RETENTION_RULE_H
#define CF_POLICY_RETENTION_RULE_H

#include "policy/policy.h"
#include "policy/zone.h"

typedef struct cf_keep_rule {
    const cf_keep_days *on;
    uint32_t minute; /* of the day, at which its run is due */
    bool weekly, yearly;
} cf_keep_rule;
cf_keep_rule cf_keep_rule_weekly(const cf_policy *policy);
cf_keep_rule cf_keep_rule_monthly(const cf_policy *policy);
cf_keep_rule cf_keep_rule_yearly(const cf_policy *policy);

/* cf_keep_rule_last: the newest slot at or before not_after; cf_keep_rule_next: the first one after. False: there is none (a rule
 * for a day that no year has).                                                                               */
bool cf_keep_rule_last(const cf_keep_rule *rule, const cf_zone *zone, int64_t not_after, int64_t *slot);
bool cf_keep_rule_next(const cf_keep_rule *rule, const cf_zone *zone, int64_t after, int64_t *slot);

/* cf_add_days, cf_add_months: the same time of the day so many days or months later, as the zone's clocks show it: the
 * last day of the month when the month has no such day; the end of the gap when the clocks skip that time; the
 * first when they show it twice.                                                                             */
int64_t cf_add_days(const cf_zone *zone, int64_t from, int64_t days);
int64_t cf_add_months(const cf_zone *zone, int64_t from, int64_t months);

#endif
