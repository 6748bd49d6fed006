#include "policy/words.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"

enum { WEEKDAYS = 7, MONTHS = 12, ORDINALS = 5, MINUTES = 1440, LAST_DAY_BIT = 31, RULE_WORDS = 4, TEXT_MAX = 16384 };

static const char *const weekday_names[WEEKDAYS] = {"monday", "tuesday",  "wednesday", "thursday",
                                                    "friday", "saturday", "sunday"};
static const char *const month_names[MONTHS] = {"january", "february", "march",     "april",   "may",      "june",
                                                "july",    "august",   "september", "october", "november", "december"};
static const char *const ordinal_names[ORDINALS] = {"first", "second", "third", "fourth", "last"};

/* The index of a word: in full or its first three letters (short_size 3), or in full only (0); -1: none. */
static int index_of(const char *word, const char *const *names, int count, size_t short_size) {
    for (int i = 0; i < count; i++) {
        if (strcasecmp(word, names[i]) == 0) return i;
        if (short_size && strlen(word) == short_size && strncasecmp(word, names[i], short_size) == 0) return i;
    }
    return -1;
}

static cf_err *refuse(const char *word, const char *wanted) {
    return cf_fail(CF_ERR_BAD_USAGE, "'%.64s' is not %s", word, wanted);
}

/* Calls each(word) for the parts between the commas; text is a copy that is cut up. */
static cf_err *each_part(const char *text, cf_err *(*each)(char *word, void *out), void *out) {
    CF_AUTO_FREE char *copy = strlen(text) < TEXT_MAX ? strdup(text) : NULL;
    if (!copy) return cf_fail(CF_ERR_BAD_USAGE, "a list is too long");
    for (char *word = copy, *next; word; word = next) {
        next = strchr(word, ',');
        if (next) *next++ = '\0';
        CF_TRY(each(word, out));
    }
    return NULL;
}

static const char a_weekday[] = "a day of the week (mon, tue, wed, thu, fri, sat, sun)";

static cf_err *add_weekday(char *word, void *out) {
    uint8_t *weekdays = out;
    char *dash = strchr(word, '-');
    if (dash) *dash = '\0';
    int first = index_of(word, weekday_names, WEEKDAYS, 3);
    int last = dash ? index_of(dash + 1, weekday_names, WEEKDAYS, 3) : first;
    if (first < 0) return refuse(word, a_weekday);
    if (last < 0) return refuse(dash ? dash + 1 : word, a_weekday);
    for (int day = first;; day = (day + 1) % WEEKDAYS) {
        *weekdays = (uint8_t)(*weekdays | 1u << day);
        if (day == last) return NULL;
    }
}

cf_err *cf_weekdays_parse(const char *text, uint8_t *out) {
    uint8_t made = 0;
    CF_TRY(each_part(text, add_weekday, &made));
    *out = made;
    return NULL;
}

static bool digit(char c) {
    return c >= '0' && c <= '9';
}

cf_err *cf_minute_parse(const char *text, uint16_t *out) {
    static const char wanted[] = "a time of the day (00:00 to 23:59)";
    size_t size = strlen(text);
    if (size != 5 && size != 4) return refuse(text, wanted);
    const char *rest = text + size - 3;
    if (rest[0] != ':' || !digit(rest[1]) || !digit(rest[2]) || !digit(text[0]) || !digit(rest[-1]))
        return refuse(text, wanted);
    int hour = size == 5 ? (text[0] - '0') * 10 + (text[1] - '0') : text[0] - '0';
    int minute = (rest[1] - '0') * 10 + (rest[2] - '0');
    if (hour > 23 || minute > 59) return refuse(text, wanted);
    *out = (uint16_t)(hour * 60 + minute);
    return NULL;
}

static cf_err *add_minute(char *word, void *out) {
    bool *set = out;
    uint16_t minute = 0;
    CF_TRY(cf_minute_parse(word, &minute));
    set[minute] = true;
    return NULL;
}

cf_err *cf_minutes_parse(const char *text, uint16_t **minutes, size_t *count) {
    bool set[MINUTES] = {false};
    size_t found = 0;
    CF_TRY(each_part(text, add_minute, set));
    uint16_t *made = malloc(MINUTES * sizeof *made);
    if (!made) return cf_fail(CF_ERR_OUT_OF_MEMORY, "the times of a schedule");
    for (uint16_t minute = 0; minute < MINUTES; minute++)
        if (set[minute]) made[found++] = minute;
    *minutes = made;
    *count = found;
    return NULL;
}

static cf_err *add_month(char *word, void *out) {
    cf_keep_days *days = out;
    int month = index_of(word, month_names, MONTHS, 3);
    if (month < 0) return refuse(word, "a month (jan, feb, mar, ...)");
    days->months = (uint16_t)(days->months | 1u << month);
    return NULL;
}

static cf_err *add_ordinal(char *word, void *out) {
    cf_keep_days *days = out;
    int ordinal = index_of(word, ordinal_names, ORDINALS, 0);
    if (ordinal < 0) return refuse(word, "one of first, second, third, fourth, last");
    days->ordinals = (uint8_t)(days->ordinals | 1u << ordinal);
    return NULL;
}

