#include "service/rebuild_journal.h"

#include <stdio.h>

#include "proto/json.h"

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
    if (found) return NULL;
    CF_TRY(cf_records_add_token(job->vault->records, &row));
    job->report->tokens++;
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
    case CF_JOURNAL_SLOT_ADDED:     /* the slot's object says it all */
    case CF_JOURNAL_POINT_RETAINED: /* later, when the points are there */
        break;
    }
    return cf_json_done(reader);
}

cf_err *cf_rebuild_entry(cf_rebuild *job, const cf_journal_entry *entry) {
    CF_AUTO(json_t) body = NULL;
    CF_TRY(cf_json_parse(entry->body, CF_JOURNAL_BODY_MAX, CF_ERR_FORMAT, "the journal entry", &body));
    cf_json_reader reader = cf_json_reader_of(body, CF_ERR_FORMAT, "the journal entry");
    return dispatch(job, entry, &reader);
}

cf_err *cf_rebuild_retained(cf_rebuild *job, const char *key) {
    CF_AUTO_BUF cf_buf bytes;
    CF_AUTO(json_t) body = NULL;
    cf_journal_entry entry;
    cf_id32 point;
    cf_buf_init(&bytes, CF_JOURNAL_BODY_MAX + 4096);
    CF_TRY(cf_objects_get_all(job->vault->objects, key, bytes.max, &bytes));
    CF_AUTO(cf_err) damaged = cf_journal_decode(cf_buf_span(&bytes), &entry);
    if (damaged || entry.type != CF_JOURNAL_POINT_RETAINED) return NULL; /* damage was told the first time */
    CF_TRY(cf_json_parse(entry.body, CF_JOURNAL_BODY_MAX, CF_ERR_FORMAT, "the journal entry", &body));
    cf_json_reader reader = cf_json_reader_of(body, CF_ERR_FORMAT, "the journal entry");
    cf_json_read_hex(&reader, "point", point.bytes, 32);
    uint64_t until = cf_json_read_number(&reader, "until", 0, INT64_MAX);
    CF_TRY(cf_json_done(&reader));
    return cf_records_retain_point(job->vault->records, &point, (int64_t)until);
}
