#include "cli/drill.h"

#include "base/text.h"
#include "proto/json.h"

#define SETTING "last_drill"

cf_err *cf_drill_remember(cf_state *state, const cf_drill_result *result) {
    char when[40], point[CF_HEX_SIZE(32)];
    cf_time_format(cf_clock_wall(cf_state_clock(state)), when);
    cf_hex_encode(result->point.bytes, 32, point);
    CF_AUTO(json_t)
    object = json_pack("{s:s, s:s, s:I, s:I, s:I, s:I}", "time", when, "point_id", point, "files",
                       (json_int_t)result->files, "files_total", (json_int_t)result->files_total, "bytes",
                       (json_int_t)result->bytes, "failed", (json_int_t)result->failed);
    CF_AUTO_FREE char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
    if (!text) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for the drill's result");
    return cf_state_set_setting(state, SETTING, text);
}

cf_err *cf_drill_recall(cf_state *state, cf_drill_result *result, bool *found) {
    CF_AUTO_FREE char *text = NULL;
    CF_AUTO(json_t) object = NULL;
    *found = false;
    *result = (cf_drill_result){0};
    CF_TRY(cf_state_get_setting(state, SETTING, &text));
    if (!text) return NULL;
    CF_AUTO(cf_err) err = cf_json_parse(cf_span_text(text), 4096, CF_ERR_STATE_DAMAGED, SETTING, &object);
    if (err) return NULL; /* as if there had been none: the next drill writes it anew */
    cf_json_reader reader = cf_json_reader_of(object, CF_ERR_STATE_DAMAGED, SETTING);
    result->time = cf_json_read_time(&reader, "time");
    cf_json_read_hex(&reader, "point_id", result->point.bytes, 32);
    result->files = cf_json_read_number(&reader, "files", 0, INT64_MAX);
    result->files_total = cf_json_read_number(&reader, "files_total", 0, INT64_MAX);
    result->bytes = cf_json_read_number(&reader, "bytes", 0, INT64_MAX);
    result->failed = cf_json_read_number(&reader, "failed", 0, INT64_MAX);
    err = cf_json_done(&reader);
    *found = err == NULL;
    return NULL;
}
