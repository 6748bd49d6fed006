/* schedule-tool ZONE SCHEDULE FROM TO STEP: for every STEP seconds the next slot after that moment and the last one
 * until it, a line each, for a comparison with another computation (schedule_zones.py). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/schedule.h"

static cf_err *run(char **words) {
    cf_policy policy;
    cf_policy_init(&policy);
    snprintf(policy.zone, sizeof policy.zone, "%s", words[1]);
    CF_AUTO(cf_zone) zone = NULL;
    CF_TRY(cf_zone_open(policy.zone, &zone));
    int64_t from = strtoll(words[3], NULL, 10), to = strtoll(words[4], NULL, 10), step = strtoll(words[5], NULL, 10);
    CF_TRY(cf_schedule_parse(words[2], cf_zone_local(zone, from).day, &policy.schedule));
    for (int64_t at = from; at < to; at += step) {
        int64_t next = -1, last = -1;
        bool has_next = cf_schedule_next_in(&policy.schedule, zone, at, &next);
        bool has_last = cf_schedule_last_in(&policy.schedule, zone, at, &last);
        printf("%lld %lld\n", has_next ? (long long)next : -1LL, has_last ? (long long)last : -1LL);
    }
    cf_policy_wipe(&policy);
    return NULL;
}

int main(int argc, char **argv) {
    if (argc != 6) return 2;
    CF_AUTO(cf_err) err = run(argv);
    if (err) cf_err_print(stderr, err);
    return err ? 1 : 0;
}
