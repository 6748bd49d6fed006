/* The vault's database: what the service knows, as rows. Everything that must outlive it stands in the object
 * store too (objects and journal), so it can be made again.
 *
 * Times are seconds since 1970 on the vault's clock. Results that are arrays are fresh; the caller frees
 * them. "found" results are values: a row that is not there is no error.
 * Fails, all of these: 900601 DATABASE, 900102 DISK_FULL, 900001 OUT_OF_MEMORY.
 * Threads: any number; one thread at a time is inside (one writer connection). Between cf_records_begin and
 * cf_records_finish the caller's thread has it alone.                                                   */
#ifndef CF_RECORDS_RECORDS_H
#define CF_RECORDS_RECORDS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/ids.h"

enum { CF_SERVER_NAME_MAX = 255, CF_REGION_MAX = 63, CF_URL_MAX = 511, CF_WORD_MAX = 31 };

typedef struct cf_records cf_records;

/* cf_records_open: an existing database is brought to this version's schema, each step in one transaction.
 * create: a new file. Fails also: 900602 DATABASE_NEWER.                                                */
cf_err *cf_records_open(const char *path, bool create, cf_records **records) __attribute__((warn_unused_result));
void cf_records_close(cf_records *records); /* NULL-safe */
CF_DEFINE_AUTO(cf_records, cf_records_close)
cf_err *cf_records_begin(cf_records *records) __attribute__((warn_unused_result));
/* cf_records_finish: commit when err is NULL, else roll back; returns err or what the commit said.       */
cf_err *cf_records_finish(cf_records *records, cf_err *err) __attribute__((warn_unused_result));
/* cf_records_settle: everything into the one file, so that it can be renamed.                            */
cf_err *cf_records_settle(cf_records *records) __attribute__((warn_unused_result));
/* cf_records_version: of the schema. */
cf_err *cf_records_version(cf_records *records, int *version) __attribute__((warn_unused_result));

/* The vault itself: one row. */
typedef struct cf_vault_row {
    cf_id16 id, epoch; /* the epoch is drawn anew whenever the database may have lost something */
    char name[CF_SERVER_NAME_MAX + 1], region[CF_REGION_MAX + 1], url[CF_URL_MAX + 1];
    int64_t created;
    uint8_t url_key[32]; /* signs transfer addresses */
} cf_vault_row;
cf_err *cf_records_set_vault(cf_records *records, const cf_vault_row *row) __attribute__((warn_unused_result));
cf_err *cf_records_get_vault(cf_records *records, cf_vault_row *row) __attribute__((warn_unused_result));
/* The next journal sequence number, from 1. */
cf_err *cf_records_get_journal_next(cf_records *records, uint64_t *sequence) __attribute__((warn_unused_result));
cf_err *cf_records_set_journal_next(cf_records *records, uint64_t sequence) __attribute__((warn_unused_result));

typedef struct cf_server_row {
    cf_id16 id, instance;
    char name[CF_SERVER_NAME_MAX + 1];
    uint8_t auth_key[32];
    int64_t registered;
    uint64_t generation;  /* of the feed of retired segments     */
    uint64_t next_number; /* the first that was never handed out */
    bool has_newest;
    cf_id32 newest;
    uint64_t newest_counter;
    int64_t last_point; /* when the newest was received */
} cf_server_row;
/* cf_records_add_server: newest and last_point are ignored. */
cf_err *cf_records_add_server(cf_records *records, const cf_server_row *row) __attribute__((warn_unused_result));
cf_err *cf_records_find_server(cf_records *records, const cf_id16 *id, bool *found, cf_server_row *row)
    __attribute__((warn_unused_result));
/* The one that was registered first, should several have the name. */
cf_err *cf_records_find_server_named(cf_records *records, const char *name, bool *found, cf_server_row *row)
    __attribute__((warn_unused_result));
cf_err *cf_records_list_servers(cf_records *records, cf_server_row **rows, size_t *count)
    __attribute__((warn_unused_result));
cf_err *cf_records_rename_server(cf_records *records, const cf_id16 *id, const char *name)
    __attribute__((warn_unused_result));
