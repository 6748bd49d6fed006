#include "service/commit.h"

#include <stdlib.h>

#include "base/log.h"
#include "digest/digest.h"
#include "service/call.h"
#include "service/liveness.h"
#include "service/reclaim.h"
#include "service/retention_view.h"
#include "visible/names.h"
#include "visible/slot_header.h"

enum { REFER_MAX = 1000 };

void cf_commit_wipe(cf_commit *commit) {
    cf_map_free(commit->revive);
    free(commit->packs);
    json_decref(commit->missing);
}

static cf_err *check_follows(const cf_commit *what) {
    cf_server_row server;
    static const cf_id32 nothing;
    bool found = false;
    CF_TRY(cf_records_find_server(what->vault->records, &what->as.server, &found, &server));
    if (!found) return cf_fail(CF_ERR_DATABASE, "a recovery point of a server that is not there");
    uint64_t counter = server.has_newest ? server.newest_counter + 1 : 1;
    const cf_id32 *previous = server.has_newest ? &server.newest : &nothing;
    if (what->frame.counter == counter && cf_id32_equal(&what->frame.previous, previous)) return NULL;
    return cf_fail(CF_ERR_POINT_CONFLICT, "recovery point %llu does not follow the newest one, %llu",
                   (unsigned long long)what->frame.counter, (unsigned long long)(counter - 1));
}

static cf_err *check_record(const cf_commit *what) {
    CF_AUTO_BUF cf_buf record;
    cf_buf_init(&record, CF_KEY_RECORD_BYTES);
    bool found = false;
    CF_TRY(cf_records_get_record(what->vault->records, &what->as.server, &what->as.session, &found, &record));
    if (found && cf_span_equal(cf_buf_span(&record), what->frame.key_record)) return NULL;
    return cf_fail_reason(CF_ERR_BAD_REQUEST, "record", "the recovery point's key record is not the stored one");
}

/* Is there room for one more? A policy that cannot be understood here is no reason to refuse a backup. */
static cf_err *check_room(const cf_commit *what) {
    CF_AUTO_RETENTION_VIEW cf_retention_view view = {0};
    cf_err *err = cf_retention_view_load(what->vault, &what->as.server, what->as.received, &view);
    if (cf_err_code(err) == CF_ERR_ZONE_UNKNOWN || cf_err_code(err) == CF_ERR_POLICY_INVALID) {
        cf_err_free(err);
        return NULL;
    }
    CF_TRY(err);
    return cf_retention_admit(view.has_policy ? &view.policy : NULL, &view.floor, view.points, view.count,
                              what->as.scheduled);
}

static cf_err *check_liveness(cf_commit *what) {
    CF_AUTO(cf_map) map = NULL;
    cf_reclaim_row row;
    /* Before anything is looked at: what changes afterwards shows in the stamp. */
    CF_TRY(cf_records_get_reclaim(what->vault->records, &what->as.server, &row));
    what->stamp = row.stamp;
    CF_TRY(cf_pack_list_decode(what->frame.pack_list, &what->packs, &what->pack_count));
    CF_TRY(cf_liveness_decode(what->vault, &what->as.server, what->frame.map, &what->map_header, &map));
    CF_TRY(cf_liveness_missing(what->vault, &what->as.server, map, what->packs, what->pack_count, &what->missing,
                               &what->revive));
    if (!what->missing) return NULL;
    return cf_fail(CF_ERR_MISSING_SEGMENTS, "the vault lacks segments of %zu%s packs",
                   json_array_size(json_object_get(what->missing, "missing")),
                   json_is_true(json_object_get(what->missing, "more")) ? " and more" : "");
}

cf_err *cf_commit_check(cf_commit *what) {
    cf_summary summary;
    cf_point_row sizes;
    CF_TRY(check_follows(what));
    CF_TRY(cf_summary_decode(what->frame.summary, &summary));
    if (what->frame.summary.size > sizeof sizes.summary)
        return cf_fail(CF_ERR_TOO_LARGE, "the summary has %zu bytes", what->frame.summary.size);
    what->manual = summary.selection == CF_SELECTION_MANUAL;
    what->flagged = summary.with_warnings;
    what->as.scheduled = what->as.scheduled && !what->manual;
    CF_TRY(check_record(what));
    CF_TRY(check_room(what));
    return check_liveness(what);
}

/* What the point needs is present again, in the same transaction in which it becomes one. */
static cf_err *revive_pack(cf_commit *what, uint64_t pack) {
    CF_AUTO_RETIRED cf_retired_list list;
    cf_segset live;
    cf_retired_list_init(&list);
    cf_segset_clear(&live);
    for (uint32_t segment = 0; cf_map_next_segment(what->revive, pack, &segment); segment++)
        cf_segset_add(&live, segment);
    CF_TRY(cf_records_list_retired(what->vault->records, &what->as.server, pack, pack, &list));
    for (size_t i = 0; i < list.count; i++) {
        CF_AUTO_BUF cf_buf bytes;
        cf_segset segments;
        cf_buf_init(&bytes, 1 << 20);
        CF_TRY(cf_segset_decode(cf_retired_segments(&list, &list.rows[i]), &segments));
        cf_segset_subtract(&segments, &live);
        if (!cf_segset_empty(&segments)) cf_segset_encode(&segments, &bytes);
        CF_TRY(cf_buf_check(&bytes, "retired segments"));
        CF_TRY(cf_records_put_retired(what->vault->records, &what->as.server, pack, list.rows[i].generation,
                                      list.rows[i].at, cf_buf_span(&bytes)));
    }
    return NULL;
}

