/* Time zones: the local calendar of an IANA zone, from the system's tz database (GLib reads it; TZDIR is
 * honoured). Pure but for that reading. Days are numbered since 1970-01-01, minutes are of the day.
 * Threads: a zone may be used by any number at once.                                                       */
#ifndef CF_POLICY_ZONE_H
#define CF_POLICY_ZONE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

typedef struct cf_zone cf_zone;
/* cf_zone_open: by IANA name, "Europe/Berlin"; "UTC" always works. Fails: 900925 ZONE_UNKNOWN naming it (reasons
 * unknown; no_database: the server has no tz database at all).                                             */
cf_err *cf_zone_open(const char *name, cf_zone **zone) __attribute__((warn_unused_result));
void cf_zone_free(cf_zone *zone); /* NULL-safe */
CF_DEFINE_AUTO(cf_zone, cf_zone_free)

/* What the clock on the wall shows. */
typedef struct cf_local {
    int64_t day;     /* since 1970-01-01 */
    uint32_t second; /* of the day, as shown: 0 .. 86399 */
} cf_local;
cf_local cf_zone_local(const cf_zone *zone, int64_t seconds);
/* cf_zone_instant: when the clock shows `minute` of `day`. A time that the clock shows twice: the first; one that
 * it skips: the moment of the skip.                                                                          */
int64_t cf_zone_instant(const cf_zone *zone, int64_t day, uint32_t minute);

/* The proleptic Gregorian calendar. */
typedef struct cf_date {
    int64_t year;
    unsigned month, day; /* 1 .. 12, 1 .. 31 */
} cf_date;
cf_date cf_date_of_day(int64_t day);
int64_t cf_day_of_date(int64_t year, unsigned month, unsigned day);
unsigned cf_days_of_month(int64_t year, unsigned month);
/* 0 Monday .. 6 Sunday. */
static inline unsigned cf_weekday_of_day(int64_t day) {
    return (unsigned)(((day + 3) % 7 + 7) % 7);
}
/* Weeks begin on Monday; number 0 is the one that begins on 1970-01-05. */
static inline int64_t cf_week_of_day(int64_t day) {
    int64_t since = day - 4;
    return since >= 0 ? since / 7 : -((6 - since) / 7);
}

#endif