static cf_err *add_month_day(char *word, void *out) {
    cf_keep_days *days = out;
    uint64_t day = 0;
    if (strcasecmp(word, "last") == 0)
        day = LAST_DAY_BIT + 1;
    else if (!cf_text_parse_u64(word, 31, &day) || day == 0)
        return refuse(word, "a day of the month (1 to 31, or last)");
    days->month_days |= (uint32_t)1 << (day - 1);
    return NULL;
}

/* "last sat" or "1,15": words[0 .. count - 1], the time and the months being gone. */
static cf_err *read_month_days(char **words, size_t count, cf_keep_days *days) {
    if (count == 1) return each_part(words[0], add_month_day, days);
    if (count != 2) return cf_fail(CF_ERR_BAD_USAGE, "write 'last sat' or '1,15'");
    CF_TRY(each_part(words[0], add_ordinal, days));
    return cf_weekdays_parse(words[1], &days->weekdays);
}

static cf_err *read_rule(cf_rule rule, char **words, size_t count, cf_keep_days *days) {
    if (count > 1 && strchr(words[count - 1], ':')) {
        CF_TRY(cf_minute_parse(words[--count], &days->minute));
        days->has_minute = true;
    }
    if (rule == CF_RULE_WEEKLY) {
        if (count != 1) return cf_fail(CF_ERR_BAD_USAGE, "write 'sat', 'sat,sun' or 'sat 21:00'");
        return cf_weekdays_parse(words[0], &days->weekdays);
    }
    if (rule == CF_RULE_MONTHLY) return read_month_days(words, count, days);
    if (count < 2) return cf_fail(CF_ERR_BAD_USAGE, "write 'jan last sun' or 'mar,sep 1'");
    CF_TRY(each_part(words[0], add_month, days));
    return read_month_days(words + 1, count - 1, days);
}

cf_err *cf_keep_days_parse(cf_rule rule, const char *text, cf_keep_days *out) {
    char *words[RULE_WORDS] = {NULL}, *rest = NULL;
    size_t count = 0;
    CF_AUTO_FREE char *copy = strlen(text) < TEXT_MAX ? strdup(text) : NULL;
    if (!copy) return cf_fail(CF_ERR_BAD_USAGE, "a rule is too long");
    for (char *word = strtok_r(copy, " \t", &rest); word; word = strtok_r(NULL, " \t", &rest)) {
        if (count == RULE_WORDS) return refuse(text, "a rule: it has too many words");
        words[count++] = word;
    }
    if (count == 0) return cf_fail(CF_ERR_BAD_USAGE, "no day is given");
    cf_keep_days made = {0};
    CF_TRY(read_rule(rule, words, count, &made));
    *out = made;
    return NULL;
}

/* The names of the bits of a set, with commas; size letters of each (0: all). */
static void put_set(uint32_t set, const char *const *names, unsigned count, size_t size, cf_buf *out) {
    const char *comma = "";
    for (unsigned i = 0; i < count; i++) {
        if (!(set >> i & 1)) continue;
        cf_buf_put_span(out, cf_span_text(comma));
        cf_buf_put(out, names[i], size ? size : strlen(names[i]));
        comma = ",";
    }
}

void cf_weekdays_put(uint8_t weekdays, cf_buf *out) {
    put_set(weekdays, weekday_names, WEEKDAYS, 3, out);
}

void cf_minute_put(uint16_t minute, cf_buf *out) {
    char text[16];
    snprintf(text, sizeof text, "%02u:%02u", minute / 60u, minute % 60u);
    cf_buf_put_span(out, cf_span_text(text));
}

void cf_minutes_put(const uint16_t *minutes, size_t count, cf_buf *out) {
    for (size_t i = 0; i < count; i++) {
        if (i) cf_buf_put(out, ",", 1);
        cf_minute_put(minutes[i], out);
    }
}

static void put_month_days(uint32_t days, cf_buf *out) {
    const char *comma = "";
    for (unsigned bit = 0; bit <= LAST_DAY_BIT; bit++) {
        char text[16];
        if (!(days >> bit & 1)) continue;
        snprintf(text, sizeof text, "%s%u", comma, bit + 1);
        cf_buf_put_span(out, cf_span_text(bit < LAST_DAY_BIT ? text : comma));
        if (bit == LAST_DAY_BIT) cf_buf_put(out, "last", 4);
        comma = ",";
    }
}

void cf_keep_days_put(cf_rule rule, const cf_keep_days *days, cf_buf *out) {
    if (rule == CF_RULE_YEARLY) {
        put_set(days->months, month_names, MONTHS, 3, out);
        cf_buf_put(out, " ", 1);
    }
    if (rule != CF_RULE_WEEKLY && days->ordinals) {
        put_set(days->ordinals, ordinal_names, ORDINALS, 0, out);
        cf_buf_put(out, " ", 1);
    }
    if (rule != CF_RULE_WEEKLY && !days->ordinals)
        put_month_days(days->month_days, out);
    else
        cf_weekdays_put(days->weekdays, out);
    if (!days->has_minute) return;
    cf_buf_put(out, " ", 1);
    cf_minute_put(days->minute, out);
}
