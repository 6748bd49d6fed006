#include "policy/zone.h"

#include <errno.h>
#include <glib.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"

enum { DAY = 86400, ZONE_NAME_MAX = 63 };
/* Beyond these, GLib's and our arithmetic would have to be looked at; no schedule gets there. */
#define SECONDS_MAX ((int64_t)253402300799) /* 9999-12-31T23:59:59Z */

struct cf_zone {
    GTimeZone *glib; /* NULL: UTC */
};

/* Only names of the tz database: GLib would also take "+02:00", rules such as "CET-1", and paths. */
static bool plausible(const char *name) {
    size_t size = strlen(name);
    if (size == 0 || size > ZONE_NAME_MAX || name[0] == '/' || name[0] == '.' || strstr(name, "..")) return false;
    return strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/_+-") == size;
}

static const char *database(void) {
    const char *folder = getenv("TZDIR"); /* as GLib and the C library do */
    return folder && folder[0] ? folder : "/usr/share/zoneinfo";
}

static cf_err *unknown(const char *name) {
    CF_AUTO_FREE char *shown = cf_text_printable(cf_span_text(name));
    if (access(database(), F_OK) != 0)
        return cf_fail_reason(CF_ERR_ZONE_UNKNOWN, "no_database",
                              "time zone '%.63s': this machine has no time zone database (%s)", shown ? shown : "",
                              database());
    return cf_fail_reason(CF_ERR_ZONE_UNKNOWN, "unknown", "this machine knows no time zone '%.63s'",
                          shown ? shown : "");
}

cf_err *cf_zone_open(const char *name, cf_zone **zone) {
    GTimeZone *glib = NULL;
    if (strcmp(name, "UTC") != 0) {
        CF_AUTO_FREE char *path = cf_text_format("%s/%s", database(), name);
        if (!path) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a time zone");
        if (!plausible(name) || access(path, R_OK) != 0) return unknown(name);
        glib = g_time_zone_new_identifier(name);
        if (!glib) return unknown(name);
    }
    cf_zone *made = calloc(1, sizeof *made);
    if (!made) {
        if (glib) g_time_zone_unref(glib);
        return cf_fail(CF_ERR_OUT_OF_MEMORY, "a time zone");
    }
    made->glib = glib;
    *zone = made;
    return NULL;
}

void cf_zone_free(cf_zone *zone) {
    if (!zone) return;
    if (zone->glib) g_time_zone_unref(zone->glib);
    free(zone);
}

static int64_t clamp(int64_t seconds) {
    if (seconds > SECONDS_MAX) return SECONDS_MAX;
    return seconds < -SECONDS_MAX ? -SECONDS_MAX : seconds;
}

/* The stretch of one offset that a moment lies in. */
static int interval_at(const cf_zone *zone, int64_t seconds) {
    return g_time_zone_find_interval(zone->glib, G_TIME_TYPE_UNIVERSAL, seconds);
}

cf_local cf_zone_local(const cf_zone *zone, int64_t seconds) {
    int64_t shown = clamp(seconds);
    if (zone->glib) shown += g_time_zone_get_offset(zone->glib, interval_at(zone, shown));
    int64_t day = shown / DAY - (shown % DAY < 0);
    return (cf_local){.day = day, .second = (uint32_t)(shown - day * DAY)};
}

/* The first moment in (low, high] that lies in this interval or a later one. */
static int64_t begin_of(const cf_zone *zone, int interval, int64_t low, int64_t high) {
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        if (interval_at(zone, middle) >= interval)
            high = middle;
        else
            low = middle;
    }
    return high;
}

/* The first moment at which the clock shows this much or more. Offsets are below a day, so it lies within a day
 * of the same figure in UTC. */
int64_t cf_zone_instant(const cf_zone *zone, int64_t day, uint32_t minute) {
    int64_t shown = clamp(day * DAY + (int64_t)minute * 60);
    if (!zone->glib) return shown;
    int64_t low = shown - DAY - 1, high = shown + DAY + 1;
    int last = interval_at(zone, high);
    for (int interval = interval_at(zone, low); interval <= last; interval++) {
        int64_t moment = shown - g_time_zone_get_offset(zone->glib, interval);
        int lies_in = interval_at(zone, moment);
        if (lies_in == interval) return moment;
        if (lies_in < interval) return begin_of(zone, interval, low, high); /* the clock skipped it */
    }
    return shown - g_time_zone_get_offset(zone->glib, last);
}

/* Civil dates from day numbers, with years that begin in March so that the leap day comes last. */
cf_date cf_date_of_day(int64_t day) {
    int64_t since = day + 719468; /* 0000-03-01 */
    int64_t era = (since >= 0 ? since : since - 146096) / 146097;
    int64_t of_era = since - era * 146097;
    int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
    int64_t march = (5 * of_year + 2) / 153;
    unsigned month = (unsigned)(march < 10 ? march + 3 : march - 9);
    return (cf_date){.year = year + era * 400 + (month <= 2),
                     .month = month,
                     .day = (unsigned)(of_year - (153 * march + 2) / 5 + 1)};
}

int64_t cf_day_of_date(int64_t year, unsigned month, unsigned day) {
    int64_t from_march = month <= 2 ? year - 1 : year;
    int64_t era = (from_march >= 0 ? from_march : from_march - 399) / 400;
    int64_t of_era = from_march - era * 400;
    int64_t march = month > 2 ? month - 3 : month + 9;
    int64_t of_year = (153 * march + 2) / 5 + (int64_t)day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

unsigned cf_days_of_month(int64_t year, unsigned month) {
    int64_t next = month == 12 ? cf_day_of_date(year + 1, 1, 1) : cf_day_of_date(year, month + 1, 1);
    return (unsigned)(next - cf_day_of_date(year, month, 1));
}
