/* One entry of a directory (format, section 7, kind 0). */
#include "sealed/entry_internal.h"

enum {
    FLAG_XATTRS = 1,
    FLAG_XATTR_CHUNKS = 2,
    FLAG_INODE_FLAGS = 4,
    FLAG_PROJECT = 8,
    FLAG_LINK = 16,
    FLAG_SPARSE = 32,
    FLAG_CHANGED = 64,
    FLAG_NOT_READ = 128,
    FLAG_IMPLIED = 256,
    FLAGS = 511,
    TARGET_MAX = 4095,
    NANOSECONDS_MAX = 999999999,
};

bool cf_name_valid(cf_span name) {
    if (name.size < 1 || name.size > CF_NAME_SIZE_MAX) return false;
    if (memchr(name.data, '/', name.size) || memchr(name.data, 0, name.size)) return false;
    return !cf_span_equal(name, cf_span_text(".")) && !cf_span_equal(name, cf_span_text(".."));
}

static uint32_t flags_of(const cf_entry *entry) {
    uint32_t flags = 0;
    if (entry->xattrs_chunked)
        flags |= FLAG_XATTR_CHUNKS;
    else if (entry->meta.xattr_count)
        flags |= FLAG_XATTRS;
    if (entry->meta.has_flags) flags |= FLAG_INODE_FLAGS;
    if (entry->meta.has_project) flags |= FLAG_PROJECT;
    if (entry->link_group) flags |= FLAG_LINK;
    if (entry->sparse) flags |= FLAG_SPARSE;
    if (entry->changed) flags |= FLAG_CHANGED;
    if (entry->not_read) flags |= FLAG_NOT_READ;
    if (entry->implied) flags |= FLAG_IMPLIED;
    return flags;
}

static void put_content(const cf_content *content, cf_buf *out) {
    cf_buf_put_varint(out, content->depth);
    cf_buf_put_varint(out, content->count);
    cf_buf_put_span(out, content->refs);
}

static void put_by_type(const cf_entry *entry, cf_buf *out) {
    switch (entry->meta.type) {
    case CF_TYPE_FILE:
        cf_buf_put_varint(out, entry->meta.size);
        if (entry->sparse) {
            cf_buf_put_varint(out, entry->extent_count);
            cf_buf_put_span(out, entry->extents);
        }
        put_content(&entry->content, out);
        break;
    case CF_TYPE_DIRECTORY:
        cf_ref_encode(&entry->node, out);
        cf_totals_put(&entry->totals, out);
        break;
    case CF_TYPE_SYMLINK:
        cf_buf_put_bytes(out, entry->meta.target);
        break;
    case CF_TYPE_CHARACTER:
    case CF_TYPE_BLOCK:
        cf_buf_put_varint(out, entry->meta.device_major);
        cf_buf_put_varint(out, entry->meta.device_minor);
        break;
    case CF_TYPE_FIFO:
    case CF_TYPE_SOCKET:
        break;
    }
}

static void put_owners(const cf_meta *meta, const uint32_t indices[2], cf_buf *out) {
    if (indices) {
        cf_buf_put_varint(out, indices[0]);
        cf_buf_put_varint(out, indices[1]);
        return;
    }
    cf_buf_put_varint(out, meta->uid);
    cf_buf_put_bytes(out, meta->user);
    cf_buf_put_varint(out, meta->gid);
    cf_buf_put_bytes(out, meta->group);
}

void cf_entry_put(const cf_entry *entry, const uint32_t indices[2], cf_buf *out) {
    const cf_meta *meta = &entry->meta;
    uint32_t flags = flags_of(entry);
    cf_buf_put_bytes(out, entry->name);
    cf_buf_put_u8(out, (uint8_t)meta->type);
    cf_buf_put_varint(out, flags);
    cf_buf_put_varint(out, meta->mode);
    put_owners(meta, indices, out);
    cf_buf_put_zigzag(out, meta->mtime.seconds);
    cf_buf_put_varint(out, meta->mtime.nanoseconds);
    if (flags & FLAG_XATTRS) cf_xattrs_encode(meta->xattrs, meta->xattr_count, out);
    if (flags & FLAG_XATTR_CHUNKS) put_content(&entry->xattr_content, out);
    if (flags & FLAG_INODE_FLAGS) cf_buf_put_varint(out, meta->inode_flags);
    if (flags & FLAG_PROJECT) cf_buf_put_varint(out, meta->project_id);
    if (flags & FLAG_LINK) {
        cf_buf_put_u64(out, entry->link_group);
        cf_buf_put_varint(out, meta->nlink);
    }
    if (flags & FLAG_NOT_READ)
        cf_buf_put_varint(out, entry->code);
    else
        put_by_type(entry, out);
}

