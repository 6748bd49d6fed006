/* Everything that is wrong with a policy, collected before any of it is reported (of this folder, and of who edits policies). */
#ifndef CF_POLICY_FAULTS_H
#define CF_POLICY_FAULTS_H

#include "base/buf.h"
#include "base/err.h"
#include "policy/policy.h"

typedef struct cf_faults {
    cf_buf text; /* the lines */
    size_t count;
    cf_code code; /* of all of them, or POLICY_INVALID */
} cf_faults;

void cf_faults_init(cf_faults *faults);
void cf_faults_wipe(cf_faults *faults);
#define CF_AUTO_FAULTS __attribute__((cleanup(cf_faults_wipe)))
/* cf_faults_add: one more, a line without its end. code: the kind of fault. */
void cf_faults_add(cf_faults *faults, cf_code code, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* cf_faults_take: the message of err (taken, may be NULL) as a fault of this kind, with what in front; an error that says
 * nothing about the policy (OUT_OF_MEMORY) is given back. */
cf_err *cf_faults_take(cf_faults *faults, cf_code code, const char *what, cf_err *err)
    __attribute__((warn_unused_result));
/* cf_faults_done: NULL when there are none. name: of what. */
cf_err *cf_faults_done(const cf_faults *faults, const char *name) __attribute__((warn_unused_result));

/* cf_policy_check_into: as cf_policy_check, but collected: for who has found faults of its own. */
cf_err *cf_policy_check_into(const cf_policy *policy, cf_faults *faults) __attribute__((warn_unused_result));

#endif
