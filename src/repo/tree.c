#include "repo/tree.h"

#include <stdlib.h>

struct level {
    cf_buf bytes;
    cf_node_reader *reader;
};

struct cf_dir_reader {
    cf_lane *lane;
    const cf_map *map;
    cf_ref root;
    struct level level[1 + CF_DEPTH_MAX];
    size_t depth; /* levels in use; 0: at the end */
    bool seeking;
    cf_buf from; /* while seeking: names below are skipped */
    cf_buf last; /* the last name given */
    bool has_last;
    bool has_entry, has_part; /* what comes next, see settle: at most one of them */
    cf_entry entry;
    cf_part part;
};

static void level_close(struct level *level) {
    cf_node_reader_close(level->reader);
    level->reader = NULL;
}

void cf_dir_reader_close(cf_dir_reader *dir) {
    if (!dir) return;
    for (size_t i = 0; i < 1 + CF_DEPTH_MAX; i++) {
        level_close(&dir->level[i]);
        cf_buf_wipe(&dir->level[i].bytes);
    }
    cf_buf_wipe(&dir->from);
    cf_buf_wipe(&dir->last);
    free(dir);
}

/* The node reader checks form; what the parent says of the node is checked here. */
static cf_err *check_place(const cf_dir_reader *dir, const cf_node_reader *node) {
    cf_node_kind kind = cf_node_reader_kind(node);
    if (kind == CF_NODE_LIST)
        return cf_fail_reason(CF_ERR_NODE_DAMAGED, "kind", "a list of references stands where a folder should");
    if (dir->depth == 0) return NULL;
    uint8_t above = cf_node_reader_level(dir->level[dir->depth - 1].reader);
    bool right =
        above == 1 ? kind == CF_NODE_ENTRIES : kind == CF_NODE_SPLIT && cf_node_reader_level(node) == above - 1;
    if (!right) return cf_fail_reason(CF_ERR_NODE_DAMAGED, "level", "a part of a split folder has the wrong level");
    return NULL;
}

/* How many parts come before the one that can hold the name. */
static uint32_t parts_before(cf_node_reader *node, cf_span name) {
    cf_part part;
    uint32_t before = 0;
    for (uint32_t i = 0; cf_node_reader_part(node, &part) && cf_span_compare(part.first_name, name) <= 0; i++)
        before = i;
    cf_node_reader_rewind(node);
    return before;
}

static cf_err *push(cf_dir_reader *dir, const cf_ref *ref) {
    if (dir->depth > CF_DEPTH_MAX) return cf_fail_reason(CF_ERR_NODE_DAMAGED, "level", "a folder is split too often");
    struct level *level = &dir->level[dir->depth];
    level_close(level);
    cf_err *err = cf_lane_chunk(dir->lane, dir->map, CF_KIND_TREE, ref, &level->bytes);
    if (!err) err = cf_node_reader_open(cf_buf_span(&level->bytes), &level->reader);
    if (!err) err = check_place(dir, level->reader);
    if (err) {
        level_close(level);
        return err;
    }
    if (dir->seeking && cf_node_reader_kind(level->reader) == CF_NODE_SPLIT) {
        cf_part part;
        for (uint32_t skip = parts_before(level->reader, cf_buf_span(&dir->from)); skip > 0; skip--)
            (void)cf_node_reader_part(level->reader, &part); /* counted a moment ago */
    }
    dir->depth++;
    return NULL;
}

cf_err *cf_dir_reader_open(cf_lane *lane, const cf_map *map, const cf_ref *node, cf_dir_reader **out) {
    CF_AUTO(cf_dir_reader) dir = calloc(1, sizeof *dir);
    if (!dir) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory to read a folder");
    dir->lane = lane;
    dir->map = map;
    dir->root = *node;
    for (size_t i = 0; i < 1 + CF_DEPTH_MAX; i++) cf_buf_init(&dir->level[i].bytes, CF_NODE_MAX);
    cf_buf_init(&dir->from, 4096);
    cf_buf_init(&dir->last, 4096);
    CF_TRY(push(dir, node));
    *out = cf_take(dir);
    return NULL;
}

cf_err *cf_dir_reader_seek(cf_dir_reader *dir, cf_span name) {
    cf_buf_reset(&dir->from);
    cf_buf_put_span(&dir->from, name);
    CF_TRY(cf_buf_check(&dir->from, "a name"));
    dir->seeking = true;
    dir->has_last = dir->has_entry = dir->has_part = false;
    dir->depth = 0;
    return push(dir, &dir->root);
}

static cf_err *check_order(cf_dir_reader *dir, cf_span name) {
    if (dir->has_last && cf_span_compare(cf_buf_span(&dir->last), name) >= 0)
        return cf_fail_reason(CF_ERR_NODE_DAMAGED, "order", "the parts of a split folder overlap");
    cf_buf_reset(&dir->last);
    cf_buf_put_span(&dir->last, name);
    dir->has_last = true;
    return cf_buf_check(&dir->last, "a name");
}

