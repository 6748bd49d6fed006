#include <stdlib.h>

#include "sealed/entry_internal.h"

struct cf_node_reader {
    cf_node_kind kind;
    uint8_t level;
    uint32_t count, at;
    cf_owner_tables tables;
    cf_xattr *xattrs; /* room for the most that an entry has */
    uint32_t xattrs_most;
    cf_cursor start, cursor; /* of the first, and the next, element */
};

void cf_node_reader_close(cf_node_reader *reader) {
    if (!reader) return;
    free(reader->tables.users);
    free(reader->tables.groups);
    free(reader->xattrs);
    free(reader);
}

static cf_err *refuse(const char *reason, uint32_t at) {
    return cf_fail_reason(CF_ERR_FORMAT, reason, "tree node: element %u: %s", at, reason);
}

/* The most elements of at least size bytes that can still come: a count above it is refused before memory is
 * asked for. */
static uint32_t take_count(cf_cursor *cursor, uint64_t max, size_t size) {
    uint64_t count = cf_cursor_varint_max(cursor, max);
    if (count <= cf_cursor_left(cursor) / size) return (uint32_t)count;
    cf_cursor_fail(cursor);
    return 0;
}

static cf_err *take_owners(cf_cursor *cursor, cf_owner **owners, uint32_t *count) {
    uint32_t number = take_count(cursor, CF_OWNERS_MAX, 2);
    CF_TRY(cf_cursor_check(cursor, CF_ERR_FORMAT, "tree node: owners"));
    *owners = calloc(number ? number : 1, sizeof **owners);
    if (!*owners) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a table of owners");
    *count = number;
    for (uint32_t i = 0; i < number; i++) {
        (*owners)[i].id = (uint32_t)cf_cursor_varint_max(cursor, UINT32_MAX);
        (*owners)[i].name = cf_cursor_bytes(cursor, CF_OWNER_NAME_MAX);
    }
    return cf_cursor_check(cursor, CF_ERR_FORMAT, "tree node: owners");
}

static cf_err *check_entries(cf_node_reader *reader) {
    cf_cursor *cursor = &reader->cursor;
    CF_TRY(take_owners(cursor, &reader->tables.users, &reader->tables.user_count));
    CF_TRY(take_owners(cursor, &reader->tables.groups, &reader->tables.group_count));
    reader->count = take_count(cursor, UINT32_MAX, 9);
    CF_TRY(cf_cursor_check(cursor, CF_ERR_FORMAT, "tree node"));
    reader->start = *cursor;
    cf_span before = {0};
    for (uint32_t i = 0; i < reader->count; i++) {
        cf_entry entry;
        const char *reason = cf_entry_take(cursor, &reader->tables, NULL, &entry);
        if (!reason && i > 0 && cf_span_compare(before, entry.name) >= 0) reason = "order";
        if (reason) return refuse(reason, i);
        if (entry.meta.xattr_count > reader->xattrs_most) reader->xattrs_most = entry.meta.xattr_count;
        before = entry.name;
    }
    if (reader->xattrs_most == 0) return NULL;
    reader->xattrs = calloc(reader->xattrs_most, sizeof *reader->xattrs);
    return reader->xattrs ? NULL : cf_fail(CF_ERR_OUT_OF_MEMORY, "extended attributes");
}

static void take_part(cf_cursor *cursor, cf_part *part) {
    part->first_name = cf_cursor_bytes(cursor, CF_NAME_SIZE_MAX);
    cf_ref_decode(cursor, &part->node);
    cf_totals_take(cursor, &part->totals);
}

static cf_err *check_parts(cf_node_reader *reader) {
    cf_cursor *cursor = &reader->cursor;
    reader->level = cf_cursor_u8(cursor);
    reader->count = take_count(cursor, UINT32_MAX, 42);
    CF_TRY(cf_cursor_check(cursor, CF_ERR_FORMAT, "tree node"));
    if (reader->level < 1 || reader->level > CF_DEPTH_MAX) return refuse("level", 0);
    if (reader->count == 0) return refuse("count", 0);
    reader->start = *cursor;
    cf_span before = {0};
    for (uint32_t i = 0; i < reader->count; i++) {
        cf_part part;
        take_part(cursor, &part);
        if (cursor->failed) return refuse("truncated", i);
        if (!cf_name_valid(part.first_name)) return refuse("name", i);
        if (i > 0 && cf_span_compare(before, part.first_name) >= 0) return refuse("order", i);
        before = part.first_name;
    }
    return NULL;
}

