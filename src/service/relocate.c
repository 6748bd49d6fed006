#include "service/relocate.h"

#include <stdlib.h>

#include "digest/digest.h"

static cf_err *load(cf_vault *vault, const cf_relocation_row *row, cf_buf *out, cf_relocation_frame *frame) {
    char key[CF_NAME_MAX];
    uint8_t sum[32];
    cf_name_relocation(&row->server, row->number, &row->id, key);
    cf_buf_init(out, CF_RELOCATION_MAX);
    cf_err *err = cf_objects_get_all(vault->objects, key, CF_RELOCATION_MAX, out);
    if (!err) err = cf_sha256(cf_buf_span(out), sum);
    if (!err && memcmp(sum, row->id.bytes, 32) != 0)
        err = cf_fail_reason(CF_ERR_FORMAT, "id", "its content is another");
    if (!err) err = cf_relocation_decode(cf_buf_span(out), frame);
    return err ? cf_wrap(err, CF_ERR_POINT_DAMAGED, "relocation record %llu cannot be read",
                         (unsigned long long)row->number)
               : NULL;
}

static cf_err *add_one(cf_vault *vault, const cf_relocation_row *row, const cf_id32 *points, size_t count,
                       cf_map *map) {
    CF_AUTO_BUF cf_buf bytes;
    CF_AUTO_FREE cf_id32 *named = NULL;
    CF_AUTO(cf_map) extra = NULL;
    cf_relocation_frame frame;
    size_t named_count = 0;
    CF_TRY(load(vault, row, &bytes, &frame));
    CF_TRY(cf_relocation_points_decode(frame.points, &named, &named_count));
    bool concerned = false;
    for (size_t i = 0; i < count && !concerned; i++) concerned = cf_relocation_concerns(named, named_count, &points[i]);
    if (!concerned) return NULL;
    CF_TRY(cf_relocation_map(frame.extra, &extra));
    return cf_map_add_all(map, extra);
}

cf_err *cf_relocation_add_live(cf_vault *vault, const cf_id16 *server, const cf_id32 *points, size_t count,
                               uint64_t after, cf_map *map, uint64_t *newest) {
    CF_AUTO_FREE cf_relocation_row *rows = NULL;
    size_t number = 0;
    CF_TRY(cf_records_list_relocations(vault->records, server, after, &rows, &number));
    for (size_t i = 0; i < number; i++) CF_TRY(add_one(vault, &rows[i], points, count, map));
    if (newest) *newest = number ? rows[number - 1].number : after;
    return NULL;
}
