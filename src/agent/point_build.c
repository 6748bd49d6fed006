#include "agent/point_build.h"

#include <stdlib.h>
#include <string.h>

#include "digest/digest.h"
#include "keys/keys.h"

/* SELECTION_MAX: of what a root has room for, the rest is for host name, references and the like. */
enum { CHAIN_MAX = 8, SELECTION_MAX = CF_POINT_ROOT_MAX - 65536 };

static cf_err *put_pattern(void *context, cf_span pattern) {
    cf_buf_put_bytes(context, pattern);
    return NULL;
}

static cf_err *mac_of(const cf_server_keys *keys, const cf_buf *text, cf_id16 *id) {
    CF_AUTO(cf_mac) mac = NULL;
    uint8_t tag[32];
    CF_TRY(cf_mac_new(keys->id, &mac));
    CF_TRY(cf_mac_tag(mac, 2, cf_buf_span(text), tag));
    memcpy(id->bytes, tag, 16);
    return NULL;
}

cf_err *cf_selection_id(const cf_server_keys *keys, cf_selection selection, const cf_coverage *coverage, cf_id16 *id) {
    size_t count = 0;
    const char *const *paths = cf_sources_paths(coverage->sources, &count);
    CF_AUTO_BUF cf_buf text;
    cf_buf_init(&text, SELECTION_MAX);
    cf_buf_put_u8(&text, (uint8_t)selection);
    for (size_t i = 0; i < count; i++) cf_buf_put_bytes(&text, cf_span_text(paths[i]));
    CF_TRY(cf_coverage_exclusions(coverage, put_pattern, &text));
    CF_TRY(cf_buf_check(&text, "sources and exclusions"));
    return mac_of(keys, &text, id);
}

cf_err *cf_selection_cache(const cf_server_keys *keys, cf_selection selection, const cf_coverage *coverage,
                           cf_id16 *id) {
    size_t count = 0;
    const char *const *paths = cf_sources_paths(coverage->sources, &count);
    if (selection == CF_SELECTION_POLICY) count = 0;
    CF_AUTO_BUF cf_buf text;
    cf_buf_init(&text, SELECTION_MAX);
    cf_buf_put_u8(&text, (uint8_t)selection);
    for (size_t i = 0; i < count; i++) cf_buf_put_bytes(&text, cf_span_text(paths[i]));
    CF_TRY(cf_buf_check(&text, "sources"));
    return mac_of(keys, &text, id);
}

/* As a difference from the base's where that is shorter and the chain not too long. */
static cf_err *encode_map(const cf_point_parts *parts, cf_buf *out, uint8_t *chain) {
    cf_map_header whole = {.exact = true};
    cf_map_fill fill = parts->usage ? cf_usage_class : NULL;
    whole.has_fill = fill != NULL;
    CF_TRY(cf_map_encode(parts->map, &whole, NULL, fill, parts->usage, out));
    *chain = 0;
    if (!parts->base_map || parts->base_chain >= CHAIN_MAX) return NULL;
    CF_AUTO_BUF cf_buf delta;
    cf_buf_init(&delta, CF_POINT_MAP_MAX);
    cf_map_header header = {
        .delta = true, .exact = true, .base = parts->base_point, .chain = (uint8_t)(parts->base_chain + 1)};
    header.has_fill = fill != NULL;
    CF_TRY(cf_map_encode(parts->map, &header, parts->base_map, fill, parts->usage, &delta));
    if (delta.size >= out->size) return NULL;
    cf_buf_reset(out);
    cf_buf_put_span(out, cf_buf_span(&delta));
    *chain = header.chain;
    return cf_buf_check(out, "the liveness map");
}

/* Exclusions, one behind the other in text, as spans. */
typedef struct exclusion_list {
    cf_buf text;
    cf_span *spans;
    size_t count;
} exclusion_list;

static cf_err *list_exclusions(const cf_coverage *coverage, exclusion_list *out) {
    cf_buf_init(&out->text, SELECTION_MAX);
    CF_TRY(cf_coverage_exclusions(coverage, put_pattern, &out->text));
    CF_TRY(cf_buf_check(&out->text, "the exclusions"));
    cf_cursor cursor = cf_cursor_of(cf_buf_span(&out->text));
    while (cf_cursor_left(&cursor)) {
        (void)cf_cursor_bytes(&cursor, SELECTION_MAX); /* counted first */
        out->count++;
    }
    out->spans = calloc(out->count ? out->count : 1, sizeof *out->spans);
    if (!out->spans) return cf_fail(CF_ERR_OUT_OF_MEMORY, "the exclusions");
    cursor = cf_cursor_of(cf_buf_span(&out->text));
    for (size_t i = 0; i < out->count; i++) out->spans[i] = cf_cursor_bytes(&cursor, SELECTION_MAX);
    return NULL;
}

static cf_err *seal_root(const cf_point_parts *parts, const cf_point_frame *frame, const exclusion_list *exclusions,
                         uint8_t commitment[32], cf_buf *out) {
    size_t count = 0;
    const char *const *paths = cf_sources_paths(parts->coverage->sources, &count);
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
                    .source_count = count,
                    .exclusions = exclusions->spans,
                    .exclusion_count = exclusions->count};
    CF_TRY(cf_sha256(frame->summary, root.summary_sha256));
    CF_TRY(cf_sha256(frame->pack_list, root.pack_list_sha256));
    CF_TRY(cf_sha256(frame->map, root.map_sha256));
    uint8_t prefix[80];
    cf_point_prefix_encode(frame, prefix);
    return cf_root_seal(&root, parts->session_key, prefix, commitment, out);
}

static cf_err *seal_with_exclusions(const cf_point_parts *parts, cf_point_frame *frame, cf_buf *out) {
    exclusion_list exclusions = {0};
    cf_err *err = list_exclusions(parts->coverage, &exclusions);
    if (!err) err = seal_root(parts, frame, &exclusions, frame->root_commitment, out);
    cf_buf_wipe(&exclusions.text);
    free(exclusions.spans);
    return err;
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
    CF_TRY(seal_with_exclusions(parts, &frame, &root));
    frame.root = cf_buf_span(&root);
    cf_buf_reset(object);
    CF_TRY(cf_point_encode(&frame, object));
    return cf_sha256(cf_buf_span(object), id->bytes);
}
