#include "service/rebuild_journal.h"

#include <stdio.h>

#include "policy/policy.h"
#include "proto/json.h"
#include "records/damage.h"
#include "records/reclaim.h"

/* Rows refer to their server: an entry whose server is unknown (its own entry is damaged) is passed over. */
static cf_err *need_server(cf_rebuild *job, const cf_id16 *id) {
    cf_server_row row;
    bool found = false;
    CF_TRY(cf_records_find_server(job->vault->records, id, &found, &row));
    return found ? NULL : cf_fail(CF_ERR_UNKNOWN_SERVER, "no journal entry registers this server");
}

static cf_err *take_vault(cf_rebuild *job, cf_json_reader *reader, const cf_journal_entry *entry) {
    cf_vault_row *row = &job->vault->row;
    cf_json_read_hex(reader, "vault_id", row->id.bytes, 16);
    snprintf(row->name, sizeof row->name, "%s", cf_json_read_text(reader, "name", 1, CF_SERVER_NAME_MAX));
    snprintf(row->region, sizeof row->region, "%s", cf_json_read_text(reader, "region", 0, CF_REGION_MAX));
    snprintf(row->url, sizeof row->url, "%s", cf_json_read_text(reader, "url", 1, CF_URL_MAX));
    CF_TRY(cf_json_done(reader));
    if (!job->has_vault) row->created = (int64_t)entry->time; /* later ones tell of a new address */
    job->has_vault = true;
    return NULL;
}

static cf_err *take_server(cf_rebuild *job, cf_json_reader *reader, const cf_journal_entry *entry) {
    cf_server_row row = {.registered = (int64_t)entry->time, .next_number = 1}, known;
    bool found = false;
    cf_json_read_hex(reader, "server_id", row.id.bytes, 16);
    snprintf(row.name, sizeof row.name, "%s", cf_json_read_text(reader, "name", 1, CF_SERVER_NAME_MAX));
    cf_json_read_hex(reader, "auth_key", row.auth_key, 32);
    (void)cf_json_read_optional_hex(reader, "instance", row.instance.bytes, 16); /* zeros when it is not there */
    CF_TRY(cf_json_done(reader));
    CF_TRY(cf_records_find_server(job->vault->records, &row.id, &found, &known));
    if (found) { /* a crash came between the entry and the row: the later request is the one that was answered */
        CF_TRY(cf_records_rename_server(job->vault->records, &row.id, row.name));
        return cf_records_set_instance(job->vault->records, &row.id, &row.instance);
    }
    CF_TRY(cf_records_add_server(job->vault->records, &row));
    job->report->servers++;
    return NULL;
}

static cf_err *take_token(cf_rebuild *job, cf_json_reader *reader, const cf_journal_entry *entry) {
    static const char *const purposes[] = {"read", "agent"};
    cf_token_row row = {.issued = (int64_t)entry->time}, known;
    bool found = false;
    cf_id16 instance;
    cf_json_read_hex(reader, "server_id", row.server.bytes, 16);
    cf_json_read_hex(reader, "token_sha256", row.sha256.bytes, 32);
    row.agent = cf_json_read_word(reader, "purpose", purposes, 2) == 1;
    row.expires = (int64_t)cf_json_read_number(reader, "expires", 0, INT64_MAX);
    bool has_instance = cf_json_read_optional_hex(reader, "instance", instance.bytes, 16);
    CF_TRY(cf_json_done(reader));
    CF_TRY(need_server(job, &row.server));
    CF_TRY(cf_records_find_token(job->vault->records, &row.sha256, &found, &known));
    if (!found) CF_TRY(cf_records_add_token(job->vault->records, &row));
    if (!found) job->report->tokens++;
    return has_instance ? cf_records_set_instance(job->vault->records, &row.server, &instance) : NULL;
}

static cf_err *take_revoked(cf_rebuild *job, cf_json_reader *reader, const cf_journal_entry *entry) {
    cf_id32 sha256;
    cf_json_read_hex(reader, "token_sha256", sha256.bytes, 32);
    CF_TRY(cf_json_done(reader));
    return cf_records_revoke_token(job->vault->records, &sha256, (int64_t)entry->time);
}

static cf_err *take_credentials(cf_rebuild *job, cf_json_reader *reader, const cf_journal_entry *entry) {
    cf_credentials_row row = {.sequence = entry->sequence}, known;
    bool found = false, newest = false;
    cf_json_read_hex(reader, "secret_sha256", row.secret_sha256.bytes, 32);
    snprintf(row.purpose, sizeof row.purpose, "%s", cf_json_read_text(reader, "purpose", 1, CF_WORD_MAX));
    row.issued = (int64_t)cf_json_read_number(reader, "issued", 0, INT64_MAX);
    row.expires = (int64_t)cf_json_read_number(reader, "expires", 0, INT64_MAX);
    row.has_server = cf_json_read_optional_hex(reader, "server_id", row.server.bytes, 16);
    CF_TRY(cf_json_done(reader));
    CF_TRY(cf_records_find_credentials(job->vault->records, &row.secret_sha256, &found, &known, &newest));
    if (found) return NULL;
    CF_TRY(cf_records_add_credentials(job->vault->records, &row));
    job->report->credentials++;
    return NULL;
}

