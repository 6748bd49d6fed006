/* The rules of src/policy/retention.c over a pipe, for the reference model: reads cases, answers each.
 *
 *   policy JSON            or: policy -          (none)
 *   floor DAYS WEEKS MONTHS YEARS ON_DEMAND
 *   now SECONDS
 *   points COUNT           then COUNT lines: counter received scheduled full flagged until gone_at pinned
 *                          (until, gone_at: seconds or "-")
 * Answer: a line "case NEXT ALLOWANCE HOLDS ADMIT_SCHEDULED ADMIT_ON_DEMAND" (NEXT "-": never; ADMIT: 1 or 0), then for each
 * point a line "TAGS EXPIRES VERDICT" (tags as bits; expires "-": for ever; verdict a letter: gone, kept, held, pinned,
 * due). "error CODE" when the rules fail. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/retention.h"

static void quit(const char *why) {
    fprintf(stderr, "evaluate: %s\n", why);
    exit(2);
}

static char *next_line(char **line, size_t *size, const char *word) {
    ssize_t got = getline(line, size, stdin);
    if (got < 0) return NULL;
    (*line)[strcspn(*line, "\n")] = '\0';
    size_t length = strlen(word);
    if (strncmp(*line, word, length) != 0) quit(*line);
    return *line + length;
}

static bool optional(const char *text, int64_t *number) {
    if (strcmp(text, "-") == 0) return false;
    *number = strtoll(text, NULL, 10);
    return true;
}

static cf_retained_point read_point(char *text) {
    cf_retained_point point = {0};
    char until[32], gone[32];
    int scheduled, full, flagged, pinned;
    if (sscanf(text, "%" SCNu64 " %" SCNd64 " %d %d %d %31s %31s %d", &point.counter, &point.received, &scheduled,
               &full, &flagged, until, gone, &pinned) != 8)
        quit(text);
    point.scheduled = scheduled;
    point.full = full;
    point.flagged = flagged;
    point.pinned = pinned;
    point.has_until = optional(until, &point.until);
    point.gone = optional(gone, &point.gone_at);
    return point;
}

static int admits(const cf_policy *policy, const cf_retention_floor *floor, const cf_retained_point *points,
                  size_t count, bool scheduled) {
    cf_err *err = cf_retention_admit(policy, floor, points, count, scheduled);
    int yes = !err;
    cf_err_free(err);
    return yes;
}

static void answer(const cf_policy *policy, const cf_retention_floor *floor, int64_t now, cf_retained_point *points,
                   size_t count) {
    int64_t next = 0;
    cf_err *err = cf_retention_evaluate(policy, floor, now, points, count, &next);
    if (err) {
        printf("error %u\n", (unsigned)cf_err_code(err));
        cf_err_free(err);
        return;
    }
    printf("case ");
    if (next == INT64_MAX)
        printf("-");
    else
        printf("%" PRId64, next);
    printf(" %zu %" PRIu64 " %d %d\n", cf_retention_allowance(points, count, now),
           policy ? cf_retention_count(policy, floor) : 0, admits(policy, floor, points, count, true),
           admits(policy, floor, points, count, false));
    for (size_t i = 0; i < count; i++) {
        printf("%u ", points[i].tags);
        if (points[i].for_ever)
            printf("-");
        else
            printf("%" PRId64, points[i].expires);
        printf(" %c\n", "gkhpd"[points[i].verdict]);
    }
}

static void read_policy(const char *text, cf_policy *policy, bool *has) {
    *has = strcmp(text, "-") != 0;
    if (!*has) return;
    cf_err *err = cf_policy_parse(cf_span_text(text), "the policy", policy);
    if (!err) return;
    fprintf(stderr, "%s\n", cf_err_message(err));
    quit(text);
}

int main(void) {
    char *line = NULL, *text;
    size_t size = 0;
    while ((text = next_line(&line, &size, "policy "))) {
        cf_policy policy;
        cf_retention_floor floor;
        bool has = false;
        read_policy(text, &policy, &has);
        text = next_line(&line, &size, "floor ");
        if (!text || sscanf(text, "%u %u %u %u %u", &floor.days, &floor.weeks, &floor.months, &floor.years,
                            &floor.on_demand_days) != 5)
            quit("floor");
        text = next_line(&line, &size, "now ");
        int64_t now = text ? strtoll(text, NULL, 10) : 0;
        text = next_line(&line, &size, "points ");
        size_t count = text ? strtoul(text, NULL, 10) : 0;
        cf_retained_point *points = calloc(count + 1, sizeof *points);
        if (!points) quit("memory");
        for (size_t i = 0; i < count; i++) {
            text = next_line(&line, &size, "");
            if (!text) quit("points");
            points[i] = read_point(text);
        }
        answer(has ? &policy : NULL, &floor, now, points, count);
        fflush(stdout);
        free(points);
        if (has) cf_policy_wipe(&policy);
    }
    free(line);
    return 0;
}