cf_err *cf_records_set_instance(cf_records *records, const cf_id16 *id, const cf_id16 *instance)
    __attribute__((warn_unused_result));
cf_err *cf_records_set_next_number(cf_records *records, const cf_id16 *id, uint64_t next)
    __attribute__((warn_unused_result));

typedef struct cf_token_row {
    cf_id32 sha256;
    cf_id16 server;
    bool agent; /* else: may only read */
    int64_t issued;
    int64_t expires; /* 0: never */
    int64_t revoked; /* 0: not   */
} cf_token_row;
cf_err *cf_records_add_token(cf_records *records, const cf_token_row *row) __attribute__((warn_unused_result));
cf_err *cf_records_find_token(cf_records *records, const cf_id32 *sha256, bool *found, cf_token_row *row)
    __attribute__((warn_unused_result));
cf_err *cf_records_revoke_token(cf_records *records, const cf_id32 *sha256, int64_t now)
    __attribute__((warn_unused_result));
/* cf_records_extend_token: valid until expires, when that is later than now; one that never expires stays so. */
cf_err *cf_records_extend_token(cf_records *records, const cf_id32 *sha256, int64_t expires)
    __attribute__((warn_unused_result));
/* Those of a server that were not revoked. */
cf_err *cf_records_list_tokens(cf_records *records, const cf_id16 *server, cf_token_row **rows, size_t *count)
    __attribute__((warn_unused_result));
cf_err *cf_records_drop_expired_tokens(cf_records *records, int64_t before) __attribute__((warn_unused_result));

typedef struct cf_credentials_row {
    cf_id32 secret_sha256;
    char purpose[CF_WORD_MAX + 1];
    int64_t issued, expires;
    uint64_t sequence; /* of its journal entry: the highest of a purpose is the newest */
    bool has_server;   /* for this server only: a recovery kit's, which nothing supersedes */
    cf_id16 server;
} cf_credentials_row;
cf_err *cf_records_add_credentials(cf_records *records, const cf_credentials_row *row)
    __attribute__((warn_unused_result));
cf_err *cf_records_find_credentials(cf_records *records, const cf_id32 *secret_sha256, bool *found,
                                    cf_credentials_row *row, bool *newest) __attribute__((warn_unused_result));
/* Those of one server. */
cf_err *cf_records_count_kits(cf_records *records, const cf_id16 *server, size_t *count)
    __attribute__((warn_unused_result));

typedef struct cf_challenge_row {
    cf_id32 challenge;
    cf_id16 server;
    int64_t expires;
    bool used;
    cf_id32 used_for; /* the token's hash, when used */
} cf_challenge_row;
cf_err *cf_records_add_challenge(cf_records *records, const cf_challenge_row *row) __attribute__((warn_unused_result));
cf_err *cf_records_find_challenge(cf_records *records, const cf_id32 *challenge, bool *found, cf_challenge_row *row)
    __attribute__((warn_unused_result));
cf_err *cf_records_use_challenge(cf_records *records, const cf_id32 *challenge, const cf_id32 *used_for)
    __attribute__((warn_unused_result));
cf_err *cf_records_drop_challenges(cf_records *records, int64_t before) __attribute__((warn_unused_result));

/* Sessions. Closed ones stay for a while, so that a repeated request gets its answer. */
typedef struct cf_session_row {
    cf_id16 server, id, instance, job;
    uint64_t generation;
    int64_t opened, lease_until;
    char state[CF_WORD_MAX + 1]; /* open, closed, superseded, expired */
} cf_session_row;
cf_err *cf_records_add_session(cf_records *records, const cf_session_row *row) __attribute__((warn_unused_result));
cf_err *cf_records_find_session(cf_records *records, const cf_id16 *server, const cf_id16 *id, bool *found,
                                cf_session_row *row) __attribute__((warn_unused_result));
/* The open one of a server: there is at most one. */
cf_err *cf_records_find_open_session(cf_records *records, const cf_id16 *server, bool *found, cf_session_row *row)
    __attribute__((warn_unused_result));
