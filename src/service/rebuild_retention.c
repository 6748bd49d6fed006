/* What rebuild makes of the journal's entries about retention. */
#include <stdio.h>

#include "records/reclaim.h"
#include "service/rebuild_journal.h"
#include "service/settings.h"
#include "visible/point.h"

cf_err *cf_rebuild_setting(cf_rebuild *job, cf_json_reader *reader) {
    const char *name = cf_json_read_text(reader, "name", 1, CF_SETTING_NAME_MAX);
    const char *value = cf_json_read_optional_text(reader, "value", CF_SETTING_VALUE_MAX);
    CF_TRY(cf_json_done(reader));
    if (value && !cf_setting_valid(name, value))
        return cf_fail_reason(CF_ERR_FORMAT, "value", "this version has no setting of that name and value");
    return cf_records_set_setting(job->vault->records, name, value);
}

cf_err *cf_rebuild_origin(cf_rebuild *job, cf_json_reader *reader) {
    cf_id32 point;
    cf_json_read_hex(reader, "point", point.bytes, 32);
    uint64_t until = cf_json_read_number(reader, "until", 0, INT64_MAX);
    const json_t *scheduled = cf_json_read_optional_value(reader, "slot");
    uint64_t slot = scheduled ? cf_json_read_number(reader, "slot", 0, INT64_MAX) : 0;
    CF_TRY(cf_json_done(reader));
    CF_TRY(cf_records_set_origin(job->vault->records, &point, scheduled != NULL, (int64_t)slot));
    return until ? cf_records_retain_point(job->vault->records, &point, (int64_t)until) : NULL;
}

/* A point whose object is gone as well: a row of the history, for the rules. */
static cf_err *add_history(cf_rebuild *job, const cf_point_row *row) {
    CF_AUTO_BUF cf_buf summary;
    cf_point_row full = *row;
    cf_summary empty = {.selection = row->manual ? CF_SELECTION_MANUAL : CF_SELECTION_POLICY};
    cf_buf_init(&summary, sizeof full.summary);
    cf_summary_encode(&empty, &summary);
    CF_TRY(cf_buf_check(&summary, "a summary"));
    memcpy(full.summary, summary.data, summary.size);
    full.summary_size = summary.size;
    CF_TRY(cf_records_add_point(job->vault->records, &full));
    return cf_records_set_point_object(job->vault->records, &row->id, "gone");
}

static cf_err *take_expired(cf_rebuild *job, const cf_id16 *server, int64_t when, const json_t *item) {
    cf_json_reader reader = cf_json_reader_of(item, CF_ERR_FORMAT, "the journal entry");
    cf_point_row row = {.server = *server, .expired = true, .expired_at = when}, known;
    bool found = false;
    cf_json_read_hex(&reader, "id", row.id.bytes, 32);
    row.counter = cf_json_read_number(&reader, "counter", 1, INT64_MAX);
    row.received = (int64_t)cf_json_read_number(&reader, "received", 0, INT64_MAX);
    row.retain_until = (int64_t)cf_json_read_optional_number(&reader, "until", INT64_MAX, 0);
    row.has_retain_until = row.retain_until != 0;
    row.scheduled = cf_json_read_optional_value(&reader, "slot") != NULL;
    row.slot = (int64_t)cf_json_read_optional_number(&reader, "slot", INT64_MAX, 0);
    row.manual = cf_json_read_optional_flag(&reader, "manual");
    row.flagged = cf_json_read_optional_flag(&reader, "flagged");
    CF_TRY(cf_json_done(&reader));
    CF_TRY(cf_records_find_point(job->vault->records, server, &row.id, &found, &known));
    if (found) return cf_records_expire_point(job->vault->records, &row.id, when, NULL);
    cf_id32 other; /* merging: the vault went on from an older copy, and another point has its place */
    CF_TRY(cf_records_point_at(job->vault->records, server, row.counter, &found, &other));
    return found ? NULL : add_history(job, &row);
}

cf_err *cf_rebuild_expired(cf_rebuild *job, const cf_journal_entry *entry, cf_json_reader *reader) {
    cf_id16 server;
    cf_server_row known;
    bool found = false;
    cf_json_read_hex(reader, "server_id", server.bytes, 16);
    const json_t *list = cf_json_read_array(reader, "points", CF_POINTS_MAX + 1);
    CF_TRY(cf_json_done(reader));
    CF_TRY(cf_records_find_server(job->vault->records, &server, &found, &known));
    if (!found) return cf_fail(CF_ERR_UNKNOWN_SERVER, "no journal entry registers this server");
    for (size_t i = 0; i < json_array_size(list); i++)
        CF_TRY(take_expired(job, &server, (int64_t)entry->time, json_array_get(list, i)));
    return NULL;
}
