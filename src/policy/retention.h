/* How long recovery points are kept: pure functions of the policy, the history of a server's points, the vault's time
 * and the policy's zone. The vault enforces with them, the agent previews. docs/retention.md tells the rules at length.
 *
 * A scheduled point of the full selection satisfies the daily rule. A weekly, monthly or yearly rule has slots: the
 * schedule's first run (or the run of the rule's minute) on each of the rule's days, in the policy's zone. The first
 * point of the full selection that is received at or after a slot and before the rule's next slot carries its tag, be
 * it scheduled or on demand. A point is kept until the latest of: the end of each rule that it satisfies, counted from
 * when it was received, by the calendar of the zone; the date that was chosen for it; for one that satisfies no rule, the
 * vault's minimum (scheduled) or its term for on-demand points.
 *
 * When no new points arrive, the last one is held past its date: one after which none had come by then, or fewer than three
 * and none of them in the first half of its time. It goes when three have come after it and the vault's minimum of
 * days has passed since the third. As long as one is held, so is the longest-dated of those past their date. Points that
 * are flagged stand in for none that is not. The newest point of all is always held.                        */
#ifndef CF_POLICY_RETENTION_H
#define CF_POLICY_RETENTION_H

#include "policy/policy.h"

/* What the vault sets; never less than this, whatever a policy says. */
typedef struct cf_retention_floor {
    uint32_t days, weeks, months, years; /* of a rule, where the policy has it; days also for points without a tag */
    uint32_t on_demand_days;             /* on demand, without a date */
} cf_retention_floor;
#define CF_RETENTION_FLOOR_DEFAULT ((cf_retention_floor){7, 4, 3, 1, 30})

enum {
    CF_TAG_DAILY = 1,
    CF_TAG_WEEKLY = 2,
    CF_TAG_MONTHLY = 4,
    CF_TAG_YEARLY = 8,
    CF_TAG_ON_DEMAND = 16,
    CF_TAG_COUNT = 5,
    CF_POINTS_RESERVE = 100, /* kept free for scheduled points at least */
    CF_FRESH_POINTS = 3,
};
/* The word for a tag: "daily" ... "on-demand"; by bit number. */
const char *cf_tag_word(unsigned bit);

typedef enum cf_verdict {
    CF_VERDICT_GONE,   /* it has expired already                        */
    CF_VERDICT_KEPT,   /* its date has not come, or it has none         */
    CF_VERDICT_HELD,   /* past its date, but one of the last good ones  */
    CF_VERDICT_PINNED, /* past its date, but somebody is using it       */
    CF_VERDICT_DUE,    /* may go                                        */
} cf_verdict;

/* A point of the history. Those that have expired belong to it: they carried tags. */
typedef struct cf_retained_point {
    uint64_t counter; /* the order in which they came */
    int64_t received;
    bool scheduled; /* else on demand                  */
    bool full;      /* of the policy's full selection  */
    bool flagged;
    bool has_until; /* a date was chosen               */
    int64_t until;
    bool gone;
    int64_t gone_at;
    bool pinned;
    /* Results. */
    unsigned tags;
    bool for_ever;   /* paused, or removed with --keep for-ever */
    int64_t expires; /* unless for_ever                         */
    cf_verdict verdict;
} cf_retained_point;

/* cf_retention_evaluate: fills in the results of every point.
 *   policy  NULL: the server never had one.
 *   next    the earliest moment after now at which time alone changes a verdict; INT64_MAX: none. May be NULL.
 *   Cost: sorting, and some calendar arithmetic for each point and slot.
 *   Fails: ZONE_UNKNOWN, OUT_OF_MEMORY; then nothing may be let go.                                          */
cf_err *cf_retention_evaluate(const cf_policy *policy, const cf_retention_floor *floor, int64_t now,
                              cf_retained_point *points, size_t count, int64_t *next)
    __attribute__((warn_unused_result));

/* cf_retention_allowance: how many points may go now: within a day (24 hours) a fifth of those that there were at its
 * start, but never fewer than one for each that came in it.                                                  */
size_t cf_retention_allowance(const cf_retained_point *points, size_t count, int64_t now);

/* cf_retention_count: how many points the policy holds at most, by its schedule (floor NULL: the defaults). As the rules are
 * added up, a point that satisfies several counts several times.                                             */
uint64_t cf_retention_count(const cf_policy *policy, const cf_retention_floor *floor);

/* cf_retention_admit: may one more point come? points as evaluated. Nothing is ever let go to make room: scheduled ones come
 * up to CF_POINTS_MAX; on-demand ones must leave room for those that the policy may still come to hold, at least
 * CF_POINTS_RESERVE. policy may be NULL. Fails: 100109 TOO_MANY_POINTS (reasons limit, reserve).              */
cf_err *cf_retention_admit(const cf_policy *policy, const cf_retention_floor *floor, const cf_retained_point *points,
                           size_t count, bool scheduled) __attribute__((warn_unused_result));

/* cf_retention_below: which rules of the policy keep less than the vault's minimum: one line each, appended to lines. */
cf_err *cf_retention_below(const cf_policy *policy, const cf_retention_floor *floor, cf_strings *lines)
    __attribute__((warn_unused_result));

#endif
