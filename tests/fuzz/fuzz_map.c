// deps: visible_dep
/* First byte: how long the base map is that follows (0: none); then the map. */
#include <stdlib.h>

#include "visible/map.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What a map says about itself must fit together. */
static void check(const cf_map *map) {
    size_t cursor = 0, packs = 0;
    uint64_t pack, before = 0, segments = 0;
    for (; cf_map_next_pack(map, &cursor, &pack); packs++) {
        if (pack <= before || !cf_map_has_pack(map, pack)) abort();
        before = pack;
        uint32_t segment = 0, seen = 0;
        for (; cf_map_next_segment(map, pack, &segment) && seen < 4096; segment++, seen++)
            if (segment >= CF_SEGMENTS_MAX || !cf_map_has(map, pack, (uint16_t)segment)) abort();
        if (seen == 0) abort();
        segments += seen;
    }
    if (packs != cf_map_pack_count(map) || segments > cf_map_segment_count(map)) abort();
}

static cf_map *decode(cf_span bytes, const cf_map *base, cf_map_header *header) {
    cf_map *map = NULL;
    cf_err_free(cf_map_decode(bytes, base, header, &map));
    return map;
}

/* Written and read again, it is the same map; and so is the difference between the two. */
static void again(const cf_map *map, const cf_map *base, cf_map_header header) {
    CF_AUTO_BUF cf_buf out;
    cf_buf_init(&out, SIZE_MAX);
    if (cf_map_encode(map, &header, base, NULL, NULL, &out)) abort();
    CF_AUTO(cf_map) same = decode(cf_buf_span(&out), base, &header);
    if (!same || !cf_map_equal(map, same)) abort();
    CF_AUTO(cf_map) sum = NULL;
    if (cf_map_new(&sum) || cf_map_add_all(sum, map) || !cf_map_equal(sum, map)) abort();
    if (base && (cf_map_add_all(sum, base) || cf_map_pack_count(sum) < cf_map_pack_count(map))) abort();
    check(sum);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1 || (size_t)data[0] + 1 > size) return 0;
    cf_map_header header;
    CF_AUTO(cf_map) base = data[0] ? decode(cf_span_of(data + 1, data[0]), NULL, &header) : NULL;
    CF_AUTO(cf_map) map = decode(cf_span_of(data + 1 + data[0], size - 1 - data[0]), base, &header);
    if (!map) return 0;
    check(map);
    again(map, base, header);
    return 0;
}
