#include "daemon/slots.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/schedule.h"

enum {
    ON_TIME_S = 60, /* a run that starts so late is not a missed one, whatever the window */
    CLOCK_BACK_S = 3600
};

bool cf_slots_parse(const char *text, cf_slots *slots) {
    int used = 0;
    *slots = (cf_slots){0};
    if (!text || sscanf(text, "%" SCNd64 " %" SCNd64 " %n", &slots->handled, &slots->stopped, &used) != 2 ||
        strlen(text + used) >= sizeof slots->schedule) {
        *slots = (cf_slots){0};
        return false;
    }
    memcpy(slots->schedule, text + used, strlen(text + used) + 1);
    return true;
}

void cf_slots_format(const cf_slots *slots, char out[CF_SLOTS_TEXT_MAX + 64]) {
    snprintf(out, CF_SLOTS_TEXT_MAX + 64, "%" PRId64 " %" PRId64 " %s", slots->handled, slots->stopped,
             slots->schedule);
}

/* FNV-1a: long lists of times are told apart by it. */
static uint32_t sum_of(const char *text) {
    uint32_t sum = 2166136261u;
    for (; *text; text++) sum = (sum ^ (uint8_t)*text) * 16777619u;
    return sum;
}

static void describe(const cf_policy *policy, char out[CF_SLOTS_TEXT_MAX]) {
    out[0] = '\0';
    if (!policy || !cf_schedule_active(policy)) return;
    char *text = cf_schedule_text(&policy->schedule);
    snprintf(out, CF_SLOTS_TEXT_MAX, "%s %08x %.120s", policy->zone, text ? sum_of(text) : 0, text ? text : "");
    free(text);
}

bool cf_slots_adopt(cf_slots *slots, const cf_policy *policy, int64_t now) {
    char text[CF_SLOTS_TEXT_MAX];
    describe(policy, text);
    if (strcmp(text, slots->schedule) != 0) {
        *slots = (cf_slots){.handled = now};
        memcpy(slots->schedule, text, sizeof text);
        return true;
    }
    if (slots->handled - now <= CLOCK_BACK_S) return false;
    slots->handled = now;
    slots->stopped = 0;
    return true;
}

cf_err *cf_slots_decide(const cf_slots *slots, const cf_policy *policy, const cf_id16 *server, int64_t now,
                        cf_slot_decision *decision) {
    bool found = false;
    int64_t first = 0, newest = 0;
    *decision = (cf_slot_decision){.answer = CF_SLOT_NONE, .wake = INT64_MAX};
    if (!policy || !cf_schedule_active(policy)) return NULL;
    CF_TRY(cf_schedule_next(policy, slots->handled, &found, &first));
    if (!found) return NULL;
    /* The first one decides when: with a delay longer than the distance of two slots the newest would never come. */
    int64_t due = first + cf_schedule_delay(policy, server, first);
    if (now < due) {
        *decision = (cf_slot_decision){CF_SLOT_LATER, first, due};
        return NULL;
    }
    CF_TRY(cf_schedule_last(policy, now, &found, &newest));
    if (!found || newest < first) newest = first;
    int64_t late = now - (newest + cf_schedule_delay(policy, server, newest));
    int64_t window = (int64_t)policy->catch_up_minutes * 60;
    if (window < ON_TIME_S) window = ON_TIME_S;
    *decision = (cf_slot_decision){late <= window ? CF_SLOT_RUN : CF_SLOT_MISSED, newest, now};
    return NULL;
}
