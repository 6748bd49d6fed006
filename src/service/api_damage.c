/* What of a server's stored data is damaged: its agent stores it again where it can. */
#include <stdlib.h>

#include "service/call.h"
#include "service/scrub.h"

enum { SEGMENTS_MAX = 100000, OBJECTS_MAX = 1000 };

/* One state's segments as [{"pack":n,"segments":[..]}]; *left counts down over both lists. */
static json_t *segments_value(const cf_map *map, size_t *left, bool *more) {
    json_t *list = json_array();
    size_t cursor = 0;
    uint64_t pack = 0;
    while (list && map && !*more && cf_map_next_pack(map, &cursor, &pack)) {
        json_t *segments = json_array();
        for (uint32_t segment = 0; cf_map_next_segment(map, pack, &segment); segment++) {
            if (*left == 0) {
                *more = true;
                break;
            }
            (void)json_array_append_new(segments, json_integer(segment)); /* counted below */
            --*left;
        }
        if (json_array_append_new(list, json_pack("{so,so}", "pack", cf_value_number(pack), "segments", segments)) !=
            0) {
            json_decref(list);
            list = NULL;
        }
    }
    return list;
}

/* Names below the server's folder, of what is damaged besides segments. */
static cf_err *objects_value(cf_call *call, json_t **out) {
    CF_AUTO_FREE cf_damage_row *rows = NULL;
    size_t count = 0;
    CF_TRY(cf_records_list_damage(call->vault->records, &call->token.server, 0, "open", &rows, &count));
    json_t *list = json_array();
    for (size_t i = 0; i < count && list && json_array_size(list) < OBJECTS_MAX; i++) {
        if (rows[i].pack != 0 && rows[i].segment != CF_DAMAGE_WHOLE && rows[i].segment != CF_SEGMENT_DIRECTORY)
            continue;
        if (json_array_append_new(list, json_pack("{ss,ss}", "object", rows[i].object, "reason", rows[i].reason)) == 0)
            continue;
        json_decref(list);
        list = NULL;
    }
    *out = list;
    return list ? NULL : cf_fail(CF_ERR_OUT_OF_MEMORY, "a reply");
}

cf_err *cf_api_damage(cf_call *call) {
    CF_AUTO(cf_map) open = NULL;
    CF_AUTO(cf_map) healed = NULL;
    json_t *objects = NULL;
    size_t left = SEGMENTS_MAX;
    bool more = false;
    CF_TRY(cf_scrub_bad(call->vault, &call->token.server, "open", &open));
    CF_TRY(cf_scrub_bad(call->vault, &call->token.server, "healed", &healed));
    CF_TRY(objects_value(call, &objects));
    json_t *first = segments_value(open, &left, &more), *second = segments_value(healed, &left, &more);
    return cf_call_reply(
        call, 200, json_pack("{so,so,so,sb}", "open", first, "healed", second, "objects", objects, "more", (int)more));
}
