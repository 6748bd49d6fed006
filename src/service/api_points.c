/* Reading recovery points. */
#include <stdlib.h>

#include "base/log.h"
#include "service/call.h"
#include "service/liveness.h"
#include "service/retention_view.h"
#include "service/values.h"

json_t *cf_summary_value(const cf_summary *summary) {
    return json_pack(
        "{ss,ss,sb,so,so,so,so,so,so,so,so,so,so,so,so,so}", "selection",
        summary->selection == CF_SELECTION_MANUAL ? "manual" : "policy", "scan", summary->tracked ? "tracked" : "full",
        "with_warnings", (int)summary->with_warnings, "started", cf_value_time((int64_t)summary->started), "finished",
        cf_value_time((int64_t)summary->finished), "files", cf_value_number(summary->files), "directories",
        cf_value_number(summary->directories), "others", cf_value_number(summary->others), "bytes",
        cf_value_number(summary->bytes), "files_new", cf_value_number(summary->files_new), "files_changed",
        cf_value_number(summary->files_changed), "files_unchanged", cf_value_number(summary->files_unchanged),
        "bytes_read", cf_value_number(summary->bytes_read), "bytes_stored", cf_value_number(summary->bytes_stored),
        "warnings", cf_value_number(summary->warnings), "selection_id", cf_value_hex(summary->selection_id.bytes, 16));
}

static json_t *tags_value(const cf_retained_point *kept) {
    json_t *tags = json_array();
    for (unsigned bit = 0; kept && tags && bit < CF_TAG_COUNT; bit++) {
        if (!(kept->tags >> bit & 1) || json_array_append_new(tags, json_string(cf_tag_word(bit))) == 0) continue;
        json_decref(tags);
        return NULL;
    }
    return tags;
}

json_t *cf_point_value(const cf_point_row *row, const cf_retained_point *kept) {
    cf_summary summary;
    cf_err *err = cf_summary_decode(cf_span_of(row->summary, row->summary_size), &summary);
    bool whole = !err;
    cf_err_free(err); /* the row was checked when it was made; a damaged one is shown without its summary */
    json_t *until = row->has_retain_until ? cf_value_time(row->retain_until) : json_null();
    json_t *scheduled = row->scheduled ? cf_value_time(row->slot) : json_null();
    return json_pack("{so,so,so,so,so,so,so,so,so,sb,ss,so}", "id", cf_value_hex(row->id.bytes, 32), "counter",
                     cf_value_number(row->counter), "previous", cf_value_hex(row->previous.bytes, 32), "received",
                     cf_value_time(row->received), "size", cf_value_number(row->size), "retain_until", until,
                     "scheduled", scheduled, "tags", tags_value(kept), "expires",
                     kept && !kept->for_ever ? cf_value_time(kept->expires) : json_null(), "held",
                     kept && (kept->verdict == CF_VERDICT_HELD || kept->verdict == CF_VERDICT_PINNED), "status",
                     whole && summary.with_warnings ? "completed_with_warnings" : "completed", "summary",
                     whole ? cf_summary_value(&summary) : json_null());
}

/* Points are listed even when the policy cannot be understood here: without tags. */
static cf_err *load_view(cf_call *call, cf_retention_view *view) {
    cf_err *err = cf_retention_view_load(call->vault, &call->token.server, call->now, view);
    if (cf_err_code(err) != CF_ERR_ZONE_UNKNOWN && cf_err_code(err) != CF_ERR_POLICY_INVALID) return err;
    cf_log_error(CF_LOG_WARNING, err);
    cf_err_free(err);
    return NULL;
}

cf_err *cf_api_points_list(cf_call *call) {
    CF_AUTO_RETENTION_VIEW cf_retention_view view = {0};
    CF_AUTO_FREE cf_point_row *rows = NULL;
    size_t count = 0;
    CF_TRY(load_view(call, &view));
    CF_TRY(cf_records_list_points(call->vault->records, &call->token.server, &rows, &count));
    json_t *list = json_array();
    for (size_t i = 0; i < count && list; i++) {
        const cf_retained_point *kept = cf_retention_view_find(&view, rows[i].counter);
        if (json_array_append_new(list, cf_point_value(&rows[i], kept)) != 0) {
            json_decref(list);
            list = NULL;
        }
    }
    return cf_call_reply(call, 200, list ? json_pack("{so}", "points", list) : NULL);
}

static cf_err *find_point(cf_call *call, cf_point_row *row) {
    cf_id32 id;
    bool found = false;
    CF_TRY(cf_call_argument(call, id.bytes, 32));
    CF_TRY(cf_records_find_point(call->vault->records, &call->token.server, &id, &found, row));
    return found && !row->expired
               ? NULL
               : cf_fail(CF_ERR_UNKNOWN_OBJECT, "this server has no recovery point %s", call->argument);
}

cf_err *cf_api_points_get(cf_call *call) {
    cf_point_row row;
    CF_TRY(find_point(call, &row));
    cf_buf_init(&call->reply_bytes, CF_POINT_MAX);
    CF_TRY(cf_point_load(call->vault, &row, &call->reply_bytes));
    call->raw = true;
    return NULL;
}

cf_err *cf_api_points_map(cf_call *call) {
    cf_point_row row;
    CF_AUTO(cf_map) map = NULL;
    CF_TRY(find_point(call, &row));
    CF_TRY(cf_liveness_of(call->vault, &row, &map));
    cf_buf_init(&call->reply_bytes, CF_POINT_MAP_MAX);
    CF_TRY(cf_map_encode(map, &(cf_map_header){0}, NULL, NULL, NULL, &call->reply_bytes));
    CF_TRY(cf_buf_check(&call->reply_bytes, "the liveness map"));
    call->raw = true;
    return NULL;
}
