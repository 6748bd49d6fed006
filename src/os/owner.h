/* Names of users and groups, both ways, remembered: asking the system for each file would be slow (and
 * may go over a network).
 * Threads: a cf_owners belongs to one at a time.                                                      */
#ifndef CF_OS_OWNER_H
#define CF_OS_OWNER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

typedef struct cf_owners cf_owners;

cf_err *cf_owners_new(cf_owners **owners) __attribute__((warn_unused_result));
void cf_owners_free(cf_owners *owners); /* NULL-safe */
CF_DEFINE_AUTO(cf_owners, cf_owners_free)

/* cf_owners_user, cf_owners_group: the name of a number; empty when the system knows none (or could not
 * be asked). Borrowed until cf_owners_free or the next call of the same function.                     */
cf_span cf_owners_user(cf_owners *owners, uint32_t uid);
cf_span cf_owners_group(cf_owners *owners, uint32_t gid);
/* cf_owners_user_id, cf_owners_group_id: the number that name has on this machine; otherwise (unknown or
 * empty) the number given.                                                                            */
uint32_t cf_owners_user_id(cf_owners *owners, cf_span name, uint32_t otherwise);
uint32_t cf_owners_group_id(cf_owners *owners, cf_span name, uint32_t otherwise);

#endif