static cf_err *take_renamed(cf_rebuild *job, cf_json_reader *reader) {
    cf_id16 id;
    cf_json_read_hex(reader, "server_id", id.bytes, 16);
    const char *name = cf_json_read_text(reader, "name", 1, CF_SERVER_NAME_MAX);
    CF_TRY(cf_json_done(reader));
    return cf_records_rename_server(job->vault->records, &id, name);
}

/* An entry whose row a crash prevented was never answered: the numbers were handed out again, or the session asked
 * again. So the later entry counts. */
static cf_err *take_block(cf_rebuild *job, cf_json_reader *reader) {
    cf_block_row row = {0}, known;
    bool found = false;
    cf_json_read_hex(reader, "server_id", row.server.bytes, 16);
    uint64_t end = cf_json_read_number(reader, "end", 1, CF_PACK_NUMBER_MAX);
    row.first = cf_json_read_optional_number(reader, "first", CF_PACK_NUMBER_MAX, 0);
    bool whole = cf_json_read_optional_hex(reader, "session", row.session.bytes, 16);
    row.after = cf_json_read_optional_number(reader, "after", CF_PACK_NUMBER_MAX, 0);
    CF_TRY(cf_json_done(reader));
    cf_records *records = job->vault->records;
    CF_TRY(need_server(job, &row.server));
    CF_TRY(cf_records_set_next_number(records, &row.server, end));
    if (!whole || row.first == 0 || end <= row.first || end - row.first > UINT32_MAX) return NULL;
    row.count = (uint32_t)(end - row.first);
    CF_TRY(cf_records_find_block_after(records, &row.server, &row.session, row.after, &found, &known));
    if (found) CF_TRY(cf_records_drop_block(records, &known));
    CF_TRY(cf_records_drop_block(records, &row)); /* one that begins with the same number */
    CF_TRY(cf_records_add_block(records, &row));
    job->report->blocks++;
    return NULL;
}

/* A mark stays what it was until a scrub has looked again. */
static cf_err *take_damage(cf_rebuild *job, cf_json_reader *reader) {
    static const char *const states[] = {"open", "healed", "gone"};
    cf_damage_row row = {0};
    snprintf(row.object, sizeof row.object, "%s", cf_json_read_text(reader, "object", 1, CF_NAME_MAX - 1));
    row.has_server = cf_json_read_optional_hex(reader, "server_id", row.server.bytes, 16);
    row.segment = (int32_t)cf_json_read_number(reader, "segment", 0, CF_SEGMENT_DIRECTORY + 1) - 1;
    row.pack = cf_json_read_number(reader, "pack", 0, CF_PACK_NUMBER_MAX);
    snprintf(row.reason, sizeof row.reason, "%s", cf_json_read_text(reader, "reason", 1, CF_WORD_MAX));
    row.found = (int64_t)cf_json_read_number(reader, "found", 0, INT64_MAX);
    row.changed = (int64_t)cf_json_read_number(reader, "changed", 0, INT64_MAX);
    snprintf(row.state, sizeof row.state, "%s", states[cf_json_read_word(reader, "state", states, 3)]);
    CF_TRY(cf_json_done(reader));
    return cf_records_put_damage(job->vault->records, &row);
}

/* The text as the service writes it (the journal sorts members), with a NUL behind. */
static cf_err *format_policy(cf_buf *text) {
    cf_policy policy;
    CF_TRY(cf_policy_parse(cf_buf_span(text), "the policy", &policy));
    cf_buf_reset(text);
    cf_err *err = cf_policy_format(&policy, text);
    cf_policy_wipe(&policy);
    CF_TRY(err);
    cf_buf_put_u8(text, 0);
    return cf_buf_check(text, "a policy");
}

/* Entries come in the order in which they were written; the highest number is in force. An entry whose row a crash
 * prevented was never answered, and the next version took the same number: the later entry counts. */
static cf_err *take_policy(cf_rebuild *job, cf_json_reader *reader, const cf_journal_entry *entry) {
    cf_policy_row row = {.changed = (int64_t)entry->time};
    cf_json_read_hex(reader, "server_id", row.server.bytes, 16);
    row.number = cf_json_read_number(reader, "number", 1, INT64_MAX);
    const json_t *policy = cf_json_read_optional_value(reader, "policy");
    if (!json_is_object(policy)) cf_json_refuse(reader, "policy", "is no object");
    snprintf(row.changed_by, sizeof row.changed_by, "%s", cf_json_read_text(reader, "changed_by", 1, CF_WORD_MAX));
    CF_TRY(cf_json_done(reader));
    CF_TRY(need_server(job, &row.server));
    CF_AUTO_BUF cf_buf text;
    cf_buf_init(&text, CF_JOURNAL_BODY_MAX);
    CF_TRY(cf_json_format(policy, &text));
    CF_TRY(format_policy(&text));
    return cf_records_put_policy(job->vault->records, &row, (const char *)text.data);
}

