/* A schedule as people write it: 'daily 09:00,21:00', 'weekly/2 sat 02:00'. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "policy/schedule.h"
#include "policy/words.h"

enum { TEXT_MAX = 16384, WEEKS_MAX = 52 };

static cf_err *explain(const char *text) {
    return cf_fail(CF_ERR_BAD_USAGE,
                   "'%.64s' is no schedule: write 'daily 09:00,21:00', 'weekly mon,thu 22:30', 'weekly/2 sat 02:00' or "
                   "'none'",
                   text);
}

/* The week of the next of these days, today included. */
static uint16_t phase_from(int64_t today, uint8_t weekdays, uint16_t every) {
    int64_t day = today;
    while (!(weekdays >> cf_weekday_of_day(day) & 1)) day++;
    int64_t rest = cf_week_of_day(day) % every;
    return (uint16_t)(rest < 0 ? rest + every : rest);
}

static cf_err *read_weekly(char **words, size_t count, const char *text, int64_t today, cf_schedule *made) {
    made->kind = CF_SCHEDULE_WEEKLY;
    made->every_weeks = 1;
    if (words[0][6] == '/') {
        uint64_t every = 0;
        if (!cf_text_parse_u64(words[0] + 7, WEEKS_MAX, &every) || every == 0)
            return cf_fail(CF_ERR_BAD_USAGE, "'%.32s': every 1 to 52 weeks", words[0]);
        made->every_weeks = (uint16_t)every;
    }
    if (count != 3) return explain(text);
    CF_TRY(cf_weekdays_parse(words[1], &made->weekdays));
    CF_TRY(cf_minutes_parse(words[2], &made->minutes, &made->minute_count));
    made->phase = phase_from(today, made->weekdays, made->every_weeks);
    return NULL;
}

cf_err *cf_schedule_parse(const char *text, int64_t today, cf_schedule *schedule) {
    char *words[4] = {NULL}, *rest = NULL;
    size_t count = 0;
    CF_AUTO_FREE char *copy = strlen(text) < TEXT_MAX ? strdup(text) : NULL;
    if (!copy) return explain(text);
    for (char *word = strtok_r(copy, " \t", &rest); word && count < 4; word = strtok_r(NULL, " \t", &rest))
        words[count++] = word;
    if (count == 0) return explain(text);
    cf_schedule made = {.every_weeks = 1};
    if (strcmp(words[0], "daily") == 0 && count == 2) {
        made.kind = CF_SCHEDULE_DAILY;
        CF_TRY(cf_minutes_parse(words[1], &made.minutes, &made.minute_count));
    } else if (strcmp(words[0], "weekly") == 0 || cf_text_starts(words[0], "weekly/")) {
        CF_TRY(read_weekly(words, count, text, today, &made));
    } else if (strcmp(words[0], "none") != 0 || count != 1) {
        return explain(text);
    }
    free(schedule->minutes);
    *schedule = made;
    return NULL;
}

char *cf_schedule_text(const cf_schedule *schedule) {
    CF_AUTO_BUF cf_buf out;
    cf_buf_init(&out, TEXT_MAX);
    if (schedule->kind == CF_SCHEDULE_NONE) cf_buf_put_span(&out, cf_span_text("none"));
    if (schedule->kind == CF_SCHEDULE_DAILY) cf_buf_put_span(&out, cf_span_text("daily "));
    if (schedule->kind == CF_SCHEDULE_WEEKLY) {
        char weeks[32] = "weekly ";
        if (schedule->every_weeks > 1) snprintf(weeks, sizeof weeks, "weekly/%u ", schedule->every_weeks);
        cf_buf_put_span(&out, cf_span_text(weeks));
        cf_weekdays_put(schedule->weekdays, &out);
        cf_buf_put(&out, " ", 1);
    }
    if (schedule->kind != CF_SCHEDULE_NONE) cf_minutes_put(schedule->minutes, schedule->minute_count, &out);
    return out.failed ? NULL : cf_span_dup_text(cf_buf_span(&out));
}
