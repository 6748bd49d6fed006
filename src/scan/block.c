/* Blocks of the tree cache: u32 magic, u32 length, u64 XXH3-64 of what follows, then varint count, node
 * reference, four totals, bytes segments, and the entries. Local facts of an entry stand in fixed places. */
#include "digest/digest.h"
#include "scan/cache.h"

enum { BLOCK_MAGIC = 0x42464354, BLOCK_HEAD = 16, STAT_SIZE = 72 };

void cf_pairs_add(cf_buf *out, uint64_t *last_pack, uint32_t *last_segment, uint64_t pack, uint16_t segment) {
    if (*last_pack == pack && *last_segment == segment) return;
    *last_pack = pack;
    *last_segment = segment;
    cf_buf_put_varint(out, pack);
    cf_buf_put_varint(out, segment);
}

bool cf_pairs_next(cf_cursor *cursor, uint64_t *pack, uint16_t *segment) {
    if (cf_cursor_left(cursor) == 0) return false;
    *pack = cf_cursor_varint_max(cursor, CF_PACK_NUMBER_MAX);
    if (*pack == 0) return false; /* uses follow, or it is broken */
    *segment = (uint16_t)cf_cursor_varint_max(cursor, CF_SEGMENTS_MAX - 1);
    return !cursor->failed;
}

void cf_use_encode(const cf_use *use, cf_buf *out) {
    cf_buf_put_varint(out, use->start);
    cf_buf_put_varint(out, use->end - use->start);
    cf_buf_put_varint(out, use->bytes);
}

void cf_uses_put(cf_buf *out, uint32_t count, cf_span uses) {
    cf_buf_put_varint(out, 0);
    cf_buf_put_varint(out, count);
    cf_buf_put_span(out, uses);
}

bool cf_uses_begin(cf_cursor *cursor, uint32_t *count) {
    *count = 0;
    if (cursor->failed || cf_cursor_left(cursor) == 0) return false;
    *count = (uint32_t)cf_cursor_varint_max(cursor, UINT32_MAX);
    return !cursor->failed;
}

void cf_uses_next(cf_cursor *cursor, cf_use *use) {
    use->start = (uint32_t)cf_cursor_varint_max(cursor, CF_SEGMENT_RAW_MAX);
    use->end = use->start + (uint32_t)cf_cursor_varint_max(cursor, CF_SEGMENT_RAW_MAX);
    use->bytes = (uint32_t)cf_cursor_varint_max(cursor, UINT32_MAX);
}

void cf_block_begin(cf_buf *out, const cf_cache_folder *folder) {
    cf_buf_reset(out);
    cf_buf_put_u32(out, BLOCK_MAGIC);
    cf_buf_put_zero(out, BLOCK_HEAD - 4);
    cf_buf_put_varint(out, folder->count);
    cf_ref_encode(&folder->node, out);
    cf_buf_put_varint(out, folder->totals.files);
    cf_buf_put_varint(out, folder->totals.directories);
    cf_buf_put_varint(out, folder->totals.others);
    cf_buf_put_varint(out, folder->totals.bytes);
    cf_buf_put_bytes(out, folder->segments);
}

static void put_stat(cf_buf *out, const cf_stat *stat) {
    cf_buf_put_u32(out, (uint32_t)stat->type << 16 | stat->mode);
    cf_buf_put_u32(out, stat->uid);
    cf_buf_put_u32(out, stat->gid);
    cf_buf_put_u32(out, stat->mtime.nanoseconds);
    cf_buf_put_u32(out, stat->ctime.nanoseconds);
    cf_buf_put_u32(out, stat->nlink > UINT32_MAX ? UINT32_MAX : (uint32_t)stat->nlink);
    cf_buf_put_u64(out, stat->size);
    cf_buf_put_u64(out, (uint64_t)stat->mtime.seconds);
    cf_buf_put_u64(out, (uint64_t)stat->ctime.seconds);
    cf_buf_put_u64(out, stat->inode);
    cf_buf_put_u64(out, stat->blocks);
    cf_buf_put_u64(out, (uint64_t)stat->device_major << 32 | stat->device_minor);
}