cf_err *cf_records_renew_session(cf_records *records, const cf_id16 *server, const cf_id16 *id, int64_t lease_until)
    __attribute__((warn_unused_result));
cf_err *cf_records_end_session(cf_records *records, const cf_id16 *server, const cf_id16 *id, const char *state)
    __attribute__((warn_unused_result));
/* Open sessions whose lease is over become expired; closed ones opened before `forget` are dropped. */
cf_err *cf_records_expire_sessions(cf_records *records, int64_t now, int64_t forget, int *expired)
    __attribute__((warn_unused_result));

/* Blocks of pack numbers that were handed out: first .. first + count - 1. */
typedef struct cf_block_row {
    cf_id16 server, session;
    uint64_t first;
    uint32_t count;
    uint64_t after; /* the last number of the block before it in this session; 0 for the first */
} cf_block_row;
cf_err *cf_records_add_block(cf_records *records, const cf_block_row *row) __attribute__((warn_unused_result));
cf_err *cf_records_find_block_after(cf_records *records, const cf_id16 *server, const cf_id16 *session, uint64_t after,
                                    bool *found, cf_block_row *row) __attribute__((warn_unused_result));
/* The block of this session that holds number. */
cf_err *cf_records_find_block_of(cf_records *records, const cf_id16 *server, const cf_id16 *session, uint64_t number,
                                 bool *found, cf_block_row *row) __attribute__((warn_unused_result));

cf_err *cf_records_drop_block(cf_records *records, const cf_block_row *row) __attribute__((warn_unused_result));

/* Read leases. */
typedef struct cf_lease_row {
    cf_id16 server, id;
    char kind[CF_WORD_MAX + 1];
    int64_t expires;
} cf_lease_row;
/* cf_records_put_lease: points is count IDs of 32 bytes; replaces one of the same ID. */
cf_err *cf_records_put_lease(cf_records *records, const cf_lease_row *row, cf_span points)
    __attribute__((warn_unused_result));
cf_err *cf_records_renew_lease(cf_records *records, const cf_id16 *server, const cf_id16 *id, int64_t expires,
                               bool *found) __attribute__((warn_unused_result));
cf_err *cf_records_has_lease(cf_records *records, const cf_id16 *server, const cf_id16 *id, bool *found)
    __attribute__((warn_unused_result));
cf_err *cf_records_count_leases(cf_records *records, const cf_id16 *server, size_t *count)
    __attribute__((warn_unused_result));
cf_err *cf_records_drop_lease(cf_records *records, const cf_id16 *server, const cf_id16 *id)
    __attribute__((warn_unused_result));
cf_err *cf_records_drop_expired_leases(cf_records *records, int64_t now) __attribute__((warn_unused_result));

/* Packs that were committed, except those past the point of no return (records/reclaim.h). */
typedef struct cf_pack_row {
    cf_id16 server, session;
    uint64_t number, size;
    cf_kind kind;
    uint8_t xxh3[16];
    uint32_t segments; /* besides the directory                                                       */
    bool gaps;         /* the numbers are not 0 .. segments - 1: the tail says which there are          */
    /* Where it stands now: in an object of its own with this generation, or with others in a merged object. */
    uint32_t generation;
    bool is_merged;
    cf_id16 merged;
    uint64_t base;        /* where the pack begins in its object */
    bool referenced;      /* a point is known to have referred to it                                          */
    uint64_t after_point; /* the newest point's counter when it was committed: see reclaiming                 */
} cf_pack_row;
/* cf_records_add_pack: with its 112-byte header and its tail (extent table and trailer). */
cf_err *cf_records_add_pack(cf_records *records, const cf_pack_row *row, cf_span header, cf_span tail)
    __attribute__((warn_unused_result));
cf_err *cf_records_find_pack(cf_records *records, const cf_id16 *server, uint64_t number, bool *found, cf_pack_row *row)
    __attribute__((warn_unused_result));
