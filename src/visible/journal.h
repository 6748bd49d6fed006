/* Journal objects (format, section 10): what administrators decide, one small object each.
 * The body is JSON text; its members, by type:
 *   1 VAULT_CREATED       vault_id (hex), name, region, url
 *   2 SERVER_REGISTERED   server_id (hex), name, auth_key (hex, 32 bytes), instance (hex, 16 bytes)
 *   3 TOKEN_ISSUED        server_id, token_sha256 (hex), purpose ("agent" | "read"), expires (seconds or 0),
 *                         instance (hex, 16 bytes; of an agent token that takes a server over)
 *   4 TOKEN_REVOKED       server_id, token_sha256
 *   5 CREDENTIALS_ISSUED  secret_sha256, purpose, issued, expires
 *   6 SERVER_RENAMED      server_id, name
 *   7 NUMBERS_RESERVED    server_id, end (the first number that was NOT handed out), first, session (hex),
 *                         after (the last number of the session's block before this one, or 0)
 *   8 SLOT_ADDED          server_id, slot (number), reason, added (seconds)
 *   9 POINT_RETAINED      server_id, point (hex), until (seconds; 0: no date was chosen); slot (seconds) of a scheduled
 *                         run; without, it was started on demand
 *   10 POLICY_SET         server_id, number, policy (the document), changed_by ("agent" | "vault")
 *   11 POINTS_EXPIRED     server_id, reason, points: array of {id (hex), counter, received (seconds)} and, where they
 *                         have them, until, slot (seconds), manual, flagged (true)
 *   12 SETTING_CHANGED    name, value (text; null: back to its default)
 *   13 EXPIRY_CONFIRMED   (nothing: that an administrator did)
 *   14 RELOCATION         server_id, number, id (of the relocation record, hex)
 *   15 DAMAGE             object (its name, generation 0), segment + 1 (0: the whole), server_id (hex, absent for the
 *                         journal's own), pack (0: no pack), reason, found and changed (seconds), state
 *   16 RECLAIMED          server_id, deletion (a number that rises): objects of this server are removed from here on
 *   17 EPOCH              epoch (hex): the vault's from here on                                           */
#ifndef CF_VISIBLE_JOURNAL_H
#define CF_VISIBLE_JOURNAL_H

#include "base/buf.h"
#include "base/err.h"

typedef enum cf_journal_type {
    CF_JOURNAL_VAULT_CREATED = 1,
    CF_JOURNAL_SERVER_REGISTERED = 2,
    CF_JOURNAL_TOKEN_ISSUED = 3,
    CF_JOURNAL_TOKEN_REVOKED = 4,
    CF_JOURNAL_CREDENTIALS_ISSUED = 5,
    CF_JOURNAL_SERVER_RENAMED = 6,
    CF_JOURNAL_NUMBERS_RESERVED = 7,
    CF_JOURNAL_SLOT_ADDED = 8,
    CF_JOURNAL_POINT_RETAINED = 9,
    CF_JOURNAL_POLICY_SET = 10,
    CF_JOURNAL_POINTS_EXPIRED = 11,
    CF_JOURNAL_SETTING_CHANGED = 12,
    CF_JOURNAL_EXPIRY_CONFIRMED = 13,
    CF_JOURNAL_RELOCATION = 14,
    CF_JOURNAL_DAMAGE = 15,
    CF_JOURNAL_RECLAIMED = 16,
    CF_JOURNAL_EPOCH = 17,
} cf_journal_type;

enum { CF_JOURNAL_BODY_MAX = 1 << 20 };

typedef struct cf_journal_entry {
    uint16_t type;
    uint64_t sequence;
    uint64_t time; /* seconds since 1970 */
    cf_span body;  /* borrowed; UTF-8 JSON, not parsed here */
} cf_journal_entry;

cf_err *cf_journal_encode(const cf_journal_entry *entry, cf_buf *out);
/* Fails: FORMAT; FORMAT_VERSION also for a type that this version does not know.                          */
cf_err *cf_journal_decode(cf_span bytes, cf_journal_entry *entry);

#endif