static void take_stat(cf_cursor *cursor, cf_stat *stat) {
    uint32_t type_mode = cf_cursor_u32(cursor);
    *stat = (cf_stat){.type = (cf_file_type)(type_mode >> 16), .mode = type_mode & 07777};
    stat->uid = cf_cursor_u32(cursor);
    stat->gid = cf_cursor_u32(cursor);
    stat->mtime.nanoseconds = cf_cursor_u32(cursor);
    stat->ctime.nanoseconds = cf_cursor_u32(cursor);
    stat->nlink = cf_cursor_u32(cursor);
    stat->size = cf_cursor_u64(cursor);
    stat->mtime.seconds = (int64_t)cf_cursor_u64(cursor);
    stat->ctime.seconds = (int64_t)cf_cursor_u64(cursor);
    stat->inode = cf_cursor_u64(cursor);
    stat->blocks = cf_cursor_u64(cursor);
    uint64_t device = cf_cursor_u64(cursor);
    stat->device_major = (uint32_t)(device >> 32);
    stat->device_minor = (uint32_t)device;
}

void cf_block_add(cf_buf *out, const cf_cache_entry *entry) {
    cf_buf_put_bytes(out, entry->name);
    put_stat(out, &entry->stat);
    if (entry->stat.type == CF_TYPE_DIRECTORY) {
        cf_buf_put_u64(out, entry->child.offset);
        cf_buf_put_u32(out, entry->child.length);
    }
    cf_buf_put_bytes(out, entry->segments);
    cf_buf_put_bytes(out, entry->entry);
}

cf_err *cf_block_end(cf_buf *out) {
    CF_TRY(cf_buf_check(out, "a folder's block in the tree cache"));
    if (out->size > UINT32_MAX) return cf_fail(CF_ERR_TOO_LARGE, "a folder's block in the tree cache");
    uint64_t sum = cf_xxh3_64(cf_span_of(out->data + BLOCK_HEAD, out->size - BLOCK_HEAD), 0);
    for (unsigned i = 0; i < 4; i++) out->data[4 + i] = (uint8_t)(out->size >> (8 * i));
    for (unsigned i = 0; i < 8; i++) out->data[8 + i] = (uint8_t)(sum >> (8 * i));
    return NULL;
}

bool cf_block_open(cf_span block, cf_cursor *cursor, cf_cache_folder *folder) {
    *cursor = cf_cursor_of(block);
    if (cf_cursor_u32(cursor) != BLOCK_MAGIC || cf_cursor_u32(cursor) != block.size) return false;
    uint64_t sum = cf_cursor_u64(cursor);
    if (cursor->failed || sum != cf_xxh3_64(cf_span_of(block.data + BLOCK_HEAD, block.size - BLOCK_HEAD), 0))
        return false;
    folder->count = (uint32_t)cf_cursor_varint_max(cursor, UINT32_MAX);
    cf_ref_decode(cursor, &folder->node);
    folder->totals.files = cf_cursor_varint(cursor);
    folder->totals.directories = cf_cursor_varint(cursor);
    folder->totals.others = cf_cursor_varint(cursor);
    folder->totals.bytes = cf_cursor_varint(cursor);
    folder->segments = cf_cursor_bytes(cursor, block.size);
    return !cursor->failed;
}

bool cf_block_next(cf_cursor *cursor, cf_cache_entry *entry) {
    if (cf_cursor_left(cursor) == 0) return false;
    entry->name = cf_cursor_bytes(cursor, 4096);
    take_stat(cursor, &entry->stat);
    entry->child = (cf_block_place){0, 0};
    if (entry->stat.type == CF_TYPE_DIRECTORY) {
        entry->child.offset = cf_cursor_u64(cursor);
        entry->child.length = cf_cursor_u32(cursor);
    }
    entry->segments = cf_cursor_bytes(cursor, cursor->size);
    entry->entry = cf_cursor_bytes(cursor, cursor->size);
    return !cursor->failed;
}