static cf_err *check_refs(cf_node_reader *reader) {
    cf_cursor *cursor = &reader->cursor;
    reader->level = cf_cursor_u8(cursor);
    reader->count = take_count(cursor, CF_LIST_REFS_MAX, 36);
    CF_TRY(cf_cursor_check(cursor, CF_ERR_FORMAT, "tree node"));
    if (reader->level >= CF_DEPTH_MAX) return refuse("level", 0);
    if (reader->count == 0) return refuse("count", 0);
    reader->start = *cursor;
    uint64_t length;
    (void)cf_refs_take(cursor, reader->count, &length); /* checked by the cursor */
    return cf_cursor_check(cursor, CF_ERR_FORMAT, "tree node: references");
}

static cf_err *check(cf_node_reader *reader) {
    switch (reader->kind) {
    case CF_NODE_ENTRIES:
        return check_entries(reader);
    case CF_NODE_SPLIT:
        return check_parts(reader);
    case CF_NODE_LIST:
        return check_refs(reader);
    }
    return cf_fail_reason(CF_ERR_FORMAT, "kind", "tree node of kind %u", (unsigned)reader->kind);
}

cf_err *cf_node_reader_open(cf_span node, cf_node_reader **reader) {
    if (node.size > CF_NODE_MAX) return cf_fail_reason(CF_ERR_FORMAT, "size", "a tree node of %zu bytes", node.size);
    CF_AUTO(cf_node_reader) made = calloc(1, sizeof *made);
    if (!made) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a node reader");
    made->cursor = cf_cursor_of(node);
    uint8_t version = cf_cursor_u8(&made->cursor);
    made->kind = (cf_node_kind)cf_cursor_u8(&made->cursor);
    CF_TRY(cf_cursor_check(&made->cursor, CF_ERR_FORMAT, "tree node"));
    if (version != CF_NODE_VERSION)
        return cf_fail_reason(CF_ERR_FORMAT_VERSION, "version", "tree node of version %u", version);
    CF_TRY(check(made));
    CF_TRY(cf_cursor_done(&made->cursor, CF_ERR_FORMAT, "tree node"));
    cf_node_reader_rewind(made);
    *reader = cf_take(made);
    return NULL;
}

void cf_node_reader_rewind(cf_node_reader *reader) {
    reader->cursor = reader->start;
    reader->at = 0;
}

size_t cf_node_reader_tell(const cf_node_reader *reader) {
    return reader->cursor.offset;
}

void cf_node_reader_seek(cf_node_reader *reader, size_t place, uint32_t index) {
    reader->cursor.offset = place;
    reader->at = index;
}

cf_span cf_node_reader_name_at(const cf_node_reader *reader, size_t place) {
    cf_cursor cursor = reader->start;
    cursor.offset = place;
    return cf_cursor_bytes(&cursor, CF_NAME_SIZE_MAX); /* _open has seen it: it is there */
}

cf_node_kind cf_node_reader_kind(const cf_node_reader *reader) {
    return reader->kind;
}
uint8_t cf_node_reader_level(const cf_node_reader *reader) {
    return reader->level;
}
uint32_t cf_node_reader_count(const cf_node_reader *reader) {
    return reader->count;
}

static bool more(cf_node_reader *reader, cf_node_kind kind) {
    return reader->kind == kind && reader->at++ < reader->count;
}

bool cf_node_reader_entry(cf_node_reader *reader, cf_entry *entry) {
    /* _open saw every entry, so nothing is refused here. */
    return more(reader, CF_NODE_ENTRIES) && !cf_entry_take(&reader->cursor, &reader->tables, reader->xattrs, entry);
}

bool cf_node_reader_part(cf_node_reader *reader, cf_part *part) {
    if (!more(reader, CF_NODE_SPLIT)) return false;
    take_part(&reader->cursor, part);
    return true;
}

bool cf_node_reader_ref(cf_node_reader *reader, cf_ref *ref) {
    if (!more(reader, CF_NODE_LIST)) return false;
    cf_ref_decode(&reader->cursor, ref);
    return true;
}
