/* The policy of a server: what is backed up, when, and how long it is kept. One JSON document with a version
 * number, kept by the vault and cached by the agent; both sides parse it with this. Pure.
 *
 * It never holds commands, destinations, a proxy or anything that decides whom to trust: those are local files of
 * root, and hooks are only named here.                                                                        */
#ifndef CF_POLICY_POLICY_H
#define CF_POLICY_POLICY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

enum {
    CF_POLICY_SIZE_MAX = (1 << 20) - 8192, /* of the document; with what it travels in, below 1 MiB */
    CF_POLICY_SOURCES_MAX = 4096,
    CF_POLICY_PATTERNS_MAX = 16384, /* all exclusions together */
    CF_POLICY_TEXT_MAX = 4095,      /* bytes of a path or pattern */
    CF_POLICY_TIMES_MAX = 1440,     /* schedule times of a day */
    CF_POLICY_ZONE_MAX = 63,
    CF_POLICY_HOOKS_MAX = 16,
    CF_POLICY_HOOK_NAME_MAX = 63,
    CF_POLICY_CATCH_UP_MAX = 44640,    /* minutes: 31 days */
    CF_POLICY_RANDOM_DELAY_MAX = 1440, /* minutes */
    CF_POINTS_MAX = 9999,
    CF_KEEP_DAYS_MAX = 9999,
    CF_KEEP_WEEKS_MAX = 5163,
    CF_KEEP_MONTHS_MAX = 1188,
    CF_KEEP_YEARS_MAX = 99,
};

/* Patterns or names: owned, NUL-terminated. */
typedef struct cf_strings {
    char **item;
    size_t count;
} cf_strings;
/* cf_strings_add: a copy of text at the end. Fails: OUT_OF_MEMORY. */
cf_err *cf_strings_add(cf_strings *list, const char *text) __attribute__((warn_unused_result));
/* cf_strings_addf: the same, formatted. */
cf_err *cf_strings_addf(cf_strings *list, const char *format, ...)
    __attribute__((format(printf, 2, 3), warn_unused_result));
cf_err *cf_strings_copy(const cf_strings *from, cf_strings *to) __attribute__((warn_unused_result));
bool cf_strings_has(const cf_strings *list, const char *text);
/* cf_strings_remove: every item that is text; false when there was none. */
bool cf_strings_remove(cf_strings *list, const char *text);
void cf_strings_wipe(cf_strings *list);
#define CF_AUTO_STRINGS __attribute__((cleanup(cf_strings_wipe)))

typedef struct cf_policy_source {
    char *path;         /* absolute; a file, a folder or the root of a file system */
    cf_strings exclude; /* gitignore-style, relative to path */
} cf_policy_source;

typedef enum cf_schedule_kind { CF_SCHEDULE_NONE, CF_SCHEDULE_DAILY, CF_SCHEDULE_WEEKLY } cf_schedule_kind;

/* When scheduled runs are due, in the policy's time zone. */
typedef struct cf_schedule {
    cf_schedule_kind kind;
    uint16_t *minutes; /* of the day, 0 .. 1439, ascending, no repetition; owned */
    size_t minute_count;
    uint8_t weekdays;     /* WEEKLY: bit 0 Monday .. bit 6 Sunday */
    uint16_t every_weeks; /* WEEKLY: 1 .. 52 */
    uint16_t phase;       /* WEEKLY: runs in weeks w (Mondays since 1970-01-05) with w % every_weeks == phase */
} cf_schedule;

/* The days of a weekly, monthly or yearly rule. By weekday ("last sat") or by day of month ("1,15,last"). */
typedef struct cf_keep_days {
    uint8_t weekdays;    /* bits as above; monthly and yearly: with ordinals */
    uint8_t ordinals;    /* bit 0 first .. bit 3 fourth, bit 4 last; 0: by day of month, or a weekly rule */
    uint32_t month_days; /* bit d - 1 is day d; bit 31 the last day of the month; 0: by weekday */
    uint16_t months;     /* yearly: bit 0 January .. bit 11 December */
    bool has_minute;     /* only the run of this time of the schedule; else the first run of the day */
    uint16_t minute;
} cf_keep_days;

/* How long: a count of 0 means that there is no such rule. */
typedef struct cf_retention {
    uint32_t days; /* every scheduled point; only with a DAILY schedule */
    uint32_t weeks;
    cf_keep_days weekly_on;
    uint32_t months;
    cf_keep_days monthly_on;
    uint32_t years;
    cf_keep_days yearly_on;
} cf_retention;

