#include "service/settings.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

enum { DAY = 86400, YEAR = 366 * DAY };

static const cf_setting_info settings[] = {
    {"minimum_days", 7, 1, CF_KEEP_DAYS_MAX, "points are kept at least so many days, whatever a policy says"},
    {"minimum_weeks", 4, 1, CF_KEEP_WEEKS_MAX, "a weekly rule keeps at least so many weeks"},
    {"minimum_months", 3, 1, CF_KEEP_MONTHS_MAX, "a monthly rule keeps at least so many months"},
    {"minimum_years", 1, 1, CF_KEEP_YEARS_MAX, "a yearly rule keeps at least so many years"},
    {"on_demand_days", 30, 1, CF_KEEP_DAYS_MAX,
     "points that were started by hand without a date are kept so many days"},
    {"reclaim_grace_seconds", 7 * DAY, 0, YEAR, "so long after nothing needs it any more, stored data is deleted"},
    {"reclaim_orphan_seconds", 30 * DAY, 0, YEAR,
     "what an interrupted backup stored is kept so long after the server's next point"},
    {"reclaim_interval_seconds", 3600, 1, 30 * DAY, "how often space is reclaimed"},
    {"scrub_days", 30, 1, 366, "every stored byte is read once in so many days"},
    {"compact_percent", 60, 0, 90,
     "packs of which less than this is needed are written anew; 0: never, nor are small ones merged"},
};
enum { COUNT = sizeof settings / sizeof *settings };

const cf_setting_info *cf_settings(size_t *count) {
    *count = COUNT;
    return settings;
}

static const cf_setting_info *find(const char *name) {
    for (size_t i = 0; i < COUNT; i++)
        if (strcmp(settings[i].name, name) == 0) return &settings[i];
    return NULL;
}

static cf_err *need(const char *name, const cf_setting_info **info) {
    *info = find(name);
    if (*info) return NULL;
    CF_AUTO_FREE char *shown = cf_text_printable(cf_span_text(name));
    return cf_fail(CF_ERR_BAD_USAGE, "the vault has no setting '%.64s': see coffer-vault settings DIR",
                   shown ? shown : "");
}

static bool parse(const cf_setting_info *info, const char *text, uint64_t *value) {
    if (text[0] < '0' || text[0] > '9') return false;
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (errno != 0 || *end != '\0' || number < info->min || number > info->max) return false;
    *value = number;
    return true;
}

bool cf_setting_valid(const char *name, const char *text) {
    const cf_setting_info *info = find(name);
    uint64_t value;
    return info && parse(info, text, &value);
}

cf_err *cf_setting_get(cf_vault *vault, const char *name, uint64_t *value, bool *set) {
    char text[CF_SETTING_VALUE_MAX + 1];
    const cf_setting_info *info;
    bool found = false;
    CF_TRY(need(name, &info));
    CF_TRY(cf_records_get_setting(vault->records, name, &found, text));
    *value = info->otherwise;
    /* A value out of range was set by another version: its default is the safe one. */
    found = found && parse(info, text, value);
    if (set) *set = found;
    return NULL;
}

static cf_err *change(cf_vault *vault, const char *name, const char *text) {
    CF_TRY(cf_vault_journal(vault, CF_JOURNAL_SETTING_CHANGED,
                            json_pack("{ss,so}", "name", name, "value", text ? json_string(text) : json_null()), NULL));
    CF_TRY(cf_records_set_setting(vault->records, name, text));
    return cf_records_set_retention_due(vault->records, NULL, 0);
}

cf_err *cf_setting_change(cf_vault *vault, const char *name, const char *text) {
    const cf_setting_info *info;
    uint64_t value;
    CF_TRY(need(name, &info));
    if (text && !parse(info, text, &value))
        return cf_fail(CF_ERR_BAD_USAGE, "%s is a number from %llu to %llu", name, (unsigned long long)info->min,
                       (unsigned long long)info->max);
    CF_TRY(cf_records_begin(vault->records));
    return cf_records_finish(vault->records, change(vault, name, text));
}

cf_err *cf_settings_floor(cf_vault *vault, cf_retention_floor *floor) {
    static const char *const names[] = {"minimum_days", "minimum_weeks", "minimum_months", "minimum_years",
                                        "on_demand_days"};
    uint64_t values[5];
    for (size_t i = 0; i < 5; i++) CF_TRY(cf_setting_get(vault, names[i], &values[i], NULL));
    *floor = (cf_retention_floor){(uint32_t)values[0], (uint32_t)values[1], (uint32_t)values[2], (uint32_t)values[3],
                                  (uint32_t)values[4]};
    return NULL;
}
