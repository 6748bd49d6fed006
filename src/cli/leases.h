/* Read leases on any number of recovery points, renewed by a thread for as long as they are needed.
 * Threads: any number may call cf_leases_cover.                                                           */
#ifndef CF_CLI_LEASES_H
#define CF_CLI_LEASES_H

#include "remote/remote.h"

/* A lease covers at most 64 points, and the vault grants 64 leases to a server: leave some to others. */
enum { CF_LEASE_POINTS = 64, CF_LEASES_MAX = 16 };

typedef struct cf_leases cf_leases;
/* cf_leases_take: kind: "restore", "verify", "mount" (a literal). points: ascending by age; of more than
 * CF_LEASES_MAX * CF_LEASE_POINTS the newest. remote is borrowed until free. Fails: as cf_remote_take_lease. */
cf_err *cf_leases_take(cf_remote *remote, const char *kind, const cf_id32 *points, size_t count, cf_leases **leases)
    __attribute__((warn_unused_result));
/* cf_leases_cover: from now on these points instead.                                                       */
cf_err *cf_leases_cover(cf_leases *leases, const cf_id32 *points, size_t count) __attribute__((warn_unused_result));
/* cf_leases_free: ends them at the vault, as far as it can be reached. NULL-safe.                          */
void cf_leases_free(cf_leases *leases);
CF_DEFINE_AUTO(cf_leases, cf_leases_free)

#endif
