/* Healing: segments that the vault found damaged are never used again; what this server still has of them is stored anew by
 * the scan, and a relocation record tells older recovery points where (docs/scrub.md).
 * Threads: one.                                                                                          */
#ifndef CF_AGENT_HEAL_H
#define CF_AGENT_HEAL_H

#include "agent/runner.h"
#include "agent/state.h"
#include "index/index.h"
#include "remote/remote.h"
#include "repo/source.h"
#include "sealed/slot.h"
#include "visible/map.h"

/* What the vault says. Start with {0}. */
typedef struct cf_heal {
    cf_map *open;   /* damaged segments that were not healed; NULL: none     */
    cf_map *known;  /* those and the healed ones: not to be referred to again */
    size_t objects; /* damaged besides segments                               */
} cf_heal;
void cf_heal_wipe(cf_heal *heal);
/* cf_heal_learn: asks the vault. *heal must be empty. */
cf_err *cf_heal_learn(cf_remote *remote, cf_heal *heal) __attribute__((warn_unused_result));
/* cf_heal_forget: the index finds nothing in these segments from now on. */
cf_err *cf_heal_forget(const cf_map *segments, cf_index *index) __attribute__((warn_unused_result));

typedef struct cf_heal_options {
    cf_state *state;
    cf_job *job; /* receives the warnings: which files of which points stay damaged */
    cf_remote *remote;
    cf_source *source;
    cf_index *index; /* with everything that this session has stored */
    const cf_server_keys *keys;
    const cf_secret *session_key;
    cf_span key_record;
    cf_id16 server, session;
    cf_cancel *cancel;
    cf_progress *progress;
} cf_heal_options;
typedef struct cf_heal_result {
    uint64_t healed; /* segments */
    uint64_t chunks; /* that were relocated */
    uint64_t remain; /* damaged segments that recovery points need and this server has not */
    uint64_t records;
} cf_heal_result;
/* cf_heal_run: after all packs of the session are stored. Fails: CANCELLED, SESSION_LOST, and what remote calls fail with. */
cf_err *cf_heal_run(const cf_heal *heal, const cf_heal_options *options, cf_heal_result *result)
    __attribute__((warn_unused_result));

#endif