static const char *take_owner(cf_cursor *cursor, const cf_owner *table, uint32_t count, cf_owner *owner) {
    uint64_t index = cf_cursor_varint(cursor);
    if (cursor->failed) return "truncated";
    if (index >= count) return "owner";
    if (table) *owner = table[index];
    return NULL;
}

static const char *take_owners(cf_cursor *cursor, const cf_owner_tables *tables, cf_meta *meta) {
    cf_owner user = {0}, group = {0};
    if (tables) {
        const char *reason = take_owner(cursor, tables->users, tables->user_count, &user);
        if (!reason) reason = take_owner(cursor, tables->groups, tables->group_count, &group);
        if (reason) return reason;
    } else {
        user.id = (uint32_t)cf_cursor_varint_max(cursor, UINT32_MAX);
        user.name = cf_cursor_bytes(cursor, CF_OWNER_NAME_MAX);
        group.id = (uint32_t)cf_cursor_varint_max(cursor, UINT32_MAX);
        group.name = cf_cursor_bytes(cursor, CF_OWNER_NAME_MAX);
    }
    meta->uid = user.id;
    meta->user = user.name;
    meta->gid = group.id;
    meta->group = group.name;
    return NULL;
}

/* length: the sum of the references when they are data chunks; otherwise unknown, 0. */
static const char *take_content(cf_cursor *cursor, cf_content *content, uint64_t *length) {
    content->depth = (uint8_t)cf_cursor_varint_max(cursor, CF_DEPTH_MAX);
    content->count = (uint32_t)cf_cursor_varint_max(cursor, CF_ENTRY_REFS_MAX);
    content->refs = cf_refs_take(cursor, content->count, length);
    if (cursor->failed) return "truncated";
    if (content->depth > 0 && content->count == 0) return "content";
    return NULL;
}

/* The data extents; *length: how much data they are. */
static const char *take_extents(cf_cursor *cursor, cf_entry *entry, uint64_t *length) {
    entry->extent_count = (uint32_t)cf_cursor_varint_max(cursor, CF_EXTENTS_MAX);
    size_t start = cursor->offset;
    uint64_t end = 0;
    *length = 0;
    for (uint32_t i = 0; i < entry->extent_count && !cursor->failed; i++) {
        cf_data_extent extent = {0};
        if (!cf_extents_next(cursor, &end, &extent)) cf_cursor_fail(cursor); /* fewer than promised */
        *length += extent.length;
    }
    if (cursor->failed) return "truncated";
    if (end > entry->meta.size) return "extents";
    if (entry->extent_count) entry->extents = cf_span_of(cursor->data + start, cursor->offset - start);
    return NULL;
}

static const char *take_file(cf_cursor *cursor, cf_entry *entry) {
    entry->meta.size = cf_cursor_varint_max(cursor, CF_FILE_SIZE_MAX);
    uint64_t want = entry->meta.size, length = 0;
    const char *reason = entry->sparse ? take_extents(cursor, entry, &want) : NULL;
    if (!reason) reason = take_content(cursor, &entry->content, &length);
    if (reason) return reason;
    /* Only leaves say how long they are together; a list of nodes is checked by whoever reads them. */
    if (entry->content.depth == 0 && length != want) return "content";
    return NULL;
}

static const char *take_by_type(cf_cursor *cursor, cf_entry *entry) {
    cf_meta *meta = &entry->meta;
    switch (meta->type) {
    case CF_TYPE_FILE:
        return take_file(cursor, entry);
    case CF_TYPE_DIRECTORY:
        cf_ref_decode(cursor, &entry->node);
        cf_totals_take(cursor, &entry->totals);
        break;
    case CF_TYPE_SYMLINK:
        meta->target = cf_cursor_bytes(cursor, TARGET_MAX);
        if (cursor->failed) return "truncated";
        if (meta->target.size == 0 || memchr(meta->target.data, 0, meta->target.size)) return "target";
        break;
    case CF_TYPE_CHARACTER:
    case CF_TYPE_BLOCK:
        meta->device_major = (uint32_t)cf_cursor_varint_max(cursor, UINT32_MAX);
        meta->device_minor = (uint32_t)cf_cursor_varint_max(cursor, UINT32_MAX);
        break;
    case CF_TYPE_FIFO:
    case CF_TYPE_SOCKET:
        break;
    }
    return cursor->failed ? "truncated" : NULL;
}

/* Do these flags fit each other and the type? */
static bool flags_fit(uint32_t flags, uint8_t type) {
    if ((flags & FLAG_XATTRS) && (flags & FLAG_XATTR_CHUNKS)) return false;
    if ((flags & FLAG_SPARSE) && (type != CF_TYPE_FILE || (flags & FLAG_NOT_READ))) return false;
    if ((flags & FLAG_CHANGED) && type != CF_TYPE_FILE) return false;
    if ((flags & FLAG_LINK) && type == CF_TYPE_DIRECTORY) return false;
    if ((flags & FLAG_IMPLIED) && type != CF_TYPE_DIRECTORY) return false;
    return true;
}