/* cf_records_move_pack: compaction put it elsewhere: place, size, extent table are these from now on. */
cf_err *cf_records_move_pack(cf_records *records, const cf_pack_row *row, cf_span header, cf_span tail)
    __attribute__((warn_unused_result));
/* cf_records_get_tail: appended to header and tail (either may be NULL). */
cf_err *cf_records_get_tail(cf_records *records, const cf_id16 *server, uint64_t number, cf_buf *header, cf_buf *tail)
    __attribute__((warn_unused_result));
/* Ascending, numbers above after, at most limit. */
cf_err *cf_records_list_packs(cf_records *records, const cf_id16 *server, uint64_t after, size_t limit,
                              cf_pack_row **rows, size_t *count) __attribute__((warn_unused_result));
cf_err *cf_records_pack_totals(cf_records *records, const cf_id16 *server, uint64_t *packs, uint64_t *bytes)
    __attribute__((warn_unused_result));

/* Recovery points. */
typedef struct cf_point_row {
    cf_id32 id, previous;
    cf_id16 server, session;
    uint64_t counter, size;
    int64_t received;
    bool has_retain_until;
    int64_t retain_until;
    bool scheduled; /* by the policy's schedule, for this slot; else on demand             */
    int64_t slot;
    bool manual;  /* its selection is not the policy's                                    */
    bool flagged; /* something about it wants a look: it was published with warnings      */
    bool expired; /* it is not listed any more; its row stays as history                  */
    int64_t expired_at;
    bool delta; /* its map is one against base, with this chain */
    cf_id32 base;
    uint8_t chain;
    uint8_t summary[256];
    size_t summary_size;
} cf_point_row;
/* cf_records_add_point: and it becomes the server's newest. */
cf_err *cf_records_add_point(cf_records *records, const cf_point_row *row) __attribute__((warn_unused_result));
cf_err *cf_records_find_point(cf_records *records, const cf_id16 *server, const cf_id32 *id, bool *found,
                              cf_point_row *row) __attribute__((warn_unused_result));
/* Ascending by counter; those that have not expired. */
cf_err *cf_records_list_points(cf_records *records, const cf_id16 *server, cf_point_row **rows, size_t *count)
    __attribute__((warn_unused_result));
cf_err *cf_records_count_points(cf_records *records, const cf_id16 *server, uint64_t *count)
    __attribute__((warn_unused_result)); /* those that have not expired */
/* cf_records_set_origin: of the schedule's run for this slot, or on demand. */
cf_err *cf_records_set_origin(cf_records *records, const cf_id32 *id, bool scheduled, int64_t slot)
    __attribute__((warn_unused_result));
/* cf_records_expire_point: from current to expired; *changed is false when it was expired already (may be NULL). */
cf_err *cf_records_expire_point(cf_records *records, const cf_id32 *id, int64_t now, bool *changed)
    __attribute__((warn_unused_result));
/* What retention needs to know of every point that there ever was. */
typedef struct cf_history_row {
    cf_id32 id;
    uint64_t counter;
    int64_t received, retain_until, slot, expired_at;
    bool has_retain_until, scheduled, manual, flagged, expired;
} cf_history_row;
/* Ascending by counter, expired ones too. */
cf_err *cf_records_list_history(cf_records *records, const cf_id16 *server, cf_history_row **rows, size_t *count)
    __attribute__((warn_unused_result));
/* Retention looks at a server when its time has come; a new point, a new policy or a changed setting bring it forward
 * to now (due 0). server NULL: all of them. */
cf_err *cf_records_set_retention_due(cf_records *records, const cf_id16 *server, int64_t due)
    __attribute__((warn_unused_result));
cf_err *cf_records_list_retention_due(cf_records *records, int64_t now, cf_id16 **servers, size_t *count)
    __attribute__((warn_unused_result));
/* cf_records_list_held: the IDs of points that read leases or open sessions hold; ascending by byte, maybe twice. */
cf_err *cf_records_list_held(cf_records *records, const cf_id16 *server, int64_t now, cf_id32 **ids, size_t *count)
    __attribute__((warn_unused_result));

