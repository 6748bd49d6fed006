/* Test support: a writer whose packs go into a folder laid out as the embedded store (format, section 1), and a
 * scan of a tree into it, without a vault or a network.                                                       */
#ifndef TESTS_LOCAL_VAULT_H
#define TESTS_LOCAL_VAULT_H

#include "backup/backup.h"
#include "repo/reader.h"
#include "scan/coverage.h"

typedef struct local_vault {
    char folder[512], scratch[512];
    cf_id16 server, session;
    cf_server_keys *keys;
    cf_secret *session_key;
    cf_index *index;
    int scratch_fd;
    uint64_t next_number;
    unsigned fail_after; /* packs until store fails; 0: never */
    unsigned stored;
    const cf_coverage *coverage; /* instead of a path; borrowed, may be NULL */
    const cf_backup_made *made;  /* may be NULL */
} local_vault;

typedef struct local_run {
    cf_backup_result result;
    cf_writer_stats stats;
    unsigned warnings;
    cf_code last_warning;
} local_run;

void local_vault_open(local_vault *vault, const char *folder);
void local_vault_close(local_vault *vault);
/* One backup of path (a new session). The cache's root is committed when it succeeds.                          */
cf_err *local_vault_backup(local_vault *vault, const char *path, const cf_map *dead, unsigned lanes, local_run *run);
void local_run_wipe(local_run *run);

#endif
