#include <stdlib.h>

#include "sealed/entry_internal.h"

enum { FRAME_MAX = 2 + 3 * 5 }; /* version, kind and three counts */

/* One table of owners, encoded as it grows; ids and offsets of the names find an owner again. */
struct table {
    cf_buf encoded;
    struct known {
        uint32_t id;
        uint32_t name_at, name_size; /* in encoded */
    } * known;
    uint32_t count, capacity, recent;
};

struct cf_node_writer {
    struct table users, groups;
    cf_buf entries;
    size_t count;
    uint8_t last_name[CF_NAME_SIZE_MAX];
    size_t last_size;
};

cf_err *cf_node_writer_new(cf_node_writer **writer) {
    cf_node_writer *made = calloc(1, sizeof *made);
    if (!made) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a node writer");
    cf_buf_init(&made->users.encoded, CF_NODE_MAX);
    cf_buf_init(&made->groups.encoded, CF_NODE_MAX);
    cf_buf_init(&made->entries, CF_NODE_MAX);
    *writer = made;
    return NULL;
}

void cf_node_writer_free(cf_node_writer *writer) {
    if (!writer) return;
    cf_buf_wipe(&writer->users.encoded);
    cf_buf_wipe(&writer->groups.encoded);
    cf_buf_wipe(&writer->entries);
    free(writer->users.known);
    free(writer->groups.known);
    free(writer);
}

static void cut_table(struct table *table, uint32_t count, size_t size) {
    table->encoded.size = size;
    table->encoded.failed = table->encoded.too_large = false;
    table->count = count;
    table->recent = 0;
}

void cf_node_writer_reset(cf_node_writer *writer) {
    cut_table(&writer->users, 0, 0);
    cut_table(&writer->groups, 0, 0);
    cf_buf_reset(&writer->entries);
    writer->count = 0;
}

static bool is_known(const struct table *table, uint32_t index, uint32_t id, cf_span name) {
    const struct known *known = &table->known[index];
    return known->id == id && known->name_size == name.size &&
           (name.size == 0 || memcmp(table->encoded.data + known->name_at, name.data, name.size) == 0);
}

static cf_err *grow(struct table *table) {
    uint32_t capacity = table->capacity ? table->capacity * 2 : 16;
    struct known *known = reallocarray(table->known, capacity, sizeof *known);
    if (!known) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a node writer");
    table->known = known;
    table->capacity = capacity;
    return NULL;
}

/* The index of an owner, which is added when it is new. Neighbours mostly have the same owner. */
static cf_err *index_of(struct table *table, uint32_t id, cf_span name, uint32_t *index) {
    uint32_t found = table->recent;
    if (found >= table->count || !is_known(table, found, id, name))
        for (found = 0; found < table->count && !is_known(table, found, id, name);) found++;
    if (found == table->count) {
        if (name.size > CF_OWNER_NAME_MAX) return cf_fail(CF_ERR_INTERNAL, "an owner's name of %zu bytes", name.size);
        if (found == table->capacity) CF_TRY(grow(table));
        cf_buf_put_varint(&table->encoded, id);
        cf_buf_put_bytes(&table->encoded, name);
        CF_TRY(cf_buf_check(&table->encoded, "tree node"));
        table->known[found] = (struct known){
            .id = id, .name_at = (uint32_t)(table->encoded.size - name.size), .name_size = (uint32_t)name.size};
        table->count++;
    }
    table->recent = *index = found;
    return NULL;
}

/* What does not decode must not be written: it is found now, by the one who made it. */
static cf_err *read_again(const cf_node_writer *writer, size_t start) {
    const cf_owner_tables tables = {.user_count = writer->users.count, .group_count = writer->groups.count};
    cf_cursor cursor = cf_cursor_of(cf_span_of(writer->entries.data + start, writer->entries.size - start));
    cf_entry again;
    const char *reason = cf_entry_take(&cursor, &tables, NULL, &again);
    if (!reason) return NULL;
    return cf_fail_reason(CF_ERR_INTERNAL, reason, "an entry that could not be read again: %s", reason);
}

static cf_err *add(cf_node_writer *writer, const cf_entry *entry) {
    cf_span last = cf_span_of(writer->last_name, writer->last_size);
    if (writer->count > 0 && cf_span_compare(last, entry->name) >= 0)
        return cf_fail_reason(CF_ERR_INTERNAL, "order", "tree node: names do not ascend");
    uint32_t indices[2];
    CF_TRY(index_of(&writer->users, entry->meta.uid, entry->meta.user, &indices[0]));
    CF_TRY(index_of(&writer->groups, entry->meta.gid, entry->meta.group, &indices[1]));
    size_t start = writer->entries.size;
    cf_entry_put(entry, indices, &writer->entries);
    CF_TRY(cf_buf_check(&writer->entries, "tree node"));
    CF_TRY(read_again(writer, start));
    if (cf_node_writer_size(writer) > CF_NODE_MAX)
        return cf_fail(CF_ERR_TOO_LARGE, "tree node: more than %d bytes", CF_NODE_MAX);
    memcpy(writer->last_name, entry->name.data, entry->name.size);
    writer->last_size = entry->name.size;
    writer->count++;
    return NULL;
}

cf_err *cf_node_writer_add(cf_node_writer *writer, const cf_entry *entry) {
    size_t users_size = writer->users.encoded.size, groups_size = writer->groups.encoded.size;
    uint32_t users = writer->users.count, groups = writer->groups.count;
    size_t entries_size = writer->entries.size;
    cf_err *err = add(writer, entry);
    if (!err) return NULL;
    cut_table(&writer->users, users, users_size);
    cut_table(&writer->groups, groups, groups_size);
    writer->entries.size = entries_size;
    writer->entries.failed = writer->entries.too_large = false;
    return err;
}

size_t cf_node_writer_size(const cf_node_writer *writer) {
    return FRAME_MAX + writer->users.encoded.size + writer->groups.encoded.size + writer->entries.size;
}

size_t cf_node_writer_count(const cf_node_writer *writer) {
    return writer->count;
}

cf_err *cf_node_writer_finish(cf_node_writer *writer, cf_buf *out) {
    cf_buf_reset(out);
    cf_buf_put_u8(out, CF_NODE_VERSION);
    cf_buf_put_u8(out, CF_NODE_ENTRIES);
    cf_buf_put_varint(out, writer->users.count);
    cf_buf_put_span(out, cf_buf_span(&writer->users.encoded));
    cf_buf_put_varint(out, writer->groups.count);
    cf_buf_put_span(out, cf_buf_span(&writer->groups.encoded));
    cf_buf_put_varint(out, writer->count);
    cf_buf_put_span(out, cf_buf_span(&writer->entries));
    return cf_buf_check(out, "tree node");
}