static const char *take_optional(cf_cursor *cursor, uint32_t flags, cf_xattr *xattrs, cf_entry *entry) {
    cf_meta *meta = &entry->meta;
    const char *reason = NULL;
    uint64_t length;
    if (flags & FLAG_XATTRS) {
        reason = cf_xattrs_take(cursor, xattrs, &meta->xattr_count);
        meta->xattrs = xattrs;
    }
    if (flags & FLAG_XATTR_CHUNKS) {
        reason = take_content(cursor, &entry->xattr_content, &length);
        if (!reason && entry->xattr_content.count == 0) reason = "content";
    }
    if (reason) return reason;
    if (flags & FLAG_INODE_FLAGS) meta->inode_flags = (uint32_t)cf_cursor_varint_max(cursor, UINT32_MAX);
    if (flags & FLAG_PROJECT) meta->project_id = (uint32_t)cf_cursor_varint_max(cursor, UINT32_MAX);
    if (flags & FLAG_LINK) {
        entry->link_group = cf_cursor_u64(cursor);
        meta->nlink = cf_cursor_varint(cursor);
        if (!cursor->failed && (entry->link_group == 0 || meta->nlink == 0)) return "link";
    }
    if (flags & FLAG_NOT_READ) entry->code = (uint32_t)cf_cursor_varint_max(cursor, INT32_MAX);
    return cursor->failed ? "truncated" : NULL;
}

static void set_flags(uint32_t flags, cf_entry *entry) {
    entry->xattrs_chunked = flags & FLAG_XATTR_CHUNKS;
    entry->meta.has_flags = flags & FLAG_INODE_FLAGS;
    entry->meta.has_project = flags & FLAG_PROJECT;
    entry->sparse = flags & FLAG_SPARSE;
    entry->changed = flags & FLAG_CHANGED;
    entry->not_read = flags & FLAG_NOT_READ;
    entry->implied = flags & FLAG_IMPLIED;
}

const char *cf_entry_take(cf_cursor *cursor, const cf_owner_tables *tables, cf_xattr *xattrs, cf_entry *entry) {
    *entry = (cf_entry){.meta.nlink = 1};
    entry->name = cf_cursor_bytes(cursor, CF_NAME_SIZE_MAX);
    uint8_t type = cf_cursor_u8(cursor);
    uint64_t flags = cf_cursor_varint(cursor);
    entry->meta.mode = (uint32_t)cf_cursor_varint_max(cursor, 07777);
    if (cursor->failed) return "truncated";
    if (!cf_name_valid(entry->name)) return "name";
    if (type < CF_TYPE_FILE || type > CF_TYPE_SOCKET) return "type";
    if (flags > FLAGS || !flags_fit((uint32_t)flags, type)) return "flags";
    entry->meta.type = (cf_file_type)type;
    set_flags((uint32_t)flags, entry);
    const char *reason = take_owners(cursor, tables, &entry->meta);
    if (reason) return reason;
    entry->meta.mtime.seconds = cf_cursor_zigzag(cursor);
    entry->meta.mtime.nanoseconds = (uint32_t)cf_cursor_varint_max(cursor, NANOSECONDS_MAX);
    reason = take_optional(cursor, (uint32_t)flags, xattrs, entry);
    if (!reason && !entry->not_read) reason = take_by_type(cursor, entry);
    return reason;
}

cf_err *cf_entry_decode(cf_span bytes, cf_xattr *xattrs, cf_entry *entry) {
    cf_cursor cursor = cf_cursor_of(bytes);
    cf_entry made;
    const char *reason = cf_entry_take(&cursor, NULL, xattrs, &made);
    if (reason) return cf_fail_reason(CF_ERR_FORMAT, reason, "an entry of %zu bytes: %s", bytes.size, reason);
    CF_TRY(cf_cursor_done(&cursor, CF_ERR_FORMAT, "an entry"));
    *entry = made;
    return NULL;
}

cf_err *cf_entry_encode(const cf_entry *entry, cf_buf *out) {
    size_t start = out->size;
    cf_entry_put(entry, NULL, out);
    CF_TRY(cf_buf_check(out, "an entry"));
    /* What does not decode must not be written: it is found now, by the one who made it. */
    cf_cursor cursor = cf_cursor_of(cf_span_of(out->data + start, out->size - start));
    cf_entry again;
    const char *reason = cf_entry_take(&cursor, NULL, NULL, &again);
    if (!reason) return NULL;
    out->size = start;
    return cf_fail_reason(CF_ERR_INTERNAL, reason, "an entry that could not be read again: %s", reason);
}