typedef enum cf_protection {
    CF_PROTECTION_ON,
    CF_PROTECTION_PAUSED,         /* no runs; what is there is kept without end until resumed */
    CF_PROTECTION_STOPPED_EXPIRE, /* removed: no runs; points age out under the last rules */
    CF_PROTECTION_STOPPED_KEEP,   /* removed: no runs; points stay until somebody deletes them */
} cf_protection;

typedef enum cf_drill { CF_DRILL_NONE, CF_DRILL_DAILY, CF_DRILL_WEEKLY, CF_DRILL_MONTHLY } cf_drill;

typedef struct cf_policy {
    uint64_t number; /* of this version; 0: never saved */
    cf_policy_source *sources;
    size_t source_count;
    bool system_state;
    bool one_file_system; /* do not enter other file systems below a source */
    cf_strings exclude;   /* for all sources */
    bool exclude_caches;  /* folders with a CACHEDIR.TAG */
    bool exclude_nodump;  /* what carries the nodump flag */
    cf_schedule schedule;
    char zone[CF_POLICY_ZONE_MAX + 1]; /* IANA, "Europe/Berlin"; "UTC" */
    uint32_t catch_up_minutes;         /* a missed run is made up for when it is not older; 0: never */
    uint32_t random_delay_minutes;     /* each run starts up to so much later */
    cf_retention retention;
    cf_protection protection;
    cf_drill drill;
    uint32_t full_every; /* every n-th run is a full scan; 0: the program's own choice */
    cf_strings hooks;    /* names of hooks that agent.conf defines */
} cf_policy;

void cf_policy_init(cf_policy *policy); /* the defaults; no source, no schedule */
void cf_policy_wipe(cf_policy *policy);
#define CF_AUTO_POLICY __attribute__((cleanup(cf_policy_wipe)))
cf_err *cf_policy_copy(const cf_policy *from, cf_policy *to) __attribute__((warn_unused_result));
/* cf_policy_add_source: with no exclusions of its own; *source (may be NULL) is borrowed until the next change. */
cf_err *cf_policy_add_source(cf_policy *policy, const char *path, cf_policy_source **source)
    __attribute__((warn_unused_result));
cf_policy_source *cf_policy_find_source(const cf_policy *policy, const char *path); /* NULL: none of this path */
/* cf_policy_remove_source: false when there is none of this path. */
bool cf_policy_remove_source(cf_policy *policy, const char *path);

/* cf_policy_parse: name is for messages. *policy is initialised first, and wiped again on failure. Members that
 * are not there have their defaults; one that is not known is a fault. What the parts mean together is cf_policy_check's.
 * Fails: 100001 POLICY_INVALID whose message lists every fault, one a line; TOO_LARGE; OUT_OF_MEMORY.           */
cf_err *cf_policy_parse(cf_span text, const char *name, cf_policy *policy) __attribute__((warn_unused_result));
/* cf_policy_format: the document, compact, members in a fixed order. */
cf_err *cf_policy_format(const cf_policy *policy, cf_buf *out) __attribute__((warn_unused_result));
/* cf_policy_check: every fault at once: relative paths, times that retention names and the schedule does not have,
 * daily retention with a weekly schedule, limits, more than 9,999 points, an unknown zone ...
 * Fails: 100001 POLICY_INVALID with all of them, one a line; when all are of one kind, that kind's number: 100045
 * RETENTION_INVALID, 100079 BAD_SOURCE_PATH, 100109 TOO_MANY_POINTS, 900925 ZONE_UNKNOWN.                         */
cf_err *cf_policy_check(const cf_policy *policy) __attribute__((warn_unused_result));

/* cf_policy_differences: what differs from before to after, for a log: one line each, appended to lines. */
cf_err *cf_policy_differences(const cf_policy *before, const cf_policy *after, cf_strings *lines)
    __attribute__((warn_unused_result));
/* cf_policy_cut: by what after selects less than before: sources and the system state removed, exclusions added. */
cf_err *cf_policy_cut(const cf_policy *before, const cf_policy *after, cf_strings *lines)
    __attribute__((warn_unused_result));
/* cf_policy_same_selection: do both select the same? */
bool cf_policy_same_selection(const cf_policy *a, const cf_policy *b);

#endif
