/* How fast this server may send and receive: rates for work hours and for all other hours, by weekday, and the
 * arithmetic of a token bucket that many processes share. Pure.
 *
 * The text form, as it stands in <state>/throttle.conf:
 *   enabled = yes
 *   work = 2000000            bits a second during work hours; none: no limit
 *   other = 50000000          the rest of the time; none: no limit
 *   window = mon-fri 09:00-18:00
 * A window that ends before it begins reaches into the next day.                                               */
#ifndef CF_POLICY_THROTTLE_H
#define CF_POLICY_THROTTLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

enum { CF_THROTTLE_WINDOWS_MAX = 64, CF_THROTTLE_SIZE_MAX = 16384, CF_THROTTLE_RATE_TEXT = 24 };
#define CF_THROTTLE_RATE_MIN UINT64_C(64000)        /* bits a second */
#define CF_THROTTLE_RATE_MAX UINT64_C(100000000000) /* 100 Gbit/s    */

/* Work hours: from `from` until just before `to`, minutes of the day. to <= from: until `to` of the next day. */
typedef struct cf_throttle_window {
    uint8_t weekdays; /* bit 0 Monday .. bit 6 Sunday: the days that it begins on */
    uint16_t from;    /* 0 .. 1439 */
    uint16_t to;      /* 1 .. 1440 */
} cf_throttle_window;

typedef struct cf_throttle {
    bool enabled;
    uint64_t work_bits, other_bits; /* a second; 0: no limit */
    cf_throttle_window window[CF_THROTTLE_WINDOWS_MAX];
    size_t window_count;
} cf_throttle;

/* cf_throttle_parse: name is for messages. Fails: 900901 CONFIG (reasons syntax, unknown_key, bad_value, too_large). */
cf_err *cf_throttle_parse(cf_span text, const char *name, cf_throttle *throttle) __attribute__((warn_unused_result));
cf_err *cf_throttle_format(const cf_throttle *throttle, cf_buf *out) __attribute__((warn_unused_result));
/* cf_throttle_check: does it hold together? Fails: BAD_USAGE (a rate for work hours without work hours, nothing
 * limited at all). */
cf_err *cf_throttle_check(const cf_throttle *throttle) __attribute__((warn_unused_result));
/* cf_throttle_work_time: is this minute (0 .. 1439) of this weekday (0 Monday .. 6 Sunday) within work hours? */
bool cf_throttle_work_time(const cf_throttle *throttle, unsigned weekday, unsigned minute);
/* cf_throttle_bits: the rate that holds then, bits a second; 0: no limit. */
uint64_t cf_throttle_bits(const cf_throttle *throttle, unsigned weekday, unsigned minute);

/* Words of people. All fail with BAD_USAGE.
 *   rate      64kbit, 2Mbit, 1.5 Mbit/s, 1Gbit (steps of 1000); none
 *   weekdays  mon-fri, sat,sun, daily (all)
 *   windows   [WEEKDAYS ]09:00-12:00,13:00-18:00: appended; days holds for those that name none */
cf_err *cf_throttle_parse_rate(const char *text, uint64_t *bits) __attribute__((warn_unused_result));
cf_err *cf_throttle_parse_weekdays(const char *text, uint8_t *weekdays) __attribute__((warn_unused_result));
cf_err *cf_throttle_parse_windows(const char *text, uint8_t days, cf_throttle *throttle)
    __attribute__((warn_unused_result));
void cf_throttle_rate_text(uint64_t bits, char out[CF_THROTTLE_RATE_TEXT]); /* "1.5 Mbit/s", "no limit" */
void cf_throttle_weekdays_text(uint8_t weekdays, char out[32]);             /* "mon-fri", "sat,sun"     */

/* ---- The token bucket ----
 * One number for all processes: the time (monotonic, nanoseconds) at which everything that was promised so far has
 * been paid for. Whoever wants to move bytes pushes it forward by what they cost and waits until then. So promises
 * are kept in order, nothing is held while waiting, and a process that dies leaves nothing behind but one promise. */
enum {
    CF_BUCKET_BURST_MS = 250, /* unused time that may be made up for */
    CF_BUCKET_AHEAD_S = 60,   /* nobody promises that far: the number is from before the machine started again */
};
/* cf_bucket_take: paid_ns as it is; the new value, and in *wait_until_ns the time until which to wait. rate in bytes a
 * second, not 0. */
uint64_t cf_bucket_take(uint64_t paid_ns, uint64_t now_ns, uint64_t rate, uint64_t bytes, uint64_t *wait_until_ns);
/* cf_bucket_give: bytes that were promised and not moved go back. */
uint64_t cf_bucket_give(uint64_t paid_ns, uint64_t rate, uint64_t bytes);
/* cf_bucket_slice: how many bytes to ask for at once, so that all get their turn: 50 ms' worth, within 1 KiB .. 256 KiB. */
uint64_t cf_bucket_slice(uint64_t rate);

#endif
