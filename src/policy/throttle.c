#include "policy/throttle.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"

enum { DAY_MINUTES = 1440, ALL_DAYS = 0x7f };
#define NS_PER_S UINT64_C(1000000000)

static const char *const day_names[7] = {"mon", "tue", "wed", "thu", "fri", "sat", "sun"};

/* ---- When ---- */

bool cf_throttle_work_time(const cf_throttle *throttle, unsigned weekday, unsigned minute) {
    unsigned yesterday = (weekday + 6) % 7;
    for (size_t i = 0; i < throttle->window_count; i++) {
        const cf_throttle_window *window = &throttle->window[i];
        bool today = window->weekdays >> weekday & 1, before = window->weekdays >> yesterday & 1;
        bool over_night = window->to <= window->from;
        if (today && minute >= window->from && (over_night || minute < window->to)) return true;
        if (before && over_night && minute < window->to) return true;
    }
    return false;
}

uint64_t cf_throttle_bits(const cf_throttle *throttle, unsigned weekday, unsigned minute) {
    if (!throttle->enabled) return 0;
    return cf_throttle_work_time(throttle, weekday, minute) ? throttle->work_bits : throttle->other_bits;
}

cf_err *cf_throttle_check(const cf_throttle *throttle) {
    if (throttle->work_bits && throttle->window_count == 0)
        return cf_fail(CF_ERR_BAD_USAGE, "a rate for work hours needs --work-hours 09:00-18:00");
    if (throttle->enabled && !throttle->other_bits && !throttle->work_bits)
        return cf_fail(CF_ERR_BAD_USAGE, "nothing is limited: give --work RATE, --other RATE or both");
    return NULL;
}

/* ---- Words ---- */

cf_err *cf_throttle_parse_rate(const char *text, uint64_t *bits) {
    static const struct {
        const char *unit;
        double factor;
    } units[] = {{"kbit", 1e3}, {"mbit", 1e6}, {"gbit", 1e9}};
    if (strcasecmp(text, "none") == 0) {
        *bits = 0;
        return NULL;
    }
    size_t digits = strspn(text, "0123456789.");
    const char *unit = text + digits + strspn(text + digits, " ");
    double factor = 0;
    for (size_t i = 0; i < 3; i++)
        if (strncasecmp(unit, units[i].unit, 4) == 0 && (!unit[4] || strcasecmp(unit + 4, "/s") == 0))
            factor = units[i].factor;
    char number[24] = "", *end = number;
    if (digits && digits < sizeof number) memcpy(number, text, digits);
    double value = strtod(number, &end) * factor;
    if (!digits || *end || factor == 0)
        return cf_fail(CF_ERR_BAD_USAGE, "'%s' is not a rate: write 64kbit, 2Mbit, 1.5Mbit, 1Gbit or none", text);
    if (value < (double)CF_THROTTLE_RATE_MIN || value > (double)CF_THROTTLE_RATE_MAX)
        return cf_fail(CF_ERR_BAD_USAGE, "'%s' is outside 64kbit .. 100Gbit", text);
    *bits = (uint64_t)(value + 0.5);
    return NULL;
}

static bool parse_day(const char *text, size_t size, unsigned *day) {
    for (unsigned i = 0; i < 7; i++)
        if (size == 3 && strncasecmp(text, day_names[i], 3) == 0) {
            *day = i;
            return true;
        }
    return false;
}

/* "mon" or "mon-fri", also "sat-mon". */
static bool parse_days(const char *text, size_t size, uint8_t *days) {
    unsigned from, to;
    const char *dash = memchr(text, '-', size);
    size_t first = dash ? (size_t)(dash - text) : size;
    if (!parse_day(text, first, &from)) return false;
    to = from;
    if (dash && !parse_day(dash + 1, size - first - 1, &to)) return false;
    for (unsigned day = from;; day = (day + 1) % 7) {
        *days = (uint8_t)(*days | 1u << day);
        if (day == to) return true;
    }
}

cf_err *cf_throttle_parse_weekdays(const char *text, uint8_t *weekdays) {
    uint8_t days = 0;
    bool good = *text != '\0';
    if (strcasecmp(text, "daily") == 0) {
        *weekdays = ALL_DAYS;
        return NULL;
    }
    for (const char *at = text; good && *at;) {
        size_t size = strcspn(at, ",");
        good = parse_days(at, size, &days) && (!at[size] || at[size + 1]);
        at += size + (at[size] == ',');
    }
    if (!good) return cf_fail(CF_ERR_BAD_USAGE, "'%s' is not days of the week: write mon-fri, sat,sun or daily", text);
    *weekdays = days;
    return NULL;
}

