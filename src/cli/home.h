/* Where an agent keeps its things: configuration, state (identity, keys, job history) and scratch (cache
 * that can be rebuilt).                                                                                */
#ifndef CF_CLI_HOME_H
#define CF_CLI_HOME_H

#include "base/err.h"

typedef struct cf_home {
    char *etc;     /* /etc/coffer, or DIR/etc           */
    char *state;   /* /var/lib/coffer, or DIR/state     */
    char *scratch; /* /var/cache/coffer, or DIR/scratch */
    char *config;  /* etc/agent.conf                    */
} cf_home;

/* cf_home_resolve: home is cli->home. Made absolute; nothing is created. Fails: 100011 NOT_PRIVILEGED
 * when home is NULL and the caller is not root; IO.                                                    */
cf_err *cf_home_resolve(const char *home, cf_home *out) __attribute__((warn_unused_result));
/* cf_home_create: make the folders that are missing, mode 0700 (etc 0755). Fails: IO.                  */
cf_err *cf_home_create(const cf_home *home) __attribute__((warn_unused_result));
void cf_home_wipe(cf_home *home);
#define CF_AUTO_HOME __attribute__((cleanup(cf_home_wipe)))

#endif
