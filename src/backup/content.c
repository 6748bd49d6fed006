#include "backup/content.h"

#include "scan/cache.h"

enum { LEVELS = CF_DEPTH_MAX + 1 };
#define REFS_MAX ((size_t)CF_LIST_REFS_MAX * 72)
#define PAIRS_MAX ((size_t)256 << 20)

typedef struct cf_scan_level {
    cf_buf refs;
    uint32_t count;
    bool listed; /* more than an entry holds: cut into lists from here on */
} cf_scan_level;

struct cf_content_builder {
    cf_writer_lane *store;
    cf_map *map;
    cf_scan_level levels[LEVELS];
    cf_buf node, pairs, uses;
    uint64_t last_pack;
    uint32_t last_segment;
    uint32_t pair_count;
    cf_use use; /* of the last pair */
};

cf_err *cf_content_builder_new(cf_writer_lane *store, cf_map *map, cf_content_builder **out) {
    cf_content_builder *made = calloc(1, sizeof *made);
    if (!made) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a content builder");
    made->store = store;
    made->map = map;
    for (int i = 0; i < LEVELS; i++) cf_buf_init(&made->levels[i].refs, REFS_MAX);
    cf_buf_init(&made->node, CF_NODE_MAX);
    cf_buf_init(&made->pairs, PAIRS_MAX);
    cf_buf_init(&made->uses, PAIRS_MAX);
    cf_content_builder_reset(made);
    *out = made;
    return NULL;
}

void cf_content_builder_free(cf_content_builder *builder) {
    if (!builder) return;
    for (int i = 0; i < LEVELS; i++) cf_buf_wipe(&builder->levels[i].refs);
    cf_buf_wipe(&builder->node);
    cf_buf_wipe(&builder->pairs);
    cf_buf_wipe(&builder->uses);
    free(builder);
}

void cf_content_builder_reset(cf_content_builder *builder) {
    for (int i = 0; i < LEVELS; i++) {
        cf_buf_reset(&builder->levels[i].refs);
        builder->levels[i].count = 0;
        builder->levels[i].listed = false;
    }
    cf_buf_reset(&builder->pairs);
    cf_buf_reset(&builder->uses);
    builder->last_pack = 0;
    builder->last_segment = UINT32_MAX;
    builder->pair_count = 0;
}

static void add_use(cf_use *use, const cf_ref *ref) {
    uint32_t end = ref->offset + ref->length;
    if (ref->offset < use->start) use->start = ref->offset;
    if (end > use->end) use->end = end;
    use->bytes += use->bytes < UINT32_MAX - ref->length ? ref->length : 0;
}

static cf_err *note(cf_content_builder *builder, const cf_ref *ref) {
    if (ref->pack == builder->last_pack && ref->segment == builder->last_segment) {
        add_use(&builder->use, ref);
        return NULL;
    }
    if (builder->pair_count++) cf_use_encode(&builder->use, &builder->uses);
    builder->use = (cf_use){ref->offset, ref->offset + ref->length, ref->length};
    cf_pairs_add(&builder->pairs, &builder->last_pack, &builder->last_segment, ref->pack, ref->segment);
    return cf_map_add(builder->map, ref->pack, ref->segment);
}

static cf_err *add_at(cf_content_builder *builder, unsigned depth, const cf_ref *ref);

/* Store what a level holds as a list and refer to it one level up. */
static cf_err *emit(cf_content_builder *builder, unsigned depth) {
    cf_scan_level *full = &builder->levels[depth];
    if (depth + 1 >= LEVELS) return cf_fail(CF_ERR_TOO_LARGE, "a file with more than %u levels of references", LEVELS);
    cf_buf_reset(&builder->node);
    cf_list_encode((uint8_t)depth, full->count, cf_buf_span(&full->refs), &builder->node);
    CF_TRY(cf_buf_check(&builder->node, "a list of references"));
    cf_buf_reset(&full->refs);
    full->count = 0;
    cf_ref list;
    CF_TRY(cf_writer_lane_store(builder->store, CF_KIND_TREE, cf_buf_span(&builder->node), &list));
    CF_TRY(note(builder, &list));
    return add_at(builder, depth + 1, &list);
}

static bool is_boundary(const cf_ref *ref) {
    return ref->id.bytes[0] == 0 && ref->id.bytes[1] < 128;
}

/* Too many for an entry: go through them again, cutting. */
static cf_err *start_listing(cf_content_builder *builder, unsigned depth) {
    cf_scan_level *full = &builder->levels[depth];
    cf_buf held = full->refs;
    uint32_t count = full->count;
    cf_buf_init(&full->refs, REFS_MAX);
    full->count = 0;
    full->listed = true;
    cf_cursor cursor = cf_cursor_of(cf_buf_span(&held));
    cf_err *err = NULL;
    for (uint32_t i = 0; i < count && !err; i++) {
        cf_ref ref;
        cf_ref_decode(&cursor, &ref);
        err = add_at(builder, depth, &ref);
    }
    cf_buf_wipe(&held);
    return err;
}

static cf_err *add_at(cf_content_builder *builder, unsigned depth, const cf_ref *ref) {
    cf_scan_level *full = &builder->levels[depth];
    cf_ref_encode(ref, &full->refs);
    full->count++;
    CF_TRY(cf_buf_check(&full->refs, "references"));
    if (!full->listed) return full->count > CF_ENTRY_REFS_MAX ? start_listing(builder, depth) : NULL;
    if (full->count >= CF_LIST_REFS_MAX || is_boundary(ref)) return emit(builder, depth);
    return NULL;
}

cf_err *cf_content_builder_add(cf_content_builder *builder, const cf_ref *ref) {
    CF_TRY(note(builder, ref));
    return add_at(builder, 0, ref);
}

cf_err *cf_content_builder_finish(cf_content_builder *builder, cf_content *content, cf_span *pairs) {
    unsigned depth = 0;
    while (builder->levels[depth].listed) {
        if (builder->levels[depth].count) CF_TRY(emit(builder, depth));
        depth++;
    }
    if (depth) { /* then the entry does not have the references: who counts what is used finds it here */
        cf_use_encode(&builder->use, &builder->uses);
        CF_TRY(cf_buf_check(&builder->uses, "what a file uses"));
        cf_uses_put(&builder->pairs, builder->pair_count, cf_buf_span(&builder->uses));
    }
    CF_TRY(cf_buf_check(&builder->pairs, "the segments of a file"));
    *content = (cf_content){.depth = (uint8_t)depth,
                            .count = builder->levels[depth].count,
                            .refs = cf_buf_span(&builder->levels[depth].refs)};
    *pairs = cf_buf_span(&builder->pairs);
    return NULL;
}