/* Settings of the vault and small facts that the service keeps: a name and a text. */
enum { CF_SETTING_NAME_MAX = 63, CF_SETTING_VALUE_MAX = 255 };
cf_err *cf_records_get_setting(cf_records *records, const char *name, bool *found, char value[CF_SETTING_VALUE_MAX + 1])
    __attribute__((warn_unused_result));
/* cf_records_set_setting: value NULL removes it. Fails: INTERNAL (too long). */
cf_err *cf_records_set_setting(cf_records *records, const char *name, const char *value)
    __attribute__((warn_unused_result));

cf_err *cf_records_retain_point(cf_records *records, const cf_id32 *id, int64_t until)
    __attribute__((warn_unused_result));

/* Key slots (276 bytes) and key records (132 bytes). cf_records_get_*: appended to out. */
typedef struct cf_slot_row {
    uint32_t number;
    int64_t added;
} cf_slot_row;
cf_err *cf_records_add_slot(cf_records *records, const cf_id16 *server, const cf_slot_row *row, cf_span slot)
    __attribute__((warn_unused_result));
cf_err *cf_records_set_slot_added(cf_records *records, const cf_id16 *server, const cf_slot_row *row)
    __attribute__((warn_unused_result));
cf_err *cf_records_get_slot(cf_records *records, const cf_id16 *server, uint32_t number, bool *found, cf_buf *out)
    __attribute__((warn_unused_result));
/* Ascending by number. */
cf_err *cf_records_list_slots(cf_records *records, const cf_id16 *server, cf_slot_row **rows, size_t *count)
    __attribute__((warn_unused_result));
cf_err *cf_records_add_record(cf_records *records, const cf_id16 *server, const cf_id16 *session, cf_span record)
    __attribute__((warn_unused_result));
cf_err *cf_records_get_record(cf_records *records, const cf_id16 *server, const cf_id16 *session, bool *found,
                              cf_buf *out) __attribute__((warn_unused_result));

/* Policies: JSON documents, checked before they come here (policy/policy.h). Versions of a server begin with 1; the
 * newest is in force. Some older ones are kept for the administrator to look at.                                */
typedef struct cf_policy_row {
    cf_id16 server;
    uint64_t number;
    int64_t changed;
    char changed_by[CF_WORD_MAX + 1]; /* agent, vault */
} cf_policy_row;
/* cf_records_get_policy: the newest. document (may be NULL): appended to.                                       */
cf_err *cf_records_get_policy(cf_records *records, const cf_id16 *server, bool *found, cf_policy_row *row,
                              cf_buf *document) __attribute__((warn_unused_result));
/* cf_records_put_policy: a version; one of the same number is replaced (a rebuild meets the same entry twice).  */
cf_err *cf_records_put_policy(cf_records *records, const cf_policy_row *row, const char *document)
    __attribute__((warn_unused_result));

/* Jobs: what agents report. */
typedef struct cf_job_row {
    cf_id16 server, id;
    char type[CF_WORD_MAX + 1], status[CF_WORD_MAX + 1], host[CF_SERVER_NAME_MAX + 1];
    int64_t started, finished; /* finished 0: not yet */
    uint64_t bytes, bytes_sent, warnings;
    bool has_point;
    cf_id32 point;
    char *error; /* JSON text or NULL; owned by whoever holds the row */
    int64_t updated;
} cf_job_row;
void cf_job_rows_free(cf_job_row *rows, size_t count);
cf_err *cf_records_put_job(cf_records *records, const cf_job_row *row) __attribute__((warn_unused_result));
/* server NULL: of all. Newest first. */
cf_err *cf_records_list_jobs(cf_records *records, const cf_id16 *server, size_t limit, cf_job_row **rows, size_t *count)
    __attribute__((warn_unused_result));
/* Running ones that were not heard of since `before` become interrupted. */
cf_err *cf_records_interrupt_jobs(cf_records *records, int64_t before, int *count) __attribute__((warn_unused_result));
cf_err *cf_records_drop_jobs(cf_records *records, int64_t before) __attribute__((warn_unused_result));

#endif