static cf_err *revive(cf_commit *what) {
    size_t cursor = 0;
    uint64_t pack = 0;
    if (!what->revive) return NULL;
    while (cf_map_next_pack(what->revive, &cursor, &pack)) CF_TRY(revive_pack(what, pack));
    return NULL;
}

/* The session's own packs are orphans no more. Of many, reclaiming sees to the rest: this is a request's transaction. */
static cf_err *refer(cf_commit *what) {
    for (size_t i = 0; i < what->pack_count && i < REFER_MAX; i++)
        CF_TRY(cf_records_refer_pack(what->vault->records, &what->as.server, what->packs[i].number));
    return NULL;
}

/* What the point's object does not say. Without an entry, rebuild takes a point of the policy's selection for a scheduled
 * one without a date, and any other for one on demand. */
static cf_err *journal_origin(const cf_commit *what) {
    if (!what->as.has_retain_until && (what->as.scheduled || what->manual)) return NULL;
    json_t *body = json_pack("{so,so,sI}", "server_id", cf_value_hex(what->as.server.bytes, 16), "point",
                             cf_value_hex(what->as.point.bytes, 32), "until",
                             (json_int_t)(what->as.has_retain_until ? what->as.retain_until : 0));
    if (body && what->as.scheduled && json_object_set_new(body, "slot", json_integer(what->as.slot)) != 0) {
        json_decref(body);
        body = NULL;
    }
    return cf_vault_journal(what->vault, CF_JOURNAL_POINT_RETAINED, body, NULL);
}

cf_err *cf_commit_row(cf_commit *what) {
    cf_reclaim_row now;
    CF_TRY(check_follows(what));
    CF_TRY(cf_records_get_reclaim(what->vault->records, &what->as.server, &now));
    if (now.stamp != what->stamp) return cf_fail(CF_ERR_INTERNAL, "space was reclaimed while a point was committed");
    cf_point_row row = {.id = what->as.point,
                        .previous = what->frame.previous,
                        .server = what->as.server,
                        .session = what->as.session,
                        .counter = what->frame.counter,
                        .size = what->object.size,
                        .received = what->as.received,
                        .has_retain_until = what->as.has_retain_until,
                        .retain_until = what->as.retain_until,
                        .scheduled = what->as.scheduled,
                        .slot = what->as.slot,
                        .manual = what->manual,
                        .flagged = what->flagged,
                        .delta = what->map_header.delta,
                        .base = what->map_header.base,
                        .chain = what->map_header.delta ? what->map_header.chain : 0,
                        .summary_size = what->frame.summary.size};
    memcpy(row.summary, what->frame.summary.data, what->frame.summary.size);
    CF_TRY(journal_origin(what));
    CF_TRY(revive(what));
    CF_TRY(refer(what));
    CF_TRY(cf_records_add_point(what->vault->records, &row));
    return cf_records_drop_intent(what->vault->records, &what->as.server, &what->as.point);
}

static cf_err *adopt_object(cf_commit *what) {
    CF_TRY(cf_commit_check(what));
    CF_TRY(cf_records_begin(what->vault->records));
    CF_TRY(cf_records_finish(what->vault->records, cf_commit_row(what)));
    cf_log(CF_LOG_INFO, "recovery point %llu: its commit, which was interrupted, is complete",
           (unsigned long long)what->frame.counter);
    return NULL;
}

/* Answers about this point, not about the vault. */
static bool is_refusal(const cf_err *err) {
    switch (cf_err_code(err)) {
    case CF_ERR_POINT_CONFLICT:
    case CF_ERR_MISSING_SEGMENTS:
    case CF_ERR_BAD_REQUEST:
    case CF_ERR_FORMAT:
    case CF_ERR_FORMAT_VERSION:
    case CF_ERR_TOO_LARGE:
    case CF_ERR_TOO_MANY_POINTS:
        return true;
    default:
        return false;
    }
}

cf_err *cf_commit_adopt(cf_vault *vault, const cf_intent_row *intent) {
    CF_AUTO_COMMIT cf_commit what = {.vault = vault, .as = *intent};
    CF_AUTO_BUF cf_buf bytes;
    cf_buf_init(&bytes, CF_POINT_MAX);
    char key[CF_NAME_MAX];
    uint8_t sum[32];
    bool stored = false;
    cf_name_point(&intent->server, intent->counter, &intent->point, key);
    CF_TRY(cf_objects_has(vault->objects, key, &stored, NULL));
    if (!stored) return cf_records_drop_intent(vault->records, &intent->server, &intent->point);
    CF_TRY(cf_objects_get_all(vault->objects, key, CF_POINT_MAX, &bytes));
    CF_TRY(cf_sha256(cf_buf_span(&bytes), sum));
    if (memcmp(sum, intent->point.bytes, 32) != 0) return NULL; /* damaged: never complete */
    what.object = cf_buf_span(&bytes);
    cf_err *err = cf_point_decode(what.object, &what.frame);
    if (!err) err = adopt_object(&what);
    if (!err || !is_refusal(err)) return err;
    cf_log_error(CF_LOG_DEBUG, err); /* it is known as one that was refused */
    cf_err_free(err);
    return NULL;
}
