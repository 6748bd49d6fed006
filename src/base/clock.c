#include "base/clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

void cf_time_format(cf_time time, char out[40]) {
    time_t seconds = (time_t)time.seconds;
    struct tm parts;
    if (!gmtime_r(&seconds, &parts)) { /* a year that int cannot hold */
        snprintf(out, 40, "@%lld", (long long)time.seconds);
        return;
    }
    snprintf(out, 40, "%04d-%02d-%02dT%02d:%02d:%02dZ", parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday,
             parts.tm_hour, parts.tm_min, parts.tm_sec);
}

bool cf_time_parse(const char *text, cf_time *out) {
    struct tm parts = {0};
    int used = 0;
    if (sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d%n", &parts.tm_year, &parts.tm_mon, &parts.tm_mday, &parts.tm_hour,
               &parts.tm_min, &parts.tm_sec, &used) != 6)
        return false;
    const char *rest = text + used;
    uint32_t nanoseconds = 0;
    if (*rest == '.') {
        uint32_t scale = 100000000;
        for (rest++; *rest >= '0' && *rest <= '9'; rest++, scale /= 10) nanoseconds += (uint32_t)(*rest - '0') * scale;
    }
    int offset_hours = 0, offset_minutes = 0;
    char sign = *rest, after = '\0';
    if (sign == '+' || sign == '-') {
        if (sscanf(rest + 1, "%2d:%2d%c", &offset_hours, &offset_minutes, &after) != 2) return false;
    } else if (strcmp(rest, "Z") != 0) {
        return false;
    }
    if (parts.tm_mon < 1 || parts.tm_mon > 12 || parts.tm_mday < 1 || parts.tm_mday > 31 || parts.tm_hour < 0 ||
        parts.tm_hour > 23 || parts.tm_min < 0 || parts.tm_min > 59 || parts.tm_sec < 0 || parts.tm_sec > 60)
        return false;
    parts.tm_year -= 1900;
    parts.tm_mon -= 1;
    int64_t offset = offset_hours * 3600 + offset_minutes * 60;
    out->seconds = (int64_t)timegm(&parts) - (sign == '-' ? -offset : offset);
    out->nanoseconds = nanoseconds;
    return true;
}
