/* Backup sessions and read leases.                                                                      */
#ifndef CF_REMOTE_SESSIONS_H
#define CF_REMOTE_SESSIONS_H

#include "remote/identity.h"

typedef struct cf_remote_session_request {
    cf_id16 session;     /* drawn by the caller: asking again with the same one is harmless                */
    const char *epoch;   /* the one that generation belongs to; NULL or "": none yet                       */
    uint64_t generation; /* of the feed that was applied last                                              */
    cf_id16 instance, job;
    uint64_t numbers_after; /* the highest pack number that this server ever had: the block starts above it */
    bool has_base;
    cf_id32 base; /* the point whose tree the backup goes on from: it stays while the session is open       */
} cf_remote_session_request;

/* Segments of one pack, or all of them. */
typedef struct cf_remote_segments {
    uint64_t pack;
    bool all;
    uint16_t *segments;
    size_t count;
} cf_remote_segments;
void cf_remote_segments_free(cf_remote_segments *list, size_t count); /* and the array itself */

/* Pack numbers first .. first + count - 1 may be used. */
typedef struct cf_remote_numbers {
    uint64_t first;
    uint32_t count;
} cf_remote_numbers;

typedef struct cf_remote_session {
    cf_id16 session;
    char epoch[CF_REMOTE_EPOCH_MAX + 1];
    uint64_t generation;
    cf_remote_segments *feed; /* retired since the request's generation */
    size_t feed_count;
    bool feed_more; /* open the same session again with this generation: there is more */
    bool resync;    /* what was retired since the request's generation is not known any more */
    cf_remote_numbers numbers;
    uint32_t lease_seconds;
    cf_remote_newest newest;
} cf_remote_session;
/* cf_remote_open_session: the caller wipes *session. Fails: what the vault says when another instance of this
 * server holds a live session.                                                                            */
cf_err *cf_remote_open_session(cf_remote *remote, const cf_remote_session_request *request, cf_remote_session *session)
    __attribute__((warn_unused_result));
void cf_remote_session_wipe(cf_remote_session *session);
/* cf_remote_renew_session: sent once: the heartbeat calls again. Fails SESSION_LOST when the lease was lost: open
 * a new session.                                                                                         */
cf_err *cf_remote_renew_session(cf_remote *remote, const cf_id16 *session, uint32_t *lease_seconds)
    __attribute__((warn_unused_result));
/* cf_remote_more_numbers: the block after the one whose last number is given.                              */
cf_err *cf_remote_more_numbers(cf_remote *remote, const cf_id16 *session, uint64_t last, cf_remote_numbers *numbers)
    __attribute__((warn_unused_result));
/* cf_remote_close_session: one that is closed or unknown already is fine.                                  */
cf_err *cf_remote_close_session(cf_remote *remote, const cf_id16 *session) __attribute__((warn_unused_result));

/* Read leases: points that must not be reclaimed meanwhile. kind: "restore", "verify", "mount".             */
cf_err *cf_remote_take_lease(cf_remote *remote, const cf_id16 *lease, const char *kind, const cf_id32 *points,
                             size_t count, uint32_t *lease_seconds) __attribute__((warn_unused_result));
/* cf_remote_renew_lease: sent once, as above. Fails UNKNOWN_OBJECT when it ran out: take a new one.          */
cf_err *cf_remote_renew_lease(cf_remote *remote, const cf_id16 *lease, uint32_t *lease_seconds)
    __attribute__((warn_unused_result));
cf_err *cf_remote_end_lease(cf_remote *remote, const cf_id16 *lease) __attribute__((warn_unused_result));

#endif
