/* A recovery kit: what an administrator needs on the bad day besides the passphrase: where the vault is and whom to
 * trust (as credentials that are for this one server and do not expire), which server, and the newest point known.
 *
 * A text to print or to keep in a safe: lines that begin with # are for people, the rest is JSON: format
 * "coffer-recovery-kit", version 1, server_id, server_name, created, newest {id, counter, time} or null,
 * credentials (proto/credentials.h, purpose "kit"). Pure.                                                */
#ifndef CF_PROTO_KIT_H
#define CF_PROTO_KIT_H

#include "proto/credentials.h"

enum { CF_KIT_MAX = 256 << 10, CF_KIT_NAME_MAX = 255 };

typedef struct cf_kit {
    cf_id16 server_id;
    char server_name[CF_KIT_NAME_MAX + 1];
    cf_time created;
    bool has_newest;
    cf_id32 newest;
    uint64_t newest_counter;
    cf_time newest_time;
    cf_credentials *credentials;
} cf_kit;
void cf_kit_free(cf_kit *kit); /* NULL-safe */
CF_DEFINE_AUTO(cf_kit, cf_kit_free)

/* cf_kit_format: the file's content in a secret. */
cf_err *cf_kit_format(const cf_kit *kit, cf_secret **text) __attribute__((warn_unused_result));
/* cf_kit_parse: name is for messages. Fails: 34513 CREDENTIALS as cf_credentials_parse, reasons also "not_json" and
 * "too_new".                                                                                              */
cf_err *cf_kit_parse(cf_span text, const char *name, cf_kit **kit) __attribute__((warn_unused_result));

#endif