/* Until an entry or a part is known to come next, or the end. Reads no further node. */
static cf_err *settle(cf_dir_reader *dir) {
    while (dir->depth > 0 && !dir->has_entry && !dir->has_part) {
        cf_node_reader *top = dir->level[dir->depth - 1].reader;
        if (cf_node_reader_kind(top) == CF_NODE_SPLIT)
            dir->has_part = cf_node_reader_part(top, &dir->part);
        else
            dir->has_entry = cf_node_reader_entry(top, &dir->entry);
        if (!dir->has_entry && !dir->has_part) dir->depth--;
        if (!dir->has_entry) continue;
        if (dir->seeking && cf_span_compare(dir->entry.name, cf_buf_span(&dir->from)) < 0) {
            dir->has_entry = false;
            continue;
        }
        dir->seeking = false;
        cf_err *err = check_order(dir, dir->entry.name);
        if (!err) continue;
        dir->has_entry = false;
        return err;
    }
    return NULL;
}

cf_err *cf_dir_reader_peek(cf_dir_reader *dir, cf_dir_step *what, const cf_entry **entry, const cf_part **part) {
    CF_TRY(settle(dir));
    *what = dir->has_entry ? CF_DIR_ENTRY : dir->has_part ? CF_DIR_PART : CF_DIR_END;
    *entry = &dir->entry;
    *part = &dir->part;
    return NULL;
}

void cf_dir_reader_skip(cf_dir_reader *dir) {
    dir->has_part = false;
}

cf_err *cf_dir_reader_enter(cf_dir_reader *dir) {
    dir->has_part = false;
    return push(dir, &dir->part.node);
}

cf_err *cf_dir_reader_next(cf_dir_reader *dir, cf_entry *entry, bool *more) {
    for (;;) {
        CF_TRY(settle(dir));
        if (!dir->has_part) break;
        CF_TRY(cf_dir_reader_enter(dir));
    }
    if (dir->has_entry) *entry = dir->entry;
    *more = dir->has_entry;
    dir->has_entry = false;
    return NULL;
}

cf_err *cf_entry_copy_set(cf_entry_copy *copy, const cf_entry *entry) {
    cf_buf_wipe(&copy->bytes);
    cf_buf_init(&copy->bytes, 2u * CF_NODE_MAX);
    CF_TRY(cf_entry_encode(entry, &copy->bytes));
    CF_TRY(cf_buf_check(&copy->bytes, "an entry"));
    if (copy->xattr_room < CF_XATTRS_MAX && entry->meta.xattr_count > copy->xattr_room) {
        cf_xattr *grown = reallocarray(copy->xattrs, CF_XATTRS_MAX, sizeof *grown);
        if (!grown) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for extended attributes");
        copy->xattrs = grown;
        copy->xattr_room = CF_XATTRS_MAX;
    }
    return cf_entry_decode(cf_buf_span(&copy->bytes), copy->xattrs, &copy->entry);
}

void cf_entry_copy_wipe(cf_entry_copy *copy) {
    cf_buf_wipe(&copy->bytes);
    free(copy->xattrs);
    *copy = (cf_entry_copy){0};
}

/* Cuts the first part off *path; empty at the end. */
static cf_span next_part(cf_span *path) {
    size_t start = 0;
    while (start < path->size && path->data[start] == '/') start++;
    size_t end = start;
    while (end < path->size && path->data[end] != '/') end++;
    cf_span part = cf_span_of(path->data + start, end - start);
    *path = cf_span_of(path->data + end, path->size - end);
    return part;
}

static cf_err *lookup_in(cf_lane *lane, const cf_map *map, const cf_ref *node, cf_span name, cf_entry_copy *copy,
                         bool *found) {
    CF_AUTO(cf_dir_reader) dir = NULL;
    CF_TRY(cf_dir_reader_open(lane, map, node, &dir));
    CF_TRY(cf_dir_reader_seek(dir, name));
    cf_entry entry;
    bool more;
    CF_TRY(cf_dir_reader_next(dir, &entry, &more));
    *found = more && cf_span_equal(entry.name, name);
    return *found ? cf_entry_copy_set(copy, &entry) : NULL;
}

static void entry_of_root(cf_entry_copy *copy, const cf_ref *root) {
    copy->entry = (cf_entry){.meta = {.type = CF_TYPE_DIRECTORY, .mode = 0755}, .implied = true, .node = *root};
}

cf_err *cf_tree_lookup(cf_lane *lane, const cf_map *map, const cf_ref *root, cf_span path, cf_entry_copy *copy,
                       bool *found) {
    bool there = true;
    cf_ref node = *root;
    bool enterable = true;
    cf_span name = next_part(&path);
    if (name.size == 0) entry_of_root(copy, root);
    for (; there && name.size > 0; name = next_part(&path)) {
        if (!enterable)
            there = false;
        else
            CF_TRY(lookup_in(lane, map, &node, name, copy, &there));
        if (!there) break;
        enterable = copy->entry.meta.type == CF_TYPE_DIRECTORY && !copy->entry.not_read;
        node = copy->entry.node;
    }
    *found = there;
    return NULL;
}

cf_err *cf_entry_xattrs(cf_lane *lane, const cf_map *map, cf_entry *entry, cf_buf *storage, cf_xattr *xattrs) {
    if (!entry->xattrs_chunked) return NULL;
    cf_buf_reset(storage);
    CF_TRY(cf_content_bytes(lane, map, &entry->xattr_content, storage));
    uint32_t count;
    CF_TRY(cf_xattrs_decode(cf_buf_span(storage), xattrs, &count));
    entry->meta.xattrs = xattrs;
    entry->meta.xattr_count = count;
    return NULL;
}
