/* The references of a content, across lists. */
#include <stdlib.h>

#include "repo/tree.h"

struct list {
    cf_buf bytes;
    cf_node_reader *reader;
};

struct cf_content_reader {
    cf_lane *lane;
    const cf_map *map;
    cf_buf refs; /* the entry's own */
    cf_cursor cursor;
    uint32_t left;
    uint8_t depth; /* of the entry's references           */
    struct list list[CF_DEPTH_MAX];
    size_t lists; /* open ones                           */
    bool broken;
};

static void list_close(struct list *list) {
    cf_node_reader_close(list->reader);
    list->reader = NULL;
}

void cf_content_reader_close(cf_content_reader *content) {
    if (!content) return;
    for (size_t i = 0; i < CF_DEPTH_MAX; i++) {
        list_close(&content->list[i]);
        cf_buf_wipe(&content->list[i].bytes);
    }
    cf_buf_wipe(&content->refs);
    free(content);
}

cf_err *cf_content_reader_open(cf_lane *lane, const cf_map *map, const cf_content *given, cf_content_reader **out) {
    if (given->depth > CF_DEPTH_MAX)
        return cf_fail_reason(CF_ERR_NODE_DAMAGED, "level", "a file's lists are nested too deeply");
    CF_AUTO(cf_content_reader) content = calloc(1, sizeof *content);
    if (!content) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory to read a file's references");
    content->lane = lane;
    content->map = map;
    content->left = given->count;
    content->depth = given->depth;
    cf_buf_init(&content->refs, CF_NODE_MAX);
    for (size_t i = 0; i < CF_DEPTH_MAX; i++) cf_buf_init(&content->list[i].bytes, CF_NODE_MAX);
    cf_buf_put_span(&content->refs, given->refs);
    CF_TRY(cf_buf_check(&content->refs, "a file's references"));
    content->cursor = cf_cursor_of(cf_buf_span(&content->refs));
    *out = cf_take(content);
    return NULL;
}

static cf_err *push(cf_content_reader *content, const cf_ref *ref, uint8_t depth) {
    struct list *list = &content->list[content->lists];
    list_close(list);
    CF_TRY(cf_lane_chunk(content->lane, content->map, CF_KIND_TREE, ref, &list->bytes));
    CF_TRY(cf_node_reader_open(cf_buf_span(&list->bytes), &list->reader));
    if (cf_node_reader_kind(list->reader) != CF_NODE_LIST || cf_node_reader_level(list->reader) != depth)
        return cf_fail_reason(CF_ERR_NODE_DAMAGED, "level", "a list of references has the wrong kind or depth");
    content->lists++;
    return NULL;
}

/* One step: *depth is how far the reference is above data. */
static cf_err *step(cf_content_reader *content, cf_ref *ref, uint8_t *depth, bool *more) {
    while (content->lists > 0) {
        cf_node_reader *top = content->list[content->lists - 1].reader;
        if (cf_node_reader_ref(top, ref)) {
            *depth = cf_node_reader_level(top);
            *more = true;
            return NULL;
        }
        content->lists--;
    }
    *more = content->left > 0;
    if (!*more) return NULL;
    content->left--;
    *depth = content->depth;
    cf_ref_decode(&content->cursor, ref);
    return cf_cursor_check(&content->cursor, CF_ERR_FORMAT, "a file's references");
}

cf_err *cf_content_reader_next(cf_content_reader *content, cf_ref *ref, bool *more) {
    if (content->broken) {
        *more = false;
        return NULL;
    }
    for (;;) {
        cf_ref read;
        uint8_t depth = 0;
        bool any = false;
        cf_err *err = step(content, &read, &depth, &any);
        if (!err && any && depth > 0) {
            err = push(content, &read, (uint8_t)(depth - 1));
            if (!err) continue;
        }
        if (err) {
            content->broken = true;
            return err;
        }
        if (any) (void)cf_lane_resolve(content->lane, content->map, &read); /* false: it stands where it always stood */
        if (any) *ref = read;
        *more = any;
        return NULL;
    }
}

cf_err *cf_content_bytes(cf_lane *lane, const cf_map *map, const cf_content *given, cf_buf *out) {
    CF_AUTO(cf_content_reader) content = NULL;
    CF_AUTO_BUF cf_buf chunk;
    cf_buf_init(&chunk, CF_CHUNK_MAX);
    CF_TRY(cf_content_reader_open(lane, map, given, &content));
    for (;;) {
        cf_ref ref;
        bool more;
        CF_TRY(cf_content_reader_next(content, &ref, &more));
        if (!more) return NULL;
        CF_TRY(cf_lane_chunk(lane, map, CF_KIND_DATA, &ref, &chunk));
        cf_buf_put_span(out, cf_buf_span(&chunk));
        CF_TRY(cf_buf_check(out, "a content"));
    }
}