/* What was removed is not in the store: only the count goes on. */
static cf_err *take_reclaimed(cf_rebuild *job, cf_json_reader *reader) {
    cf_id16 server;
    cf_json_read_hex(reader, "server_id", server.bytes, 16);
    uint64_t deletion = cf_json_read_number(reader, "deletion", 1, INT64_MAX);
    CF_TRY(cf_json_done(reader));
    CF_TRY(need_server(job, &server));
    return cf_records_set_deletions(job->vault->records, &server, deletion);
}

static cf_err *take_epoch(cf_rebuild *job, cf_json_reader *reader) {
    cf_id16 epoch;
    cf_json_read_hex(reader, "epoch", epoch.bytes, 16);
    CF_TRY(cf_json_done(reader));
    return cf_records_add_epoch(job->vault->records, &epoch);
}

static cf_err *dispatch(cf_rebuild *job, const cf_journal_entry *entry, cf_json_reader *reader) {
    switch ((cf_journal_type)entry->type) {
    case CF_JOURNAL_VAULT_CREATED:
        return take_vault(job, reader, entry);
    case CF_JOURNAL_SERVER_REGISTERED:
        return take_server(job, reader, entry);
    case CF_JOURNAL_TOKEN_ISSUED:
        return take_token(job, reader, entry);
    case CF_JOURNAL_TOKEN_REVOKED:
        return take_revoked(job, reader, entry);
    case CF_JOURNAL_CREDENTIALS_ISSUED:
        return take_credentials(job, reader, entry);
    case CF_JOURNAL_SERVER_RENAMED:
        return take_renamed(job, reader);
    case CF_JOURNAL_NUMBERS_RESERVED:
        return take_block(job, reader);
    case CF_JOURNAL_POLICY_SET:
        return take_policy(job, reader, entry);
    case CF_JOURNAL_SLOT_ADDED:     /* later, when the slots are there */
    case CF_JOURNAL_POINT_RETAINED: /* later, when the points are there */
    case CF_JOURNAL_POINTS_EXPIRED:
        break;
    case CF_JOURNAL_SETTING_CHANGED:
        return cf_rebuild_setting(job, reader);
    case CF_JOURNAL_EXPIRY_CONFIRMED: /* not of what is here now */
        break;
    case CF_JOURNAL_RELOCATION: /* the record's object says it all */
        break;
    case CF_JOURNAL_DAMAGE:
        return take_damage(job, reader);
    case CF_JOURNAL_RECLAIMED:
        return take_reclaimed(job, reader);
    case CF_JOURNAL_EPOCH:
        return take_epoch(job, reader);
    }
    return cf_json_done(reader);
}

cf_err *cf_rebuild_entry(cf_rebuild *job, const cf_journal_entry *entry) {
    CF_AUTO(json_t) body = NULL;
    CF_TRY(cf_json_parse(entry->body, CF_JOURNAL_BODY_MAX, CF_ERR_FORMAT, "the journal entry", &body));
    cf_json_reader reader = cf_json_reader_of(body, CF_ERR_FORMAT, "the journal entry");
    return dispatch(job, entry, &reader);
}

static cf_err *slot_added(cf_rebuild *job, const cf_journal_entry *entry, cf_json_reader *reader) {
    cf_id16 server;
    cf_slot_row row = {.added = (int64_t)entry->time};
    cf_json_read_hex(reader, "server_id", server.bytes, 16);
    row.number = (uint32_t)cf_json_read_number(reader, "slot", 1, UINT32_MAX);
    row.added = (int64_t)cf_json_read_optional_number(reader, "added", INT64_MAX, entry->time);
    CF_TRY(cf_json_done(reader));
    return cf_records_set_slot_added(job->vault->records, &server, &row);
}

static bool is_later(uint16_t type) {
    return type == CF_JOURNAL_POINT_RETAINED || type == CF_JOURNAL_SLOT_ADDED || type == CF_JOURNAL_POINTS_EXPIRED;
}

cf_err *cf_rebuild_retained(cf_rebuild *job, const char *key) {
    CF_AUTO_BUF cf_buf bytes;
    CF_AUTO(json_t) body = NULL;
    cf_journal_entry entry;
    cf_buf_init(&bytes, CF_JOURNAL_BODY_MAX + 4096);
    CF_TRY(cf_objects_get_all(job->vault->objects, key, bytes.max, &bytes));
    CF_AUTO(cf_err) damaged = cf_journal_decode(cf_buf_span(&bytes), &entry);
    if (damaged) return NULL; /* was told the first time */
    if (!is_later(entry.type)) return NULL;
    CF_TRY(cf_json_parse(entry.body, CF_JOURNAL_BODY_MAX, CF_ERR_FORMAT, "the journal entry", &body));
    cf_json_reader reader = cf_json_reader_of(body, CF_ERR_FORMAT, "the journal entry");
    if (entry.type == CF_JOURNAL_SLOT_ADDED) return slot_added(job, &entry, &reader);
    return entry.type == CF_JOURNAL_POINT_RETAINED ? cf_rebuild_origin(job, &reader)
                                                   : cf_rebuild_expired(job, &entry, &reader);
}