/* "9:00" or "09:00"; 24:00 only where allowed. */
static bool parse_minute(const char *text, size_t size, unsigned max, uint16_t *minute) {
    if (size < 4 || size > 5 || text[size - 3] != ':') return false;
    unsigned value[4] = {0};
    for (size_t i = 0, n = size == 5 ? 0 : 1; i < size; i++) {
        if (i == size - 3) continue;
        if (text[i] < '0' || text[i] > '9') return false;
        value[n++] = (unsigned)(text[i] - '0');
    }
    unsigned hour = value[0] * 10 + value[1], minutes = value[2] * 10 + value[3];
    if (minutes > 59 || hour * 60 + minutes > max) return false;
    *minute = (uint16_t)(hour * 60 + minutes);
    return true;
}

static cf_err *parse_window(const char *text, size_t size, uint8_t days, cf_throttle *throttle) {
    cf_throttle_window window = {.weekdays = days};
    const char *dash = memchr(text, '-', size);
    size_t first = dash ? (size_t)(dash - text) : 0;
    if (!dash || !parse_minute(text, first, DAY_MINUTES - 1, &window.from) ||
        !parse_minute(dash + 1, size - first - 1, DAY_MINUTES, &window.to) || window.from == window.to)
        return cf_fail(CF_ERR_BAD_USAGE, "'%.*s' is not hours of a day: write 09:00-18:00", (int)size, text);
    if (window.to == 0) window.to = DAY_MINUTES; /* 18:00-00:00 ends with the day */
    if (throttle->window_count == CF_THROTTLE_WINDOWS_MAX)
        return cf_fail(CF_ERR_BAD_USAGE, "at most %d windows of work hours", CF_THROTTLE_WINDOWS_MAX);
    throttle->window[throttle->window_count++] = window;
    return NULL;
}

cf_err *cf_throttle_parse_windows(const char *text, uint8_t days, cf_throttle *throttle) {
    const char *blank = strchr(text, ' ');
    if (blank) {
        CF_AUTO_FREE char *word = cf_span_dup_text(cf_span_of(text, (size_t)(blank - text)));
        if (!word) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for work hours");
        CF_TRY(cf_throttle_parse_weekdays(word, &days));
        text = blank + strspn(blank, " ");
    }
    for (;;) {
        size_t size = strcspn(text, ",");
        CF_TRY(parse_window(text, size, days, throttle));
        if (!text[size]) return NULL;
        text += size + 1;
    }
}

void cf_throttle_rate_text(uint64_t bits, char out[CF_THROTTLE_RATE_TEXT]) {
    static const char *const units[] = {"kbit/s", "Mbit/s", "Gbit/s"};
    unsigned unit = 0;
    double value = (double)bits / 1e3;
    for (; value >= 1000 && unit < 2; unit++) value /= 1000;
    if (bits)
        snprintf(out, CF_THROTTLE_RATE_TEXT, "%.10g %s", value, units[unit]);
    else
        snprintf(out, CF_THROTTLE_RATE_TEXT, "no limit");
}

void cf_throttle_weekdays_text(uint8_t weekdays, char out[32]) {
    size_t used = 0;
    out[0] = '\0';
    for (unsigned day = 0; day < 7;) {
        unsigned end = day;
        while (end < 7 && weekdays >> end & 1) end++;
        if (end - day >= 3)
            used +=
                (size_t)snprintf(out + used, 32 - used, "%s%s-%s", used ? "," : "", day_names[day], day_names[end - 1]);
        else
            for (unsigned i = day; i < end; i++)
                used += (size_t)snprintf(out + used, 32 - used, "%s%s", used ? "," : "", day_names[i]);
        day = end + 1;
    }
}

/* ---- The stored text ---- */

static cf_err *store_rate(const char *value, uint64_t *bits) {
    if (strcmp(value, "none") == 0) {
        *bits = 0;
        return NULL;
    }
    if (cf_text_parse_u64(value, CF_THROTTLE_RATE_MAX, bits) && *bits >= CF_THROTTLE_RATE_MIN) return NULL;
    return cf_fail(CF_ERR_BAD_USAGE, "'%s' is not bits a second (64000 at least) or none", value);
}

static cf_err *store(const char *key, const char *value, cf_throttle *throttle) {
    cf_err *err = NULL;
    if (strcmp(key, "enabled") == 0 && (strcmp(value, "yes") == 0 || strcmp(value, "no") == 0))
        throttle->enabled = value[0] == 'y';
    else if (strcmp(key, "enabled") == 0)
        err = cf_fail(CF_ERR_BAD_USAGE, "'%s' is not yes or no", value);
    else if (strcmp(key, "work") == 0)
        err = store_rate(value, &throttle->work_bits);
    else if (strcmp(key, "other") == 0)
        err = store_rate(value, &throttle->other_bits);
    else if (strcmp(key, "window") == 0)
        err = cf_throttle_parse_windows(value, ALL_DAYS, throttle);
    else
        return cf_fail_reason(CF_ERR_CONFIG, "unknown_key", "unknown key '%.64s'", key);
    return err ? cf_wrap_reason(err, CF_ERR_CONFIG, "bad_value", "%s", key) : NULL;
}

