/* Who is who: versions, credentials, registration, the challenge, key slots and key records.            */
#ifndef CF_REMOTE_IDENTITY_H
#define CF_REMOTE_IDENTITY_H

#include "base/buf.h"
#include "proto/credentials.h"
#include "remote/remote.h"

enum { CF_REMOTE_SLOT_SIZE = 276, CF_REMOTE_RECORD_SIZE = 132 };

typedef struct cf_remote_version {
    cf_id16 vault_id;
    char vault_name[CF_REMOTE_NAME_MAX + 1], region[64];
    char version[64], agent_oldest[64];
    uint32_t protocol_min, protocol_max;
    cf_time time;
} cf_remote_version;
cf_err *cf_remote_get_version(cf_remote *remote, cf_remote_version *version) __attribute__((warn_unused_result));

/* With the credentials file's secret. Fails: 34513 CREDENTIALS (expired, superseded, unknown, wrong_purpose). */
typedef struct cf_remote_credentials {
    char purpose[16];
    cf_time expires;
    cf_id16 vault_id;
    char vault_name[CF_REMOTE_NAME_MAX + 1];
} cf_remote_credentials;
cf_err *cf_remote_check_credentials(cf_remote *remote, cf_remote_credentials *credentials)
    __attribute__((warn_unused_result));

typedef struct cf_remote_server {
    cf_id16 id;
    char name[CF_REMOTE_NAME_MAX + 1];
    cf_time registered;
    bool has_last_point;
    cf_time last_point;
} cf_remote_server;
/* *servers is a fresh array that the caller frees.                                                        */
cf_err *cf_remote_list_servers(cf_remote *remote, cf_remote_server **servers, size_t *count)
    __attribute__((warn_unused_result));

typedef struct cf_remote_registration {
    cf_id16 server_id;
    const char *name;
    uint8_t auth_key[32]; /* Ed25519 public key */
    cf_span slot;         /* 276 bytes, number 1 */
    cf_id16 instance;
    uint8_t token_sha256[32];
    bool is_new; /* a server of its own although the name is known */
} cf_remote_registration;
/* Fails: 34511 NAME_TAKEN.                                                                                */
cf_err *cf_remote_register(cf_remote *remote, const cf_remote_registration *registration)
    __attribute__((warn_unused_result));

/* A key slot that opens the server, the newest passphrase's first. */
typedef struct cf_remote_opener {
    uint32_t number;
    bool recovery; /* slot is set; else salt and costs are */
    uint8_t salt[16];
    uint32_t memory_kib, passes;
    uint8_t slot[CF_REMOTE_SLOT_SIZE];
} cf_remote_opener;
enum { CF_REMOTE_OPENERS_MAX = 64 };
typedef struct cf_remote_challenge {
    uint8_t challenge[32];
    size_t count;
    cf_remote_opener openers[CF_REMOTE_OPENERS_MAX];
} cf_remote_challenge;
cf_err *cf_remote_get_challenge(cf_remote *remote, const cf_id16 *server, cf_remote_challenge *challenge)
    __attribute__((warn_unused_result));
/* cf_remote_unlock_message: what the signature is over. */
enum { CF_REMOTE_UNLOCK_MESSAGE_SIZE = 13 + 16 + 32 + 32 };
void cf_remote_unlock_message(const cf_id16 *server, const uint8_t challenge[32], const uint8_t token_sha256[32],
                              uint8_t out[CF_REMOTE_UNLOCK_MESSAGE_SIZE]);
typedef struct cf_remote_unlock {
    cf_id16 server;
    uint32_t slot; /* the key slot whose key signs */
    uint8_t challenge[32], signature[64], token_sha256[32];
    bool takeover;    /* purpose "agent": the earlier tokens end; else "read", valid 24 h               */
    const char *name; /* takeover only: the new name, or NULL                                          */
    cf_id16 instance; /* takeover only */
} cf_remote_unlock;
typedef struct cf_remote_unlocked {
    char name[CF_REMOTE_NAME_MAX + 1];
    uint8_t slot[CF_REMOTE_SLOT_SIZE];
    bool token_expires;
    cf_time expires;
} cf_remote_unlocked;
/* Not tried again after an answer was lost: a challenge works once. Fails: 34507 PASSPHRASE_DIFFERS.        */
cf_err *cf_remote_unlock_server(cf_remote *remote, const cf_remote_unlock *unlock, cf_remote_unlocked *unlocked)
    __attribute__((warn_unused_result));

/* The newest recovery point as the vault sees it. */
typedef struct cf_remote_newest {
    bool exists;
    cf_id32 id;
    uint64_t counter;
} cf_remote_newest;

typedef struct cf_remote_self {
    cf_id16 server_id, vault_id;
    char name[CF_REMOTE_NAME_MAX + 1];
    char purpose[16]; /* "agent", "read" */
    char epoch[CF_REMOTE_EPOCH_MAX + 1];
    uint64_t generation;
    cf_remote_newest newest;
    cf_time time;
} cf_remote_self;
cf_err *cf_remote_get_self(cf_remote *remote, cf_remote_self *self) __attribute__((warn_unused_result));
cf_err *cf_remote_rename_self(cf_remote *remote, const char *name) __attribute__((warn_unused_result));
/* cf_remote_revoke_token: the token in use works no more. A token that is gone already is fine.            */
cf_err *cf_remote_revoke_token(cf_remote *remote) __attribute__((warn_unused_result));

typedef struct cf_remote_slot {
    uint32_t number;
    uint8_t slot[CF_REMOTE_SLOT_SIZE];
} cf_remote_slot;
/* *slots is a fresh array, ascending by number, that the caller frees.                                     */
cf_err *cf_remote_list_slots(cf_remote *remote, cf_remote_slot **slots, size_t *count)
    __attribute__((warn_unused_result));
cf_err *cf_remote_store_slot(cf_remote *remote, uint32_t number, cf_span slot) __attribute__((warn_unused_result));

/* cf_remote_add_kit: credentials of a recovery kit for this server: the vault keeps secret's hash. *credentials: a fresh
 * value of purpose CF_PURPOSE_KIT.                                                                          */
cf_err *cf_remote_add_kit(cf_remote *remote, const cf_secret *secret, cf_credentials **credentials)
    __attribute__((warn_unused_result));

cf_err *cf_remote_store_record(cf_remote *remote, const cf_id16 *session, cf_span record)
    __attribute__((warn_unused_result));
cf_err *cf_remote_get_record(cf_remote *remote, const cf_id16 *session, uint8_t record[CF_REMOTE_RECORD_SIZE])
    __attribute__((warn_unused_result));

#endif
