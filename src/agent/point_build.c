#include "agent/point_build.h"

#include <stdlib.h>
#include <string.h>

#include "digest/digest.h"
#include "keys/keys.h"

enum { CHAIN_MAX = 8 };

cf_err *cf_selection_id(const cf_server_keys *keys, cf_selection selection, const cf_sources *sources, cf_id16 *id) {
    size_t count = 0;
    const char *const *paths = cf_sources_paths(sources, &count);
    CF_AUTO_BUF cf_buf text;
    cf_buf_init(&text, (size_t)256 << 20);
    cf_buf_put_u8(&text, (uint8_t)selection);
    for (size_t i = 0; i < count; i++) cf_buf_put_bytes(&text, cf_span_text(paths[i]));
    CF_TRY(cf_buf_check(&text, "the selection"));
    CF_AUTO(cf_mac) mac = NULL;
    uint8_t tag[32];
    CF_TRY(cf_mac_new(keys->id, &mac));
    CF_TRY(cf_mac_tag(mac, 2, cf_buf_span(&text), tag));
    memcpy(id->bytes, tag, 16);
    return NULL;
}

/* As a difference from the base's where that is shorter and the chain not too long. */
static cf_err *encode_map(const cf_point_parts *parts, cf_buf *out, uint8_t *chain) {
    cf_map_header whole = {.exact = true};
    CF_TRY(cf_map_encode(parts->map, &whole, NULL, NULL, NULL, out));
    *chain = 0;
    if (!parts->base_map || parts->base_chain >= CHAIN_MAX) return NULL;
    CF_AUTO_BUF cf_buf delta;
    cf_buf_init(&delta, CF_POINT_MAP_MAX);
    cf_map_header header = {
        .delta = true, .exact = true, .base = parts->base_point, .chain = (uint8_t)(parts->base_chain + 1)};
    CF_TRY(cf_map_encode(parts->map, &header, parts->base_map, NULL, NULL, &delta));
    if (delta.size >= out->size) return NULL;
    cf_buf_reset(out);
    cf_buf_put_span(out, cf_buf_span(&delta));
    *chain = header.chain;
    return cf_buf_check(out, "the liveness map");
}

static cf_err *seal_root(const cf_point_parts *parts, const cf_point_frame *frame, uint8_t commitment[32],
                         cf_buf *out) {
    size_t count = 0;
    const char *const *paths = cf_sources_paths(parts->sources, &count);
    CF_AUTO_FREE cf_span *sources = calloc(count ? count : 1, sizeof *sources);
    if (!sources) return cf_fail(CF_ERR_OUT_OF_MEMORY, "the list of sources");
    for (size_t i = 0; i < count; i++) sources[i] = cf_span_text(paths[i]);
    cf_root root = {.server = parts->server,
                    .session = parts->session,
                    .counter = parts->counter,
                    .previous = parts->previous,
                    .selection = parts->summary->selection,
                    .selection_id = parts->summary->selection_id,
                    .time = parts->time,
                    .tree = *parts->tree,
                    .totals = *parts->totals,
                    .host = cf_span_text(parts->host),
                    .agent_version = cf_span_text(CF_VERSION),
                    .sources = sources,
                    .source_count = count};
    CF_TRY(cf_sha256(frame->summary, root.summary_sha256));
    CF_TRY(cf_sha256(frame->pack_list, root.pack_list_sha256));
    CF_TRY(cf_sha256(frame->map, root.map_sha256));
    uint8_t prefix[80];
    cf_point_prefix_encode(frame, prefix);
    return cf_root_seal(&root, parts->session_key, prefix, commitment, out);
}

cf_err *cf_point_build(const cf_point_parts *parts, cf_buf *object, cf_id32 *id, uint8_t *chain) {
    CF_AUTO_BUF cf_buf summary, packs, map, root;
    cf_buf_init(&summary, 65536);
    cf_buf_init(&packs, (size_t)64 << 20);
    cf_buf_init(&map, CF_POINT_MAP_MAX);
    cf_buf_init(&root, CF_POINT_ROOT_MAX);
    cf_summary_encode(parts->summary, &summary);
    CF_TRY(cf_buf_check(&summary, "the summary"));
    cf_pack_list_encode(parts->packs, parts->pack_count, &packs);
    CF_TRY(cf_buf_check(&packs, "the list of packs"));
    CF_TRY(encode_map(parts, &map, chain));
    cf_point_frame frame = {.server = parts->server,
                            .session = parts->session,
                            .counter = parts->counter,
                            .previous = parts->previous,
                            .key_record = parts->key_record,
                            .summary = cf_buf_span(&summary),
                            .pack_list = cf_buf_span(&packs),
                            .map = cf_buf_span(&map)};
    CF_TRY(seal_root(parts, &frame, frame.root_commitment, &root));
    frame.root = cf_buf_span(&root);
    cf_buf_reset(object);
    CF_TRY(cf_point_encode(&frame, object));
    return cf_sha256(cf_buf_span(object), id->bytes);
}
