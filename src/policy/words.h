/* The words in which schedules and retention rules are written, on command lines and in the document:
 *   days of the week   mon,thu   mon-fri
 *   times of the day   09:00,21:00
 *   months             jan,jul
 *   rule, weekly       sat   sat,sun 21:00
 *   rule, monthly      last sat   first,third sun 21:00   1,15   1,last 21:00
 *   rule, yearly       jan last sun   mar,sep 1 21:00
 * A time at the end of a rule: only the run of that time; without: the day's first run. Any case; days and months
 * also in full. Pure.                                                                                            */
#ifndef CF_POLICY_WORDS_H
#define CF_POLICY_WORDS_H

#include "policy/policy.h"

typedef enum cf_rule { CF_RULE_WEEKLY, CF_RULE_MONTHLY, CF_RULE_YEARLY } cf_rule;

/* Fails, all: BAD_USAGE saying what was not understood; *out is unchanged then. */
cf_err *cf_weekdays_parse(const char *text, uint8_t *out) __attribute__((warn_unused_result));
cf_err *cf_minute_parse(const char *text, uint16_t *out) __attribute__((warn_unused_result));
/* cf_minutes_parse: sorted, repetitions dropped; *minutes is fresh, owned by the caller. */
cf_err *cf_minutes_parse(const char *text, uint16_t **minutes, size_t *count) __attribute__((warn_unused_result));
cf_err *cf_keep_days_parse(cf_rule rule, const char *text, cf_keep_days *out) __attribute__((warn_unused_result));

/* Appended to out; look at cf_buf_check afterwards. */
void cf_weekdays_put(uint8_t weekdays, cf_buf *out);
void cf_minute_put(uint16_t minute, cf_buf *out);
void cf_minutes_put(const uint16_t *minutes, size_t count, cf_buf *out);
void cf_keep_days_put(cf_rule rule, const cf_keep_days *days, cf_buf *out);

#endif