static cf_err *store_line(char *line, cf_throttle *throttle) {
    char *end = line + strlen(line);
    while (end > line && strchr(" \t\r", end[-1])) *--end = '\0';
    line += strspn(line, " \t");
    if (!*line || *line == '#') return NULL;
    char *equals = strchr(line, '=');
    if (!equals) return cf_fail_reason(CF_ERR_CONFIG, "syntax", "a setting is written KEY = VALUE");
    char *stop = equals;
    while (stop > line && strchr(" \t", stop[-1])) stop--;
    *stop = '\0';
    return store(line, equals + 1 + strspn(equals + 1, " \t"), throttle);
}

cf_err *cf_throttle_parse(cf_span text, const char *name, cf_throttle *out) {
    if (text.size > CF_THROTTLE_SIZE_MAX)
        return cf_fail_reason(CF_ERR_CONFIG, "too_large", "%s has more than %d bytes", name, CF_THROTTLE_SIZE_MAX);
    if (text.size && memchr(text.data, '\0', text.size))
        return cf_fail_reason(CF_ERR_CONFIG, "syntax", "%s holds a NUL byte: it is no text file", name);
    CF_AUTO_FREE char *copy = cf_span_dup_text(text);
    if (!copy) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory to read %s", name);
    cf_throttle throttle = {0};
    unsigned number = 1;
    for (char *line = copy, *next; line; line = next, number++) {
        next = strchr(line, '\n');
        if (next) *next++ = '\0';
        CF_TRY(cf_note(store_line(line, &throttle), "%s:%u", name, number));
    }
    *out = throttle;
    return NULL;
}

static void put_line(cf_buf *out, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void put_line(cf_buf *out, const char *format, ...) {
    char line[96];
    va_list args;
    va_start(args, format);
    int size = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (size > 0 && (size_t)size < sizeof line) cf_buf_put(out, line, (size_t)size);
}

static void put_rate(cf_buf *out, const char *key, uint64_t bits) {
    if (bits)
        put_line(out, "%s = %llu\n", key, (unsigned long long)bits);
    else
        put_line(out, "%s = none\n", key);
}

cf_err *cf_throttle_format(const cf_throttle *throttle, cf_buf *out) {
    put_line(out, "# Written by `coffer throttle`.\nenabled = %s\n", throttle->enabled ? "yes" : "no");
    put_rate(out, "work", throttle->work_bits);
    put_rate(out, "other", throttle->other_bits);
    for (size_t i = 0; i < throttle->window_count; i++) {
        const cf_throttle_window *window = &throttle->window[i];
        char days[32];
        cf_throttle_weekdays_text(window->weekdays, days);
        put_line(out, "window = %s %02u:%02u-%02u:%02u\n", days, window->from / 60u, window->from % 60u,
                 window->to / 60u, window->to % 60u);
    }
    return cf_buf_check(out, "the throttle");
}

/* ---- The bucket ---- */

/* How long bytes take at this rate, rounded up; never overflows. */
static uint64_t cost_ns(uint64_t rate, uint64_t bytes) {
    uint64_t seconds = bytes / rate, rest = bytes % rate;
    if (seconds > CF_BUCKET_AHEAD_S) return CF_BUCKET_AHEAD_S * NS_PER_S;
    /* rest < rate <= 12.5e9: in doubles it is exact to the nanosecond */
    return seconds * NS_PER_S + (uint64_t)((double)rest * 1e9 / (double)rate + 0.999);
}

uint64_t cf_bucket_take(uint64_t paid_ns, uint64_t now_ns, uint64_t rate, uint64_t bytes, uint64_t *wait_until_ns) {
    const uint64_t burst = CF_BUCKET_BURST_MS * UINT64_C(1000000);
    uint64_t floor = now_ns > burst ? now_ns - burst : 0;
    if (paid_ns > now_ns && paid_ns - now_ns > CF_BUCKET_AHEAD_S * NS_PER_S) paid_ns = now_ns;
    if (paid_ns < floor) paid_ns = floor;
    *wait_until_ns = paid_ns + cost_ns(rate, bytes);
    return *wait_until_ns;
}

uint64_t cf_bucket_give(uint64_t paid_ns, uint64_t rate, uint64_t bytes) {
    uint64_t cost = cost_ns(rate, bytes);
    return paid_ns > cost ? paid_ns - cost : 0;
}

static uint64_t between(uint64_t value, uint64_t min, uint64_t max) {
    return value < min ? min : value > max ? max : value;
}

uint64_t cf_bucket_slice(uint64_t rate) {
    return between(rate / 20, 1 << 10, 256 << 10);
}
