/* Which scheduled run is due: the schedule (policy/schedule.h) held against what was run already. Pure.
 *
 * A run whose time came while the server was off is made up for once, within the policy's window; a run whose time
 * comes while another is at work or waits is merged into it; a changed schedule owes nothing for the time before.
 * Times are seconds since 1970.                                                                            */
#ifndef CF_DAEMON_SLOTS_H
#define CF_DAEMON_SLOTS_H

#include "base/ids.h"
#include "policy/policy.h"

enum { CF_SLOTS_TEXT_MAX = 256 };

/* What is known of the runs so far; kept in the state folder. */
typedef struct cf_slots {
    int64_t handled; /* runs due until then need nothing any more */
    int64_t stopped; /* the run due then was ended by stopping the daemon, so it is made up for; or 0 */
    char schedule[CF_SLOTS_TEXT_MAX]; /* the schedule that this is about, "" for none */
} cf_slots;

/* cf_slots_parse: what cf_slots_format wrote; false (and *slots empty) when it is not. */
bool cf_slots_parse(const char *text, cf_slots *slots);
void cf_slots_format(const cf_slots *slots, char out[CF_SLOTS_TEXT_MAX + 64]);

/* cf_slots_adopt: take the policy in force (NULL: none) into account: another schedule than before begins now, and a clock
 * that went back by more than an hour begins anew. True when *slots changed.                                */
bool cf_slots_adopt(cf_slots *slots, const cf_policy *policy, int64_t now);

typedef enum cf_slot_answer {
    CF_SLOT_NONE,  /* no run is planned */
    CF_SLOT_LATER, /* the next one is due at `wake`: its slot */
    CF_SLOT_RUN,   /* run now for this slot; it covers the ones before */
    CF_SLOT_MISSED /* too long ago: it is not made up for */
} cf_slot_answer;
typedef struct cf_slot_decision {
    cf_slot_answer answer;
    int64_t slot, wake;
} cf_slot_decision;
/* cf_slots_decide: fails as policy/schedule.h. */
cf_err *cf_slots_decide(const cf_slots *slots, const cf_policy *policy, const cf_id16 *server, int64_t now,
                        cf_slot_decision *decision) __attribute__((warn_unused_result));

#endif
