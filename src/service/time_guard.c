#include "service/time_guard.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "records/reclaim.h"

/* Facts of the service in the table of settings. */
#define SEEN "state.clock_seen"
#define CONFIRMED "state.expiry_confirmed"
#define STOPPED "state.expiry_stopped" /* the reason, a blank, and why */
enum { SAVE_SECONDS = 60 };

static cf_err *get_number(cf_vault *vault, const char *name, bool *found, int64_t *number) {
    char text[CF_SETTING_VALUE_MAX + 1];
    CF_TRY(cf_records_get_setting(vault->records, name, found, text));
    if (*found) *number = strtoll(text, NULL, 10);
    return NULL;
}

static cf_err *set_number(cf_vault *vault, const char *name, int64_t number) {
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)number);
    return cf_records_set_setting(vault->records, name, text);
}

cf_err *cf_expiry_stop_now(cf_vault *vault, const char *reason, const char *why, bool tell) {
    char text[CF_SETTING_VALUE_MAX + 1];
    bool found = false;
    CF_TRY(cf_records_get_setting(vault->records, STOPPED, &found, text));
    if (found) return NULL;
    snprintf(text, sizeof text, "%s %.200s", reason, why);
    CF_TRY(cf_records_set_setting(vault->records, STOPPED, text));
    if (!tell) return NULL;
    CF_AUTO(cf_err) told = cf_fail_reason(CF_ERR_EXPIRY_STOPPED, reason, "%s", why);
    cf_log_error(CF_LOG_ERROR, told);
    return NULL;
}

static cf_err *look_at_frozen(cf_vault *vault, cf_expiry_stop *stop) {
    cf_frozen_row row;
    bool frozen = false;
    CF_TRY(cf_records_get_frozen(vault->records, &frozen, &row));
    if (!frozen) return NULL;
    snprintf(stop->reason, sizeof stop->reason, "frozen");
    snprintf(stop->why, sizeof stop->why, "%.200s", row.why);
    return NULL;
}

cf_err *cf_expiry_stopped(cf_vault *vault, cf_expiry_stop *stop) {
    char text[CF_SETTING_VALUE_MAX + 1];
    bool found = false;
    *stop = (cf_expiry_stop){0};
    CF_TRY(look_at_frozen(vault, stop)); /* first: to confirm anything else does not end it */
    if (stop->reason[0]) return NULL;
    CF_TRY(cf_records_get_setting(vault->records, STOPPED, &found, text));
    if (!found) return NULL;
    size_t word = strcspn(text, " ");
    snprintf(stop->reason, sizeof stop->reason, "%.*s", (int)(word < CF_WORD_MAX ? word : CF_WORD_MAX), text);
    snprintf(stop->why, sizeof stop->why, "%s", text[word] ? text + word + 1 : "");
    return NULL;
}

cf_err *cf_expiry_go_on(cf_vault *vault, uint64_t sequence) {
    CF_TRY(cf_records_set_setting(vault->records, STOPPED, NULL));
    CF_TRY(set_number(vault, SEEN, cf_vault_now(vault)));
    return set_number(vault, CONFIRMED, (int64_t)sequence);
}

static cf_err *stop_clock(cf_vault *vault, int64_t expected, int64_t now) {
    char before[40], after[40], why[160];
    cf_time_format((cf_time){expected, 0}, before);
    cf_time_format((cf_time){now, 0}, after);
    snprintf(why, sizeof why, "the vault's clock shows %s where %s was to be expected", after, before);
    return cf_expiry_stop_now(vault, "clock", why, true);
}

/* The first look of this program. */
static cf_err *look_across_restart(cf_vault *vault, int64_t now) {
    bool found = false;
    int64_t seen = 0;
    CF_TRY(get_number(vault, SEEN, &found, &seen));
    if (!found || (now >= seen - CF_CLOCK_BACK_SECONDS && now <= seen + CF_CLOCK_AWAY_SECONDS)) return NULL;
    return stop_clock(vault, seen, now);
}

static cf_err *look_while_running(cf_vault *vault, int64_t now, uint64_t now_ms) {
    const cf_time_anchor *anchor = &vault->anchor;
    int64_t passed = (int64_t)((now_ms - anchor->ms) / 1000);
    int64_t expected = anchor->wall + passed, drift = passed * CF_CLOCK_DRIFT_PER_MILLE / 1000;
    if (now >= expected - CF_CLOCK_BACK_SECONDS - drift && now <= expected + CF_CLOCK_AHEAD_SECONDS + drift)
        return NULL;
    return stop_clock(vault, expected, now);
}

cf_err *cf_time_guard_check(cf_vault *vault) {
    cf_time_anchor *anchor = &vault->anchor;
    int64_t now = cf_vault_now(vault), confirmed = 0;
    uint64_t now_ms = cf_clock_ms(&vault->clock);
    bool found = false;
    cf_expiry_stop stop;
    CF_TRY(get_number(vault, CONFIRMED, &found, &confirmed));
    if (!anchor->set)
        CF_TRY(look_across_restart(vault, now));
    else if (anchor->confirmed == confirmed)
        CF_TRY(look_while_running(vault, now, now_ms));
    if (!anchor->set || anchor->confirmed != confirmed)
        *anchor = (cf_time_anchor){.set = true, .wall = now, .ms = now_ms, .confirmed = confirmed};
    CF_TRY(cf_expiry_stopped(vault, &stop));
    /* A clock that is not trusted is not what the next start is held against. */
    if (strcmp(stop.reason, "clock") == 0 || (now >= anchor->saved && now < anchor->saved + SAVE_SECONDS)) return NULL;
    CF_TRY(set_number(vault, SEEN, now));
    anchor->saved = now;
    return NULL;
}
